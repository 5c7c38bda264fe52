"""Liquidations: an isolated position taken over or stepped down, and the end of a cross account (L11, L14)."""

import math

from bybit.backtest.compilation import part
from bybit.backtest.fees import count_volume, fee_rate
from bybit.backtest.holdings import close_part, end_trade, log_event
from bybit.backtest.ladders import is_lost, n_tiers_of, reprice
from bybit.backtest.prices import gain, value, whole
from bybit.backtest.records import (
    ACTIVE,
    BACKING,
    BY_LIQUIDATION,
    CANDLE,
    CASH,
    CROSS,
    ENTERED,
    ENTRY,
    EXIT_QTY,
    EXIT_VALUE,
    FEE_TIER,
    FROM_LIMIT,
    FROM_TRIGGER,
    FUND,
    GROSS,
    IS_INVERSE,
    LADDER,
    LIQUIDATION,
    LIQUIDATION_LOSS,
    LIQUIDATION_PRICE,
    LOTS,
    MARGIN,
    MARK,
    MARK_BASED,
    MARK_HIGH,
    MARK_LOW,
    MARK_OPEN,
    NO_ORDER,
    ORDER_KIND,
    PENDING,
    QTY_STEP,
    REALIZED,
    REFERENCE,
    RESTS,
    STEP_DOWN,
    STEPS_DOWN,
    TAKEOVER,
    TAKER,
    TAKER_FEES,
    TRADE_FEES,
    TRADE_PNL,
)


@part
def cancel_all(books, s):  # type: ignore[no-untyped-def]
    """Leave no order of symbol s, as the venue does: nothing is opened again until the strategy changes its mind."""
    books.places[s, PENDING], books.places[s, ORDER_KIND], books.places[s, RESTS] = 0, NO_ORDER, 0


@part
def log_liquidation(books, s, candle, time_ms, size, trigger, loss, realized, fee, fund, kind):  # type: ignore[no-untyped-def]
    """Write one liquidation; ``size`` is what it closed."""
    row = log_event(books, LIQUIDATION, s)
    row[3], row[4], row[5] = time_ms, candle, size
    row[6], row[7], row[8] = books.positions[s, ENTRY], books.positions[s, LIQUIDATION_PRICE], trigger
    row[9], row[10], row[11], row[12], row[13] = loss, realized, fee, fund, kind


@part
def take_over(books, s, candle, time_ms, trigger):  # type: ignore[no-untyped-def]
    """Take the position over at its bankruptcy price: the loss is its margin, exactly."""
    position, inverse = books.positions[s], books.counts[IS_INVERSE] != 0
    size = position[LOTS] * position[QTY_STEP]
    loss = position[MARGIN]
    fund = loss + gain(inverse, size, position[ENTRY], trigger)
    log_liquidation(books, s, candle, time_ms, size, trigger, loss, 0.0, 0.0, fund, TAKEOVER)
    books.account[CASH] -= loss
    books.account[FUND] += fund
    lose(books, s, candle, time_ms, size, loss)


@part
def lose(books, s, candle, time_ms, size, loss):  # type: ignore[no-untyped-def]
    """End a position that a liquidation closed whole with ``loss``."""
    position, inverse = books.positions[s], books.counts[IS_INVERSE] != 0
    side, qty = 1.0 if size > 0.0 else -1.0, abs(size)
    position[LIQUIDATION_LOSS] += loss
    # The loss was measured from the slipped entry: what slippage took there is not lost a second time.
    position[GROSS] += gain(inverse, size, position[REFERENCE], position[ENTRY])
    position[EXIT_QTY] += qty
    position[EXIT_VALUE] += value(inverse, qty, position[ENTRY]) + (side if inverse else -side) * loss
    position[TRADE_PNL] -= loss
    end_trade(books, s, time_ms, candle, BY_LIQUIDATION)


