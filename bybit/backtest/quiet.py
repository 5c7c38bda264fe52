"""Stretches in which no symbol trades, settles or is lost: only equity moves, and each symbol is read in one go.

Most candles of most runs lie in such stretches. Reading symbol after symbol, a block of candles at a time, is what
keeps a run over many symbols as fast as runs over each.
"""

import math

from bybit.backtest.compilation import part
from bybit.backtest.joint import most_needed
from bybit.backtest.prices import gain, value
from bybit.backtest.records import (
    ACTED,
    CASH,
    DUE_MS,
    ENTRY,
    EXITING,
    HELD,
    IS_CROSS,
    IS_INVERSE,
    LADDER,
    LIQUIDATION_PRICE,
    LOTS,
    MARK,
    MARK_BASED,
    NEVER,
    PENDING,
    QTY_STEP,
)

BLOCK = 512
"""Steps looked at in one go: few enough for the cache, many enough to be worth the call."""


@part
def are_waiting(places):  # type: ignore[no-untyped-def]
    """Return whether any symbol has an order or an exit in hand."""
    waiting = 0
    for s in range(len(places)):
        waiting |= places[s, PENDING] | places[s, EXITING]
    return waiting != 0


@part
def until_decided(step_ms, step, n, due_ms, place, rows, targets, acted):  # type: ignore[no-untyped-def]
    """Return after how many of ``n`` steps one symbol has a settlement due or another target."""
    # The next step must not lie beyond the settlement; after the last one anything that is due may be inside.
    if step + n == len(step_ms) and due_ms < NEVER:
        n -= 1
    while n > 0 and step_ms[min(step + n, len(step_ms) - 1)] > due_ms:
        n -= 1
    has_rows, is_flat = len(rows) > 1, acted == 0.0
    for k in range(n):
        i = place + k
        want = targets[rows[i] if has_rows else i]
        if want != acted and not (is_flat and math.isnan(want)):
            return k
    return n


@part
def until_below(level, place, n, prices):  # type: ignore[no-untyped-def]
    """Return after how many candles the price falls to a level; NaN is never reached."""
    for k in range(n):
        if prices[place + k] <= level:
            return k
    return n


@part
def until_above(level, place, n, prices):  # type: ignore[no-untyped-def]
    """Return after how many candles the price rises to a level; NaN is never reached."""
    for k in range(n):
        if prices[place + k] >= level:
            return k
    return n


@part
def until_protected(falls, place, n, prices, rows, levels):  # type: ignore[no-untyped-def]
    """Return after how many candles the price falls (or rises) to the level of its row."""
    if len(levels) == 1 and math.isnan(levels[0]):
        return n
    # A stride of 0 reads the one value that holds for all; a call would cost time in every candle.
    stride, has_rows = min(len(levels), 2) - 1, len(rows) > 1
    for k in range(n):
        i = place + k
        level = levels[(rows[i] if has_rows else i) * stride]
        if prices[i] <= level if falls else prices[i] >= level:
            return k
    return n


@part
def until_ended(books, s, place, n, rows, lows, highs, mark_low, mark_high, stops, profits, is_protected):  # type: ignore[no-untyped-def]
    """Return after how many candles one position comes near its liquidation, stop or take-profit."""
    is_long, lost_at = books.positions[s, LOTS] > 0.0, books.positions[s, LIQUIDATION_PRICE]
    n = until_below(lost_at, place, n, mark_low) if is_long else until_above(lost_at, place, n, mark_high)
    if is_protected:
        n = until_protected(is_long, place, n, lows if is_long else highs, rows, stops)
        n = until_protected(not is_long, place, n, highs if is_long else lows, rows, profits)
    return n


