"""The compiled simulation called from Python: a log that grows as needed, and what came out under its names."""

from typing import Any, NamedTuple

import numpy as np

from bybit.backtest.kernel import simulate
from bybit.backtest.records import (
    LOG_COLUMNS,
    LOG_WIDTH,
    LOGS_FULL,
    N_LOGGED,
    Candles,
    Contracts,
    Decisions,
    Fees,
    Floats,
    Inputs,
    Integers,
    Ladders,
    Logs,
    Rules,
    Settlements,
)

# Rows of the log at first; a run that needs more is made again with four times as many.
_LOG_ROWS = 4096
_INTEGERS = {"first", "open_ms", "close_ms", "row", "flags", "time_ms", "from_ms", "start_ms"}


class Outcome(NamedTuple):
    """What a run left behind.

    Attributes
    ----------
    status, where : int
        DONE, or what was missing and at which flat candle or settlement (``records``); the rest is then not complete.
    account, positions, counts : ndarray
        Account, one row a symbol, counters; places as named in ``records``.
    ruined : int
        The step at whose close nothing was left, or -1.
    equity : ndarray of shape (n_steps,)
        Cash plus unrealized P&L at the close of each step.
    logs : Logs
        What happened, by kind.
    log : ndarray
        All of it in the order of events: the kind's number, then its columns (``records.LOG_COLUMNS``).
    """

    status: int
    where: int
    account: Floats
    positions: Floats
    counts: Integers
    ruined: int
    equity: Floats
    logs: Logs
    log: Floats


def run_simulation(step_ms: Integers, inputs: Inputs, initial_cash: float, backing: Floats) -> Outcome:
    """Simulate every step of ``step_ms``, the sorted open times of all candles, shape (n_steps,).

    ``backing`` is the collateral value of other coins at each step, shape (n_steps,) or (1,); it counts in cross
    margin only.
    """
    given = _checked(inputs)
    steps, others = _array(step_ms, integers=True), _array(backing, integers=False)
    equity = np.empty(len(steps))
    n_rows = _LOG_ROWS
    while True:
        log = np.empty((n_rows, LOG_WIDTH))
        status, where, account, positions, counts, ruined = simulate(
            steps, *given, float(initial_cash), others, equity, log
        )
        if status != LOGS_FULL:
            break
        n_rows *= 4
    rows = log[: counts[N_LOGGED]]
    logs = Logs(*(rows[rows[:, 0] == kind, 1 : 1 + len(names)] for kind, names in enumerate(LOG_COLUMNS)))
    return Outcome(int(status), int(where), account, positions, counts, int(ruined), equity, logs, rows)


def _checked(inputs: Inputs) -> Inputs:
    """Return the inputs in the one set of types that is compiled; arrays are copied only when they need to be."""
    rules = inputs.rules
    return Inputs(
        Candles(*_arrays(inputs.candles)),
        Decisions(*_arrays(inputs.decisions)),
        Settlements(*_arrays(inputs.settlements)),
        Contracts(*_arrays(inputs.contracts)),
        Ladders(*_arrays(inputs.ladders)),
        Fees(*_arrays(inputs.fees)),
        Rules(
            cross=bool(rules.cross),
            inverse=bool(rules.inverse),
            step_down=bool(rules.step_down),
            tick_rounding=bool(rules.tick_rounding),
            mark_based_from_ms=int(rules.mark_based_from_ms),
            slippage_rate=float(rules.slippage_rate),
            impact=float(rules.impact),
            participation=float(rules.participation),
            last_for_mark=bool(rules.last_for_mark),
        ),
    )


def _arrays(record: Any) -> list[Any]:
    return [_array(array, integers=name in _INTEGERS) for name, array in zip(record._fields, record, strict=True)]


def _array(array: Any, *, integers: bool) -> Any:
    # Read-only or strided arrays would be other types to numba, and compiled for a minute again.
    return np.require(array, np.int64 if integers else np.float64, ["C", "W", "A"])
