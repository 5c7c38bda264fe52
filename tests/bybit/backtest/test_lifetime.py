"""When a contract may be traded: not before its launch, not after its delivery."""

import dataclasses
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from bybit.backtest.errors import UnusableData
from bybit.backtest.lifetime import traded_span
from bybit.backtest.market import prepare
from bybit.rules.candles import Interval
from bybit.rules.periods import Period, utc
from tests.bybit.backtest.markets import START, flat, instrument, market

DAY = Period(START, START + timedelta(days=1))


def span(**changes):
    return traded_span(instrument(**changes), Interval.HOUR_1, DAY)


def hours(found):
    return tuple((utc(ms) - START) / timedelta(hours=1) for ms in (found.start_ms, found.last_open_ms))


def test_a_contract_that_lives_throughout_is_traded_throughout():
    assert hours(span()) == (0, 23)
    long_ago, far_away = START - timedelta(days=9), START + timedelta(days=9)
    found = span(launch_time=long_ago, delivery_time=far_away)
    assert hours(found) == (0, 23)
    assert (found.listed_ms, found.delivered_ms) == (None, None)


def test_the_candle_that_opened_before_the_launch_is_not_traded():
    found = span(launch_time=START + timedelta(hours=3, minutes=20))
    assert hours(found)[0] == 4
    assert utc(found.listed_ms) == START + timedelta(hours=3, minutes=20)
    assert hours(span(launch_time=START + timedelta(hours=3)))[0] == 3


def test_the_last_candle_is_the_one_that_opened_before_the_delivery():
    assert hours(span(delivery_time=START + timedelta(hours=8)))[1] == 7
    assert hours(span(delivery_time=START + timedelta(hours=8, minutes=1)))[1] == 8
    assert span(delivery_time=DAY.end).delivered_ms is not None
    assert span(delivery_time=DAY.end + timedelta(hours=1)).delivered_ms is None


def test_a_delivery_before_the_launch_is_none():
    found = span(launch_time=START - timedelta(days=1), delivery_time=datetime(1970, 1, 1, tzinfo=UTC))
    assert hours(found) == (0, 23)


@pytest.mark.parametrize(
    "changes",
    [
        {"launch_time": DAY.end},
        {"delivery_time": START},
        {"launch_time": DAY.end - timedelta(minutes=30)},
    ],
)
def test_a_contract_without_a_whole_candle_in_the_period_is_refused(changes):
    with pytest.raises(UnusableData, match="no whole 1h candle in 2024-01-01"):
        span(**changes)


def prepared(n_hours, **changes):
    rows = flat(100.0, 1) + flat(100.0, n_hours)
    data = market(rows, **changes)
    return data, Period(START, START + timedelta(hours=n_hours))


def test_candles_before_the_launch_may_be_absent_and_serve_as_warm_up_when_present():
    data, period = prepared(6, instrument=instrument(launch_time=START + timedelta(hours=2)))
    found = prepare(data, period, 3, "exact")
    assert (found.n_before, found.n_rows, found.n_warmup_absent) == (3, 4, 0)
    late = dataclasses.replace(data, candles=data.candles.iloc[3:])
    found = prepare(late, period, 3, "exact")
    assert (found.n_before, found.n_rows, found.n_warmup_absent) == (0, 4, 3)


def test_a_candle_that_is_absent_after_the_launch_is_still_refused():
    data, period = prepared(6, instrument=instrument(launch_time=START + timedelta(hours=2)))
    with pytest.raises(UnusableData, match=r"1 of 4 1h candles .* the first at 2024-01-01T02:00"):
        prepare(dataclasses.replace(data, candles=data.candles.iloc[4:]), period, 0, "exact")


def test_nothing_is_traded_after_the_delivery_whether_candles_go_on_or_not():
    data, period = prepared(6, instrument=instrument(delivery_time=START + timedelta(hours=4)))
    for candles in (data.candles, data.candles.iloc[:5]):
        found = prepare(dataclasses.replace(data, candles=candles), period, 1, "exact")
        np.testing.assert_array_equal(found.candles.open_ms, prepare(data, period, 1, "exact").candles.open_ms)
        assert found.n_rows == 4
