"""Is one distribution better than another whatever one prefers? Stochastic dominance of empirical distributions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from validation.errors import NotComputable

Floats = NDArray[np.float64]

_ROUNDING = 1e-15


@dataclass(frozen=True, slots=True)
class Dominance:
    """How a sample compares with a reference; d(x) = F_reference(x) - F_sample(x), larger values are better.

    First order (anyone who wants more agrees): d is nowhere negative and somewhere positive. Second order (anyone who
    wants more and fears risk agrees): the integral of d up to x is nowhere negative.
    """

    first_order: bool
    second_order: bool
    max_violation: float
    """How far d falls below 0, a probability >= 0."""
    lowest_integral: float
    """In the unit of the samples; 0 or less, because the integral begins at 0."""
    final_integral: float
    """Mean of the sample less mean of the reference."""


def dominance(sample: Floats, reference: Floats) -> Dominance:
    """Return the stochastic dominance of ``sample`` over ``reference``, exact at every jump of either.

    Parameters
    ----------
    sample, reference : ndarray of shape (n,) and (m,)
        Any order; a sorted reference of millions is not copied twice.

    Raises
    ------
    NotComputable
        When either is empty.
    """
    n, m = len(sample), len(reference)
    if n == 0 or m == 0:
        raise NotComputable("dominance compares two distributions, and one of them is empty")
    mine = np.sort(sample)
    theirs = reference if (reference[1:] >= reference[:-1]).all() else np.sort(reference)
    x = _turning_points(mine, theirs)
    n_theirs = np.searchsorted(theirs, x, side="right")
    n_mine = np.searchsorted(mine, x, side="right")
    # Both divisions round the true quotient, so that equal shares are equal numbers.
    mine_below, theirs_below = n_mine / n, n_theirs / m
    d = theirs_below - mine_below
    integral = _area_below(theirs, n_theirs, x) - _area_below(mine, n_mine, x)
    within = _ROUNDING * max(1.0, float(np.abs(x).max()))
    return Dominance(
        first_order=bool(d.min() >= 0.0 and d.max() > 0.0),
        second_order=bool(integral.min() >= -within),
        max_violation=float((mine_below - theirs_below).max()),
        lowest_integral=min(0.0, float(integral.min())),
        final_integral=float(integral[-1]),
    )


def _turning_points(mine: Floats, theirs: Floats) -> Floats:
    """Return the jumps at which d or its integral can be extreme, so that millions of others need no look.

    Between two jumps of ``mine`` d only rises: it is lowest at the left one, highest at the last jump of ``theirs``
    before the right one, and the integral is lowest where d passes 0.
    """
    n, m = len(mine), len(theirs)
    last_before = np.searchsorted(theirs, mine, side="left") - 1
    # The first of theirs at which their share reaches j of n; whole numbers, since j m / n may round across.
    crossing = (np.arange(n + 1) * m + n - 1) // n - 1
    picked = np.concatenate([last_before[last_before >= 0], crossing[crossing >= 0]])
    return np.unique(np.concatenate([mine, theirs[picked]]))


def _area_below(values: Floats, counts: NDArray[np.int64], x: Floats) -> Floats:
    """Return the integral up to each ``x`` of the distribution function of sorted ``values``."""
    # Sums between neighbouring points first: one running sum over millions would gather rounding errors.
    edges = np.concatenate([[0], counts])
    pieces = np.array([values[i:j].sum() for i, j in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)])
    area: Floats = (counts * x - np.cumsum(pieces)) / len(values)
    return area
