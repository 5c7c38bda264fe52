import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bybit.rules.errors import InvalidInput
from validation.errors import NotComputable
from validation.inference import (
    VARIANCE_FORM,
    SharpeMoments,
    deflated_sharpe,
    expected_maximum,
    luck_benchmark,
    min_backtest_years,
    min_backtest_years_bound,
    min_track_record,
    probabilistic_sharpe,
    variance_of_trials,
)

sharpes = st.floats(-0.5, 0.5)
records = st.integers(2, 5_000)
skews = st.floats(-2.0, 2.0)
kurtoses = st.floats(6.0, 30.0)


def test_the_example_of_the_2012_paper_comes_out() -> None:
    monthly = (0.036 / 0.079, 0.0, 24)
    assert round(probabilistic_sharpe(*monthly, skew=-2.448, kurtosis=10.164), 3) == 0.913
    assert "not used" in VARIANCE_FORM


def test_the_example_of_the_2014_paper_comes_out() -> None:
    daily = 2.5 / math.sqrt(250)
    assert round(deflated_sharpe(daily, 0.5 / 250, 100, 1250, skew=-3, kurtosis=10), 4) == 0.9004


@given(sharpes, sharpes, sharpes, records, skews, kurtoses)
def test_a_higher_bar_is_less_likely_met(
    sharpe: float, low: float, high: float, n_obs: int, skew: float, kurtosis: float
) -> None:
    low, high = sorted((low, high))
    terms = (n_obs, skew, kurtosis)
    assert probabilistic_sharpe(sharpe, low, *terms) >= probabilistic_sharpe(sharpe, high, *terms)


@given(sharpes, sharpes, records, records)
def test_a_longer_record_says_more_in_either_direction(sharpe: float, bar: float, short: int, long: int) -> None:
    short, long = sorted((short, long))
    less, more = (abs(probabilistic_sharpe(sharpe, bar, n) - 0.5) for n in (short, long))
    assert more >= less


@given(sharpes, records, skews, kurtoses)
def test_a_bar_at_the_figure_itself_is_even_odds(sharpe: float, n_obs: int, skew: float, kurtosis: float) -> None:
    assert probabilistic_sharpe(sharpe, sharpe, n_obs, skew, kurtosis) == 0.5


@given(st.floats(0.01, 0.5), records, st.floats(-2.0, -0.1), kurtoses)
def test_losses_with_a_long_tail_prove_less(sharpe: float, n_obs: int, skew: float, kurtosis: float) -> None:
    even = probabilistic_sharpe(sharpe, 0.0, n_obs, 0.0, kurtosis)
    assert probabilistic_sharpe(sharpe, 0.0, n_obs, skew, kurtosis) <= even
    assert even <= probabilistic_sharpe(sharpe, 0.0, n_obs, 0.0, 3.0)


def test_a_probability_near_zero_keeps_its_digits() -> None:
    # 15 deviations below: 3.67e-51, where 1 + erf would say 0.
    assert probabilistic_sharpe(-15.0 / math.sqrt(100), 0.0, 101, 0.0, 1.0) == pytest.approx(
        3.6709661993e-51, rel=1e-9, abs=0.0
    )


@given(st.floats(0.02, 0.5), st.floats(0.6, 0.999), skews, kurtoses)
def test_the_shortest_record_reaches_just_the_probability_asked(
    edge: float, probability: float, skew: float, kurtosis: float
) -> None:
    n_obs = min_track_record(edge, 0.01, skew, kurtosis, probability)
    assume(n_obs >= 2)
    # Between whole observations too: the formula does not round.
    assert probabilistic_sharpe(edge, 0.01, n_obs, skew, kurtosis) == pytest.approx(probability, rel=1e-9)


@pytest.mark.parametrize("benchmark", [0.1, 0.2])
def test_no_record_is_long_enough_for_what_does_not_beat_its_bar(benchmark: float) -> None:
    with pytest.raises(NotComputable, match="no record is long enough"):
        min_track_record(0.1, benchmark)


@pytest.mark.parametrize("probability", [0.5, 1.0, 95.0, math.nan])
def test_a_probability_that_asks_for_nothing_or_too_much_is_refused(probability: float) -> None:
    with pytest.raises(InvalidInput, match="probability"):
        min_track_record(0.1, 0.0, probability=probability)


@pytest.mark.parametrize(
    ("sharpe", "n_obs", "skew", "kurtosis"),
    [(0.1, 1, 0.0, 3.0), (1.0, 24, 5.0, 3.0), (1.0, 24, 2.0, 5.0), (math.nan, 24, 0.0, 3.0), (0.1, 24, math.nan, 3.0)],
)
def test_what_has_no_variance_has_no_probability(sharpe: float, n_obs: int, skew: float, kurtosis: float) -> None:
    with pytest.raises(NotComputable):
        probabilistic_sharpe(sharpe, 0.0, n_obs, skew, kurtosis)


