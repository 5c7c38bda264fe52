import itertools
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.errors import InvalidInput
from bybit.rules.funding import average_premium, funding_rate_from_premium, interest_rate
from bybit.rules.periods import Period, to_ms
from bybit.sandbox.bars import aggregate
from bybit.sandbox.market import Gap, Rows, Window, cut
from bybit.sandbox.synthetic import SyntheticMarket
from tests.bybit.sandbox.wire import DAY, HOUR, MINUTE

NOW = to_ms(datetime(2026, 5, 6, 13, 47, 20, tzinfo=UTC))
LINEAR = Category.LINEAR
MARKET = SyntheticMarket(seed=3)


def _key(
    symbol: str = "BTCUSDT", interval: Interval = Interval.MINUTE_1, price: PriceType = PriceType.LAST
) -> SeriesKey:
    return SeriesKey(LINEAR, symbol, price, interval)


def _all(key: SeriesKey, first: int, last: int, now: int = NOW, market: SyntheticMarket = MARKET) -> Rows:
    return market.candles(key, Window(first, last, 1_000_000), now)


def test_two_markets_of_one_seed_agree_whichever_minute_is_asked_first() -> None:
    other = SyntheticMarket(seed=3)
    window = Window(NOW - 3 * DAY, NOW, 5000)
    other.candles(_key("ETHUSDT"), Window(None, NOW - 700 * DAY, 10), NOW)
    for key in (_key("ETHUSDT"), _key("WIFUSDT", Interval.HOUR_4, PriceType.PREMIUM)):
        assert np.array_equal(MARKET.candles(key, window, NOW), other.candles(key, window, NOW))
    assert MARKET.funding(LINEAR, "XRPUSDT", window, NOW) == other.funding(LINEAR, "XRPUSDT", window, NOW)


def test_another_seed_is_another_market() -> None:
    window = Window(None, None, 10)
    assert not np.array_equal(MARKET.candles(_key(), window, NOW), SyntheticMarket(4).candles(_key(), window, NOW))


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "SOLUSDT", "WIFUSDT", "XRPUSDT"])
def test_minutes_are_coherent_positive_and_open_where_the_last_one_closed(symbol: str) -> None:
    tick = next(item.tick_size for item in MARKET.instruments(LINEAR, NOW) if item.symbol == symbol)
    for price in (PriceType.LAST, PriceType.MARK, PriceType.INDEX):
        rows = _all(_key(symbol, price=price), NOW - 20 * DAY, NOW - DAY)
        assert np.all(np.diff(rows[:, 0]) == MINUTE)
        assert np.all(rows[:, 2] >= rows[:, 1:5].max(axis=1))
        assert np.all(rows[:, 3] <= rows[:, 1:5].min(axis=1))
        assert rows[:, 3].min() > 0
        assert np.array_equal(rows[1:, 1], rows[:-1, 4])
    last = _all(_key(symbol), NOW - DAY, NOW)
    assert all(Decimal(repr(close)) % tick == 0 for close in last[:, 4].tolist())
    assert last[:, 5].min() > 0


def test_the_last_price_is_the_index_and_its_premium() -> None:
    span = NOW - 30 * DAY, NOW - DAY
    last, index, premium = (
        _all(_key("SOLUSDT", price=price), *span)[:, 4]
        for price in (PriceType.LAST, PriceType.INDEX, PriceType.PREMIUM)
    )
    assert np.abs(last / index - 1 - premium).max() < 5e-4
    mark = _all(_key("SOLUSDT", price=PriceType.MARK), *span)[:, 4]
    assert 0 < np.abs(mark / last - 1).max() < 5e-3


@pytest.mark.parametrize("price", list(PriceType))
@pytest.mark.parametrize(
    "interval", [Interval.MINUTE_3, Interval.HOUR_4, Interval.DAY_1, Interval.WEEK_1, Interval.MONTH_1]
)
def test_coarser_candles_are_made_of_the_minutes_the_forming_one_too(interval: Interval, price: PriceType) -> None:
    coarse = _all(_key("WIFUSDT", interval, price), NOW - 40 * DAY, NOW)
    fine = _all(_key("WIFUSDT", price=price), int(coarse[0, 0]), NOW)
    # Sums taken of sums differ in the fifteenth digit.
    np.testing.assert_allclose(aggregate(fine, interval), coarse, rtol=1e-14)


def test_nothing_after_the_instant_shows() -> None:
    later = _all(_key(), NOW - HOUR, NOW + HOUR, now=NOW + HOUR)
    now = _all(_key(), NOW - HOUR, NOW + HOUR)
    minute = NOW // MINUTE * MINUTE
    assert now[-1, 0] == minute
    assert np.array_equal(now[:-1], later[later[:, 0] < minute])
    finished = later[later[:, 0] == minute][0]
    assert now[-1, 1] == finished[1]
    assert finished[3] <= now[-1, 3] <= now[-1, 4] <= now[-1, 2] <= finished[2]
    assert now[-1, 5] < finished[5]


