"""No settlement is lost because one reply left it out, and none that stays out is passed over in silence."""

from datetime import timedelta
from pathlib import Path

import pytest

from bybit.client.errors import NoResponse
from bybit.history import HistoricalDataManager, IngestReport
from bybit.rules.candles import Category
from bybit.rules.funding import FundingRate
from bybit.rules.periods import Period, to_ms, utc
from bybit.store import VENUE_EMPTY, FundingKey, Store, open_store
from tests.bybit.history.test_funding import LATER, days, rates
from tests.bybit.history.venues import FakeVenue
from tests.bybit.store.databases import prepared
from tests.bybit.store.examples import START, instrument

LINEAR = Category.LINEAR
KEY = FundingKey(LINEAR, "BTCUSDT")
# 72 settlements over three questions of 200 h: some first, some last of theirs.
PUBLISHED = rates(*range(0, 576, 8))
PERIOD = days(0, 24)
ALWAYS = 1_000_000


def at(rate: FundingRate) -> int:
    return to_ms(to_ms(rate.funding_time))


def hour(h: float) -> int:
    return to_ms(START + timedelta(hours=h))


def ingest(venue: FakeVenue, store: Store, period: Period = PERIOD) -> IngestReport:
    return HistoricalDataManager(venue, store).ingest_funding(LINEAR, "BTCUSDT", period)


@pytest.fixture
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> "list[str]":
    """One fresh database for each settlement that is hidden in turn."""
    urls = []
    for i in range(len(PUBLISHED)):
        folder = tmp_path / str(i)
        folder.mkdir()
        urls.append(prepared("sqlite", folder, request))
    return urls


def test_whichever_settlement_one_reply_leaves_out_is_stored_in_the_end(stores: list[str]) -> None:
    lost = []
    for i, (url, hidden) in enumerate(zip(stores, PUBLISHED, strict=True)):
        with open_store(url) as store:
            report = ingest(FakeVenue(LATER, funding=PUBLISHED, forgotten={at(hidden): 1}), store)
            if store.funding.rates(LINEAR, "BTCUSDT", PERIOD) != PUBLISHED:
                lost.append(i)
            assert (report.missing, report.holes) == ((), ()), i
    assert lost == []


def test_whichever_settlement_stays_out_leaves_a_hole_between_its_neighbours(stores: list[str]) -> None:
    silent = []
    for i, (url, hidden) in enumerate(zip(stores, PUBLISHED, strict=True)):
        with open_store(url) as store:
            report = ingest(FakeVenue(LATER, funding=PUBLISHED, forgotten={at(hidden): ALWAYS}), store)
            # Between the two that were published, or the bounds of what was asked for.
            start = at(PUBLISHED[i - 1]) + 1 if i else PERIOD.start_ms
            end = at(PUBLISHED[i + 1]) if i + 1 < len(PUBLISHED) else PERIOD.end_ms
            if [hole.period.span_ms for hole in report.holes] != [(start, end)]:
                silent.append(i)
                continue
            (hole,) = report.holes
            assert (hole.reason, hole.evidence["confirmations"]) == (VENUE_EMPTY, 2)
            assert set(hole.evidence) == {"confirmations", "first_asked", "last_asked"}
            assert report.missing == ()
            assert store.funding.rates(LINEAR, "BTCUSDT", PERIOD) == [*PUBLISHED[:i], *PUBLISHED[i + 1 :]]
    assert silent == []


@pytest.mark.parametrize("cut", [192, 193, 200, 201, 208])
@pytest.mark.parametrize("hidden", [184, 192, 200, 208, 216])
def test_a_step_over_the_edge_of_two_ingests_is_judged_with_what_is_stored(
    hidden: int, cut: int, small_store: Store
) -> None:
    venue = FakeVenue(LATER, funding=PUBLISHED, forgotten={hour(hidden): 1})
    edge = utc(hour(cut))
    # The later part first: what is stored may lie on either side.
    ingest(venue, small_store, Period(edge, PERIOD.end))
    report = ingest(venue, small_store, Period(PERIOD.start, edge))
    assert small_store.funding.rates(LINEAR, "BTCUSDT", PERIOD) == PUBLISHED
    assert report.holes == ()
    assert small_store.coverage.missing(KEY, PERIOD) == []


