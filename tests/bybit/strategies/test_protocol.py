"""What every registered strategy must keep, and the check that holds them to it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.rules.candles import Interval
from bybit.rules.errors import InvalidInput
from bybit.strategies import (
    FundingCarryParams,
    MarketView,
    Signals,
    Strategy,
    StrategyParams,
    Trend,
    TrendParams,
    build,
    register,
    registry,
)
from tests.bybit.strategies.views import assert_no_look_ahead, random_view, turnover_a_day

NAMES = sorted(registry())
INTERVALS = [Interval.MINUTE_1, Interval.MINUTE_15, Interval.HOUR_1, Interval.HOUR_4, Interval.DAY_1]
# Short windows, so that a few hundred candles of any length hold many signals.
QUICK = {
    "trend": {"fast_hours": 6.0, "slow_hours": 24.0, "volatility_hours": 24.0, "entry_band": 0.2},
    "breakout": {"entry_hours": 12.0, "exit_hours": 6.0, "range_hours": 6.0, "atr_hours": 12.0},
    "mean_reversion": {"window_hours": 12.0, "entry_z": 1.5, "range_hours": 6.0, "atr_hours": 12.0},
    "funding_carry": {"smoothing_hours": 12.0, "atr_hours": 12.0, "entry_yearly_rate": 0.2},
}


class Oracle(Strategy):
    """Knows the next close, which nobody can."""

    name = "oracle"
    params_type: ClassVar[type[StrategyParams]] = StrategyParams

    def warmup(self, interval: Interval) -> int:
        return 1

    def signals(self, view: MarketView) -> Signals:
        target = np.zeros(len(view))
        target[:-1] = np.sign(np.diff(view.close))
        return Signals(target)


class Centred(Oracle):
    """Scales by the mean of the whole record, the commonest way to cheat without noticing."""

    name = "centred"

    def signals(self, view: MarketView) -> Signals:
        return Signals(np.sign(view.close - view.close.mean()))


def test_four_strategies_are_registered_under_their_own_names():
    assert NAMES == ["breakout", "funding_carry", "mean_reversion", "trend"]
    assert all(strategy.name == name for name, strategy in registry().items())


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(60, 400), cut=st.floats(0.05, 1.0), quick=st.booleans())
@settings(max_examples=40, deadline=None)
def test_no_strategy_looks_ahead(name, seed, n, cut, quick):
    view = random_view(seed, n)
    assert_no_look_ahead(build(name, QUICK[name] if quick else None), view, max(1, int(n * cut)))


@pytest.mark.parametrize("interval", INTERVALS, ids=lambda interval: interval.value)
@pytest.mark.parametrize("name", NAMES)
def test_no_strategy_looks_ahead_on_any_candle_length(name, interval):
    strategy = build(name, QUICK[name])
    view = random_view(11, 3 * strategy.warmup(interval) + 50, interval)
    for cut in (0.3, 0.61, 0.97):
        assert_no_look_ahead(strategy, view, int(len(view) * cut))


class Hindsight(Oracle):
    """Trails at a distance that only the whole record tells."""

    name = "hindsight"

    def signals(self, view: MarketView) -> Signals:
        flat = np.zeros(len(view))
        return Signals(flat, trailing_distance=np.full(len(view), view.close.std()))


class Afterthought(Oracle):
    """Asks for post-only orders by how long the record turned out to be."""

    name = "afterthought"

    def signals(self, view: MarketView) -> Signals:
        return Signals(np.zeros(len(view)), post_only=len(view) > 250)


@pytest.mark.parametrize("cheat", [Oracle, Centred, Hindsight, Afterthought])
def test_the_look_ahead_check_catches_a_cheat(cheat):
    with pytest.raises(AssertionError):
        assert_no_look_ahead(cheat(), random_view(3, 300), 200)


@pytest.mark.parametrize("interval", INTERVALS, ids=lambda interval: interval.value)
@pytest.mark.parametrize("name", NAMES)
def test_defaults_have_an_opinion_after_warm_up_and_none_before(name, interval):
    strategy = build(name)
    n_warmup = strategy.warmup(interval)
    target = strategy.signals(random_view(5, n_warmup + 100, interval)).target
    assert np.isnan(target[: n_warmup - 1]).all()
    assert np.isfinite(target[n_warmup - 1 :]).all()


@pytest.mark.parametrize("interval", [Interval.MINUTE_5, Interval.HOUR_1, Interval.HOUR_4], ids=lambda i: i.value)
@pytest.mark.parametrize("name", NAMES)
def test_defaults_trade_now_and_then_at_every_candle_length(name, interval):
    days = 120
    signals = build(name).signals(random_view(8, days * 86_400_000 // interval.ms, interval))
    assert 0.02 < turnover_a_day(signals, interval) < 1.5


@pytest.mark.parametrize("name", NAMES)
def test_signals_are_the_same_when_asked_twice_and_leave_the_view_alone(name):
    view, strategy = random_view(4, 500), build(name, QUICK[name])
    for array in (view.open, view.high, view.low, view.close, view.funding_rate_known):
        array.flags.writeable = False
    first, second = strategy.signals(view), strategy.signals(view)
    np.testing.assert_array_equal(first.target, second.target)


def test_an_unknown_strategy_is_refused_with_the_known_names():
    with pytest.raises(InvalidInput, match="breakout, funding_carry, mean_reversion, trend"):
        build("martingale")


def test_an_unknown_parameter_is_refused_with_the_known_names():
    with pytest.raises(InvalidInput, match=r"no parameter fast_days: it takes .*fast_hours"):
        build("trend", {"fast_days": 3})


def test_the_parameters_of_another_strategy_are_refused():
    with pytest.raises(InvalidInput, match="takes TrendParams, not FundingCarryParams"):
        Trend(FundingCarryParams())


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "24", True, None])
def test_a_window_that_is_not_a_positive_number_is_refused(value):
    with pytest.raises(InvalidInput, match="fast_hours"):
        TrendParams(fast_hours=value)


@pytest.mark.parametrize("interval", [Interval.WEEK_1, Interval.MONTH_1])
def test_candles_longer_than_a_day_are_refused(interval):
    with pytest.raises(InvalidInput, match="one day or shorter"):
        build("trend").warmup(interval)


def test_two_strategies_cannot_share_a_name():
    @dataclass(frozen=True, slots=True)
    class Params(StrategyParams):
        pass

    class Other(Oracle):
        name = "trend"
        params_type = Params

    with pytest.raises(InvalidInput, match="two strategies are named 'trend'"):
        register(Other)


def test_parameters_are_described_by_name():
    assert build("trend", {"fast_hours": 12.0}).describe()["fast_hours"] == 12.0
