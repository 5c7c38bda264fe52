from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.errors import InvalidInput
from validation.errors import NotComputable
from validation.walk_forward import (
    Fold,
    PurgedSplit,
    backtest_paths,
    combinatorial_purged_splits,
    n_backtest_paths,
    require_combinatorial_purged_splits,
    require_walk_forward_folds,
    walk_forward_folds,
)

sizes = st.integers(1, 40)
gaps = st.integers(0, 9)


@given(st.integers(0, 300), sizes, sizes, gaps, st.booleans(), st.booleans())
def test_what_is_chosen_on_ends_a_purge_before_what_judges_it(
    n_rows: int, train: int, test: int, purge: int, anchored: bool, short: bool
) -> None:
    folds = walk_forward_folds(n_rows, train, test, purge=purge, anchored=anchored, allow_short_last_test=short)
    for k, fold in enumerate(folds):
        assert fold.test[0] - fold.train[1] == purge
        assert fold.train == (0 if anchored else k * test, k * test + train)
        assert fold.test[0] < fold.test[1] <= n_rows
    assert all(fold.test[1] - fold.test[0] == test for fold in folds[: -1 if short else None])
    assert all(earlier.test[1] == later.test[0] for earlier, later in pairwise(folds))
    # Nothing that would fit is left over.
    end = folds[-1].test[1] if folds else train + purge
    assert n_rows - end < (1 if short else test) or end > n_rows


def test_a_record_that_exactly_fits_makes_one_fold() -> None:
    assert walk_forward_folds(13, 8, 4, purge=1) == [Fold((0, 8), (9, 13))]
    assert walk_forward_folds(12, 8, 4, purge=1) == []
    assert walk_forward_folds(12, 8, 4, purge=1, allow_short_last_test=True) == [Fold((0, 8), (9, 12))]


def test_a_record_too_short_is_refused_with_the_rows_it_takes() -> None:
    with pytest.raises(NotComputable, match="13 rows are needed"):
        require_walk_forward_folds(12, 8, 4, purge=1)
    with pytest.raises(NotComputable, match="10 rows are needed"):
        require_walk_forward_folds(9, 8, 4, purge=1, allow_short_last_test=True)
    assert len(require_walk_forward_folds(13, 8, 4, purge=1)) == 1
    assert len(require_walk_forward_folds(10, 8, 4, purge=1, allow_short_last_test=True)) == 1


@pytest.mark.parametrize(
    ("rows", "train", "test", "purge"), [(-1, 1, 1, 0), (10, 0, 1, 0), (10, 1, 0, 0), (10, 1, 1, -1)]
)
def test_sizes_that_are_none_are_refused(rows: int, train: int, test: int, purge: int) -> None:
    with pytest.raises(InvalidInput):
        walk_forward_folds(rows, train, test, purge=purge)


@st.composite
def designs(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    n_groups = draw(st.integers(2, 7))
    return draw(st.integers(n_groups, 90)), n_groups, draw(st.integers(1, n_groups - 1)), draw(gaps), draw(gaps)


def rows_of(ranges: tuple[tuple[int, int], ...]) -> set[int]:
    return {row for start, end in ranges for row in range(start, end)}


def split_all(design: tuple[int, int, int, int, int]) -> list[PurgedSplit]:
    n_rows, n_groups, n_test, purge, embargo = design
    return combinatorial_purged_splits(n_rows, n_groups, n_test, purge=purge, embargo=embargo)


@given(designs())
def test_no_train_row_lies_within_reach_of_a_test_row_and_none_is_wasted(design: tuple[int, ...]) -> None:
    n_rows, _, _, purge, embargo = design
    for split in split_all(design):
        test = rows_of(split.test)
        barred = {row + reach for row in test for reach in range(-purge, purge + embargo + 1)}
        assert rows_of(split.train) == set(range(n_rows)) - barred


@given(designs())
def test_ranges_are_in_order_merged_and_not_empty(design: tuple[int, ...]) -> None:
    for split in split_all(design):
        for ranges in (split.train, split.test):
            assert all(start < end for start, end in ranges)
            assert all(before[1] < after[0] for before, after in pairwise(ranges))


@given(designs())
def test_every_row_is_judged_equally_often(design: tuple[int, ...]) -> None:
    n_rows, n_groups, n_test, _, _ = design
    splits = split_all(design)
    judged = Counter(row for split in splits for row in rows_of(split.test))
    assert judged == dict.fromkeys(range(n_rows), n_backtest_paths(n_groups, n_test))
    assert [split.test_groups for split in splits] == sorted(split.test_groups for split in splits)


@given(designs())
def test_groups_differ_by_a_row_at_most_and_the_first_ones_are_longer(design: tuple[int, ...]) -> None:
    n_rows, n_groups, _, _, _ = design
    singles = combinatorial_purged_splits(n_rows, n_groups, 1)
    lengths = [end - start for split in singles for start, end in split.test]
    assert sum(lengths) == n_rows
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] - lengths[-1] <= 1


@given(designs())
def test_a_path_judges_each_group_once_and_each_split_serves_all_its_groups(design: tuple[int, ...]) -> None:
    _, n_groups, n_test, _, _ = design
    splits = split_all(design)
    paths = backtest_paths(splits)
    assert len(paths) == n_backtest_paths(n_groups, n_test)
    for path in paths:
        assert all(group in splits[judge].test_groups for group, judge in enumerate(path))
    uses = Counter((judge, group) for path in paths for group, judge in enumerate(path))
    assert uses == {(i, group): 1 for i, split in enumerate(splits) for group in split.test_groups}


def test_no_splits_make_no_paths() -> None:
    assert backtest_paths([]) == []


def test_a_purge_that_swallows_the_train_rows_is_refused() -> None:
    assert combinatorial_purged_splits(6, 3, 1, purge=4)[1].train == ()
    with pytest.raises(NotComputable, match="leaves no train row of 6"):
        require_combinatorial_purged_splits(6, 3, 1, purge=4)
    assert len(require_combinatorial_purged_splits(60, 3, 1, purge=4)) == 3


@pytest.mark.parametrize(("rows", "groups", "test"), [(10, 3, 0), (10, 3, 3), (10, 1, 1), (2, 3, 1), (0, 0, 0)])
def test_counts_that_make_no_split_are_refused(rows: int, groups: int, test: int) -> None:
    with pytest.raises(InvalidInput, match="at least one test group"):
        combinatorial_purged_splits(rows, groups, test)


@pytest.mark.parametrize("reach", [{"purge": -1}, {"embargo": -1}])
def test_rows_left_out_are_not_negative(reach: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="0 or more rows"):
        combinatorial_purged_splits(10, 3, 1, **reach)
