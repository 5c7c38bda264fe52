"""The dated margin ladder: what keeps a position, and where an isolated one is lost (L9, L10)."""

import math

from bybit.backtest.compilation import jit, part
from bybit.backtest.prices import gain, reached, round_price, value
from bybit.backtest.records import (
    ENTRY,
    IS_CROSS,
    IS_INVERSE,
    LADDER,
    LADDER_ERA,
    LIQUIDATION_PRICE,
    LOTS,
    MARGIN,
    MARK_BASED,
    NEVER,
    NEXT_RULES_MS,
    QTY_STEP,
    ROUNDS_TICKS,
    TICK_SIZE,
)


@jit
def n_tiers_of(position):  # type: ignore[no-untyped-def]
    """Return how many tiers a position's ladder has."""
    return (len(position) - LADDER) // 3


@jit
def maintenance(position, worth):  # type: ignore[no-untyped-def]
    """Return the margin that a position of this value needs; a value on a tier's bound belongs to that tier."""
    n_tiers, k = n_tiers_of(position), 0
    while k + 1 < n_tiers and worth > position[LADDER + k]:
        k += 1
    return worth * position[LADDER + n_tiers + k] - position[LADDER + 2 * n_tiers + k]


@jit
def liquidation_price(inverse, qty, entry, margin, side, upper, rate, deduction):  # type: ignore[no-untyped-def]
    """Return the mark price at which margin + unrealized P&L = maintenance margin, NaN when out of reach.

    Tiers are walked the way the value moves against the holder, so the first solution counts. A ladder with a jump
    can be lost at a tier's very bound: then the bound is the price.
    """
    n_tiers = len(upper)
    falls = (side > 0.0) != inverse
    for i in range(n_tiers):
        k = n_tiers - 1 - i if falls else i
        low = upper[k - 1] if k > 0 else 0.0
        cushion = side * (margin + deduction[k])
        if inverse:
            divisor = qty / entry + cushion
            price = qty * (1.0 + side * rate[k]) / divisor if divisor > 0.0 else math.nan
        else:
            price = (qty * entry - cushion) / (qty * (1.0 - side * rate[k]))
        if not price > 0.0:
            continue
        worth = value(inverse, qty, price)
        if low < worth <= upper[k]:
            return price
        bound = upper[k] if falls else low
        if (worth > bound if falls else worth <= bound) and 0.0 < bound < math.inf:
            return qty / bound if inverse else bound / qty
    return math.nan


@jit
def price_without(inverse, qty, entry, margin, side):  # type: ignore[no-untyped-def]
    """Return the price at which exactly ``margin`` is lost, NaN when no price does."""
    if inverse:
        inverted = 1.0 / entry + side * margin / qty
        return 1.0 / inverted if inverted > 0.0 else math.nan
    price = entry - side * margin / qty
    return price if price > 0.0 else math.nan


@part
def lost_at(books, s, qty, entry, margin, side):  # type: ignore[no-untyped-def]
    """Return the price at which such an isolated position of symbol s is liquidated under the rules in force."""
    position, inverse = books.positions[s], books.counts[IS_INVERSE] != 0
    if books.counts[MARK_BASED]:
        n = n_tiers_of(position)
        upper, rate = position[LADDER : LADDER + n], position[LADDER + n : LADDER + 2 * n]
        price = liquidation_price(inverse, qty, entry, margin, side, upper, rate, position[LADDER + 2 * n :])
    else:
        needed = maintenance(position, value(inverse, qty, entry))
        price = price_without(inverse, qty, entry, margin - needed, side)
    if books.counts[ROUNDS_TICKS] and not math.isnan(price):
        # What is off a tick by no more than its own rounding is on it.
        tick = position[TICK_SIZE]
        price = max(round_price(price - side * 1e-7 * tick, tick, side), tick)
    return price


@part
def reprice(books, s):  # type: ignore[no-untyped-def]
    """Renew the liquidation price of symbol s; it has none in cross margin, where the account is lost as a whole."""
    position = books.positions[s]
    position[LIQUIDATION_PRICE] = math.nan
    if position[LOTS] != 0.0 and not books.counts[IS_CROSS]:
        side = 1.0 if position[LOTS] > 0.0 else -1.0
        qty = abs(position[LOTS]) * position[QTY_STEP]
        position[LIQUIDATION_PRICE] = lost_at(books, s, qty, position[ENTRY], position[MARGIN], side)


@part
def keeping(books, s, price):  # type: ignore[no-untyped-def]
    """Return the unrealized P&L of symbol s at a mark ``price`` less the maintenance margin it needs there."""
    position, inverse = books.positions[s], books.counts[IS_INVERSE] != 0
    size = position[LOTS] * position[QTY_STEP]
    basis = price if books.counts[MARK_BASED] else position[ENTRY]
    needed = maintenance(position, value(inverse, abs(size), basis))
    return gain(inverse, size, position[ENTRY], price) - needed


@part
def is_lost(books, s, price):  # type: ignore[no-untyped-def]
    """Return whether the isolated position of symbol s is lost at a mark ``price``.

    Beyond the liquidation price it always is, but for ladders whose deductions do not chain.
    """
    position = books.positions[s]
    side = 1.0 if position[LOTS] > 0.0 else -1.0
    if not reached(side, position[LIQUIDATION_PRICE], price, price):
        return False
    return books.counts[ROUNDS_TICKS] != 0 or position[MARGIN] + keeping(books, s, price) <= 0.0


@part
def turn_rules(books, ladders, mark_based_from_ms, now):  # type: ignore[no-untyped-def]
    """Put the ladders and the margin basis of this time in force, and note when one of them changes next."""
    n_eras, n_tiers = ladders.rate.shape[1], ladders.rate.shape[2]
    books.counts[MARK_BASED] = 1 if now >= mark_based_from_ms else 0
    following = mark_based_from_ms if now < mark_based_from_ms else NEVER
    for s in range(len(books.positions)):
        position, era = books.positions[s], books.places[s, LADDER_ERA]
        while era + 1 < n_eras and ladders.from_ms[s, era + 1] <= now:
            era += 1
        books.places[s, LADDER_ERA] = era
        for k in range(n_tiers):
            position[LADDER + k] = ladders.upper[s, era, k]
            position[LADDER + n_tiers + k] = ladders.rate[s, era, k]
            position[LADDER + 2 * n_tiers + k] = ladders.deduction[s, era, k]
        if era + 1 < n_eras:
            following = min(following, ladders.from_ms[s, era + 1])
        reprice(books, s)
    books.counts[NEXT_RULES_MS] = following
