"""How likely is it that the best of many backtests is best by luck? Combinatorially symmetric cross-validation.

Source: Bailey, Borwein, Lopez de Prado, Zhu, "The Probability of Backtest Overfitting" (2015). Where the paper leaves
a choice, ours is said at the function that makes it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bybit.rules.errors import InvalidInput
from validation.dominance import Dominance, dominance
from validation.errors import NotComputable

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

TIE = 1e-12
"""Sharpe ratios this near (relative, absolute below 1) are one: the order of additions alone moves them by 1e-15."""

# 2 GiB of float64: every half of the record keeps one Sharpe ratio per configuration.
_MAX_FIGURES = 2**28
# Halves worked on at once; a chunk of 1,000 configurations then stays inside the processor's cache.
_CHUNK = 32


@dataclass(frozen=True, slots=True)
class Line:
    """Least squares of the selected's out-of-sample Sharpe ratio on its in-sample one. ``r2`` None: y is constant."""

    slope: float
    intercept: float
    r2: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Overfitting:
    """What became, out of sample, of the configuration that was best in sample.

    Arrays have shape (n_splits,), in lexicographic order of the in-sample blocks; Sharpe ratios are per period, not
    annualised.
    """

    n_blocks: int
    n_configurations: int
    n_rows_used: int
    n_rows_dropped: int
    """Oldest rows left out, because the rest divides into equal blocks."""
    selected: Integers
    """Column that was best in sample."""
    rank: Floats
    """Its rank out of sample: 1 worst, ``n_configurations`` best, ties at their average."""
    in_sample: Floats
    out_of_sample: Floats
    degradation: Line | None
    """None when every in-sample figure is the same, so that there is no line."""
    over_pooled: Dominance
    """Of the selected over the out-of-sample figures of all configurations and splits."""
    over_mean: Dominance
    """Of the selected over the mean of all configurations, split by split."""

    @property
    def n_splits(self) -> int:
        """How many ways there are to cut the record into halves."""
        return len(self.rank)

    @property
    def n_overfit(self) -> int:
        """Splits whose selected did no better than the median out of sample; the median itself counts."""
        # Ranks are halves of whole numbers, so that this comparison is exact; a logit's sign may not be.
        return int((2.0 * self.rank <= self.n_configurations + 1).sum())

    @property
    def pbo(self) -> float:
        """Probability of backtest overfitting: the share of splits in ``n_overfit``."""
        return self.n_overfit / self.n_splits

    @property
    def logits(self) -> Floats:
        """Logarithm of the odds of the relative rank; 0 is the median, positive is better."""
        logits: Floats = np.log(self.rank / (self.n_configurations + 1 - self.rank))
        return logits

    @property
    def probability_of_loss(self) -> float:
        """Share of splits whose selected had a negative Sharpe ratio out of sample."""
        return float((self.out_of_sample < -TIE).mean())


