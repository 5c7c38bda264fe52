from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey, check_symbol
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import to_ms, utc

intervals = st.sampled_from(Interval)
milliseconds = st.integers(to_ms(datetime(2018, 1, 1, tzinfo=UTC)), to_ms(datetime(2030, 1, 1, tzinfo=UTC)))


def ms(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


@given(intervals, milliseconds)
def test_every_instant_lies_in_the_candle_that_covers_it(interval: Interval, time: int) -> None:
    start = interval.floor_ms(time)
    assert start <= time < interval.close_ms(start)
    assert interval.floor_ms(start) == start
    assert interval.floor_ms(interval.close_ms(start)) == interval.close_ms(start)


@given(intervals, milliseconds, st.integers(0, 50))
def test_open_times_are_the_whole_grid_inside_the_bounds(interval: Interval, start: int, n_candles: int) -> None:
    end = start
    for _ in range(n_candles):
        end = interval.close_ms(interval.floor_ms(end))
    times = interval.open_times(start, end).tolist()
    assert all(start <= time < end for time in times)
    assert all(interval.floor_ms(time) == time for time in times)
    assert all(interval.close_ms(a) == b for a, b in pairwise(times))
    first = (
        interval.floor_ms(start) if interval.floor_ms(start) == start else interval.close_ms(interval.floor_ms(start))
    )
    assert (times[0] if times else first) == first
    assert not times or interval.close_ms(times[-1]) >= end


def test_weeks_start_on_monday() -> None:
    assert utc(Interval.WEEK_1.floor_ms(ms("2025-06-01T23:59"))) == datetime(2025, 5, 26, tzinfo=UTC)
    assert Interval.WEEK_1.open_times(ms("2025-05-27"), ms("2025-06-10")).tolist() == [
        ms("2025-06-02"),
        ms("2025-06-09"),
    ]


def test_months_have_their_own_lengths() -> None:
    times = Interval.MONTH_1.open_times(ms("2023-12-15"), ms("2024-04-01")).tolist()
    assert times == [ms("2024-01-01"), ms("2024-02-01"), ms("2024-03-01")]
    assert Interval.MONTH_1.close_ms(ms("2024-02-01")) == ms("2024-03-01")
    assert Interval.MONTH_1.close_ms(ms("2024-12-01")) == ms("2025-01-01")
    for length in ("ms", "length"):
        with pytest.raises(InvalidInput, match="month"):
            getattr(Interval.MONTH_1, length)


def test_an_empty_span_has_no_candle() -> None:
    for interval in Interval:
        assert interval.open_times(ms("2025-01-01"), ms("2025-01-01")).size == 0


@given(intervals)
def test_an_interval_is_read_from_our_text_and_from_the_venues(interval: Interval) -> None:
    assert Interval.parse(interval.value) is Interval.parse(interval.wire) is interval


def test_minute_and_month_are_told_apart() -> None:
    assert Interval.parse("1m") is Interval.MINUTE_1
    assert Interval.parse("1M") is Interval.parse("M") is Interval.MONTH_1


@pytest.mark.parametrize("text", ["2m", "8h", "", "1H", "61", "m"])
def test_an_interval_the_venue_does_not_serve_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="1m, 3m"):
        Interval.parse(text)


@pytest.mark.parametrize("text", ["BTCUSDT", "1000PEPEUSDT", "BTC-26DEC25", "BTCUSDZ26"])
def test_symbols_of_the_venue_are_accepted(text: str) -> None:
    assert check_symbol(text) == text


@pytest.mark.parametrize(
    "text", ["", "btcusdt", "BTC/USDT", "../BTCUSDT", "BTCUSDT'", "ВТСUSDT", "BTC USDT", "B" * 60, "BTCUSDT\n"]
)
def test_anything_else_is_no_symbol(text: str) -> None:
    with pytest.raises(InvalidInput, match="symbol"):
        SeriesKey(Category.LINEAR, text, PriceType.LAST, Interval.HOUR_1)


def test_a_series_names_itself() -> None:
    assert str(SeriesKey(Category.LINEAR, "BTCUSDT", PriceType.MARK, Interval.HOUR_1)) == "linear/BTCUSDT/mark/1h"