@pytest.mark.parametrize("cut", [187, 192, 193, 200])
def test_a_hole_over_the_edge_of_two_ingests_is_recorded_whichever_came_first(cut: int, small_store: Store) -> None:
    edge = utc(hour(cut))
    venue = FakeVenue(LATER, funding=PUBLISHED, forgotten={hour(192): ALWAYS})
    ingest(venue, small_store, Period(edge, PERIOD.end))
    ingest(venue, small_store, Period(PERIOD.start, edge))
    holes = small_store.coverage.holes(KEY)
    assert [hole.reason for hole in holes] == [VENUE_EMPTY]
    assert holes[0].period.start_ms <= hour(192) < holes[0].period.end_ms == hour(200)


def test_a_settlement_found_beyond_the_end_of_what_was_asked_is_stored(small_store: Store) -> None:
    # 4 h until 164, then 8 h; its last is hidden when the later part is asked for first.
    published = rates(*range(0, 168, 4), *range(168, 576, 8))
    venue = FakeVenue(LATER, funding=published, forgotten={hour(164): 1})
    ingest(venue, small_store, Period(utc(hour(160)), PERIOD.end))
    ingest(venue, small_store, Period(PERIOD.start, utc(hour(160))))
    assert small_store.funding.rates(LINEAR, "BTCUSDT", PERIOD) == published


SWITCHES = {
    "8-4-8": [*range(0, 240, 8), *range(240, 480, 4), *range(480, 800, 8)],
    "8-1-8": [*range(0, 200, 8), *range(200, 260), *range(264, 800, 8)],
    "4-8": [*range(0, 396, 4), *range(400, 800, 8)],
    "1-4-2-8": [*range(198), *range(200, 400, 4), *range(400, 600, 2), *range(600, 800, 8)],
    "an extra one": [*range(0, 408, 8), 403.5, *range(408, 800, 8)],
    "late by milliseconds": [h + (7 if h % 3 else 0) / 3_600_000 for h in range(0, 800, 8)],
}


@pytest.mark.parametrize("name", SWITCHES)
def test_a_change_of_the_interval_makes_no_hole(name: str, small_store: Store) -> None:
    published = rates(*SWITCHES[name])
    report = ingest(FakeVenue(LATER, funding=published), small_store, Period(START, START + timedelta(hours=800)))
    assert small_store.funding.rates(LINEAR, "BTCUSDT", report.period or PERIOD) == published
    assert (report.holes, report.missing) == ((), ())


@pytest.mark.parametrize("start", range(0, 24, 3))
def test_a_period_may_begin_and_end_wherever_the_interval_changes(start: int, small_store: Store) -> None:
    published = rates(*SWITCHES["8-4-8"])
    first, last = START + timedelta(hours=222 + start), START + timedelta(hours=462 + start, minutes=5)
    for period in (Period(first, last), Period(START, first), Period(last, START + timedelta(hours=800))):
        report = ingest(FakeVenue(LATER, funding=published), small_store, period)
        assert (report.holes, report.missing) == ((), ())
    assert small_store.funding.rates(LINEAR, "BTCUSDT", Period(START, START + timedelta(hours=800))) == published


@pytest.mark.parametrize("hidden", [232, 236, 240, 244, 472, 476, 480, 488])
def test_a_settlement_left_out_where_the_interval_changes_is_asked_for_again(hidden: int, small_store: Store) -> None:
    hours = sorted({*range(0, 240, 8), *range(240, 480, 4), *range(480, 800, 8)})
    published = rates(*hours)
    venue = FakeVenue(LATER, funding=published, forgotten={hour(hidden): 1})
    report = ingest(venue, small_store, Period(START, START + timedelta(hours=800)))
    assert small_store.funding.rates(LINEAR, "BTCUSDT", Period(START, START + timedelta(hours=800))) == published
    assert report.holes == ()