@part
def add_worst(books, s, place, n, mark_low, mark_high, mark_close, left, needed):  # type: ignore[no-untyped-def]
    """Add one symbol's part to the bound that keeps a cross account clear of a loss: its worst mark, no deduction."""
    position, inverse = books.positions[s], books.counts[IS_INVERSE] != 0
    lots, entry, before = position[LOTS], position[ENTRY], position[MARK]
    size, n_tiers = lots * position[QTY_STEP], (books.positions.shape[1] - LADDER) // 3
    for k in range(n):
        low, high = min(before, mark_low[place + k]), max(before, mark_high[place + k])
        before = mark_close[place + k]
        left[k] += gain(inverse, size, entry, low if lots > 0.0 else high)
        if books.counts[MARK_BASED] == 0:
            low = high = entry
        worth = value(inverse, abs(size), low if inverse else high)
        needed[k] += most_needed(books.positions, s, n_tiers, worth)


@part
def until_near_a_loss(books, step, n, first, mark_low, mark_high, mark_close, backing, left, needed):  # type: ignore[no-untyped-def]
    """Return after how many steps the marks come near what would lose a cross account."""
    cash, stride = books.account[CASH], min(len(backing), 2) - 1
    for k in range(n):
        left[k], needed[k] = cash + backing[(step + k) * stride], 0.0
    for s in range(len(books.positions)):
        if books.positions[s, LOTS] != 0.0:
            add_worst(books, s, first[s] + step, n, mark_low, mark_high, mark_close, left, needed)
    k = 0
    while k < n and (left[k] > needed[k] or needed[k] == 0.0):
        k += 1
    return k


@part
def until_ruined(equity, backing, step, n):  # type: ignore[no-untyped-def]
    """Return after how many steps nothing is left."""
    stride = min(len(backing), 2) - 1
    for k in range(n):
        if equity[step + k] + backing[(step + k) * stride] <= 0.0:
            return k
    return n


@part
def add_unrealized(books, equity, step, n, first, mark_close):  # type: ignore[no-untyped-def]
    """Fill ``equity`` with cash and what every position has gained; return how many are held."""
    equity[step : step + n] = books.account[CASH]
    n_held = 0
    for s in range(len(books.positions)):
        position, place = books.positions[s], first[s] + step
        if position[LOTS] != 0.0:
            size, entry, inverse = position[LOTS] * position[QTY_STEP], position[ENTRY], books.counts[IS_INVERSE] != 0
            for k in range(n):
                equity[step + k] += gain(inverse, size, entry, mark_close[place + k])
            n_held += 1
    return n_held


@part
def pass_quietly(  # type: ignore[no-untyped-def]
    books, step_ms, step, before_ms, first, rows, targets, lows, highs, mark_low, mark_high, mark_close,
    stops, profits, is_protected, backing, equity, left, needed,
):  # fmt: skip
    """Fill ``equity`` from ``step`` on until something happens or a block is full; return how many steps passed.

    Every symbol has a candle at every step here. ``before_ms`` is when rules or fee tier change next; ``left`` and
    ``needed`` are scratch; no more steps pass than ``left`` has room for.
    """
    positions, places, counts = books.positions, books.places, books.counts
    n, cross = min(len(left), len(step_ms) - step), counts[IS_CROSS] != 0
    while n > 0 and step_ms[step + n - 1] >= before_ms:
        n -= 1
    for s in range(len(positions)):
        position, place = positions[s], first[s] + step
        n = until_decided(step_ms, step, n, places[s, DUE_MS], place, rows, targets, position[ACTED])
        if position[LOTS] != 0.0:
            n = until_ended(books, s, place, n, rows, lows, highs, mark_low, mark_high, stops, profits, is_protected)
        if n == 0:
            return 0
    if cross:
        n = until_near_a_loss(books, step, n, first, mark_low, mark_high, mark_close, backing, left, needed)
    n_held = add_unrealized(books, equity, step, n, first, mark_close)
    n = until_ruined(equity, backing, step, n)
    if n > 0:
        counts[HELD] += n * n_held
        for s in range(len(positions)):
            positions[s, MARK] = mark_close[first[s] + step + n - 1]
    return n
