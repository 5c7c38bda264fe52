"""One pass over the steps of all symbols of one account, in the order of the design's section 4.

A step is an instant at which candles open. At the open: funding due, then the market orders decided before, first what
reduces. Inside: what ``candle`` says; a cross account is judged at the opens and then with all marks on their way to
the extremes that hurt what is held, before anything protects it. At the close: equity at the marks.
"""

import math

import numpy as np
from numba import njit

from bybit.backtest import (
    candle,
    compilation,
    exits,
    fees,
    holdings,
    joint,
    judgement,
    ladders,
    orders,
    pages,
    prices,
    quiet,
    records,
)
from bybit.backtest.candle import close_for_good, enter_inside, leave_inside, settle_at_open, trade_opens
from bybit.backtest.compilation import fingerprint, part
from bybit.backtest.exits import exit_inside, remember_best
from bybit.backtest.fees import turn_tier
from bybit.backtest.joint import judge, judge_path, most_needed, note_opens
from bybit.backtest.ladders import turn_rules
from bybit.backtest.pages import begin, load
from bybit.backtest.prices import gain, reached, value
from bybit.backtest.quiet import BLOCK, are_waiting, pass_quietly
from bybit.backtest.records import (
    ACTED,
    ACTIVE,
    BACKING,
    BEST,
    BUSY,
    CANDLE,
    CASH,
    DONE,
    DUE_MS,
    ENTRY,
    EXITING,
    HELD,
    INSIDE_MS,
    LADDER,
    LIQUIDATION_PRICE,
    LOTS,
    MARK,
    MARK_BASED,
    MIN_VOLUMES,
    N_COUNTS,
    N_PLACES,
    NEVER,
    NEXT_RULES_MS,
    NEXT_TIER_MS,
    PENDING,
    QTY_STEP,
    STATUS,
    WAS_HELD,
    WHERE,
    WORTH,
    Books,
)

FINGERPRINT = fingerprint(
    [candle, compilation, exits, fees, holdings, joint, judgement, ladders, orders, pages, prices, quiet, records]
)
"""Keys the cache on disk: see ``compilation.fingerprint``."""


@part
def trails(side, best, low, high, distance):  # type: ignore[no-untyped-def]
    """Return whether a candle comes near the trailing stop; rounding to ticks only moves it further away."""
    return reached(side, (max(best, high) if side > 0.0 else min(best, low)) - side * distance, low, high)


@part
def end(books, candles, step, keeps_marks, worth, n_held):  # type: ignore[no-untyped-def]
    """Leave in the books what nobody but their reader needs."""
    books.account[WORTH] = worth
    books.counts[HELD] += n_held
    if not keeps_marks:
        for s in range(len(books.positions)):
            books.positions[s, MARK] = candles.mark_close[candles.first[s] + step]


@part
def is_given(array):  # type: ignore[no-untyped-def]
    """Return whether an optional input is there."""
    return len(array) > 1 or not math.isnan(array[0])


