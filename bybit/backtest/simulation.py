"""The compiled simulation called from Python: logs that grow as needed, and what came out under its names."""

from typing import NamedTuple

from bybit.backtest.records import (
    Floats,
    Inputs,
    Integers,
    Logs,
)


class Outcome(NamedTuple):
    """What a run left behind.

    Attributes
    ----------
    status, where : int
        DONE, or what was missing and at which flat candle or settlement (``records``).
    account, positions, counts : ndarray
        Shapes (N_ACCOUNT,), (n_symbols, N_POSITION), (N_COUNTS,).
    ruined : int
        The step at whose close nothing was left, or -1.
    equity : ndarray of shape (n_steps,)
        Cash plus unrealized P&L at the close of each step.
    logs : Logs
        Cut to their length.
    """

    status: int
    where: int
    account: Floats
    positions: Floats
    counts: Integers
    ruined: int
    equity: Floats
    logs: Logs


def run_simulation(step_ms: Integers, inputs: Inputs, initial_cash: float, backing: Floats) -> Outcome:
    """Simulate every step of ``step_ms``, the sorted open times of all candles, shape (n_steps,).

    ``backing`` is the collateral value of other coins at each step, shape (n_steps,) or (1,); it counts in cross
    margin only.
    """
    raise NotImplementedError("the kernel of several symbols is being written")
