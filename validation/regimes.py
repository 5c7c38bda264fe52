"""Does it earn in one kind of market only? A record split by what the market had been doing.

A row's regime is told by rows before it, so that it could have been known; where the lines between regimes lie is
taken from the whole record, which describes the past and chooses nothing.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bybit.rules.errors import InvalidInput
from validation.errors import NotComputable
from validation.monte_carlo import usable

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

UNKNOWN = -1
"""Label of rows whose window is not full yet."""


@dataclass(frozen=True, slots=True)
class RegimeFigures:
    """How the rows of one regime did; ``sharpe`` per period, None with fewer than two rows or no variance."""

    label: int
    n_rows: int
    share_of_rows: float
    total: float
    """Sum of the returns."""
    sharpe: float | None


def volatility_regimes(market_returns: Floats, window: int, n_regimes: int = 3) -> Integers:
    """Return 0 (calmest) to ``n_regimes`` - 1 (wildest) by the deviation of the ``window`` rows before each row.

    Regimes hold about equally many rows; the first ``window`` rows are ``UNKNOWN``.

    Raises
    ------
    InvalidInput
        For a window below 2 or fewer than two regimes.
    NotComputable
        When the record is too short for every regime to have a row, or a return is not finite.
    """
    if window < 2 or n_regimes < 2:
        raise InvalidInput(f"{n_regimes} regimes by a window of {window} rows: give two or more of both")
    values = _enough(market_returns, window, at_least=n_regimes)
    deviation = pd.Series(values).rolling(window).std().to_numpy(dtype=np.float64)[window - 1 : -1]
    bounds = np.quantile(deviation, np.arange(1, n_regimes) / n_regimes)
    return _labels(np.searchsorted(bounds, deviation, side="left"), window)


def trend_regimes(market_returns: Floats, window: int) -> Integers:
    """Return 1 where the ``window`` rows before a row added up to a gain, else 0; the first rows are ``UNKNOWN``.

    Raises
    ------
    InvalidInput
        For a window below 1.
    NotComputable
        When the record is no longer than the window, or a return is not finite.
    """
    if window < 1:
        raise InvalidInput(f"a window of {window} rows shows no trend: give one or more")
    values = _enough(market_returns, window, at_least=1)
    return _labels(np.lib.stride_tricks.sliding_window_view(values, window)[:-1].sum(axis=1) > 0.0, window)


def by_regime(returns: Floats, labels: Integers) -> list[RegimeFigures]:
    """Return the figures of every regime there is, ``UNKNOWN`` first if present, so that no row is left unsaid.

    Parameters
    ----------
    returns, labels : ndarray of shape (n_rows,)

    Raises
    ------
    InvalidInput
        When the shapes differ.
    NotComputable
        Without returns, or with one that is not finite.
    """
    values = usable(returns, "returns")
    if values.shape != labels.shape:
        raise InvalidInput(f"{len(values)} returns and {len(labels)} labels: give one label per return")
    figures = []
    for label in np.unique(labels).tolist():
        part = values[labels == label]
        figures.append(RegimeFigures(label, len(part), len(part) / len(values), math.fsum(part), _sharpe(part)))
    return figures


def _sharpe(returns: Floats) -> float | None:
    # Of a single row, too, lowest and highest are the same.
    if returns.min() == returns.max():
        return None
    return float(returns.mean() / returns.std(ddof=1))


def _enough(market_returns: Floats, window: int, *, at_least: int) -> Floats:
    values = usable(market_returns, "market returns")
    if len(values) < window + at_least:
        raise NotComputable(f"{len(values)} rows are too few for a window of {window} and {at_least} rows to label")
    return values


def _labels(known: NDArray[np.generic], window: int) -> Integers:
    return np.concatenate([np.full(window, UNKNOWN, dtype=np.int64), known.astype(np.int64)])
