import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.errors import InvalidInput
from validation.errors import NotComputable
from validation.selection import column_sharpes, combinatorial_selection, walk_forward_selection
from validation.walk_forward import (
    Fold,
    PurgedSplit,
    backtest_paths,
    combinatorial_purged_splits,
    walk_forward_folds,
)


def noise(seed: int, n_rows: int = 60, n_columns: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.01, (n_rows, n_columns))


@given(st.integers(0, 999), st.booleans())
def test_each_fold_chooses_by_its_train_rows_and_earns_its_test_rows(seed: int, anchored: bool) -> None:
    returns = noise(seed)
    folds = walk_forward_folds(60, 20, 10, purge=2, anchored=anchored)
    result = walk_forward_selection(returns, folds)
    earned = []
    for fold, column, sharpe in zip(folds, result.chosen, result.in_sample, strict=True):
        train = returns[fold.train[0] : fold.train[1]]
        ratios = train.mean(axis=0) / train.std(axis=0, ddof=1)
        assert column == ratios.argmax()
        assert sharpe == pytest.approx(ratios.max(), rel=1e-12)
        earned.extend(returns[fold.test[0] : fold.test[1], column].tolist())
    assert result.out_of_sample.tolist() == earned


@given(st.integers(0, 999))
def test_what_was_not_in_sample_cannot_change_the_choice(seed: int) -> None:
    returns = noise(seed)
    folds = walk_forward_folds(60, 20, 10, purge=3)
    before = walk_forward_selection(returns, folds)
    for k, fold in enumerate(folds):
        changed = np.random.default_rng(seed + 1).normal(0.0, 9.0, returns.shape)
        changed[slice(*fold.train)] = returns[slice(*fold.train)]
        assert walk_forward_selection(changed, folds).chosen[k] == before.chosen[k]


@given(st.integers(0, 99), st.integers(2, 5), st.integers(1, 3), st.integers(0, 3))
def test_a_path_takes_every_row_from_the_split_that_judges_it(
    seed: int, n_groups: int, n_test: int, purge: int
) -> None:
    n_test = min(n_test, n_groups - 1)
    returns = noise(seed)
    splits = combinatorial_purged_splits(60, n_groups, n_test, purge=purge, embargo=1)
    paths = combinatorial_selection(returns, splits)
    groups = [split.test[0] for split in combinatorial_purged_splits(60, n_groups, 1)]
    for path, judges in zip(paths, backtest_paths(splits), strict=True):
        for (start, end), judge in zip(groups, judges, strict=True):
            train = np.concatenate([returns[slice(*rows)] for rows in splits[judge].train])
            best = (train.mean(axis=0) / train.std(axis=0, ddof=1)).argmax()
            assert np.array_equal(path[start:end], returns[start:end, best])


def test_the_first_of_equals_is_chosen_and_no_variance_counts_as_zero() -> None:
    returns = np.column_stack([np.full(12, 0.5), np.tile([0.01, 0.02], 6), np.tile([0.01, 0.02], 6)])
    assert walk_forward_selection(returns, [Fold((0, 6), (6, 12))]).chosen == (1,)
    assert column_sharpes(returns)[0] == 0.0
    for seed in range(20):
        column = noise(seed)[:12, 0] + 0.01
        scaled = np.column_stack([column, 0.7 * column])
        assert walk_forward_selection(scaled, [Fold((0, 6), (6, 12))]).chosen == (0,)
    losing = np.column_stack([np.tile([-0.01, -0.02], 6), np.full(12, 0.1)])
    assert walk_forward_selection(losing, [Fold((0, 6), (6, 12))]).chosen == (1,)


def test_a_real_edge_is_found_in_sample_and_kept_out_of_sample() -> None:
    returns = noise(5, n_rows=400)
    returns[:, 3] += 0.01
    result = walk_forward_selection(returns, walk_forward_folds(400, 100, 50))
    assert set(result.chosen) == {3}
    assert result.out_of_sample.mean() == pytest.approx(returns[100:, 3].mean())


FOLD = Fold((0, 6), (6, 12))


@pytest.mark.parametrize(
    ("returns", "folds", "error", "words"),
    [
        (noise(1, 12), [], NotComputable, "nothing to choose from"),
        (noise(1, 12, 0), [FOLD], NotComputable, "nothing to choose from"),
        (noise(1, 11), [FOLD], InvalidInput, "different records"),
        (noise(1, 12)[:, 0], [FOLD], InvalidInput, "not a finite table"),
        (np.full((12, 2), math.nan), [FOLD], InvalidInput, "a missing return is not zero"),
        (noise(1, 12), [Fold((0, 1), (6, 12))], NotComputable, "1 train rows"),
    ],
)
def test_a_choice_without_grounds_is_refused(
    returns: np.ndarray, folds: list[Fold], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        walk_forward_selection(returns, folds)


def test_splits_that_make_no_whole_path_are_refused() -> None:
    splits = combinatorial_purged_splits(12, 4, 2)
    with pytest.raises(InvalidInput, match="equally often"):
        combinatorial_selection(noise(1, 12), splits[:-1])
    with pytest.raises(InvalidInput, match="equally often"):
        combinatorial_selection(noise(1, 20), splits)
    with pytest.raises(NotComputable, match="0 train rows"):
        combinatorial_selection(noise(1, 12), [PurgedSplit((0,), (), ((0, 12),))])
