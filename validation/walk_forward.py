"""Which rows may a choice be made on, and which judge it? Splits of a record in time, as half-open row ranges.

Two functions per kind: one returns what fits, possibly nothing; ``require_...`` raises instead when nothing does.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from bybit.rules.errors import InvalidInput
from validation.errors import NotComputable

Rows = tuple[int, int]
"""Rows from the first to before the second."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Choose on ``train``, judge on ``test``, which is later."""

    train: Rows
    test: Rows


@dataclass(frozen=True, slots=True)
class PurgedSplit:
    """One choice of test groups; ranges are merged, in time order, and may be several."""

    test_groups: tuple[int, ...]
    train: tuple[Rows, ...]
    test: tuple[Rows, ...]


def walk_forward_folds(
    n_rows: int,
    train_size: int,
    test_size: int,
    *,
    purge: int = 0,
    anchored: bool = False,
    allow_short_last_test: bool = False,
) -> list[Fold]:
    """Return the folds of a rolling or anchored walk forward, oldest first; empty when none fits.

    Parameters
    ----------
    n_rows, train_size, test_size : int
        Sizes in rows; each fold begins ``test_size`` later than the one before, so that tests never overlap.
    purge : int
        Rows left out between train and test: at least as many as an outcome reaches into the future.
    anchored : bool
        Whether every train range starts at row 0 and grows; otherwise its size stays.
    allow_short_last_test : bool
        Whether the last test may have fewer rows; otherwise rows that do not fill one are unused, at the end.

    Raises
    ------
    InvalidInput
        For a size below 1 or a negative purge.
    """
    _check(n_rows=n_rows, purge=purge)
    if train_size < 1 or test_size < 1:
        raise InvalidInput(f"train and test of {train_size} and {test_size} rows: give one row or more to each")
    folds = []
    for shift in range(0, n_rows, test_size):
        train_end = shift + train_size
        start = train_end + purge
        end = min(start + test_size, n_rows)
        if start >= n_rows or (end - start < test_size and not allow_short_last_test):
            break
        folds.append(Fold((0 if anchored else shift, train_end), (start, end)))
    return folds


def require_walk_forward_folds(
    n_rows: int,
    train_size: int,
    test_size: int,
    *,
    purge: int = 0,
    anchored: bool = False,
    allow_short_last_test: bool = False,
) -> list[Fold]:
    """Return ``walk_forward_folds``, at least one.

    Raises
    ------
    NotComputable
        When no fold fits into the record.
    """
    folds = walk_forward_folds(
        n_rows, train_size, test_size, purge=purge, anchored=anchored, allow_short_last_test=allow_short_last_test
    )
    if not folds:
        least = train_size + purge + (1 if allow_short_last_test else test_size)
        raise NotComputable(
            f"{n_rows} rows hold no fold of {train_size} train, {purge} purged and {test_size} test rows: "
            f"{least} rows are needed, or smaller folds"
        )
    return folds


def combinatorial_purged_splits(
    n_rows: int, n_groups: int, n_test_groups: int, *, purge: int = 0, embargo: int = 0
) -> list[PurgedSplit]:
    """Return every choice of test groups with the train rows that know nothing of them, in lexicographic order.

    Source: Lopez de Prado, "Advances in Financial Machine Learning" (2018), chapter 12.

    Parameters
    ----------
    n_rows : int
        Cut into ``n_groups`` consecutive groups as equal as possible, the first ones a row longer.
    n_groups, n_test_groups : int
        Groups in all, and how many of them each split tests on.
    purge : int
        Train rows left out before and after each test group: their outcomes would reach into it, or its into them.
    embargo : int
        Further train rows left out after each test group, whose features still remember it.

    Raises
    ------
    InvalidInput
        For counts that make no split (no group, no test or no train group, more groups than rows) or negative rows.
    """
    _check(n_rows=n_rows, purge=purge, embargo=embargo)
    if not 1 <= n_test_groups < n_groups <= n_rows:
        raise InvalidInput(
            f"{n_test_groups} test groups of {n_groups} groups of {n_rows} rows: "
            "give at least one test group, more groups than that, and no more groups than rows"
        )
    size, n_longer = divmod(n_rows, n_groups)
    starts = [group * size + min(group, n_longer) for group in range(n_groups + 1)]
    groups = list(pairwise(starts))
    splits = []
    for chosen in combinations(range(n_groups), n_test_groups):
        test = [groups[group] for group in chosen]
        barred = [(start - purge, end + purge + embargo) for start, end in test]
        splits.append(PurgedSplit(chosen, _remaining(n_rows, barred), _merged(test)))
    return splits


def require_combinatorial_purged_splits(
    n_rows: int, n_groups: int, n_test_groups: int, *, purge: int = 0, embargo: int = 0
) -> list[PurgedSplit]:
    """Return ``combinatorial_purged_splits``, each with train rows.

    Raises
    ------
    NotComputable
        When purge and embargo leave a split without any row to choose on.
    """
    splits = combinatorial_purged_splits(n_rows, n_groups, n_test_groups, purge=purge, embargo=embargo)
    bare = [split.test_groups for split in splits if not split.train]
    if bare:
        raise NotComputable(
            f"testing on groups {bare[0]} leaves no train row of {n_rows} after a purge of {purge} and an embargo of "
            f"{embargo} rows: take fewer groups, or a longer record"
        )
    return splits


def backtest_paths(splits: Sequence[PurgedSplit]) -> list[tuple[int, ...]]:
    """Return, for each whole path through the record, which split judges each group: [path][group] is a split's index.

    Every split is used by exactly its test groups, every group once per path; there are
    C(n_groups, n_test_groups) n_test_groups / n_groups paths.
    """
    n_groups = 1 + max((group for split in splits for group in split.test_groups), default=-1)
    judges = [[i for i, split in enumerate(splits) if group in split.test_groups] for group in range(n_groups)]
    return list(zip(*judges, strict=True))


def n_backtest_paths(n_groups: int, n_test_groups: int) -> int:
    """Return how many whole paths the splits of so many groups make."""
    return math.comb(n_groups, n_test_groups) * n_test_groups // n_groups


def _merged(ranges: Iterable[Rows]) -> tuple[Rows, ...]:
    merged: list[Rows] = []
    for start, end in ranges:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def _remaining(n_rows: int, barred: Iterable[Rows]) -> tuple[Rows, ...]:
    """Return the rows that lie in none of the ``barred`` ranges, which are in time order."""
    free, cursor = [], 0
    for start, end in barred:
        if start > cursor:
            free.append((cursor, start))
        cursor = end
    if cursor < n_rows:
        free.append((cursor, n_rows))
    return tuple(free)


def _check(**counts: int) -> None:
    for name, count in counts.items():
        if count < 0:
            raise InvalidInput(f"{name} is {count}, expected 0 or more rows")