@pytest.mark.parametrize(("n_trials", "error"), [(10, 0.03), (100, 0.01), (1_000, 0.005)])
def test_the_expected_maximum_is_near_the_average_of_simulated_maxima(n_trials: int, error: float) -> None:
    drawn = np.random.default_rng(1).standard_normal((20_000, n_trials)).max(axis=1).mean()
    assert expected_maximum(n_trials) == pytest.approx(drawn, rel=error)


@given(st.integers(1, 10**6))
def test_every_further_trial_raises_the_bar(n_trials: int) -> None:
    assert expected_maximum(n_trials + 1) > expected_maximum(n_trials)
    assert min_backtest_years(n_trials + 1, 1.0) > min_backtest_years(n_trials, 1.0)


def test_a_single_trial_is_held_against_zero() -> None:
    assert luck_benchmark(0.3, 1) == 0.0
    assert deflated_sharpe(0.1, 0.3, 1, 100) == probabilistic_sharpe(0.1, 0.0, 100)


def test_trials_that_all_agree_leave_no_room_for_luck() -> None:
    assert luck_benchmark(0.0, 50) == 0.0


@pytest.mark.parametrize("n_trials", [0, -3])
def test_no_trial_at_all_is_a_miscount(n_trials: int) -> None:
    for figure in (expected_maximum, lambda n: min_backtest_years_bound(n, 1.0), lambda n: luck_benchmark(1.0, n)):
        with pytest.raises(InvalidInput, match="trials were counted"):
            figure(n_trials)


@pytest.mark.parametrize("variance", [-1e-9, math.nan, math.inf])
def test_a_variance_that_is_none_is_refused(variance: float) -> None:
    with pytest.raises(InvalidInput, match="variance of the trials"):
        luck_benchmark(variance, 5)


@pytest.mark.parametrize("target", [0.0, -1.0, math.inf, math.nan])
def test_a_backtest_length_needs_a_sharpe_ratio_to_aim_at(target: float) -> None:
    for figure in (min_backtest_years, min_backtest_years_bound):
        with pytest.raises(InvalidInput, match="aimed at"):
            figure(10, target)


@given(st.integers(2, 10**6), st.floats(0.1, 5.0))
def test_the_bound_lies_above_the_length_it_bounds(n_trials: int, target: float) -> None:
    assert min_backtest_years(n_trials, target) < min_backtest_years_bound(n_trials, target)


def test_trials_without_a_figure_are_not_left_out() -> None:
    assert variance_of_trials(np.array([0.1, 0.3])) == pytest.approx(0.02)
    assert variance_of_trials(np.array([0.1])) == 0.0
    for trials in (np.array([0.1, math.nan]), np.zeros(0)):
        with pytest.raises(NotComputable, match="no Sharpe ratio"):
            variance_of_trials(trials)


def test_moments_are_those_of_the_definition() -> None:
    returns = np.array([0.01, -0.02, 0.03, 0.0, 0.005])
    moments = SharpeMoments.of(returns)
    z = (returns - returns.mean()) / returns.std()
    assert moments.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1), rel=1e-14)
    assert (moments.skew, moments.kurtosis) == (pytest.approx((z**3).mean()), pytest.approx((z**4).mean()))
    assert moments.n_obs == 5


@given(st.lists(st.integers(-100, 100), min_size=3, max_size=30), st.sampled_from([1e-6, 0.01, 1e90, 1e-90]))
def test_moments_do_not_depend_on_the_unit(values: list[int], unit: float) -> None:
    assume(len(set(values)) > 1)
    plain, scaled = SharpeMoments.of(np.array(values, dtype=float)), SharpeMoments.of(np.array(values) * unit)
    assert scaled.sharpe == pytest.approx(plain.sharpe, abs=1e-9)
    assert scaled.skew == pytest.approx(plain.skew, abs=1e-9)
    assert scaled.kurtosis == pytest.approx(plain.kurtosis, rel=1e-9)
    # No distribution has less.
    assert plain.kurtosis >= plain.skew**2 + 1.0 - 1e-9


@pytest.mark.parametrize("returns", [[], [0.1], [0.1, 0.1, 0.1], [0.1, math.nan], [0.1, math.inf]])
def test_returns_without_a_deviation_have_no_moments(returns: list[float]) -> None:
    with pytest.raises(NotComputable):
        SharpeMoments.of(np.array(returns))