def cscv(returns: Floats, n_blocks: int = 16) -> Overfitting:
    """Return how the best configuration in each half of the record fared in the other half.

    Parameters
    ----------
    returns : ndarray of shape (n_rows, n_configurations)
        Simple or log returns per period, oldest first, one column per configuration tried. All of them: leaving out
        the bad ones makes the answer too good.
    n_blocks : int
        Even number of equal consecutive blocks; half of them are in sample. 16 gives 12,870 splits.

    Returns
    -------
    Overfitting
        The oldest ``n_rows % n_blocks`` rows are dropped (ours to choose: keeps the newest). A column without variance
        has Sharpe ratio 0; the first column wins a tie in sample.

    Raises
    ------
    InvalidInput
        For a table that is not two-dimensional or not finite, an odd number of blocks, or more figures than memory.
    NotComputable
        With fewer than two configurations, or fewer than two rows in a half.

    Notes
    -----
    Time and memory grow with splits x configurations: 12,870 x 1,000 take about two seconds and 8 bytes each.
    """
    if returns.ndim != 2:
        raise InvalidInput(f"returns have {returns.ndim} dimensions, expected rows x configurations")
    if n_blocks < 2 or n_blocks % 2:
        raise InvalidInput(f"{n_blocks} blocks do not make two equal halves: give an even number, 2 or more")
    if not np.isfinite(returns).all():
        column = int(np.flatnonzero(~np.isfinite(returns).all(axis=0))[0])
        raise InvalidInput(f"returns of configuration {column} are not all finite: a missing return is not zero")
    n_rows, n_columns = returns.shape
    length = n_rows // n_blocks
    if n_columns < 2:
        raise NotComputable(f"{n_columns} configuration was tried, so none was selected: two or more are needed")
    if length * n_blocks < 4:
        raise NotComputable(f"{n_rows} rows in {n_blocks} blocks leave fewer than two rows in a half")
    n_splits = math.comb(n_blocks, n_blocks // 2)
    if n_splits * n_columns > _MAX_FIGURES:
        raise InvalidInput(
            f"{n_splits:,} splits x {n_columns:,} configurations exceed {_MAX_FIGURES:,} figures: take fewer blocks"
        )
    dropped = n_rows - length * n_blocks
    # Row by row in memory, whatever the caller's layout: sums then run in time order, and figures are the same.
    blocks = np.ascontiguousarray(returns[dropped:], dtype=np.float64).reshape(n_blocks, length, n_columns)
    sharpes = _half_sharpes(blocks)
    selected, rank, in_sample, out_of_sample = _selection(sharpes)
    # In lexicographic order the other half of split i is split n - 1 - i.
    by_split = sharpes.mean(axis=1)[::-1]
    pooled = sharpes.reshape(-1)
    pooled.sort()
    return Overfitting(
        n_blocks=n_blocks,
        n_configurations=n_columns,
        n_rows_used=n_rows - dropped,
        n_rows_dropped=dropped,
        selected=selected,
        rank=rank,
        in_sample=in_sample,
        out_of_sample=out_of_sample,
        degradation=_line(in_sample, out_of_sample),
        over_pooled=dominance(out_of_sample, pooled),
        over_mean=dominance(out_of_sample, by_split),
    )


def _half_sharpes(blocks: Floats) -> Floats:
    """Return the Sharpe ratio of every column over every choice of half the blocks: (n_splits, n_columns)."""
    n_blocks, length, n_columns = blocks.shape
    n_half = n_blocks // 2
    halves = np.array(list(combinations(range(n_blocks), n_half)), dtype=np.int64)
    lowest, highest = blocks.min(axis=1), blocks.max(axis=1)
    means = blocks.mean(axis=1)
    # Deviations from each block's own mean, not sums of squares: those cancel when the mean is far from zero.
    squares = ((blocks - means[:, None, :]) ** 2).sum(axis=1)
    # Rounding of a constant column's mean looks like variance, so that extremes tell instead.
    steady = np.flatnonzero((lowest == highest).any(axis=0))
    sharpes = np.empty((len(halves), n_columns))
    for rows in _chunks(len(halves)):
        chosen = means[halves[rows]]
        mean = chosen.sum(axis=1) / n_half
        chosen -= mean[:, None, :]
        chosen *= chosen
        total = squares[halves[rows]].sum(axis=1) + length * chosen.sum(axis=1)
        flat = total == 0.0
        if len(steady):
            low, high = lowest[halves[rows]][:, :, steady].min(axis=1), highest[halves[rows]][:, :, steady].max(axis=1)
            flat[:, steady] |= low == high
        np.sqrt(total / (n_half * length - 1), out=total)
        sharpes[rows] = np.divide(mean, total, out=np.zeros_like(mean), where=~flat)
    return sharpes


def _selection(sharpes: Floats) -> tuple[Integers, Floats, Floats, Floats]:
    """Return the column best in sample, its rank out of sample, and both of its Sharpe ratios, by split."""
    n_splits = len(sharpes)
    others = sharpes[::-1]
    selected, rank = np.empty(n_splits, dtype=np.int64), np.empty(n_splits)
    for rows in _chunks(n_splits):
        best = sharpes[rows].max(axis=1, keepdims=True)
        # argmax gives the first of those that tie.
        selected[rows] = (sharpes[rows] >= best - _tolerance(best)).argmax(axis=1)
        mine = np.take_along_axis(others[rows], selected[rows, None], axis=1)
        within = _tolerance(mine)
        n_below = (others[rows] < mine - within).sum(axis=1)
        n_not_above = (others[rows] <= mine + within).sum(axis=1)
        # Those that tie take the ranks n_below + 1 .. n_not_above; their mean is the rank.
        rank[rows] = (n_below + 1 + n_not_above) / 2.0
    each = np.arange(n_splits)
    return selected, rank, sharpes[each, selected], others[each, selected]


def _tolerance(values: Floats) -> Floats:
    return TIE * np.maximum(np.abs(values), 1.0)


def _line(x: Floats, y: Floats) -> Line | None:
    dx, dy = x - x.mean(), y - y.mean()
    if np.abs(dx).max() <= TIE * max(1.0, float(np.abs(x).max())):
        return None
    xx, xy, yy = float(dx @ dx), float(dx @ dy), float(dy @ dy)
    slope = xy / xx
    flat = np.abs(dy).max() <= TIE * max(1.0, float(np.abs(y).max()))
    return Line(slope, float(y.mean()) - slope * float(x.mean()), None if flat else xy * xy / (xx * yy))


def _chunks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + _CHUNK, n)) for start in range(0, n, _CHUNK))
