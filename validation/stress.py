"""Would it survive a worse market? Dearer costs, missed trades and late orders, on the table of closed trades.

Approximations on purpose: the trades stay those of the run, only their results change; margin, sizing and liquidation
are not simulated again. A run of the engine under other terms is the exact answer, this one the cheap first look.
Tables are those of ``BacktestResult.trades``, linear contracts, money in settle coin.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bybit.rules.errors import InvalidInput
from validation.errors import NotComputable
from validation.monte_carlo import MoneyPaths, money_paths, usable

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CostStress:
    """How much dearer trading becomes; the default changes nothing.

    Only what is paid grows: a rebate, or funding received, is never made larger by a stress.
    """

    extra_fee_rate: float = 0.0
    """Fraction of the notional of each leg, such as the step to a lower fee tier."""
    extra_slippage_rate: float = 0.0
    """Fraction of the notional of each leg, lost between decision and fill."""
    funding_paid_factor: float = 1.0
    """Multiplies what a trade paid in funding, net over its settlements."""
    funding_received_factor: float = 1.0
    """Multiplies what a trade received, 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse a stress that would make trading cheaper."""
        for name, low, high in (
            ("extra_fee_rate", 0.0, 1.0),
            ("extra_slippage_rate", 0.0, 1.0),
            ("funding_paid_factor", 1.0, math.inf),
            ("funding_received_factor", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not (low <= value <= high and math.isfinite(value)):
                raise InvalidInput(f"{name} is {value!r}, expected {low} to {high}: a stress is never a relief")


def stressed_pnl(trades: pd.DataFrame, stress: CostStress) -> Floats:
    """Return the net result of each trade under ``stress``, shape (n_trades,).

    Parameters
    ----------
    trades : DataFrame
        Columns ``net_pnl``, ``notional`` (both legs) and ``funding_payment`` (+ received).
    stress : CostStress

    Raises
    ------
    NotComputable
        Without trades, or where a figure is not finite.
    """
    net, notional, funding = (_column(trades, name) for name in ("net_pnl", "notional", "funding_payment"))
    dearer = (stress.extra_fee_rate + stress.extra_slippage_rate) * notional
    paid = np.minimum(funding, 0.0) * (stress.funding_paid_factor - 1.0)
    received = np.maximum(funding, 0.0) * (stress.funding_received_factor - 1.0)
    stressed: Floats = net - dearer + paid + received
    return stressed


def break_even_cost_rate(trades: pd.DataFrame) -> float:
    """Return the further cost per notional of each leg at which all profit is gone; negative: there was none.

    Raises
    ------
    NotComputable
        Without trades, or where a figure is not finite.
    """
    net, notional = (_column(trades, name) for name in ("net_pnl", "notional"))
    if not notional.sum() > 0.0:
        raise NotComputable("the trades have no notional, so that no cost rate could be charged on them")
    return float(net.sum() / notional.sum())


def miss_trades(
    pnl: Floats,
    initial_capital: float,
    miss_rate: float,
    *,
    n_simulations: int = 10_000,
    seed: int,
    workers: int = 1,
) -> MoneyPaths:
    """Return what the same trades do when each is missed with probability ``miss_rate``, independently.

    ``pnl`` has shape (n_trades,), settle coin. Same seed, same figures, for any number of ``workers``.

    Raises
    ------
    NotComputable
        Without trades, or with one that is not finite.
    InvalidInput
        For a rate outside [0, 1), or a capital or counts that are not positive.
    """
    values = usable(pnl, "trade results")
    if not 0.0 <= miss_rate < 1.0:
        raise InvalidInput(f"miss rate is {miss_rate!r}, expected 0 or more and less than 1")

    def draw(generator: np.random.Generator, n: int) -> Floats:
        # A missed trade earns nothing, so that a zero in its place tells the same story.
        return np.where(generator.random((n, len(values))) < miss_rate, 0.0, values)

    return money_paths(draw, initial_capital, n_simulations, seed, workers)


def pnl_without_best(pnl: Floats, n_best: int) -> float:
    """Return the total result without the ``n_best`` best trades, to see whether it rests on a few strokes of luck.

    Raises
    ------
    NotComputable
        When there are no more than ``n_best`` trades, or one is not finite.
    """
    values = usable(pnl, "trade results")
    if not 0 <= n_best < len(values):
        raise NotComputable(f"{len(values)} trades without their best {n_best} leave nothing to judge")
    return float(np.sort(values)[: len(values) - n_best].sum())


def delayed_pnl(trades: pd.DataFrame, opens: Floats, n_candles: int, *, exits_too: bool = True) -> Floats:
    """Return the net result of each trade had its orders come ``n_candles`` later, shape (n_trades,).

    Every fill moves by how far the market moved meanwhile, from the open of its candle to the open ``n_candles``
    later; fees, funding and slippage stay as they were.

    Parameters
    ----------
    trades : DataFrame
        Of one symbol: columns ``net_pnl``, ``side`` (1 long, -1 short), ``qty`` (base coin), ``entry_candle`` and
        ``exit_candle``.
    opens : ndarray of shape (n_all_candles,)
        Open of every candle of the run, quote coin. What would come after the last one is done at the last one.
    n_candles : int
        Candles of delay, 0 or more.
    exits_too : bool
        Whether exits are late as well; otherwise entries alone, as for stops that rest at the venue.

    Raises
    ------
    NotComputable
        Without trades, or where a figure that is needed is not finite.
    InvalidInput
        For a negative delay, or trades that lie outside ``opens``.
    """
    if n_candles < 0:
        raise InvalidInput(f"a delay of {n_candles} candles would trade before the decision: give 0 or more")
    net, side, qty = (_column(trades, name) for name in ("net_pnl", "side", "qty"))
    moved = []
    for name in ("entry_candle", "exit_candle"):
        candle = trades[name].to_numpy(dtype=np.int64)
        if candle.min() < 0 or candle.max() >= len(opens):
            raise InvalidInput(f"{name} goes to {candle.max()}, the run has {len(opens)} candles: give all its opens")
        late = np.minimum(candle + n_candles, len(opens) - 1)
        moved.append(usable(opens[late] - opens[candle], f"moves of the open after {name}"))
    at_entry, at_exit = moved
    shift = (at_exit if exits_too else 0.0) - at_entry
    delayed: Floats = net + side * qty * shift
    return delayed


def _column(trades: pd.DataFrame, name: str) -> Floats:
    if name not in trades:
        raise NotComputable(f"the table of trades has no {name!r}")
    return usable(trades[name].to_numpy(dtype=np.float64), f"values of {name}")
