"""What protects a position inside a candle: stop, take-profit and trailing stop, against its liquidation.

A protection belongs to the side that was decided: while a flip still rests, the old side has none. When one candle
could do two things the worse for the account happens, and the candle is counted.
"""

import math

from bybit.backtest.compilation import part
from bybit.backtest.fees import fee_rate
from bybit.backtest.holdings import fill
from bybit.backtest.judgement import cancel_all, is_lost_inside, liquidate_inside
from bybit.backtest.ladders import lost_at
from bybit.backtest.orders import clip, count_ambiguous, is_reached, refusal, taker_price
from bybit.backtest.prices import gain, reached, round_price, value
from bybit.backtest.records import (
    ACTED,
    ADDED,
    BEST,
    BY_STOP,
    BY_TAKE_PROFIT,
    BY_TRAIL,
    CLOSE,
    ENTERED,
    ENTRY,
    EXIT_REASON,
    EXITING,
    FEE_TIER,
    FROM_LIMIT,
    FROM_OPEN,
    FROM_TRIGGER,
    HIGH,
    INSIDE_MS,
    IS_INVERSE,
    LEVERAGE,
    LIMIT,
    LIQUIDATION_PRICE,
    LOTS,
    LOW,
    MAKER,
    MARGIN,
    MARK_HIGH,
    MARK_LOW,
    OPEN,
    ORDER_KIND,
    ORDER_LOTS,
    ORDER_PRICE,
    QTY_STEP,
    STOP_PRICE,
    TAKE_PROFIT,
    TAKER,
    TICK_SIZE,
    TRAIL,
)


@part
def stop_of(books, s, side):  # type: ignore[no-untyped-def]
    """Return the stop of a position of ``side``, on a tick and away from the price; NaN when it has none."""
    if books.positions[s, ACTED] * side < 0.0:
        return math.nan
    return round_price(books.positions[s, STOP_PRICE], books.positions[s, TICK_SIZE], -side)


@part
def profit_of(books, s, side):  # type: ignore[no-untyped-def]
    """Return the take-profit of a position of ``side``, on a tick and away from the price; NaN when it has none."""
    if books.positions[s, ACTED] * side < 0.0:
        return math.nan
    return round_price(books.positions[s, TAKE_PROFIT], books.positions[s, TICK_SIZE], side)


@part
def trail_of(books, s, side, best):  # type: ignore[no-untyped-def]
    """Return the trailing level below (above) the best price, on a tick; NaN when there is none."""
    position = books.positions[s]
    distance = position[TRAIL]
    if math.isnan(distance) or position[ACTED] * side < 0.0:
        return math.nan
    return round_price(best - side * distance, position[TICK_SIZE], -side)


@part
def nearer(side, one, other):  # type: ignore[no-untyped-def]
    """Return the level that a price moving against ``side`` reaches first; NaN is none."""
    if math.isnan(one) or (side * (other - one) > 0.0):
        return other
    return one


@part
def best_inside(books, s, candle, side):  # type: ignore[no-untyped-def]
    """Return the best last price for ``side`` that was certainly seen while held, this candle included."""
    position = books.positions[s]
    far = position[HIGH] if side > 0.0 else position[LOW]
    if books.places[s, ENTERED] == FROM_LIMIT:
        # Traded through on the way down: the high may lie before it, only the close does not.
        far = position[CLOSE]
    return position[BEST] if side * (position[BEST] - far) >= 0.0 else far


@part
def profit_taken(books, s, candle, profit, entered_at):  # type: ignore[no-untyped-def]
    """Return (price before slippage, reason) of a take-profit that was reached, NaN when something else goes first."""
    position, entered = books.positions[s], books.places[s, ENTERED]
    side, closed = 1.0 if position[LOTS] > 0.0 else -1.0, position[CLOSE]
    if entered in (FROM_LIMIT, ADDED) and not reached(-side, profit, closed, closed):
        # The good price may lie before the fill.
        count_ambiguous(books, candle)
        return math.nan, 0.0
    if reached(-side, profit, entered_at, entered_at):
        return entered_at, BY_TAKE_PROFIT
    if position[ORDER_LOTS] * side < 0.0 and side * (profit - position[ORDER_PRICE]) > 0.0 and is_reached(books, s):
        # An order that reduces for less goes first: a limit for certain, a trigger as the worse.
        if books.places[s, ORDER_KIND] != LIMIT:
            count_ambiguous(books, candle)
        return math.nan, 0.0
    return profit, BY_TAKE_PROFIT