@part
def step_down(books, s, candle, time_ms, trigger, below):  # type: ignore[no-untyped-def]
    """Close, at the mark and as taker, what lies above the next lower tier; return that tier's bound, 0 if none.

    Within one candle each step goes to a bound lower than that of the step before, ``below``.
    """
    position, inverse = books.positions[s], books.counts[IS_INVERSE] != 0
    step = position[QTY_STEP]
    lots = abs(position[LOTS])
    side = 1.0 if position[LOTS] > 0.0 else -1.0
    if position[MARGIN] + gain(inverse, side * lots * step, position[ENTRY], trigger) <= 0.0:
        return 0.0
    worth = value(inverse, lots * step, trigger if books.counts[MARK_BASED] else position[ENTRY])
    bound, limit = 0.0, min(worth, below)
    for k in range(n_tiers_of(position) - 1):
        # What a step left on the bound stands on it, and not a rounding above.
        if position[LADDER + k] * (1.0 + 1e-12) < limit:
            bound = position[LADDER + k]
    kept = min(whole(lots * bound / worth), lots - 1.0)
    if kept <= 0.0:
        return 0.0
    qty = (lots - kept) * step
    traded = value(inverse, qty, trigger)
    fee = traded * fee_rate(books, s, candle, time_ms, books.counts[FEE_TIER], TAKER)
    count_volume(books, time_ms, qty if inverse else traded)
    realized = gain(inverse, side * qty, position[ENTRY], trigger)
    log_liquidation(books, s, candle, time_ms, side * qty, trigger, 0.0, realized, fee, 0.0, STEP_DOWN)
    close_part(books, s, lots - kept, trigger, trigger, fee)
    books.account[CASH] += realized - fee
    position[REALIZED] += realized
    position[TAKER_FEES] += fee
    reprice(books, s)
    return bound


@part
def first_mark(books, s):  # type: ignore[no-untyped-def]
    """Return the mark at which the position entered this candle; inside, at best the best of the candle."""
    position = books.positions[s]
    if books.places[s, ENTERED] in (FROM_LIMIT, FROM_TRIGGER):
        return position[MARK_HIGH] if position[LOTS] > 0.0 else position[MARK_LOW]
    return position[MARK_OPEN]


@part
def is_lost_inside(books, s):  # type: ignore[no-untyped-def]
    """Return whether this mark candle loses the isolated position, where it begins or at its extreme."""
    position = books.positions[s]
    extreme = position[MARK_LOW] if position[LOTS] > 0.0 else position[MARK_HIGH]
    return position[LOTS] != 0.0 and (is_lost(books, s, extreme) or is_lost(books, s, first_mark(books, s)))


@part
def liquidate_inside(books, s, candle, time_ms):  # type: ignore[no-untyped-def]
    """Liquidate the isolated position as far as this mark candle has lost it."""
    position = books.positions[s]
    extreme = position[MARK_LOW] if position[LOTS] > 0.0 else position[MARK_HIGH]
    at, below = first_mark(books, s), math.inf
    while position[LOTS] != 0.0:
        if not is_lost(books, s, at):
            if not is_lost(books, s, extreme):
                return
            at = position[LIQUIDATION_PRICE]
        below = step_down(books, s, candle, time_ms, at, below) if books.counts[STEPS_DOWN] else 0.0
        if below == 0.0:
            take_over(books, s, candle, time_ms, at)


@part
def close_all(books, time_ms):  # type: ignore[no-untyped-def]
    """End a lost cross account: all positions at their marks, as taker; the fund pays what would take cash too low.

    Its payment is shared over the positions in proportion to their value, so that the rows add up.
    """
    account, inverse = books.account, books.counts[IS_INVERSE] != 0
    left, total = account[CASH], 0.0
    for s in range(len(books.positions)):
        position = books.positions[s]
        if position[LOTS] != 0.0:
            size = position[LOTS] * position[QTY_STEP]
            worth = value(inverse, abs(size), position[MARK])
            candle = candle_of(books, s)
            rate = fee_rate(books, s, candle, time_ms, books.counts[FEE_TIER], TAKER)
            left += gain(inverse, size, position[ENTRY], position[MARK]) - worth * rate
            total += worth
    shortfall = max(-account[BACKING] - left, 0.0)
    for s in range(len(books.positions)):
        position = books.positions[s]
        cancel_all(books, s)
        if position[LOTS] == 0.0:
            continue
        size = position[LOTS] * position[QTY_STEP]
        worth = value(inverse, abs(size), position[MARK])
        candle = candle_of(books, s)
        fee = worth * fee_rate(books, s, candle, time_ms, books.counts[FEE_TIER], TAKER)
        fund = -shortfall * worth / total
        loss = -gain(inverse, size, position[ENTRY], position[MARK]) + fund
        log_liquidation(books, s, candle, time_ms, size, position[MARK], loss, 0.0, fee, fund, CROSS)
        count_volume(books, time_ms, abs(size) if inverse else worth)
        position[TAKER_FEES] += fee
        position[TRADE_FEES] += fee
        account[CASH] -= loss + fee
        account[FUND] += fund
        lose(books, s, candle, time_ms, size, loss)
    if shortfall > 0.0:
        # The shares are rounded: their last digit must not leave cash beside its floor.
        account[CASH] = -account[BACKING]


@part
def candle_of(books, s):  # type: ignore[no-untyped-def]
    """Return the candle that symbol s is in, or its last one."""
    return books.places[s, CANDLE] - (0 if books.places[s, ACTIVE] else 1)