def test_the_candle_still_forming_closes_at_the_last_price_so_far() -> None:
    quote = MARKET.quote(LINEAR, "BTCUSDT", NOW)
    assert quote is not None
    for interval in (Interval.MINUTE_1, Interval.MINUTE_15, Interval.DAY_1, Interval.MONTH_1):
        (row,) = MARKET.candles(_key(interval=interval), Window(None, None, 1), NOW)
        assert (row[0], row[4]) == (interval.floor_ms(NOW), quote.last_price)


def test_the_history_begins_at_the_launch() -> None:
    launch = next(item.launch_time for item in MARKET.instruments(LINEAR, NOW) if item.symbol == "WIFUSDT")
    assert launch is not None
    (minute,) = MARKET.candles(_key("WIFUSDT"), Window(9999, None, 1), NOW)
    assert minute[0] == to_ms(launch)
    (hour,) = MARKET.candles(_key("WIFUSDT", Interval.HOUR_1), Window(9999, None, 1), NOW)
    assert hour[0] == Interval.HOUR_1.floor_ms(to_ms(launch))
    assert len(MARKET.candles(_key("WIFUSDT"), Window(None, to_ms(launch) - 1, 5), NOW)) == 0


BRUTE = {
    interval: _all(_key("ETHUSDT", interval), 0, NOW)
    for interval in (Interval.HOUR_12, Interval.WEEK_1, Interval.MONTH_1)
}


@settings(max_examples=60, deadline=None)
@given(
    interval=st.sampled_from(list(BRUTE)),
    first=st.none() | st.integers(NOW - 400 * DAY, NOW + 2 * DAY),
    last=st.none() | st.integers(NOW - 400 * DAY, NOW + 2 * DAY),
    limit=st.integers(1, 1000),
)
def test_any_window_is_the_plain_filter_of_all_candles(
    interval: Interval, first: int | None, last: int | None, limit: int
) -> None:
    rows = [
        row
        for row in BRUTE[interval].tolist()
        if (first is None or row[0] >= first) and (last is None or row[0] <= last)
    ]
    wanted = rows[:limit] if first is not None and last is None else rows[-limit:]
    got = MARKET.candles(_key("ETHUSDT", interval), Window(first, last, limit), NOW)
    assert got.tolist() == wanted


def test_a_gap_takes_the_minutes_and_leaves_the_rest_of_the_hour() -> None:
    start = NOW // HOUR * HOUR - 5 * HOUR
    gap = Gap(Period.from_ms(start + 10 * MINUTE, start + 70 * MINUTE), "BTCUSDT")
    market = SyntheticMarket(seed=3, gaps=[gap])
    rows = _all(_key(), start, start + 3 * HOUR - 1, market=market)
    full = _all(_key(), start, start + 3 * HOUR - 1)
    lost = (full[:, 0] >= gap.period.start_ms) & (full[:, 0] < gap.period.end_ms)
    assert np.array_equal(rows, full[~lost])
    hours = _all(_key(interval=Interval.HOUR_1), start, start + 3 * HOUR - 1, market=market)
    assert np.array_equal(hours, aggregate(rows, Interval.HOUR_1))
    untouched = _key("ETHUSDT")
    assert np.array_equal(_all(untouched, start, NOW, market=market), _all(untouched, start, NOW))
    # The newest rows reach back over the gap.
    back = market.candles(_key(), Window(None, start + 80 * MINUTE, 20), NOW)
    assert len(back) == 20
    assert back[0, 0] == start + MINUTE


def test_each_rate_follows_from_the_minute_premiums_of_its_interval() -> None:
    rates = MARKET.funding(LINEAR, "WIFUSDT", Window(NOW - 20 * DAY, NOW, 200), NOW)
    limit = Decimal("0.02")
    for before, rate in itertools.pairwise(rates):
        span = to_ms(before.funding_time), to_ms(rate.funding_time) - 1
        closes = _all(_key("WIFUSDT", price=PriceType.PREMIUM), *span)[:, 4].tolist()
        interval = rate.funding_time - before.funding_time
        premium = average_premium([Decimal(repr(close)) for close in closes])
        expected = funding_rate_from_premium(premium, interest_rate(interval), -limit, limit)
        assert abs(rate.funding_rate - expected) <= Decimal("5e-9")
    assert len({rate.funding_rate for rate in rates}) > 10


