"""What each strategy decides on a market made for it."""

import dataclasses

import numpy as np
import pytest

from bybit.rules.candles import Interval
from bybit.strategies import FundingCarry, build
from bybit.strategies.funding_carry import yearly_funding_rate
from tests.bybit.strategies.views import random_view

N = 1_200
QUIET = random_view(1, N, daily_volatility=1e-4)


def shaped(close, **changes):
    """Return an hourly view with these closes and hardly any range around them."""
    open_ = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(open_, close) * 1.0001, np.minimum(open_, close) * 0.9999
    return dataclasses.replace(QUIET, open=open_, high=high, low=low, close=close, **changes)


def ramp(rate_a_day, start=600, days=6):
    """Return a price with a little noise that drifts for some days."""
    drift = np.zeros(N)
    drift[start : start + 24 * days] = rate_a_day / 24
    noise = 0.002 * np.random.default_rng(3).standard_normal(N)
    return 100.0 * np.exp(np.cumsum(drift) + noise)


@pytest.mark.parametrize(("drift", "side"), [(0.05, 1.0), (-0.05, -1.0)])
def test_trend_and_breakout_follow_a_drift(drift, side):
    for name in ("trend", "breakout"):
        signals = build(name).signals(shaped(ramp(drift)))
        during = signals.target[600 + 48 : 600 + 24 * 6]
        assert (np.sign(during) == side).all(), name
        assert (side * (ramp(drift)[600 + 48 : 600 + 24 * 6] - signals.stop_price[600 + 48 : 600 + 24 * 6]) > 0).all()


def test_trend_takes_less_when_prices_move_more():
    calm, wild = (np.nanmax(build("trend").signals(shaped(ramp(0.05) ** power)).target) for power in (1.0, 3.0))
    assert 0.0 < wild < calm <= 1.5


def test_trend_may_be_kept_from_going_short():
    assert np.nanmin(build("trend", {"allow_short": False}).signals(shaped(ramp(-0.05))).target) == 0.0


def test_mean_reversion_buys_a_fall_with_a_limit_below_the_close_and_sells_the_return_above_it():
    close = 100.0 * np.exp(0.002 * np.random.default_rng(3).standard_normal(N))
    close[600:606] *= np.linspace(0.995, 0.98, 6)
    signals = build("mean_reversion").signals(shaped(close))
    bought = 600 + int(np.flatnonzero(signals.target[600:] > 0.0)[0])
    assert bought < 606
    assert signals.target[bought] == 0.5
    assert signals.limit_price[bought] < close[bought]
    assert signals.stop_price[bought] < close[bought]
    sold = bought + int(np.flatnonzero(signals.target[bought:] == 0.0)[0])
    assert signals.limit_price[sold] > close[sold]
    # The exit may rest unfilled: the stop of the entry stays with it.
    assert signals.stop_price[sold] == signals.stop_price[bought]


@pytest.mark.parametrize(("rate", "side"), [(0.0005, -0.5), (-0.0005, 0.5), (0.0001, 0.0)])
def test_funding_carry_takes_the_side_that_receives(rate, side):
    hours_8 = np.full(N, 8 * 3.6e6)
    view = dataclasses.replace(QUIET, funding_rate_known=np.full(N, rate), funding_interval_known_ms=hours_8)
    signals = FundingCarry().signals(view)
    assert signals.target[-1] == side
    if side:
        entered = int(np.flatnonzero(np.nan_to_num(signals.target))[0])
        assert side * (view.close[entered] - signals.stop_price[entered]) > 0


def test_the_same_rate_twice_as_often_is_twice_the_yearly_rate():
    per_8h, per_4h = (
        dataclasses.replace(
            QUIET, funding_rate_known=np.full(N, 0.0001), funding_interval_known_ms=np.full(N, h * 3.6e6)
        )
        for h in (8, 4)
    )
    assert yearly_funding_rate(per_8h)[0] == pytest.approx(0.1095)
    assert yearly_funding_rate(per_4h)[0] == pytest.approx(0.219)


def test_without_known_funding_carry_stays_flat():
    view = dataclasses.replace(QUIET, funding_rate_known=np.full(N, np.nan))
    assert (np.nan_to_num(FundingCarry().signals(view).target) == 0.0).all()


@pytest.mark.parametrize("name", ["trend", "breakout", "funding_carry"])
def test_every_stop_stands_against_the_position_and_within_its_cap(name):
    view = random_view(9, 3_000, Interval.HOUR_1, daily_volatility=0.12)
    signals = build(name).signals(view)
    entered = np.flatnonzero(np.diff(np.nan_to_num(signals.target), prepend=0.0) != 0.0)
    entered = entered[np.nan_to_num(signals.target)[entered] != 0.0]
    assert len(entered) > 2
    distance = np.sign(signals.target[entered]) * (1.0 - signals.stop_price[entered] / view.close[entered])
    assert (distance > 0.0).all()
    assert (distance <= 0.12 + 1e-12).all()
