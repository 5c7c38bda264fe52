from datetime import timedelta
from decimal import Decimal

import pytest

from bybit.history import HistoricalDataManager
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.funding import FundingRate
from bybit.rules.periods import Period, to_ms
from bybit.store import BEFORE_LISTING, VENUE_EMPTY, FundingKey, Store
from tests.bybit.history.venues import FakeVenue
from tests.bybit.store.examples import START, instrument

LINEAR = Category.LINEAR
KEY = FundingKey(LINEAR, "BTCUSDT")
LATER = START + timedelta(days=300)


def rates(*hours: float) -> list[FundingRate]:
    return [FundingRate("BTCUSDT", START + timedelta(hours=h), Decimal(f"0.0001{int(h):04d}")) for h in hours]


def days(start: float, end: float) -> Period:
    return Period(START + timedelta(days=start), START + timedelta(days=end))


def test_every_settlement_is_stored_whatever_the_interval(store: Store) -> None:
    # 8 h, then 4 h, then hourly for a day, an extra one, one that is late by 7 ms, and 8 h again.
    hours = [*range(0, 240, 8), *range(240, 480, 4), *range(480, 504), 504.5, 512 + 7 / 3_600_000, *range(520, 2400, 8)]
    published = rates(*hours)
    venue = FakeVenue(LATER, funding=published)
    report = HistoricalDataManager(venue, store).ingest_funding(LINEAR, "BTCUSDT", days(0, 100))
    assert store.funding.rates(LINEAR, "BTCUSDT", days(0, 100)) == published
    assert report.rows_total == len(published)
    assert (report.missing, report.holes) == ((), ())
    # 200 possible hourly settlements per question, twelve questions; and one for each of the five steps that are
    # longer than a neighbour: a settlement may be hidden where the interval changes.
    assert report.requests == 12 + 5 + 2
    assert all(end - start <= 200 * 3_600_000 for start, end in venue.asked)


def test_what_is_known_is_not_asked_for_again(store: Store) -> None:
    venue = FakeVenue(LATER, funding=rates(*range(0, 480, 8)))
    manager = HistoricalDataManager(venue, store)
    manager.ingest_funding(LINEAR, "BTCUSDT", days(5, 10))
    venue.asked.clear()
    report = manager.ingest_funding(LINEAR, "BTCUSDT", days(4, 11))
    assert venue.asked == [days(4, 5).span_ms, days(10, 11).span_ms]
    assert (report.rows_written, report.rows_total) == (6, 21)


def test_a_settlement_left_out_of_a_reply_is_asked_for_again(small_store: Store) -> None:
    published = rates(*range(0, 192, 8))
    left_out = to_ms(to_ms(published[10].funding_time))
    venue = FakeVenue(LATER, funding=published, forgotten={left_out: 1})
    report = HistoricalDataManager(venue, small_store).ingest_funding(LINEAR, "BTCUSDT", days(0, 8))
    assert small_store.funding.rates(LINEAR, "BTCUSDT", days(0, 8)) == published
    assert report.requests == 2 + 2


def test_a_change_of_the_interval_is_looked_at_once(small_store: Store) -> None:
    venue = FakeVenue(LATER, funding=rates(*range(0, 48, 8), *range(48, 96, 4), *range(96, 144, 8)))
    report = HistoricalDataManager(venue, small_store).ingest_funding(LINEAR, "BTCUSDT", days(0, 6))
    assert report.requests == 2 + 1 + 2
    assert report.holes == ()


def test_days_without_a_settlement_are_explained_after_being_asked_for_again(store: Store) -> None:
    venue = FakeVenue(LATER, funding=rates(*range(0, 192, 8), *range(400, 480, 8)))
    report = HistoricalDataManager(venue, store).ingest_funding(LINEAR, "BTCUSDT", days(0, 20))
    (hole,) = report.holes
    # From just after the last settlement before it.
    after = START + timedelta(hours=184, milliseconds=1)
    assert hole.period == Period(after, START + timedelta(hours=400))
    assert (hole.reason, hole.evidence["confirmations"]) == (VENUE_EMPTY, 2)
    assert report.missing == ()


def test_an_hour_without_a_settlement_is_ordinary(small_store: Store) -> None:
    period = Period(START + timedelta(hours=1), START + timedelta(hours=3))
    report = HistoricalDataManager(FakeVenue(LATER), small_store).ingest_funding(LINEAR, "BTCUSDT", period)
    assert (report.holes, report.missing) == ((), ())


def test_nothing_is_asked_long_before_the_listing(small_store: Store) -> None:
    launch = START + timedelta(days=3)
    venue = FakeVenue(LATER, funding=rates(*range(72, 120, 8)), listed=instrument(launch=launch))
    report = HistoricalDataManager(venue, small_store).ingest_funding(LINEAR, "BTCUSDT", days(0, 5))
    # A contract may be funded some hours before its first candle: the day before the listing is asked for too.
    assert min(venue.asked)[0] == to_ms(launch - timedelta(days=1))
    assert [(hole.period, hole.reason) for hole in report.holes] == [(days(0, 2), BEFORE_LISTING)]


def test_the_last_minutes_are_stored_but_not_called_complete(store: Store) -> None:
    venue = FakeVenue(START + timedelta(hours=16, seconds=1), funding=rates(0, 8))
    manager = HistoricalDataManager(venue, store)
    report = manager.ingest_funding(LINEAR, "BTCUSDT", days(0, 1))
    assert report.clipped_at == START + timedelta(hours=15, minutes=55, seconds=1)
    assert report.missing == ()
    assert report.rows_total == 2
    # The settlement of 16:00 was published a few seconds late.
    venue.funding = rates(0, 8, 16)
    venue.now += timedelta(seconds=9)
    manager.ingest_funding(LINEAR, "BTCUSDT", days(0, 1))
    assert len(store.funding.rates(LINEAR, "BTCUSDT", days(0, 1))) == 3
    assert store.coverage.missing(KEY, days(0, 1)) == [
        Period(START + timedelta(hours=15, minutes=55, seconds=10), START + timedelta(days=1))
    ]


def test_spot_pays_no_funding(small_store: Store) -> None:
    with pytest.raises(InvalidInput, match="no funding"):
        HistoricalDataManager(FakeVenue(LATER), small_store).ingest_funding(Category.SPOT, "BTCUSDT", days(0, 1))
