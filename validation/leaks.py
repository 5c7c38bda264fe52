"""Does a strategy know the future, or depend on where its history happens to begin? Asked of any function of rows.

``decide(start, end)`` must compute afresh, from the rows start <= i < end alone, one row of figures (targets, prices,
indicators) for each of them: an array of shape (end - start,) or (end - start, n_figures). NaN equals NaN.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bybit.rules.errors import InvalidInput

Floats = NDArray[np.float64]
Decide = Callable[[int, int], Floats]


@dataclass(frozen=True, slots=True)
class Leak:
    """A figure of the past that changed when rows after ``cut`` were taken away."""

    cut: int
    """The record ended before this row."""
    first_row: int
    """The earliest row that changed; it saw at least ``cut - first_row`` rows ahead."""
    n_rows: int
    """How many rows changed."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far figures moved when the history before them was shorter."""

    warm_up: int
    """Rows of history before the first row that is compared."""
    largest: float
    """Largest absolute difference; infinite where one side had no figure."""


def look_ahead(decide: Decide, n_rows: int, cuts: Sequence[int]) -> list[Leak]:
    """Return the leaks found by ending the record before each of ``cuts``; none is what an honest strategy shows.

    A leak shows only where the future that was taken away would have made a difference: give many cuts, some of them
    right after decisions.

    Raises
    ------
    InvalidInput
        Without cuts, for a cut outside 1 .. n_rows - 1, or when ``decide`` returns another number of rows.
    """
    if not cuts or not all(0 < cut < n_rows for cut in cuts):
        raise InvalidInput(f"cuts {list(cuts)[:5]} of {n_rows} rows: give one or more, each from 1 to {n_rows - 1}")
    whole = _figures(decide, 0, n_rows)
    leaks = []
    for cut in cuts:
        changed = np.flatnonzero((~_same(whole[:cut], _figures(decide, 0, cut))).any(axis=1))
        if len(changed):
            leaks.append(Leak(cut, int(changed[0]), len(changed)))
    return leaks


def recursive_drift(decide: Decide, n_rows: int, first_row: int, warm_ups: Sequence[int]) -> list[Drift]:
    """Return how figures from ``first_row`` on differ between the whole history before it and each shorter one.

    A recursive formula (an exponential average, an index of strength) never quite forgets where it began; a run whose
    warm-up is too short trades on another strategy than the one that was tested.

    Raises
    ------
    InvalidInput
        Without warm-ups, for one outside 0 .. first_row, or when ``decide`` returns another number of rows.
    """
    if not 0 <= first_row < n_rows or not warm_ups or not all(0 <= rows <= first_row for rows in warm_ups):
        raise InvalidInput(
            f"warm-ups {list(warm_ups)[:5]} before row {first_row} of {n_rows}: give one or more, each 0 to {first_row}"
        )
    whole = _figures(decide, 0, n_rows)[first_row:]
    drifts = []
    for warm_up in warm_ups:
        start = first_row - warm_up
        part = _figures(decide, start, n_rows)[warm_up:]
        apart = np.where(_same(whole, part), 0.0, np.abs(np.nan_to_num(whole) - np.nan_to_num(part)))
        apart[np.isnan(whole) != np.isnan(part)] = np.inf
        drifts.append(Drift(warm_up, float(apart.max())))
    return drifts


def _figures(decide: Decide, start: int, end: int) -> Floats:
    figures = np.asarray(decide(start, end), dtype=np.float64)
    if figures.ndim not in (1, 2) or len(figures) != end - start:
        raise InvalidInput(f"decide({start}, {end}) gave figures of shape {figures.shape}, expected {end - start} rows")
    return figures.reshape(end - start, -1)


def _same(left: Floats, right: Floats) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (left == right) | (np.isnan(left) & np.isnan(right))
    return same
