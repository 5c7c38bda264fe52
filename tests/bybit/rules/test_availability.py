from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from bybit.rules.availability import AFTER_DELISTING, BEFORE_LISTING, MAINTENANCE, Closure, is_closed, untraded
from bybit.rules.candles import Category, Interval
from bybit.rules.periods import Period, to_ms
from tests.bybit.history.venues import notice

BEGIN = datetime(2025, 7, 1, 6, 0, 20, tzinfo=UTC)
END = BEGIN + timedelta(minutes=29)
NOW = END + timedelta(days=1)


def closure(**more: object) -> Closure | None:
    return Closure.of(replace(notice(BEGIN, END), **more), NOW)


def test_a_maintenance_of_trading_closes_the_futures_it_names():
    found = closure()
    assert found is not None
    assert found.period == Period(BEGIN, END)
    assert [found.closes(category) for category in (Category.LINEAR, Category.INVERSE, Category.SPOT)] == [
        True,
        True,
        False,
    ]
    assert found.evidence["notice"] == "n1"


@pytest.mark.parametrize(
    "more",
    [
        {"state": "canceled"},
        {"begin": None},
        {"services": (2, 3, 4, 5)},
        {"services": ()},
        {"uid_suffixes": (7,)},
        {"is_demo": True},
        {"begin": NOW},
        {"end": BEGIN},
    ],
    ids=str,
)
def test_what_lets_others_trade_on_closes_nothing(more: dict[str, object]):
    assert closure(**more) is None


def test_a_notice_without_an_end_and_one_that_is_not_over_hold_until_now():
    for end in (None, NOW + timedelta(hours=1)):
        found = closure(end=end, state="ongoing")
        assert found is not None
        assert found.period.end == NOW


def test_a_candle_is_explained_only_when_it_lies_inside_as_a_whole():
    found = closure()
    assert found is not None
    minute, quarter = Interval.MINUTE_1, Interval.MINUTE_15
    start = to_ms(BEGIN.replace(second=0))

    def explained(interval: Interval, minutes: int) -> bool:
        open_ms = start + minutes * 60_000
        return found.explains(open_ms, interval.close_ms(open_ms))

    # 06:00:20 to 06:29:20 is 06:00 to 06:30 in whole minutes.
    assert [m for m in range(-3, 40) if explained(minute, m)] == list(range(30))
    assert [m for m in range(-30, 60, 15) if explained(quarter, m)] == [0, 15]
    assert not explained(Interval.HOUR_1, 0)


def test_a_closed_venue_is_no_fault_and_an_empty_one_is():
    assert all(is_closed(reason) for reason in (BEFORE_LISTING, AFTER_DELISTING, MAINTENANCE))
    assert not any(is_closed(reason) for reason in ("venue-empty", "rejected", "conflicting", ""))


def test_only_an_untraded_candle_inside_a_closure_stands_for_nothing():
    found = closure()
    assert found is not None
    minute = Interval.MINUTE_1
    opened = to_ms(BEGIN.replace(second=0)) + np.arange(-2, 33) * 60_000
    volume = np.zeros(len(opened))
    volume[5] = 3.0
    expected = [place for place in range(2, 32) if place != 5]
    assert np.flatnonzero(untraded([found], minute, opened, volume)).tolist() == expected
    assert not untraded([], minute, opened, volume).any()
    # An hour of which a half was closed may have been silent by itself.
    hours = np.asarray([to_ms(BEGIN.replace(minute=0, second=0))])
    assert not untraded([found], Interval.HOUR_1, hours, np.zeros(1)).any()