@pytest.mark.parametrize("hidden", range(0, 576, 8))
def test_an_ingest_cut_off_between_two_questions_judges_the_edge_when_it_goes_on(
    hidden: int, small_store: Store
) -> None:
    venue = FakeVenue(LATER, funding=PUBLISHED, forgotten={hour(hidden): ALWAYS}, fail_after=2)
    manager = HistoricalDataManager(venue, small_store, workers=1)
    with pytest.raises(NoResponse):
        manager.ingest_funding(LINEAR, "BTCUSDT", PERIOD)
    # What counts as known before the end has its settlements or its hole.
    for a, b in small_store.coverage.known(KEY):
        if a <= hour(hidden) < b:
            assert any(hole.period.start_ms <= hour(hidden) for hole in small_store.coverage.holes(KEY))
    venue.fail_after = None
    venue.forgotten = {}
    ingest(venue, small_store)
    known = small_store.funding.rates(LINEAR, "BTCUSDT", PERIOD)
    holes = [hole for hole in small_store.coverage.holes(KEY) if hole.period.start_ms <= hour(hidden)]
    assert known == PUBLISHED or (len(holes) == 1 and len(known) == 71)
    assert small_store.coverage.missing(KEY, PERIOD) == []


def test_two_settlements_that_stay_out_leave_their_holes(small_store: Store) -> None:
    forgotten = {hour(h): ALWAYS for h in (192, 208, 400, 408)}
    report = ingest(FakeVenue(LATER, funding=PUBLISHED, forgotten=forgotten), small_store)
    spans = [hole.period.span_ms for hole in report.holes]
    assert spans == [(hour(184) + 1, hour(200)), (hour(200) + 1, hour(216)), (hour(392) + 1, hour(416))]


def test_a_settlement_overdue_at_the_venues_front_stays_missing(small_store: Store) -> None:
    # 4 h so far and none for 5 h: it may be late, left out, or the interval may be 8 h from here on.
    published = rates(*range(0, 100, 4), 104, 112)
    venue = FakeVenue(START + timedelta(hours=101), funding=published)
    report = ingest(venue, small_store)
    assert report.holes == ()
    assert [span.start_ms for span in report.missing] == [hour(96) + 1]
    venue.now = START + timedelta(hours=113)
    report = ingest(venue, small_store)
    assert (report.holes, report.missing) == ((), ())
    assert small_store.funding.rates(LINEAR, "BTCUSDT", PERIOD) == published


def test_a_hole_is_filled_when_the_settlement_comes_with_a_neighbour(small_store: Store) -> None:
    venue = FakeVenue(LATER, funding=PUBLISHED, forgotten={hour(192): ALWAYS})
    ingest(venue, small_store, days(0, 8.1))
    venue.forgotten = {}
    report = ingest(venue, small_store)
    assert small_store.funding.rates(LINEAR, "BTCUSDT", PERIOD) == PUBLISHED
    assert report.holes == ()


def test_long_before_the_first_settlement_of_a_listing_there_is_no_hole(small_store: Store) -> None:
    launch = START + timedelta(hours=72)
    venue = FakeVenue(LATER, funding=rates(*range(68, 576, 8)), listed=instrument(launch=launch))
    report = ingest(venue, small_store)
    assert [hole.reason for hole in report.holes] == ["before listing"]


def test_a_stretch_of_months_without_a_settlement_is_one_hole_and_each_part_asked_a_few_times(
    small_store: Store,
) -> None:
    venue = FakeVenue(LATER, funding=rates(*range(0, 96, 8), *range(2904, 3000, 8)))
    report = ingest(venue, small_store, Period(START, START + timedelta(hours=3000)))
    assert [hole.period.span_ms for hole in report.holes] == [(hour(88) + 1, hour(2904))]
    assert report.missing == ()
    assert report.requests < 15 + 15 * 5
