"""One pass over the candles: what happens inside each, in the order of the design's section 4.

At the open: funding due, then the market order decided at the previous close. Inside: post-only limit, protective
stop and liquidation, the worse for the account first. At the close: equity at the mark. Orders that the candle may or
may not have filled are decided against the account:

- a limit fills only when the last price trades through it, and not when a stop or liquidation could come first;
- a limit that opens or adds fills before the stop or liquidation that it could lead to;
- when both stop and liquidation were reached, the one that loses more happens;
- a settlement inside the candle is charged first where it costs, and paid last, on what is then held, where it pays.

What happens inside carries the candle's last millisecond: it is known no earlier.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from bybit.backtest.position import (
    BY_LIMIT,
    BY_MARKET,
    BY_RUIN,
    BY_STOP,
    CASH,
    CROSSED,
    ENTRY,
    FINGERPRINT,
    HELD,
    LIQUIDATION_PRICE,
    LOTS,
    MAKER,
    MARGIN,
    MARK_OF_CANDLE,
    N_COUNTS,
    N_FILLS,
    N_REJECTED,
    N_STATE,
    TAKER,
    UNFILLED,
    Floats,
    Integers,
    execute,
    fee_rate,
    fill,
    jit,
    liquidate,
    liquidation_price,
    refusal,
    settle,
)

DONE, MARK_MISSING, LOGS_FULL = 0, 1, 2
# At most: two fills of a flip at the open or by a limit, one stop, one at ruin.
FILLS_A_CANDLE = 4


class Candles(NamedTuple):
    """Last and mark prices of each candle, shape (n_candles,); quote coin, times in ms UTC.

    ``mark_open`` is NaN where the mark at the open is not known (inside a longer mark candle).
    """

    open_ms: Integers
    close_ms: Integers
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    mark_open: Floats
    mark_high: Floats
    mark_low: Floats
    mark_close: Floats


class Decisions(NamedTuple):
    """What the strategy decided before each candle, shape (n_candles,): known at ``close``, the price to size by."""

    target: Floats
    limit: Floats
    stop: Floats
    close: Floats


class Settlements(NamedTuple):
    """Funding, oldest first, shape (n_settlements,); ``mark`` is NaN where nobody knows it."""

    time_ms: Integers
    rate: Floats
    mark: Floats


@jit
def round_price(price, tick, side):  # type: ignore[no-untyped-def]
    """Return ``price`` on the tick grid: up for side +1, down for side -1. A hair off a tick counts as on it."""
    n_ticks = price / tick
    hair = 1e-9 + 1e-15 * n_ticks
    return np.ceil(n_ticks - hair) * tick if side > 0.0 else np.floor(n_ticks + hair) * tick


@jit
def whole_lots(exposure, equity, price, step):  # type: ignore[no-untyped-def]
    """Return the signed lots of ``exposure`` x ``equity`` at ``price``, rounded toward zero; a hair off counts."""
    lots = abs(exposure) * equity / price / step
    return math.copysign(np.floor(lots + 1e-9 + 1e-15 * lots), exposure)


@jit
def reached(side, price, low, high):  # type: ignore[no-untyped-def]
    """Return whether a price against a position of ``side`` was touched; NaN never is."""
    return low <= price if side > 0.0 else high >= price


@jit
def exit_inside(state, counts, logs, terms, ladder, eras, candles, i, stop, entered_at):  # type: ignore[no-untyped-def]
    """Stop out or liquidate the position inside candle i when either was reached; return whether one happened.

    ``entered_at`` is the last price from which the position was exposed: the open, or the limit that filled inside.
    """
    side = 1.0 if state[LOTS] > 0.0 else -1.0
    time_ms = candles.close_ms[i] - 1
    liquidated = reached(side, state[LIQUIDATION_PRICE], candles.mark_low[i], candles.mark_high[i])
    stopped = reached(side, stop, candles.low[i], candles.high[i])
    if not (liquidated or stopped):
        return False
    reference, price = math.nan, math.nan
    if stopped:
        reference = min(stop, entered_at) if side > 0.0 else max(stop, entered_at)
        price = round_price(reference * (1.0 - side * terms.slippage_rate), terms.tick_size, -side)
        if liquidated:
            qty = abs(state[LOTS]) * terms.qty_step
            rate = fee_rate(state, counts, eras, time_ms, TAKER)
            liquidated = side * qty * (price - state[ENTRY]) - qty * price * rate >= -state[MARGIN]
    if liquidated:
        at_open = candles.mark_open[i]
        gapped = reached(side, state[LIQUIDATION_PRICE], at_open, at_open)
        trigger = at_open if gapped else state[LIQUIDATION_PRICE]
        liquidate(state, counts, logs, terms, time_ms, i, trigger)
    else:
        fill(state, counts, logs, terms, ladder, eras, time_ms, i, -state[LOTS], price, reference, TAKER, BY_STOP)
    return True


@jit
def limit_comes_first(state, counts, terms, ladder, eras, candles, i, lots, limit, stop):  # type: ignore[no-untyped-def]
    """Return whether a limit that adds to an open position fills before its stop or liquidation.

    Where the order of the two is not certain, the one that leaves less is chosen: adding first when the larger
    position is lost as well, else losing the smaller one while the limit never fills.
    """
    side = 1.0 if lots > 0.0 else -1.0
    opened = candles.open[i]
    if reached(side, stop, candles.low[i], candles.high[i]) and (
        reached(side, stop, opened, opened) or side * (stop - limit) >= 0.0
    ):
        return False
    if not reached(side, state[LIQUIDATION_PRICE], candles.mark_low[i], candles.mark_high[i]):
        return True
    if refusal(state, counts, terms, eras, candles.close_ms[i] - 1, lots, limit, MAKER) != 0.0:
        return False
    held, added = abs(state[LOTS]) * terms.qty_step, abs(lots) * terms.qty_step
    entry = (held * state[ENTRY] + added * limit) / (held + added)
    margin = state[MARGIN] + added * limit / terms.leverage
    larger = liquidation_price(held + added, entry, margin, side, ladder)
    return reached(side, larger, candles.mark_low[i], candles.mark_high[i])


@jit
def mark_at(settlements, k, size, first, second):  # type: ignore[no-untyped-def]
    """Return the mark of settlement k; where it is unknown the worse of two last prices for ``size``."""
    mark = settlements.mark[k]
    if not math.isnan(mark):
        return mark
    return max(first, second) if size * settlements.rate[k] > 0.0 else min(first, second)


@njit(nogil=True, cache=True, error_model="numpy")
def simulate(  # type: ignore[no-untyped-def]  # noqa: C901
    candles, decisions, settlements, terms, ladder, eras, initial_cash, last_for_mark, equity, logs, version=FINGERPRINT
):
    """Trade every candle; fill ``equity`` (at each close) and ``logs``; return (status, where, state, counts, ruined).

    ``status`` is DONE, MARK_MISSING (``where``: the settlement whose mark nobody knows although a position is held)
    or LOGS_FULL (the caller runs again with longer logs). ``ruined`` is the candle at whose close nothing was left,
    or -1. ``version`` is left alone: it only keys the cache on disk.

    One long function on purpose: it is the order of events, and it has to be read in one piece.
    """
    state = np.zeros(N_STATE)
    counts = np.zeros(N_COUNTS, np.int64)
    state[CASH] = initial_cash
    state[LIQUIDATION_PRICE] = math.nan
    step, tick, n_candles = terms.qty_step, terms.tick_size, len(candles.open_ms)
    acted, pending, worth, ruined = 0.0, False, initial_cash, -1
    due, n_settlements = 0, len(settlements.time_ms)
    while due < n_settlements and settlements.time_ms[due] < candles.open_ms[0]:
        due += 1

    for i in range(n_candles):
        if max(counts[N_FILLS], counts[N_REJECTED]) + FILLS_A_CANDLE > len(logs.fills):
            return LOGS_FULL, i, state, counts, ruined
        opened, closed, low, high = candles.open[i], candles.close[i], candles.low[i], candles.high[i]

        # 1. Open: settlements at this instant (or inside a gap before it) meet what was held before them.
        while due < n_settlements and settlements.time_ms[due] <= candles.open_ms[i]:
            if state[LOTS] != 0.0:
                size = state[LOTS] * step
                if math.isnan(settlements.mark[due]):
                    if not last_for_mark:
                        return MARK_MISSING, due, state, counts, ruined
                    counts[MARK_OF_CANDLE] += 1
                mark = mark_at(settlements, due, size, candles.close[i - 1], opened)
                settle(state, counts, logs, settlements.time_ms[due], size, mark, settlements.rate[due])
            due += 1

        want = decisions.target[i]
        if math.isnan(want):
            want = 0.0
        if want != acted:
            acted, pending = want, True
        limit, lots = math.nan, 0.0
        if pending:
            limit = decisions.limit[i]
            if math.isnan(limit):
                lots = whole_lots(want, worth, decisions.close[i], step) - state[LOTS]
                if lots != 0.0:
                    side = 1.0 if lots > 0.0 else -1.0
                    price = round_price(opened * (1.0 + side * terms.slippage_rate), tick, side)
                    execute(
                        state, counts, logs, terms, ladder, eras,
                        candles.open_ms[i], i, lots, price, opened, TAKER, BY_MARKET,
                    )  # fmt: skip
                pending, lots = False, 0.0
            else:
                lots = whole_lots(want, worth, limit, step) - state[LOTS]
                if lots == 0.0:
                    pending = False
                else:
                    limit = round_price(limit, tick, -lots)
                    if limit >= opened if lots > 0.0 else limit <= opened:
                        counts[CROSSED] += 1
                        lots = 0.0
                    elif low < limit if lots > 0.0 else high > limit:
                        pass
                    else:
                        counts[UNFILLED] += 1
                        lots = 0.0

        # 2. Inside. From here ``lots`` is a limit order through which the last price has traded, or zero.
        first_inside = due
        held_before = state[LOTS]
        while due < n_settlements and settlements.time_ms[due] < candles.close_ms[i]:
            size = held_before * step
            if math.isnan(settlements.mark[due]) and (size != 0.0 or lots != 0.0):
                if not last_for_mark:
                    return MARK_MISSING, due, state, counts, ruined
                counts[MARK_OF_CANDLE] += 1
            if size * settlements.rate[due] > 0.0:
                mark = mark_at(settlements, due, size, low, high)
                settle(state, counts, logs, settlements.time_ms[due], size, mark, settlements.rate[due])
            due += 1

        if state[LOTS] != 0.0 or lots != 0.0:
            counts[HELD] += 1
            entered_at = opened
            stop = decisions.stop[i]
            adds = state[LOTS] * lots >= 0.0
            gone = False
            protects = stop_of(want, lots, stop, tick)
            if (lots != 0.0 and adds) and (
                state[LOTS] == 0.0
                or limit_comes_first(state, counts, terms, ladder, eras, candles, i, lots, limit, protects)
            ):
                execute(
                    state, counts, logs, terms, ladder, eras,
                    candles.close_ms[i] - 1, i, lots, limit, limit, MAKER, BY_LIMIT,
                )  # fmt: skip
                entered_at, lots, pending = limit, 0.0, False
            if state[LOTS] != 0.0:
                # Most candles reach neither: looking here first keeps the call out of the common path.
                side = 1.0 if state[LOTS] > 0.0 else -1.0
                protects = stop_of(want, side, stop, tick)
                if reached(side, protects, low, high) or reached(
                    side, state[LIQUIDATION_PRICE], candles.mark_low[i], candles.mark_high[i]
                ):
                    gone = exit_inside(
                        state, counts, logs, terms, ladder, eras, candles, i, protects, entered_at
                    )  # fmt: skip
            if gone:
                # The venue cancels what rests, and nothing is opened again until the strategy changes its mind.
                pending = False
            elif lots != 0.0 and not adds:
                side_before = state[LOTS]
                execute(
                    state, counts, logs, terms, ladder, eras,
                    candles.close_ms[i] - 1, i, lots, limit, limit, MAKER, BY_LIMIT,
                )  # fmt: skip
                pending = False
                if state[LOTS] * side_before < 0.0:
                    exit_inside(
                        state, counts, logs, terms, ladder, eras, candles, i,
                        stop_of(want, state[LOTS], stop, tick), limit,
                    )  # fmt: skip

        for k in range(first_inside, due):
            before = held_before * step
            size = state[LOTS] * step
            if before * settlements.rate[k] > 0.0:
                continue
            mark_before = mark_at(settlements, k, before, low, high)
            mark_now = mark_at(settlements, k, size, low, high)
            if before * mark_before * settlements.rate[k] > size * mark_now * settlements.rate[k]:
                size, mark_now = before, mark_before
            if size != 0.0:
                settle(state, counts, logs, settlements.time_ms[k], size, mark_now, settlements.rate[k])

        # 3. Close.
        worth = state[CASH] + state[LOTS] * step * (candles.mark_close[i] - state[ENTRY])
        if worth <= 0.0:
            if state[LOTS] != 0.0:
                side = 1.0 if state[LOTS] > 0.0 else -1.0
                price = round_price(closed * (1.0 - side * terms.slippage_rate), tick, -side)
                fill(
                    state, counts, logs, terms, ladder, eras,
                    candles.close_ms[i] - 1, i, -state[LOTS], price, closed, TAKER, BY_RUIN,
                )  # fmt: skip
            ruined = i
            equity[i:] = state[CASH]
            break
        equity[i] = worth
    return DONE, n_candles, state, counts, ruined


@jit
def stop_of(want, side, stop, tick):  # type: ignore[no-untyped-def]
    """Return the stop that protects a position of ``side``, on a tick and away from the price; NaN when it has none.

    A stop belongs to the side that was decided: while a flip still rests as a limit, the old side has none.
    """
    if want * side < 0.0:
        return math.nan
    return round_price(stop, tick, -side)
