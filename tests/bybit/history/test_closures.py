"""Holes that the venue has announced are told from those that nobody explains."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from bybit.client.errors import RequestRejected
from bybit.client.replies import CandlePage
from bybit.history import HistoricalDataManager
from bybit.rules.candles import Category
from bybit.store import MAINTENANCE, VENUE_EMPTY, Store
from tests.bybit.history.venues import FakeVenue, notice
from tests.bybit.store.examples import KEY, MINUTE_MS, START, START_MS, minutes
from validation.candles import check_candles

LATER = START + timedelta(days=100)


def moment(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def lost(*parts: range) -> set[int]:
    return {START_MS + minute * MINUTE_MS for part in parts for minute in part}


def reasons(store: Store) -> list[tuple[int, int, str]]:
    return [
        ((hole.period.start_ms - START_MS) // MINUTE_MS, (hole.period.end_ms - START_MS) // MINUTE_MS, hole.reason)
        for hole in store.coverage.holes(KEY)
    ]


def test_candles_absent_in_an_announced_maintenance_were_never_made(store: Store) -> None:
    venue = FakeVenue(LATER, lost=lost(range(100, 160), range(300, 310)))
    venue.notices = [notice(moment(105), moment(150)), notice(moment(300), moment(310), products=(2,), notice_id="n2")]
    report = HistoricalDataManager(venue, store).ingest_candles(KEY, minutes(0, 500))
    assert reasons(store) == [
        (100, 105, VENUE_EMPTY),
        (105, 150, MAINTENANCE),
        (150, 160, VENUE_EMPTY),
        (300, 310, VENUE_EMPTY),
    ]
    closed = report.holes[1]
    assert closed.evidence["notice"] == "n1"
    assert closed.evidence["begin"] == moment(105).isoformat()
    assert closed.evidence["confirmations"] == 2
    # The lifetime, the clock, the page, two holes asked for twice, and the announcements once.
    assert (venue.n_status, report.requests) == (1, 2 + 1 + 4 + 1)


def test_the_announcements_are_asked_for_only_about_a_hole(small_store: Store) -> None:
    venue = FakeVenue(LATER)
    HistoricalDataManager(venue, small_store).ingest_candles(KEY, minutes(0, 500))
    assert venue.n_status == 0


def test_quality_passes_over_a_maintenance_and_fails_on_a_hole_beside_it(small_store: Store) -> None:
    venue = FakeVenue(LATER, lost=lost(range(100, 160), range(700, 701)), notices=[notice(moment(100), moment(160))])
    HistoricalDataManager(venue, small_store).ingest_candles(KEY, minutes(0, 900))

    def failed(end: int) -> list[str]:
        period = minutes(0, end)
        frame, holes = small_store.candles.read(KEY, period), small_store.coverage.holes(KEY, period)
        return [check.name for check in check_candles(frame, KEY, period, holes=holes).checks if not check.passed]

    assert failed(600) == []
    assert failed(900) == ["no_empty_holes"]


def test_a_hole_is_explained_by_what_the_venue_says_afterwards(store: Store) -> None:
    now = moment(1000)
    venue = FakeVenue(now, lost=lost(range(100, 160)))
    manager = HistoricalDataManager(venue, store)
    manager.ingest_candles(KEY, minutes(0, 500))
    assert reasons(store) == [(100, 160, VENUE_EMPTY)]
    before = store.candles.content_hash(KEY)
    venue.notices = [notice(moment(100), moment(155))]
    venue.asked.clear()
    report = manager.ingest_candles(KEY, minutes(0, 500))
    assert reasons(store) == [(100, 155, MAINTENANCE), (155, 160, VENUE_EMPTY)]
    assert venue.asked == []
    assert report.rows_written == 0
    # A run that rests on these candles is another one now.
    assert store.candles.content_hash(KEY) != before


def test_a_hole_of_long_ago_is_not_asked_about_again(small_store: Store) -> None:
    venue = FakeVenue(LATER, lost=lost(range(100, 160)))
    manager = HistoricalDataManager(venue, small_store)
    manager.ingest_candles(KEY, minutes(0, 500))
    manager.ingest_candles(KEY, minutes(0, 500))
    assert venue.n_status == 1


def test_a_venue_without_announcements_has_announced_nothing(small_store: Store) -> None:
    class Silent(FakeVenue):
        def get_system_status(self) -> list[object]:
            raise RequestRejected("Route not found.", 10017)

    HistoricalDataManager(Silent(LATER, lost=lost(range(5))), small_store).ingest_candles(KEY, minutes(0, 50))
    assert reasons(small_store) == [(0, 5, VENUE_EMPTY)]


def test_what_the_venue_has_forgotten_is_still_known(store: Store) -> None:
    venue = FakeVenue(LATER, lost=lost(range(100, 160)), notices=[notice(moment(100), moment(160))])
    other = FakeVenue(LATER, lost=lost(range(100, 160)), listed=replace(venue.listed, symbol="ETHUSDT"))
    HistoricalDataManager(venue, store).ingest_candles(KEY, minutes(0, 500))
    HistoricalDataManager(other, store).ingest_candles(replace(KEY, symbol="ETHUSDT"), minutes(0, 500))
    (hole,) = store.coverage.holes(replace(KEY, symbol="ETHUSDT"))
    assert hole.reason == MAINTENANCE
    assert [closure.period for closure in store.closures.list(Category.LINEAR)] == [minutes(100, 160)]


def test_a_closure_that_the_venue_fills_with_silent_candles_is_kept_with_them(store: Store) -> None:
    def silent(page: CandlePage) -> CandlePage:
        columns = page.candles
        inside = (columns.open_time_ms >= START_MS + 100 * MINUTE_MS) & (
            columns.open_time_ms < START_MS + 160 * MINUTE_MS
        )
        return replace(page, candles=replace(columns, volume=np.where(inside, 0.0, columns.volume)))

    venue = FakeVenue(LATER, spoil=silent, notices=[notice(moment(100), moment(160))])
    report = HistoricalDataManager(venue, store).ingest_candles(KEY, minutes(0, 500))
    assert (venue.n_status, report.holes, report.rows_total) == (1, (), 500)
    assert [closure.period for closure in store.closures.list(Category.LINEAR)] == [minutes(100, 160)]
