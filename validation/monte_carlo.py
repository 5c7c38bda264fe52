"""What else could have happened? The same trades in another order, and the same returns drawn again.

Every replication belongs to a batch of fixed size, and every batch has its own stream of random numbers derived from
the seed and its number: whoever computes it, with however many workers, the figures are the same.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bybit.rules.errors import InvalidInput
from validation.errors import NotComputable

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Draw = Callable[[np.random.Generator, int], Floats]
Statistic = Callable[[Floats], Floats]

# Replications with one stream: part of what a seed means, so that a change makes other numbers.
_BATCH = 128


class Resampling(StrEnum):
    """How values are drawn with replacement."""

    IID = "iid"
    """One by one: right when neither a value nor its size says anything of the next."""
    CIRCULAR_BLOCK = "circular_block"
    """Runs of fixed length, the end continuing at the start (Politis and Romano, 1992)."""
    STATIONARY = "stationary"
    """Runs of geometric length with a given mean (Politis and Romano, 1994)."""


@dataclass(frozen=True, slots=True, eq=False)
class MoneyPaths:
    """Simulated accounts that took trades of fixed money results; arrays of shape (n_simulations,)."""

    final_pnl: Floats
    """Settle coin."""
    max_drawdown: Floats
    """Deepest fall below the running peak, settle coin, >= 0; the start counts as a peak."""
    max_drawdown_fraction: Floats
    """Deepest fall as a fraction of the peak it fell from; 1 or more once all money was lost."""

    @property
    def share_ruined(self) -> float:
        """Share of accounts whose equity reached 0, trading on regardless."""
        return float((self.max_drawdown_fraction >= 1.0).mean())

    @property
    def share_losing(self) -> float:
        """Share of accounts that ended below their start."""
        return float((self.final_pnl < 0.0).mean())


def shuffle_trades(
    pnl: Floats, initial_capital: float, *, n_simulations: int = 10_000, seed: int, workers: int = 1
) -> MoneyPaths:
    """Return what the same trades do in random order: the end stays, the way there does not.

    Parameters
    ----------
    pnl : ndarray of shape (n_trades,)
        Net result of each trade, settle coin.
    initial_capital : float
        Settle coin, above 0.
    seed : int
        Same seed, same figures, for any number of ``workers`` (threads).

    Raises
    ------
    NotComputable
        Without trades, or with one that is not finite.
    InvalidInput
        For a capital or counts that are not positive.
    """
    values = usable(pnl, "trade results")

    def draw(generator: np.random.Generator, n: int) -> Floats:
        shuffled: Floats = generator.permuted(np.broadcast_to(values, (n, len(values))), axis=1)
        return shuffled

    return money_paths(draw, initial_capital, n_simulations, seed, workers)


def bootstrap_trades(
    pnl: Floats,
    initial_capital: float,
    *,
    method: Resampling = Resampling.IID,
    block: float = 1,
    n_simulations: int = 10_000,
    seed: int,
    workers: int = 1,
) -> MoneyPaths:
    """Return what as many trades drawn from the same ones with replacement do; arguments as ``bootstrap``."""
    draw = _resampler(usable(pnl, "trade results"), method, block, None)
    return money_paths(draw, initial_capital, n_simulations, seed, workers)


def bootstrap(
    values: Floats,
    statistic: Statistic,
    *,
    method: Resampling,
    block: float = 1,
    length: int | None = None,
    n_simulations: int = 10_000,
    seed: int,
    workers: int = 1,
) -> Floats:
    """Return ``statistic`` of each of ``n_simulations`` series drawn from ``values`` with replacement.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Returns or trade results, oldest first.
    statistic : callable
        Takes an array of shape (n_series, length), returns one of shape (n_series,) or (n_series, n_figures); must
        treat each series alone.
    method : Resampling
    block : float
        Fixed (circular, a whole number) or mean (stationary) length of a run; 1 for iid.
    length : int, optional
        Values per series; None takes ``n``. The last block is cut where it does not fit.
    seed : int
        Same seed, same figures, for any number of ``workers`` (threads).

    Raises
    ------
    NotComputable
        Without values, or with one that is not finite.
    InvalidInput
        For a block or counts that are not possible.
    """
    draw = _resampler(usable(values, "values"), method, block, length)
    return _replicate(draw, statistic, n_simulations, seed, workers)


def means(series: Floats) -> Floats:
    """Return the mean of each row."""
    averages: Floats = series.mean(axis=1)
    return averages


def sums(series: Floats) -> Floats:
    """Return the sum of each row."""
    totals: Floats = series.sum(axis=1)
    return totals


def sharpes(series: Floats) -> Floats:
    """Return the per-period Sharpe ratio (ddof 1) of each row; NaN where a row has no variance."""
    deviation = series.std(axis=1, ddof=1)
    ratio = np.full(len(series), np.nan)
    np.divide(series.mean(axis=1), deviation, out=ratio, where=series.min(axis=1) < series.max(axis=1))
    return ratio


def money_paths(draw: Draw, initial_capital: float, n_simulations: int, seed: int, workers: int) -> MoneyPaths:
    """Return the accounts that take the trades ``draw(generator, n)`` gives, one account per row of its (n, n_trades).

    Raises
    ------
    InvalidInput
        For a capital or counts that are not positive.
    """
    if not (np.isfinite(initial_capital) and initial_capital > 0.0):
        raise InvalidInput(f"initial capital is {initial_capital!r}, expected more than 0")
    figures = _replicate(draw, partial(_path_figures, initial_capital), n_simulations, seed, workers)
    return MoneyPaths(*np.ascontiguousarray(figures.T))


def _path_figures(initial_capital: float, series: Floats) -> Floats:
    profit = np.cumsum(series, axis=1)
    peak = np.maximum.accumulate(np.maximum(profit, 0.0), axis=1)
    fall = peak - profit
    peak += initial_capital
    return np.column_stack([profit[:, -1], fall.max(axis=1), (fall / peak).max(axis=1)])


def _replicate(draw: Draw, statistic: Statistic, n_simulations: int, seed: int, workers: int) -> Floats:
    if n_simulations < 1 or workers < 1 or seed < 0:
        raise InvalidInput(
            f"{n_simulations} simulations by {workers} workers with seed {seed}: one or more of both, a seed from 0"
        )

    def batch(number: int) -> Floats:
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
        return statistic(draw(generator, min(_BATCH, n_simulations - number * _BATCH)))

    numbers = range(-(-n_simulations // _BATCH))
    if workers == 1:
        return np.concatenate([batch(number) for number in numbers])
    with ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(batch, numbers)))


def _resampler(values: Floats, method: Resampling, block: float, length: int | None) -> Draw:
    n = len(values)
    n_drawn = n if length is None else length
    if n_drawn < 1:
        raise InvalidInput(f"series of {n_drawn} values cannot be drawn: one or more")
    if not 1 <= block <= n or (method is not Resampling.STATIONARY and block != int(block)):
        raise InvalidInput(f"block is {block!r}, expected 1 to {n} (whole unless stationary)")
    match method:
        case Resampling.IID:
            if block != 1:
                raise InvalidInput(f"iid draws have no block of {block!r}: use circular_block or stationary")
            return lambda generator, k: values[generator.integers(0, n, (k, n_drawn))]
        case Resampling.CIRCULAR_BLOCK:
            return partial(_circular, values, int(block), n_drawn)
        case Resampling.STATIONARY:
            return partial(_stationary, values, 1.0 / block, n_drawn)


def _circular(values: Floats, block: int, n_drawn: int, generator: np.random.Generator, k: int) -> Floats:
    starts = generator.integers(0, len(values), (k, -(-n_drawn // block)))
    rows = (starts[:, :, None] + np.arange(block)).reshape(k, -1)[:, :n_drawn]
    wrapped = np.concatenate([values, values[:block]])
    drawn: Floats = wrapped[rows]
    return drawn


def _stationary(values: Floats, p_new: float, n_drawn: int, generator: np.random.Generator, k: int) -> Floats:
    starts = generator.integers(0, len(values), (k, n_drawn))
    begins = generator.random((k, n_drawn)) < p_new
    begins[:, 0] = True
    each = np.arange(n_drawn)
    # Where the run that a place belongs to began.
    origin = np.maximum.accumulate(np.where(begins, each, 0), axis=1)
    rows = np.take_along_axis(starts, origin, axis=1) + (each - origin)
    drawn: Floats = values[rows % len(values)]
    return drawn


def usable(values: Floats, what: str) -> Floats:
    """Return ``values`` as float64 of shape (n,), at least one and all finite; ``what`` names them in the refusal.

    Raises
    ------
    NotComputable
        Without values, or with one that is not finite.
    InvalidInput
        For a table.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise InvalidInput(f"{what} have {array.ndim} dimensions, expected one")
    if len(array) == 0:
        raise NotComputable(f"there are no {what} to draw from")
    if not np.isfinite(array).all():
        raise NotComputable(f"{int((~np.isfinite(array)).sum())} of {len(array)} {what} are not finite")
    return array
