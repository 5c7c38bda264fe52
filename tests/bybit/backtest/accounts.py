"""Small accounts for tests of the kernel itself: one or more symbols, hourly candles, everything plain unless said."""

import math

import numpy as np

from bybit.backtest.records import (
    LOG_COLUMNS,
    NEVER,
    POST_ONLY,
    Candles,
    Contracts,
    Decisions,
    Fees,
    Inputs,
    Ladders,
    Logs,
    Rules,
    Settlements,
)
from bybit.backtest.simulation import Outcome, run_simulation

HOUR = 3_600_000
START = 1_767_225_600_000  # 2026-01-01
NAN = math.nan


def symbol(rows, target, **given):
    """Return one symbol: (open, high, low, close) rows, the target before each, and decisions or mark rows by name."""
    return {"rows": rows, "target": target, **given}


def simulate(
    *symbols, cash=1_000.0, backing=0.0, step_ms=None, ladders=None, fees=None, contracts=None, **rules
) -> Outcome:
    """Run an account; no fees, no slippage, 10x, 1 % maintenance, ticks of 0.01 that round no liquidation price."""
    n = len(symbols)
    first = np.cumsum([0] + [len(one["rows"]) for one in symbols])
    interval = symbols[0].get("interval", HOUR)
    times = [np.array(one.get("open_ms", START + interval * np.arange(len(one["rows"]))), np.int64) for one in symbols]
    last = np.concatenate([np.array(one["rows"], float).reshape(-1, 4) for one in symbols])
    mark = np.concatenate([np.array(one.get("mark", one["rows"]), float).reshape(-1, 4) for one in symbols])

    def given(name, other):
        parts = [np.array(one.get(name, [other] * len(one["rows"])), float) for one in symbols]
        return np.concatenate(parts) if any(name in one for one in symbols) else np.array([float(other)])

    row = np.zeros(1, np.int64)
    if any("row" in one for one in symbols):
        row = np.concatenate([np.array(one["row"]) + begin for one, begin in zip(symbols, first[:-1], strict=True)])
    closes = [
        np.array(one.get("close", [one["rows"][0][0], *[r[3] for r in one["rows"][:-1]]]), float) for one in symbols
    ]
    settled = [sorted(one.get("settlements", [])) for one in symbols]
    flat = [settlement for one in settled for settlement in one]
    terms = {
        "qty_step": 0.1, "tick_size": 0.01, "min_qty": 0.1, "min_notional": 0.0, "max_market_qty": math.inf,
        "max_limit_qty": math.inf, "max_position_value": math.inf, "leverage": 10.0, "allocation": 1.0 / n,
    } | (contracts or {})  # fmt: skip
    settings = {
        "cross": False, "inverse": False, "step_down": False, "tick_rounding": False, "mark_based_from_ms": 0,
        "slippage_rate": 0.0, "impact": 0.0, "participation": math.inf, "last_for_mark": False,
    } | rules  # fmt: skip
    inputs = Inputs(
        Candles(
            first, np.concatenate(times), np.concatenate(times) + interval,
            *(last[:, k].copy() for k in range(4)), given("volume", NAN), *(mark[:, k].copy() for k in range(4)),
            row, given("bid", NAN), given("ask", NAN),
        ),
        Decisions(
            np.concatenate([np.array(one["target"], float) for one in symbols]),
            np.concatenate(closes),
            *(given(name, NAN) for name in ("limit", "trigger", "stop", "take_profit", "trail")),
            given("flags", POST_ONLY).astype(np.int64),
        ),
        Settlements(
            np.cumsum([0] + [len(one) for one in settled]),
            np.array([int(START + hours * HOUR) for hours, _, _ in flat], np.int64),
            np.array([rate for _, rate, _ in flat], float),
            np.array([price for _, _, price in flat], float),
        ),
        Contracts(*(np.resize(np.array(value, float), n) for value in terms.values())),
        ladder([(math.inf, 0.01, 0.0)], n=n) if ladders is None else ladders,
        Fees(np.zeros(1, np.int64), np.zeros((n, 1, 1)), np.zeros((n, 1, 1)), np.zeros(1)) if fees is None else fees,
        Rules(**settings),
    )  # fmt: skip
    steps = np.unique(inputs.candles.open_ms) if step_ms is None else step_ms
    return run_simulation(steps, inputs, cash, np.array([backing], float))


def ladder(*eras, n=1, from_ms=(0,)) -> Ladders:
    """Return the same dated ladders for ``n`` symbols: each a list of (upper, rate, deduction)."""
    table = np.array(eras, float)
    begins = np.array([*from_ms, *[NEVER] * (len(eras) - len(from_ms))], np.int64)
    return Ladders(np.tile(begins, (n, 1)), *(np.tile(table[:, :, k], (n, 1, 1)) for k in range(3)))


def tiers(*bounds_and_rates):
    """Return a ladder's rows with chained deductions from (upper bound, rate) pairs."""
    rows, deduction, below, rate_below = [], 0.0, 0.0, 0.0
    for bound, rate in bounds_and_rates:
        deduction += below * (rate - rate_below) if rows else 0.0
        rows.append((bound, rate, deduction))
        below, rate_below = bound, rate
    return rows


def table(outcome: Outcome, kind: str) -> list[dict[str, float]]:
    """Return one log as rows by column name."""
    place = Logs._fields.index(kind)
    return [dict(zip(LOG_COLUMNS[place], row.tolist(), strict=True)) for row in outcome.logs[place]]


def column(outcome: Outcome, kind: str, name: str) -> list[float]:
    """Return one column of a log."""
    return [row[name] for row in table(outcome, kind)]


def flat(price: float, n: int) -> list[tuple[float, float, float, float]]:
    """Return ``n`` candles that do not move."""
    return [(price, price, price, price)] * n
