"""Arithmetic of prices and quantities in float64: ticks, lots, values and gains, linear and inverse."""

import math

import numpy as np

from bybit.backtest.compilation import jit


@jit
def round_price(price, tick, side):  # type: ignore[no-untyped-def]
    """Return ``price`` on the tick grid: up for side +1, down for side -1. A hair off a tick counts as on it."""
    n_ticks = price / tick
    hair = 1e-9 + 1e-15 * n_ticks
    return np.ceil(n_ticks - hair) * tick if side > 0.0 else np.floor(n_ticks + hair) * tick


@jit
def whole(lots):  # type: ignore[no-untyped-def]
    """Return a positive number of lots rounded down; a hair below a whole number counts as that number."""
    return np.floor(lots + 1e-9 + 1e-15 * lots)


@jit
def whole_lots(exposure, equity, price, step, inverse):  # type: ignore[no-untyped-def]
    """Return the signed lots of ``exposure`` x ``equity`` at ``price``, rounded toward zero."""
    wanted = abs(exposure) * equity
    return math.copysign(whole(wanted * price / step if inverse else wanted / price / step), exposure)


@jit
def reached(side, price, low, high):  # type: ignore[no-untyped-def]
    """Return whether a price against a position of ``side`` was touched; NaN never is."""
    return low <= price if side > 0.0 else high >= price


@jit
def value(inverse, qty, price):  # type: ignore[no-untyped-def]
    """Return what ``qty`` is worth at ``price``, settle coin; signed like it."""
    return qty / price if inverse else qty * price


@jit
def gain(inverse, size, entry, price):  # type: ignore[no-untyped-def]
    """Return the P&L of a signed ``size`` from ``entry`` to ``price``, settle coin."""
    return size / entry - size / price if inverse else size * (price - entry)


@jit
def at(array, place):  # type: ignore[no-untyped-def]
    """Return the element of an input that may hold one value for all."""
    return array[place] if len(array) > 1 else array[0]
