import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bybit.rules.errors import InvalidInput
from validation.cscv import Overfitting, cscv
from validation.dominance import dominance
from validation.errors import NotComputable


@st.composite
def coarse_tables(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Small whole numbers: ties, constant columns and Sharpe ratios of exactly 0 come up all the time."""
    n_blocks = draw(st.sampled_from([2, 4, 6]))
    n_rows = draw(st.integers(max(4, n_blocks), 3 * n_blocks + 1))
    shape = (n_rows, draw(st.integers(2, 5)))
    return draw(arrays.arrays(np.int64, shape, elements=st.integers(-2, 2))), n_blocks


def noise(seed: int, n_rows: int = 96, n_columns: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.01, (n_rows, n_columns))


def exact_order(column: list[Fraction]) -> Fraction:
    """Return the square of the Sharpe ratio with its sign: exact, and in the same order."""
    mean = sum(column, Fraction(0)) / len(column)
    variance = sum(((x - mean) ** 2 for x in column), Fraction(0)) / (len(column) - 1)
    return abs(mean) * mean / variance if variance else Fraction(0)


def exact(returns: np.ndarray, n_blocks: int) -> tuple[list[int], list[float], list[bool]]:
    """Return selected, rank and loss of every split, by the definition and without rounding."""
    length = len(returns) // n_blocks
    rows = [[Fraction(x) for x in row] for row in returns[len(returns) - length * n_blocks :].tolist()]
    blocks = [rows[b * length : (b + 1) * length] for b in range(n_blocks)]
    selected, ranks, lost = [], [], []
    for inside in combinations(range(n_blocks), n_blocks // 2):
        halves: tuple[list, list] = ([], [])
        for b in range(n_blocks):
            halves[b not in inside].extend(blocks[b])
        scores, others = ([exact_order(list(column)) for column in zip(*half, strict=True)] for half in halves)
        best = scores.index(max(scores))
        below, equal = (sum(s < others[best] for s in others), sum(s == others[best] for s in others))
        selected.append(best)
        ranks.append(below + (equal + 1) / 2)
        lost.append(others[best] < 0)
    return selected, ranks, lost


@settings(max_examples=150, deadline=None)
@given(coarse_tables(), st.sampled_from([1.0, 0.01, 0.1]))
def test_selection_and_ranks_are_those_of_exact_arithmetic(table: tuple[np.ndarray, int], unit: float) -> None:
    counts, n_blocks = table
    selected, ranks, lost = exact(counts, n_blocks)
    # In units of a cent the same numbers are no longer exact in binary, and ties must survive that.
    result = cscv(counts * unit, n_blocks)
    assert result.selected.tolist() == selected
    assert result.rank.tolist() == ranks
    assert result.probability_of_loss == sum(lost) / len(lost)


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e6])
def test_a_mean_far_from_zero_costs_no_digits(offset: float) -> None:
    # Whole eighths add without rounding, so that the exact table is the float table.
    counts = np.random.default_rng(3).integers(-40, 40, (64, 6)) / 8.0 + offset
    selected, ranks, _ = exact(counts, 8)
    result = cscv(counts, 8)
    assert result.selected.tolist() == selected
    assert result.rank.tolist() == ranks


def test_figures_are_those_of_concatenated_halves() -> None:
    returns = noise(1, n_rows=80)
    result = cscv(returns, 8)
    blocks = returns.reshape(8, 10, -1)
    by_split = []
    assert result.n_splits == 70
    for i, inside in enumerate(combinations(range(8), 4)):
        here = blocks[list(inside)].reshape(-1, 7)
        there = blocks[[b for b in range(8) if b not in inside]].reshape(-1, 7)
        inner, outer = (half.mean(axis=0) / half.std(axis=0, ddof=1) for half in (here, there))
        best = int(inner.argmax())
        assert result.selected[i] == best
        assert result.in_sample[i] == pytest.approx(inner[best], rel=1e-12)
        assert result.out_of_sample[i] == pytest.approx(outer[best], rel=1e-12)
        assert result.rank[i] == (outer <= outer[best]).sum()
        by_split.append(outer)
    everything = np.array(by_split)
    for ours, reference in (
        (result.over_pooled, everything.ravel()),
        (result.over_mean, everything.mean(axis=1)),
    ):
        # Of one table: a jump of the selected is a jump of the reference to the last digit.
        direct = dominance(everything[np.arange(70), result.selected], reference)
        assert (ours.max_violation, ours.second_order) == (direct.max_violation, direct.second_order)
        assert ours.lowest_integral == pytest.approx(direct.lowest_integral)
        assert ours.final_integral == pytest.approx(result.out_of_sample.mean() - everything.mean())


@given(st.integers(0, 2**32), st.permutations(range(7)))
def test_the_order_of_the_columns_does_not_matter(seed: int, order: list[int]) -> None:
    returns = noise(seed)
    straight, mixed = cscv(returns, 6), cscv(returns[:, order], 6)
    assert np.array_equal(np.array(order)[mixed.selected], straight.selected)
    assert np.array_equal(mixed.rank, straight.rank)
    assert mixed.degradation == straight.degradation
    assert mixed.over_pooled == straight.over_pooled


@given(st.integers(0, 2**32))
def test_ranks_do_not_depend_on_how_much_each_column_stakes(seed: int) -> None:
    returns = noise(seed)
    stakes = np.random.default_rng(seed + 1).uniform(0.1, 30.0, returns.shape[1])
    assert np.array_equal(cscv(returns * stakes, 6).rank, cscv(returns, 6).rank)


@given(st.integers(0, 2**32))
def test_reversing_time_reverses_nothing_but_the_order_of_splits(seed: int) -> None:
    returns = noise(seed)
    forth, back = cscv(returns, 4), cscv(returns[::-1], 4)
    assert sorted(forth.rank.tolist()) == sorted(back.rank.tolist())
    assert forth.n_overfit == back.n_overfit


def test_copies_of_one_strategy_tie_at_the_median_and_count_as_overfit() -> None:
    result = cscv(np.repeat(noise(2, n_columns=1), 4, axis=1), 8)
    assert set(result.rank.tolist()) == {2.5}
    assert set(result.logits.tolist()) == {0.0}
    assert set(result.selected.tolist()) == {0}
    assert result.pbo == 1.0


def test_a_scaled_copy_ties_with_its_original() -> None:
    column = noise(5, n_columns=1)
    result = cscv(np.column_stack([column, 3.0 * column, 0.7 * column]), 8)
    assert set(result.rank.tolist()) == {2.0}
    assert set(result.selected.tolist()) == {0}


@pytest.mark.parametrize("constant", [0.0, 0.1, 0.1 / 3.0, -1e-9])
@pytest.mark.parametrize("n_blocks", [6, 8])
def test_a_column_without_variance_has_sharpe_ratio_zero(constant: float, n_blocks: int) -> None:
    steady = np.full((96, 1), constant)
    losing = noise(4, n_columns=3) - 0.02
    result = cscv(np.hstack([losing, steady]), n_blocks)
    assert set(result.selected.tolist()) == {3}
    assert set(result.out_of_sample.tolist()) == {0.0}
    assert result.pbo == 0.0
    assert result.degradation is None


def test_a_column_constant_by_halves_has_variance_where_the_halves_meet() -> None:
    column = np.repeat([0.01, 0.02], 8)
    result = cscv(np.column_stack([column, -column]), 4)
    # Splits in lexicographic order: first the older half alone, last the newer half alone.
    assert result.out_of_sample[0] == result.out_of_sample[-1] == 0.0
    assert result.in_sample[1] == pytest.approx(0.015 / (0.005 * math.sqrt(8 / 7)))


def test_the_oldest_rows_are_dropped_when_blocks_do_not_divide() -> None:
    returns = noise(6, n_rows=101)
    result = cscv(returns, 8)
    assert (result.n_rows_dropped, result.n_rows_used) == (5, 96)
    assert np.array_equal(result.rank, cscv(returns[5:], 8).rank)


def test_a_real_edge_is_selected_in_every_split_and_never_counts_as_overfit() -> None:
    returns = noise(7)
    returns[:, 2] += 0.02
    result = cscv(returns, 8)
    assert set(result.selected.tolist()) == {2}
    assert (result.pbo, result.probability_of_loss) == (0.0, 0.0)
    assert result.over_pooled.first_order
    assert result.over_mean.second_order


def test_noise_is_overfit_about_half_of_the_time() -> None:
    average = np.mean([cscv(noise(seed, n_columns=10), 6).pbo for seed in range(200)])
    assert 0.42 < average < 0.58


def test_the_line_is_the_least_squares_line() -> None:
    result = cscv(noise(8), 8)
    slope, intercept = np.polyfit(result.in_sample, result.out_of_sample, 1)
    line = result.degradation
    assert line is not None
    assert (line.slope, line.intercept) == (pytest.approx(slope), pytest.approx(intercept))
    assert line.r2 == pytest.approx(np.corrcoef(result.in_sample, result.out_of_sample)[0, 1] ** 2)


def test_the_table_given_is_left_as_it_was() -> None:
    returns = noise(9)
    before = returns.copy()
    cscv(returns, 8)
    assert np.array_equal(returns, before)


@pytest.mark.parametrize(
    ("returns", "n_blocks", "error", "words"),
    [
        (noise(1)[:, 0], 8, InvalidInput, "1 dimensions"),
        (noise(1), 7, InvalidInput, "even number"),
        (noise(1), 0, InvalidInput, "even number"),
        (np.where(noise(1) > 0.02, np.nan, noise(1)), 8, InvalidInput, "a missing return is not zero"),
        (noise(1, n_columns=1), 8, NotComputable, "none was selected"),
        (noise(1, n_rows=7), 8, NotComputable, "fewer than two rows"),
        (noise(1, n_rows=3), 2, NotComputable, "fewer than two rows"),
        (np.zeros((40, 2_000)), 20, InvalidInput, "fewer blocks"),
    ],
)
def test_what_cannot_be_computed_is_refused_with_its_reason(
    returns: np.ndarray, n_blocks: int, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        cscv(returns, n_blocks)


def test_one_row_per_block_is_enough_when_a_half_has_two() -> None:
    result = cscv(noise(1, n_rows=4), 4)
    assert isinstance(result, Overfitting)
    assert result.n_splits == 6