def test_funding_intervals_are_eight_hours_four_hours_and_changing_ones() -> None:
    def steps(symbol: str) -> set[int]:
        rates = MARKET.funding(LINEAR, symbol, Window(NOW - 90 * DAY, NOW, 10_000), NOW)
        times = [to_ms(rate.funding_time) for rate in rates]
        assert times == sorted(set(times))
        return {(b - a) // HOUR for a, b in itertools.pairwise(times)}

    assert [steps("BTCUSDT"), steps("WIFUSDT"), steps("XRPUSDT")] == [{8}, {4}, {8, 4, 1}]


@settings(max_examples=40, deadline=None)
@given(
    st.none() | st.integers(NOW - 100 * DAY, NOW), st.none() | st.integers(NOW - 100 * DAY, NOW), st.integers(1, 200)
)
def test_any_funding_window_is_the_plain_filter_of_all_rates(first: int | None, last: int | None, limit: int) -> None:
    every = MARKET.funding(LINEAR, "XRPUSDT", Window(NOW - 120 * DAY, NOW, 10_000), NOW)
    times = [to_ms(rate.funding_time) for rate in every]
    low, high = first or 0, NOW if last is None else last
    found = [rate for rate, time in zip(every, times, strict=True) if low <= time <= high]
    wanted = found[:limit] if first is not None and last is None else found[-limit:]
    if len(wanted) < limit and first is None and (last is not None and last < NOW - 60 * DAY):
        return  # The yardstick itself begins 120 days back.
    assert MARKET.funding(LINEAR, "XRPUSDT", Window(first, last, limit), NOW) == wanted


def test_years_hold_trends_ranges_crashes_and_quiet_weekends() -> None:
    daily = _all(_key("BTCUSDT", Interval.DAY_1), NOW - 1000 * DAY, NOW - DAY)
    moves = np.diff(np.log(daily[:, 4]))
    weekday = (daily[1:, 0] // DAY + 3) % 7
    assert moves.min() < -0.08
    assert np.std(moves[weekday >= 5]) < 0.8 * np.std(moves[weekday < 5])
    windows = np.abs([np.log(daily[i + 20, 4] / daily[i, 4]) for i in range(0, 960, 20)])
    assert windows.max() > 0.25
    assert np.median(windows) < 0.2
    rates = [rate.funding_rate for rate in MARKET.funding(LINEAR, "BTCUSDT", Window(NOW - 300 * DAY, NOW, 9000), NOW)]
    assert min(rates) < 0 < max(rates)
    assert rates.count(Decimal("0.0001")) > len(rates) / 4


def test_the_ticker_agrees_with_the_candles() -> None:
    quote = MARKET.quote(LINEAR, "SOLUSDT", NOW)
    assert quote is not None
    day = cut(_all(_key("SOLUSDT"), NOW - DAY + 1, NOW), Window(None, None, 2000))
    assert (quote.high_24h, quote.low_24h) == (day[:, 2].max(), day[:, 3].min())
    assert quote.price_24h_ago == day[0, 1]
    assert quote.next_funding == datetime(2026, 5, 6, 16, tzinfo=UTC)
    assert len(MARKET.funding(LINEAR, "SOLUSDT", Window(None, None, 1), NOW)) == 1


def test_a_ladder_is_the_recorded_one_or_a_borrowed_one_that_is_named() -> None:
    own, borrowed = (MARKET.risk_tiers(LINEAR, symbol, NOW) for symbol in ("BTCUSDT", "SOLUSDT"))
    assert {tier.symbol for tier in borrowed} == {"SOLUSDT"}
    assert own[0].maintenance_margin_rate == Decimal("0.005")
    assert any("SOLUSDT" in text and "ladder" in text for text in MARKET.assumptions)
    assert not any("BTCUSDT" in text.split("stands in for")[-1] for text in MARKET.assumptions if "ladder" in text)


def test_other_categories_list_nothing() -> None:
    assert not MARKET.instruments(Category.SPOT, NOW)
    assert (
        len(
            MARKET.candles(
                SeriesKey(Category.SPOT, "BTCUSDT", PriceType.LAST, Interval.DAY_1), Window(None, None, 5), NOW
            )
        )
        == 0
    )


@pytest.mark.parametrize(("seed", "symbols"), [(-1, None), (1, ["NOPEUSDT"]), (1, [])])
def test_what_cannot_be_made_is_refused(seed: int, symbols: list[str] | None) -> None:
    with pytest.raises(InvalidInput):
        SyntheticMarket(seed, symbols)


def test_a_settlement_at_midnight_belongs_to_the_window_that_begins_or_ends_there() -> None:
    midnight = NOW // DAY * DAY
    for window in (Window(midnight, midnight, 200), Window(midnight, None, 1), Window(None, midnight, 1)):
        assert [to_ms(rate.funding_time) for rate in MARKET.funding(LINEAR, "BTCUSDT", window, NOW)] == [midnight]


def test_the_premium_during_a_day_does_not_give_the_days_return_away() -> None:
    span = NOW - 900 * DAY, NOW - DAY
    premium = _all(_key(interval=Interval.DAY_1, price=PriceType.PREMIUM), *span)
    index = _all(_key(interval=Interval.DAY_1, price=PriceType.INDEX), *span)
    drift, gain = premium[:, 4] - premium[:, 1], np.log(index[:, 4] / index[:, 1])
    assert abs(np.corrcoef(drift, gain)[0, 1]) < 0.12