@part
def inside_ms(books):  # type: ignore[no-untyped-def]
    """Return the last millisecond of this step's candles."""
    found = 0
    for s in range(len(books.places)):
        if books.places[s, ACTIVE]:
            found = max(found, books.places[s, INSIDE_MS])
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def simulate(  # type: ignore[no-untyped-def]  # noqa: C901
    step_ms,
    candles,
    decisions,
    settlements,
    contracts,
    ladders,
    fees,
    rules,
    initial_cash,
    backing,
    equity,
    log,
    version=FINGERPRINT,
):
    """Trade every step; fill ``equity`` (at each close) and ``log``.

    Parameters are those of ``records``; ``step_ms`` (n_steps,) the sorted open times of all candles; ``backing``
    (n_steps,) or (1,) the collateral value of other coins, which counts in cross margin only. ``version`` is left
    alone: it only keys the cache on disk.

    Returns
    -------
    tuple
        (status, where, account, positions, counts, ruined): see ``records``; ``ruined`` is the step at whose close
        nothing was left, or -1. After LOGS_FULL the caller runs again with a longer log.

    One long function on purpose: it is the order of events, and what every candle passes is looked at here, so that
    only candles in which something happens pay for a call.
    """
    n_symbols, n_steps = len(contracts.qty_step), len(step_ms)
    n_fee_tiers, n_tiers = len(fees.min_volume), ladders.upper.shape[2]
    account, positions = np.zeros(MIN_VOLUMES + n_fee_tiers), np.zeros((n_symbols, LADDER + 3 * n_tiers))
    places, counts = np.zeros((n_symbols, N_PLACES), np.int64), np.zeros(N_COUNTS, np.int64)
    rates = np.zeros((n_symbols, 2, n_fee_tiers, len(fees.start_ms)))
    books = Books(account, positions, places, counts, rates, fees.start_ms, log)
    begin(books, candles, settlements, contracts, fees, rules, initial_cash)

    # By name, outside the loop: taking an array out of its record costs time in every candle.
    first, open_ms, rows = candles.first, candles.open_ms, candles.row
    lows, highs = candles.low, candles.high
    mark_low, mark_high, mark_close = candles.mark_low, candles.mark_high, candles.mark_close
    targets, stops, profits, distances = decisions.target, decisions.stop, decisions.take_profit, decisions.trail
    stop_stride, profit_stride, trail_stride = (
        min(len(stops), 2) - 1,
        min(len(profits), 2) - 1,
        min(len(distances), 2) - 1,
    )
    cross, inverse = rules.cross, rules.inverse
    is_aligned, has_rows = (np.diff(first) == n_steps).all(), len(rows) > 1
    has_trails, has_stops = is_given(distances), is_given(stops)
    has_profits, is_backed = is_given(profits), len(backing) > 1
    # Nothing but the end of the run reads the marks of an isolated account that has a candle at every step.
    keeps_marks = cross or not is_aligned
    account[BACKING] = backing[0]
    next_change, worth, n_held = step_ms[0], initial_cash, 0

    is_quietable, is_protected = is_aligned and not has_trails, has_stops or has_profits
    left_of, needed_of = np.empty(BLOCK), np.empty(BLOCK)
    step, reach = -1, BLOCK
    while step + 1 < n_steps:
        step += 1
        if is_quietable and step_ms[step] < next_change and not are_waiting(places):
            n_quiet = pass_quietly(
                books, step_ms, step, next_change, first, rows, targets, lows, highs, mark_low, mark_high, mark_close,
                stops, profits, is_protected, backing, equity, left_of[:reach], needed_of,
            )  # fmt: skip
            # Look no further next time than twice as far as nothing happened this time.
            reach = min(BLOCK, max(16, 2 * n_quiet))
            if n_quiet > 0:
                step += n_quiet
                worth = equity[step - 1]
                if step == n_steps:
                    break
        now = step_ms[step]
        following = step_ms[step + 1] if step + 1 < n_steps else NEVER
        if now >= next_change:
            if now >= counts[NEXT_RULES_MS]:
                turn_rules(books, ladders, rules.mark_based_from_ms, now)
            if now >= counts[NEXT_TIER_MS]:
                turn_tier(books, now)
            next_change = min(counts[NEXT_RULES_MS], counts[NEXT_TIER_MS])
        if is_backed:
            account[BACKING] = backing[step]

        # 1. Open: settlements, and what was decided. Busy is a symbol in whose candle more than an exit can happen.
        n_busy, n_orders = 0, 0
        for s in range(n_symbols):
            i = first[s] + step
            if not is_aligned:
                i = places[s, CANDLE]
                places[s, ACTIVE] = places[s, BUSY] = 0
                if i >= first[s + 1] or open_ms[i] != now:
                    continue
                places[s, ACTIVE] = 1
            row = rows[i] if has_rows else i
            if not has_rows or i == first[s] or row != rows[i - 1]:
                want = targets[row]
                if math.isnan(want):
                    want = 0.0
                if want != positions[s, ACTED]:
                    positions[s, ACTED] = want
                    places[s, PENDING] = 1
            ordered = places[s, PENDING] | places[s, EXITING]
            busy = 1 if ordered or places[s, DUE_MS] < following else 0
            if busy != places[s, BUSY]:
                places[s, BUSY] = busy
            n_busy += busy
            n_orders += ordered
            if cross:
                places[s, CANDLE] = i
        is_judged = cross and n_busy > 0
        if cross and not is_judged:
            # No mark of these candles comes near a loss, by a bound that is quick to reckon: every position at its
            # largest value and its worst mark at once, and no deductions.
            left, needed = account[CASH] + account[BACKING], 0.0
            for s in range(n_symbols):
                lots = positions[s, LOTS]
                if lots != 0.0:
                    size = lots * positions[s, QTY_STEP]
                    low = high = positions[s, MARK]
                    if places[s, ACTIVE]:
                        i = places[s, CANDLE]
                        low, high = min(low, mark_low[i]), max(high, mark_high[i])
                    left += gain(inverse, size, positions[s, ENTRY], low if lots > 0.0 else high)
                    if counts[MARK_BASED] == 0:
                        low = high = positions[s, ENTRY]
                    needed += most_needed(positions, s, n_tiers, value(inverse, abs(size), low if inverse else high))
            is_judged = left <= needed
        if n_busy > 0 or is_judged:
            account[WORTH] = worth
            for s in range(n_symbols):
                if places[s, ACTIVE] and (places[s, BUSY] or is_judged):
                    load(books, s, first[s] + step if is_aligned else places[s, CANDLE], candles, decisions)
                    if places[s, DUE_MS] <= now:
                        settle_at_open(books, settlements, s, now)
            if is_judged:
                note_opens(books)
            if n_orders > 0:
                trade_opens(books, now)
            if is_judged:
                judge(books, now)

            # 2. Inside: what comes in, the joint judgement, what goes out.
            for s in range(n_symbols):
                if places[s, BUSY]:
                    enter_inside(books, settlements, s)
            if is_judged:
                judge_path(books, inside_ms(books))
            for s in range(n_symbols):
                if places[s, BUSY]:
                    leave_inside(books, settlements, s)
        unrealized, has_left = 0.0, False
        for s in range(n_symbols):
            lots = positions[s, LOTS]
            if is_aligned or places[s, ACTIVE]:
                i = first[s] + step if is_aligned else places[s, CANDLE]
                if places[s, BUSY]:
                    n_held += places[s, WAS_HELD]
                elif lots != 0.0:
                    n_held += 1
                    side = 1.0 if lots > 0.0 else -1.0
                    touched = not cross and reached(side, positions[s, LIQUIDATION_PRICE], mark_low[i], mark_high[i])
                    if has_stops or has_profits or has_trails:
                        row = rows[i] if has_rows else i
                        low, high = lows[i], highs[i]
                        touched = (
                            touched
                            or (has_stops and reached(side, stops[row * stop_stride], low, high))
                            or (has_profits and reached(-side, profits[row * profit_stride], low, high))
                            or (
                                has_trails
                                and trails(side, positions[s, BEST], low, high, distances[row * trail_stride])
                            )
                        )
                        if touched or has_trails:
                            load(books, s, i, candles, decisions)
                    elif touched:
                        load(books, s, i, candles, decisions)
                    if touched:
                        exit_inside(books, s, i, candles.open[i])
                        has_left = has_left or positions[s, LOTS] != lots
                        lots = positions[s, LOTS]
                if has_trails and lots != 0.0:
                    remember_best(books, s, i)
                if keeps_marks:
                    positions[s, MARK] = mark_close[i]
                if lots != 0.0:
                    size = lots * positions[s, QTY_STEP]
                    unrealized += gain(inverse, size, positions[s, ENTRY], mark_close[i])
            elif lots != 0.0:
                unrealized += gain(inverse, lots * positions[s, QTY_STEP], positions[s, ENTRY], positions[s, MARK])

        # 3. Close.
        worth = account[CASH] + unrealized
        if (is_judged or (cross and has_left)) and judge(books, inside_ms(books)):
            worth = account[CASH]
        if counts[STATUS] != DONE:
            return counts[STATUS], counts[WHERE], account, positions, counts, -1
        if worth + account[BACKING] <= 0.0:
            for s in range(n_symbols):
                if positions[s, LOTS] != 0.0:
                    i = first[s] + step if is_aligned else places[s, CANDLE] - 1 + places[s, ACTIVE]
                    load(books, s, i, candles, decisions)
            close_for_good(books)
            equity[step:] = account[CASH]
            end(books, candles, step, keeps_marks, account[CASH], n_held)
            where = n_steps if counts[STATUS] == DONE else counts[WHERE]
            return counts[STATUS], where, account, positions, counts, step
        equity[step] = worth
        if not is_aligned:
            for s in range(n_symbols):
                places[s, CANDLE] += places[s, ACTIVE]
    end(books, candles, n_steps - 1, keeps_marks, worth, n_held)
    return DONE, n_steps, account, positions, counts, -1
