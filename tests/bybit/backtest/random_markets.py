"""Seeded random prices and decisions for property tests."""

import numpy as np

from tests.bybit.backtest.markets import funding, market

TARGETS = np.array([0.0, 0.4, -0.4, 1.0, -1.0, 3.0, -3.0, 8.0, -8.0, np.nan])


def random_prices(random, n, volatility, tick=0.01, start=100.0, gap=0.3):
    """Return n candles (open, high, low, close) on the tick grid; some opens gap away from the close before."""
    close = start * np.exp(np.cumsum(volatility * random.standard_t(3, n)))
    open_ = np.concatenate([[start], close[:-1]]) * np.exp(gap * volatility * random.standard_normal(n))
    wick = np.abs(random.normal(0.0, volatility, (2, n)))
    high, low = np.maximum(open_, close) * np.exp(wick[0]), np.minimum(open_, close) * np.exp(-wick[1])
    rows = np.maximum(np.column_stack([open_, high, low, close]), 2 * tick)
    rows = np.round(rows / tick) * tick
    return np.column_stack([rows[:, 0], rows.max(axis=1), rows.min(axis=1), rows[:, 3]])


def random_mark(random, last, noise):
    rows = last * np.exp(noise * random.standard_normal(last.shape))
    rows = np.round(rows, 5)
    return np.column_stack([rows[:, 0], rows.max(axis=1), rows.min(axis=1), rows[:, 3]])


def random_script(random, last, *, limits, stops):
    n = len(last) - 1
    choice = random.choice(len(TARGETS), n)
    keep = random.random(n) < 0.6
    for i in range(1, n):
        choice[i] = choice[i - 1] if keep[i] else choice[i]
    target, close = TARGETS[choice], last[:-1, 3]
    near = close * np.exp(0.01 * random.standard_normal(n))
    limit = np.where(random.random(n) < 0.6, near, np.nan) if limits else None
    side = np.where(target >= 0, 1.0, -1.0)
    stop = np.where(random.random(n) < 0.5, close * (1 - side * np.abs(random.normal(0, 0.02, n))), np.nan)
    return target, limit, stop if stops else None


def random_market(seed, n, **changes):
    """Return a market of ``n`` hours with settlements every four, and a script that trades it."""
    random = np.random.default_rng(seed)
    last = random_prices(random, n + 1, 0.02)
    script = random_script(random, last, limits=True, stops=True)
    rates = [(hour, f"{random.normal(0, 0.002):.6f}") for hour in range(0, n, 4)]
    symbol = changes.get("symbol", "WIFUSDT")
    settlements = funding((-8, "0.0001"), *rates, symbol=symbol)
    data = market(last, **({"mark": random_mark(random, last, 0.005), "settlements": settlements} | changes))
    return data, script
