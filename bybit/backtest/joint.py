"""A cross account judged as a whole: what it holds, needs, and the first marks on their way at which it is lost.

All marks move at once, linear prices in proportion, inverse ones so that their value in coin does: then unrealized P&L
is a straight line and maintenance one per tier, as in ``bybit.rules.joint``, the reference.
"""

import math

from bybit.backtest.compilation import part
from bybit.backtest.judgement import close_all
from bybit.backtest.ladders import keeping, n_tiers_of
from bybit.backtest.prices import value
from bybit.backtest.records import (
    ACTIVE,
    BACKING,
    CASH,
    IS_INVERSE,
    LADDER,
    LOTS,
    MARK,
    MARK_BASED,
    MARK_HIGH,
    MARK_LOW,
    MARK_OPEN,
    QTY_STEP,
)


@part
def adverse(books, s):  # type: ignore[no-untyped-def]
    """Return the mark extreme of this candle that hurts what is held; the last mark where there is no candle."""
    lots = books.positions[s, LOTS]
    if not books.places[s, ACTIVE] or lots == 0.0:
        return books.positions[s, MARK]
    return books.positions[s, MARK_LOW if lots > 0.0 else MARK_HIGH]


@part
def between(inverse, start, end, fraction):  # type: ignore[no-untyped-def]
    """Return the mark after a fraction of the way."""
    if fraction == 0.0 or start == end:
        return start
    if fraction == 1.0:
        return end
    if inverse:
        return 1.0 / (1.0 / start + fraction * (1.0 / end - 1.0 / start))
    return start + fraction * (end - start)


@part
def margin_left(books, fraction):  # type: ignore[no-untyped-def]
    """Return what the account has above its maintenance after a fraction of the way to the adverse extremes."""
    left = books.account[CASH] + books.account[BACKING]
    for s in range(len(books.positions)):
        if books.positions[s, LOTS] != 0.0:
            price = between(books.counts[IS_INVERSE] != 0, books.positions[s, MARK], adverse(books, s), fraction)
            left += keeping(books, s, price)
    return left


@part
def next_turn(books, after):  # type: ignore[no-untyped-def]
    """Return the first fraction beyond ``after`` at which a value stands on a tier's bound, at most 1."""
    found, inverse = 1.0, books.counts[IS_INVERSE] != 0
    if not books.counts[MARK_BASED]:
        return found
    for s in range(len(books.positions)):
        position = books.positions[s]
        qty = abs(position[LOTS]) * position[QTY_STEP]
        if qty == 0.0:
            continue
        begin, end = value(inverse, qty, position[MARK]), value(inverse, qty, adverse(books, s))
        for k in range(n_tiers_of(position) - 1):
            if begin != end and position[LADDER + k] < math.inf:
                fraction = (position[LADDER + k] - begin) / (end - begin)
                if after < fraction < found:
                    found = fraction
    return found


@part
def first_loss(books):  # type: ignore[no-untyped-def]
    """Return the first fraction of the way, in [0, 1], at which the account is lost; NaN when it survives."""
    if margin_left(books, 0.0) <= 0.0:
        return 0.0
    begin = 0.0
    while begin < 1.0:
        end = next_turn(books, begin)
        # Inside a section everything is straight: two points fix the line, and no bound of a tier is touched.
        third = (end - begin) / 3.0
        low = margin_left(books, begin + third)
        high = margin_left(books, begin + 2.0 * third)
        slope = (high - low) / third
        at_begin, at_end = low - slope * third, high + slope * third
        # A ladder whose deductions do not chain jumps at a bound: lost from there on.
        if at_begin <= 0.0:
            return begin
        if at_end <= 0.0:
            return min(begin - at_begin / slope, end)
        if margin_left(books, end) <= 0.0:
            return end
        begin = end
    return math.nan


@part
def holds_any(books):  # type: ignore[no-untyped-def]
    """Return whether any position is held."""
    held = False
    for s in range(len(books.positions)):
        held = held or books.positions[s, LOTS] != 0.0
    return held


@part
def judge(books, time_ms):  # type: ignore[no-untyped-def]
    """Liquidate the account if it is lost at its last marks; return whether it was."""
    if not holds_any(books) or margin_left(books, 0.0) > 0.0:
        return False
    close_all(books, time_ms)
    return True


@part
def judge_path(books, time_ms):  # type: ignore[no-untyped-def]
    """Move all marks together to the adverse extremes; liquidate at the first at which the account is lost."""
    if not holds_any(books):
        return False
    fraction = first_loss(books)
    lost = not math.isnan(fraction)
    for s in range(len(books.positions)):
        end = adverse(books, s)
        books.positions[s, MARK] = between(
            books.counts[IS_INVERSE] != 0, books.positions[s, MARK], end, fraction if lost else 1.0
        )
    if lost:
        close_all(books, time_ms)
    return lost


@part
def note_opens(books):  # type: ignore[no-untyped-def]
    """Let the marks stand at the opens, where they are known."""
    for s in range(len(books.positions)):
        if books.places[s, ACTIVE]:
            mark = books.positions[s, MARK_OPEN]
            if not math.isnan(mark):
                books.positions[s, MARK] = mark


@part
def most_needed(positions, s, n_tiers, worth):  # type: ignore[no-untyped-def]
    """Return a bound of the maintenance of a position that is worth at most this: its highest rate, no deduction."""
    steepest, k = positions[s, LADDER + n_tiers], 0
    while k + 1 < n_tiers and worth > positions[s, LADDER + k]:
        k += 1
        steepest = max(steepest, positions[s, LADDER + n_tiers + k])
    return worth * steepest
