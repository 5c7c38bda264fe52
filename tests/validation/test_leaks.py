import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.features.indicators import ema, rolling_mean
from bybit.rules.errors import InvalidInput
from validation.leaks import Drift, Leak, look_ahead, recursive_drift

PRICES = 100.0 + np.random.default_rng(1).normal(0.0, 1.0, 80).cumsum()


def honest(start: int, end: int) -> np.ndarray:
    return rolling_mean(PRICES[start:end], 5)


def peeking(n_ahead: int):
    def decide(start: int, end: int) -> np.ndarray:
        prices = PRICES[start:end]
        later = np.concatenate([prices[n_ahead:], np.full(n_ahead, np.nan)])[: len(prices)]
        return np.where(np.isnan(later), prices, later)

    return decide


@given(st.lists(st.integers(1, 79), min_size=1, max_size=5))
def test_an_average_of_the_past_does_not_leak(cuts: list[int]) -> None:
    assert look_ahead(honest, 80, cuts) == []
    assert look_ahead(lambda start, end: ema(PRICES[start:end], 7), 80, cuts) == []


@given(st.integers(1, 6), st.integers(10, 70))
def test_a_glance_ahead_is_found_as_far_back_as_it_reached(n_ahead: int, cut: int) -> None:
    assert look_ahead(peeking(n_ahead), 80, [cut]) == [Leak(cut, cut - n_ahead, n_ahead)]


def test_a_figure_scaled_by_the_whole_record_leaks_from_its_first_row() -> None:
    leaks = look_ahead(lambda start, end: PRICES[start:end] / PRICES[start:end].std(), 80, [40, 79])
    assert [(leak.cut, leak.first_row, leak.n_rows) for leak in leaks] == [(40, 0, 40), (79, 0, 79)]


@pytest.mark.parametrize(("at_the_end", "elsewhere"), [(1.0, math.nan), (math.nan, 1.0)])
def test_a_figure_that_appears_or_vanishes_is_a_leak(at_the_end: float, elsewhere: float) -> None:
    def decide(start: int, end: int) -> np.ndarray:
        return np.where(np.arange(start, end) == end - 1, at_the_end, elsewhere)

    assert look_ahead(decide, 80, [30]) == [Leak(30, 29, 1)]


def test_one_figure_of_several_is_enough() -> None:
    def decide(start: int, end: int) -> np.ndarray:
        return np.column_stack([honest(start, end), peeking(1)(start, end)])

    assert look_ahead(decide, 80, [30]) == [Leak(30, 29, 1)]


def test_a_window_forgets_its_beginning_and_an_exponential_average_does_not() -> None:
    # Row 20 needs itself and four more before it; NaN on one side alone is as far apart as can be.
    enough, whole = recursive_drift(honest, 80, 20, [4, 20])
    # A running sum leaves rounding errors of its own.
    assert enough.largest < 1e-12
    assert whole == Drift(20, 0.0)
    assert recursive_drift(honest, 80, 20, [3]) == [Drift(3, math.inf)]
    short, long = recursive_drift(lambda start, end: ema(PRICES[start:end], 7), 80, 40, [10, 30])
    assert 0.0 < long.largest < short.largest < 5.0


def test_the_largest_difference_is_taken_over_all_rows_and_figures() -> None:
    def decide(start: int, end: int) -> np.ndarray:
        rows = np.zeros((end - start, 2))
        rows[-1, 1] = -3.0 * start
        return rows

    assert recursive_drift(decide, 30, 10, [10, 8, 0]) == [Drift(10, 0.0), Drift(8, 6.0), Drift(0, 30.0)]


@pytest.mark.parametrize("cuts", [[], [0], [80], [5, -1]])
def test_a_cut_that_takes_nothing_or_everything_is_refused(cuts: list[int]) -> None:
    with pytest.raises(InvalidInput, match="cuts"):
        look_ahead(honest, 80, cuts)


@pytest.mark.parametrize(("first_row", "warm_ups"), [(20, []), (20, [21]), (20, [-1]), (80, [3]), (-1, [0])])
def test_a_warm_up_outside_the_record_is_refused(first_row: int, warm_ups: list[int]) -> None:
    with pytest.raises(InvalidInput, match="warm-ups"):
        recursive_drift(honest, 80, first_row, warm_ups)


@pytest.mark.parametrize("figures", [np.zeros(79), np.zeros((80, 1, 1)), np.float64(1.0)])
def test_another_number_of_rows_is_refused(figures: np.ndarray) -> None:
    with pytest.raises(InvalidInput, match="expected 80 rows"):
        look_ahead(lambda start, end: figures, 80, [5])
