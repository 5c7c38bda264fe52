"""What would choosing have earned? On each fold the best configuration in sample, judged on rows it did not see.

Nothing outside a fold's train rows takes part in its choice. Returns are those of every configuration run over the
whole record, so that an indicator's warm-up before a test is past prices and not a choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bybit.rules.errors import InvalidInput
from validation.cscv import TIE
from validation.errors import NotComputable
from validation.walk_forward import Fold, PurgedSplit, Rows

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class WalkForward:
    """The choice of every fold, and what came of it."""

    folds: tuple[Fold, ...]
    chosen: tuple[int, ...]
    """Column chosen on each fold's train rows."""
    in_sample: tuple[float, ...]
    """Its per-period Sharpe ratio there; 0 without variance."""
    out_of_sample: Floats
    """Returns of the chosen on all test rows, in time order, shape (n_test_rows,)."""


def walk_forward_selection(returns: Floats, folds: Sequence[Fold]) -> WalkForward:
    """Return the walk forward that chooses the largest Sharpe ratio on each train range, the first column on a tie.

    Parameters
    ----------
    returns : ndarray of shape (n_rows, n_configurations)
        Per period, oldest first.
    folds : sequence of Fold
        Of the same rows, see ``walk_forward_folds``.

    Raises
    ------
    InvalidInput
        For a table that is not two-dimensional or not finite, or folds beyond its end.
    NotComputable
        Without folds or configurations, or with fewer than two train rows.
    """
    _check(returns, [rows for fold in folds for rows in (fold.train, fold.test)])
    picks = [_best(returns, (fold.train,)) for fold in folds]
    parts = [returns[slice(*fold.test), column] for fold, (column, _) in zip(folds, picks, strict=True)]
    columns, sharpes = zip(*picks, strict=True)
    return WalkForward(tuple(folds), columns, sharpes, np.concatenate(parts))


def combinatorial_selection(returns: Floats, splits: Sequence[PurgedSplit]) -> Floats:
    """Return the returns along every whole path, shape (n_paths, n_rows): each row as its path's split chose for it.

    Parameters
    ----------
    returns : ndarray of shape (n_rows, n_configurations)
        Per period, oldest first.
    splits : sequence of PurgedSplit
        All of ``combinatorial_purged_splits`` of the same rows.

    Raises
    ------
    InvalidInput, NotComputable
        As ``walk_forward_selection``.
    """
    _check(returns, [rows for split in splits for rows in (*split.train, *split.test)])
    chosen = [_best(returns, split.train)[0] for split in splits]
    row_judges = np.zeros((len(returns), len(splits)), dtype=np.bool_)
    for i, split in enumerate(splits):
        for rows in split.test:
            row_judges[slice(*rows), i] = True
    if len(set(row_judges.sum(axis=1).tolist())) != 1:
        raise InvalidInput("the splits do not judge every row equally often: give all splits of these rows")
    # The k-th split that judges a row belongs to the k-th path, as in backtest_paths.
    judges = np.nonzero(row_judges)[1].reshape(len(returns), -1).T
    paths: Floats = returns[np.arange(len(returns)), np.array(chosen)[judges]]
    return paths


def column_sharpes(returns: Floats) -> Floats:
    """Return the per-period Sharpe ratio (ddof 1) of each column of (n_rows, n_columns); 0 without variance."""
    ratios = np.zeros(returns.shape[1])
    varies = returns.min(axis=0) < returns.max(axis=0)
    np.divide(returns.mean(axis=0), returns.std(axis=0, ddof=1), out=ratios, where=varies)
    return ratios


def _best(returns: Floats, train: Sequence[Rows]) -> tuple[int, float]:
    seen = np.ascontiguousarray(np.concatenate([returns[slice(*rows)] for rows in train]) if train else returns[:0])
    if len(seen) < 2:
        raise NotComputable(f"{len(seen)} train rows have no Sharpe ratio to choose by: two or more are needed")
    sharpes = column_sharpes(seen)
    largest = float(sharpes.max())
    # The first of those that tie but for rounding, as in cscv.
    best = int((sharpes >= largest - TIE * max(1.0, abs(largest))).argmax())
    return best, float(sharpes[best])


def _check(returns: Floats, ranges: Sequence[Rows]) -> None:
    if returns.ndim != 2 or not np.isfinite(returns).all():
        raise InvalidInput("returns are not a finite table of rows x configurations: a missing return is not zero")
    if not ranges or returns.shape[1] == 0:
        raise NotComputable(f"{len(ranges)} ranges of {returns.shape[1]} configurations leave nothing to choose from")
    beyond = max(end for _, end in ranges)
    if beyond > len(returns):
        raise InvalidInput(f"a fold ends at row {beyond} of {len(returns)}: fold and returns are of different records")
