import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bybit.features import indicators
from bybit.rules.errors import InvalidInput

prices = hnp.arrays(np.float64, st.integers(2, 60), elements=st.floats(0.01, 1000.0))
windows = st.integers(1, 12)
NAN = math.nan


def close_to(ours, expected):
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-7)


@given(prices, windows)
def test_rolling_windows_equal_their_plain_definitions(values, n):
    windowed = [values[max(0, i - n + 1) : i + 1] for i in range(len(values))]
    for ours, plain in (
        (indicators.rolling_max, np.max),
        (indicators.rolling_min, np.min),
        (indicators.rolling_mean, np.mean),
    ):
        close_to(ours(values, n), [plain(w) if len(w) == n else NAN for w in windowed])


@given(prices, st.integers(2, 12))
def test_the_rolling_deviation_has_one_degree_of_freedom_less(values, n):
    windowed = [values[max(0, i - n + 1) : i + 1] for i in range(len(values))]
    expected = [np.std(w, ddof=1) if len(w) == n else NAN for w in windowed]
    np.testing.assert_allclose(indicators.rolling_std(values, n), expected, rtol=1e-6, atol=1e-5)


@given(prices, windows)
def test_the_exponential_average_follows_its_recursion(values, n):
    weight, average, expected = 2 / (n + 1), values[0], []
    for i, value in enumerate(values):
        average = value if i == 0 else (1 - weight) * average + weight * value
        expected.append(average if i + 1 >= n else NAN)
    close_to(indicators.ema(values, n), expected)


def test_the_exponential_average_begins_at_the_first_known_value():
    np.testing.assert_array_equal(indicators.ema(np.array([NAN, NAN, 4.0, 4.0]), 2), [NAN, NAN, NAN, 4.0])


@given(prices, windows, st.integers(1, 59))
@settings(max_examples=60)
def test_no_indicator_looks_ahead(values, n, cut):
    cut = min(cut, len(values))
    n2 = max(2, n)
    high, low = values * 1.01, values * 0.99
    for ours in (
        lambda k: indicators.ema(values[:k], n),
        lambda k: indicators.rolling_std(values[:k], n2),
        lambda k: indicators.zscore(values[:k], n2),
        lambda k: indicators.rolling_max(values[:k], n),
        lambda k: indicators.volatility(values[:k], n),
        lambda k: indicators.atr(high[:k], low[:k], values[:k], n, 2),
        lambda k: indicators.rsi(values[:k], n),
        lambda k: indicators.latch(values[:k] > 500, values[:k] < 100).astype(float),
        lambda k: indicators.held_since_change(values[:k], np.floor(values[:k] / 300)),
    ):
        np.testing.assert_array_equal(ours(cut), ours(len(values))[:cut])


def test_a_price_that_does_not_move_has_no_zscore_and_no_rsi():
    flat = np.full(30, 0.1)
    assert np.isnan(indicators.zscore(flat, 5)).all()
    assert np.isnan(indicators.rsi(flat, 5)).all()


def test_the_zscore_of_a_jump_is_its_distance_in_deviations():
    values = np.array([1.0, 1.0, 1.0, 4.0])
    assert indicators.zscore(values, 4)[-1] == pytest.approx((4 - 1.75) / np.std(values, ddof=1))


def test_a_true_range_includes_the_gap_from_the_close_before():
    high, low, close = np.array([10.0, 14.0]), np.array([9.0, 13.0]), np.array([9.5, 13.5])
    np.testing.assert_array_equal(indicators.true_range(high, low, close), [NAN, 4.5])


@given(prices)
def test_a_days_true_range_does_not_depend_on_the_candle_length(values):
    pairs = values[: len(values) // 2 * 2].reshape(-1, 2)
    fine = indicators.true_range(values, values, values, 2)[: pairs.size][1::2]
    coarse = indicators.true_range(pairs.max(1), pairs.min(1), pairs[:, 1], 1) if len(pairs) > 1 else fine
    np.testing.assert_array_equal(fine, coarse)


def test_rsi_is_100_after_gains_only_and_50_when_both_are_equal():
    rising = indicators.rsi(np.arange(1.0, 20.0), 5)
    assert rising[-1] == 100.0
    swinging = indicators.rsi(np.array([1.0, 2.0] * 400), 14)
    assert swinging[-1] == pytest.approx(50.0, abs=2.0)


def test_volatility_is_the_size_of_a_constant_move():
    close = 100.0 * np.exp(0.02 * (np.arange(50) % 2))
    assert indicators.volatility(close, 10)[-1] == pytest.approx(0.02)


def test_a_latch_stays_until_it_is_reset():
    on = np.array([0, 0, 1, 0, 0, 0, 1, 0], dtype=bool)
    off = np.array([1, 0, 0, 0, 1, 0, 1, 0], dtype=bool)
    np.testing.assert_array_equal(indicators.latch(on, off), [0, 0, 1, 1, 0, 0, 1, 1])


def test_a_held_value_is_the_one_at_the_change():
    held = indicators.held_since_change(np.array([5.0, 6.0, 7.0, 8.0]), np.array([0.0, 1.0, 1.0, 0.0]))
    np.testing.assert_array_equal(held, [5.0, 6.0, 6.0, 8.0])


@pytest.mark.parametrize("n", [0, -3])
def test_an_empty_window_is_refused(n):
    with pytest.raises(InvalidInput, match="expected 1 or more"):
        indicators.ema(np.ones(3), n)
    with pytest.raises(InvalidInput, match="expected 2 or more"):
        indicators.rolling_std(np.ones(3), n)