@part
def protection(books, s, candle, entered_at):  # type: ignore[no-untyped-def]
    """Return (price before slippage, reason) of the protection that this candle reaches, NaN when none.

    ``entered_at`` is the last price from which the position was exposed: the open, or where it was entered inside.
    """
    position, entered = books.positions[s], books.places[s, ENTERED]
    side = 1.0 if position[LOTS] > 0.0 else -1.0
    low, high, closed = position[LOW], position[HIGH], position[CLOSE]
    stop = stop_of(books, s, side)
    trail = trail_of(books, s, side, position[BEST])
    profit = profit_of(books, s, side)
    gained = reached(-side, profit, low, high)
    level = nearer(side, stop, trail)
    gapped = reached(side, level, entered_at, entered_at)
    if reached(-side, profit, entered_at, entered_at) and not gapped and entered == FROM_OPEN:
        # Nothing comes before the open.
        return entered_at, BY_TAKE_PROFIT
    if reached(side, level, low, high):
        if gained and not gapped:
            count_ambiguous(books, candle)
        if entered == FROM_TRIGGER and not (gapped or reached(side, level, closed, closed)):
            # The low may lie before the entry.
            count_ambiguous(books, candle)
        return entered_at if gapped else level, BY_STOP if level == stop else BY_TRAIL
    best = best_inside(books, s, candle, side)
    if gained and side * (best - profit) > 0.0:
        best = profit
    later = trail_of(books, s, side, best)
    if reached(side, later, low, high) and entered != FROM_LIMIT:
        # It follows every high on the way: one just high enough, and then the low, is the worst that may have been.
        count_ambiguous(books, candle)
        return nearer(side, low if side > 0.0 else high, trail_of(books, s, side, entered_at)), BY_TRAIL
    if gained:
        return profit_taken(books, s, candle, profit, entered_at)
    return math.nan, 0.0


@part
def is_dearer(books, s, candle, price):  # type: ignore[no-untyped-def]
    """Return whether leaving at ``price`` would cost less than the margin; NaN is no way out."""
    if math.isnan(price):
        return True
    count_ambiguous(books, candle)
    position, inverse = books.positions[s], books.counts[IS_INVERSE] != 0
    size, time_ms = position[LOTS] * position[QTY_STEP], books.places[s, INSIDE_MS]
    rate = fee_rate(books, s, candle, time_ms, books.counts[FEE_TIER], TAKER)
    left = gain(inverse, size, position[ENTRY], price) - value(inverse, abs(size), price) * rate
    return left >= -position[MARGIN]


@part
def exit_inside(books, s, candle, entered_at):  # type: ignore[no-untyped-def]
    """Protect or liquidate the position inside this candle; return whether its exit has begun or it is gone."""
    position, time_ms = books.positions[s], books.places[s, INSIDE_MS]
    reference, reason = math.nan, 0.0
    if not books.places[s, EXITING]:
        reference, reason = protection(books, s, candle, entered_at)
    lots, price = -position[LOTS], math.nan
    if not math.isnan(reference):
        lots = clip(books, s, candle, lots)
        if lots != 0.0:
            price = taker_price(books, s, candle, lots, reference, False)
    if is_lost_inside(books, s) and is_dearer(books, s, candle, price):
        if books.places[s, ENTERED] == FROM_TRIGGER:
            # The mark's extreme may lie before the entry.
            count_ambiguous(books, candle)
        cancel_all(books, s)
        liquidate_inside(books, s, candle, time_ms)
        if position[LOTS] == 0.0:
            return True
        # Stepped down: what is left is still protected.
        lots = math.copysign(min(abs(lots), abs(position[LOTS])), lots)
    if math.isnan(reference):
        return False
    cancel_all(books, s)
    books.places[s, EXITING], position[EXIT_REASON] = 1, reason
    if lots != 0.0:
        tier = books.counts[FEE_TIER]
        fill(books, s, candle, time_ms, lots, price, reference, TAKER, tier, reason)
    if position[LOTS] != 0.0:
        # The volume left over what the mark has lost all the same.
        liquidate_inside(books, s, candle, time_ms)
    return True


@part
def enters_first(books, s, candle):  # type: ignore[no-untyped-def]
    """Return whether a reached order that adds to an open position fills before its stop or liquidation.

    Where the order of the two is not certain, the one that leaves less is chosen: adding first when the larger
    position is lost as well, else losing the smaller one while the order never fills.
    """
    position = books.positions[s]
    lots, price = position[ORDER_LOTS], position[ORDER_PRICE]
    side = 1.0 if lots > 0.0 else -1.0
    low, high, opened = position[LOW], position[HIGH], position[OPEN]
    is_limit = books.places[s, ORDER_KIND] == LIMIT
    trail = trail_of(books, s, side, position[BEST])
    stop = nearer(side, stop_of(books, s, side), trail)
    if reached(side, stop, low, high) and (
        reached(side, stop, opened, opened) or (is_limit and side * (stop - price) >= 0.0)
    ):
        return False
    if reached(-side, profit_of(books, s, side), opened, opened):
        return False
    mark_low, mark_high = position[MARK_LOW], position[MARK_HIGH]
    if not is_limit or not reached(side, position[LIQUIDATION_PRICE], mark_low, mark_high):
        return True
    count_ambiguous(books, candle)
    if refusal(books, s, candle, books.places[s, INSIDE_MS], lots, price, MAKER) != 0.0:
        return False
    step = position[QTY_STEP]
    held, added = abs(position[LOTS]) * step, abs(lots) * step
    inverse = books.counts[IS_INVERSE] != 0
    worth = value(inverse, added, price)
    total = value(inverse, held, position[ENTRY]) + worth
    entry = (held + added) / total if inverse else total / (held + added)
    margin = position[MARGIN] + worth / position[LEVERAGE]
    return reached(side, lost_at(books, s, held + added, entry, margin, side), mark_low, mark_high)


@part
def remember_best(books, s, candle):  # type: ignore[no-untyped-def]
    """Carry the best price of a position that stays into the next candle."""
    position = books.positions[s]
    if position[LOTS] != 0.0:
        position[BEST] = best_inside(books, s, candle, 1.0 if position[LOTS] > 0.0 else -1.0)
    books.places[s, ENTERED] = FROM_OPEN
