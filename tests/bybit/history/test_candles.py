import threading
import time
from datetime import timedelta

import numpy as np
import pytest

from bybit.client.errors import NoResponse
from bybit.client.replies import CandlePage
from bybit.history import HistoricalDataManager
from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period, to_ms, utc
from bybit.store import AFTER_DELISTING, BEFORE_LISTING, CONFLICTING, REJECTED, VENUE_EMPTY, Store
from bybit.store.errors import LeaseHeld, LeaseLost
from tests.bybit.history.venues import FakeVenue, columns_at, contradict, reject
from tests.bybit.store.examples import KEY, MARK, MINUTE_MS, START, START_MS, TTL, instrument, minutes

# Long after everything that is asked for, so that nothing counts as merely late.
LATER = START + timedelta(days=100)


def at(minute: int) -> int:
    return START_MS + minute * MINUTE_MS


def stored_minutes(store: Store, key: SeriesKey = KEY) -> list[int]:
    times = store.candles.read(key, minutes(-100_000, 100_000)).index.asi8
    return ((times - START_MS) // MINUTE_MS).tolist()


def test_a_period_of_many_pages_is_stored_whole(store: Store) -> None:
    venue = FakeVenue(LATER)
    seen: list[tuple[int, int]] = []
    manager = HistoricalDataManager(venue, store)
    report = manager.ingest_candles(KEY, minutes(0, 12_345), on_progress=lambda done, total: seen.append((done, total)))
    assert report.rows_written == report.rows_total == 12_345
    assert len(venue.asked) == 13
    assert report.requests == 15
    assert (report.missing, report.holes, report.conflicts, report.rejected) == ((), (), 0, 0)
    assert not report.flagged
    assert report.clipped_at is None
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (12_345, 12_345)
    frame = store.candles.read(KEY, minutes(0, 12_345))
    expected = columns_at(at(0) + np.arange(12_345) * MINUTE_MS)
    for name in frame.columns:
        np.testing.assert_array_equal(frame[name], getattr(expected, name))


def test_what_is_stored_is_not_asked_for_again(store: Store) -> None:
    venue = FakeVenue(LATER)
    manager = HistoricalDataManager(venue, store)
    manager.ingest_candles(KEY, minutes(1000, 2000))
    before = store.candles.content_hash(KEY)
    venue.asked.clear()
    assert manager.ingest_candles(KEY, minutes(1000, 2000)).rows_written == 0
    assert venue.asked == []
    assert store.candles.content_hash(KEY) == before
    report = manager.ingest_candles(KEY, minutes(500, 2500))
    assert sorted(venue.asked) == [(at(500), at(1000)), (at(2000), at(2500))]
    assert (report.rows_written, report.rows_total) == (1000, 2000)


def test_lost_candles_become_holes_with_evidence_after_being_asked_for_again(store: Store) -> None:
    venue = FakeVenue(LATER, lost={at(m) for m in (100, *range(950, 1100), 2500)})
    report = HistoricalDataManager(venue, store, confirmations=3).ingest_candles(KEY, minutes(0, 3000))
    assert [hole.period for hole in report.holes] == [minutes(100, 101), minutes(950, 1100), minutes(2500, 2501)]
    assert report.missing == ()
    for hole in report.holes:
        assert hole.reason == VENUE_EMPTY
        assert hole.evidence == {
            "confirmations": 3,
            "first_asked": LATER.isoformat(timespec="seconds"),
            "last_asked": LATER.isoformat(timespec="seconds"),
        }
    # The hole over the edge of a page is one question each time, and every question is narrower than the page.
    assert sorted(venue.asked) == sorted(
        [(at(0), at(1000)), (at(1000), at(2000)), (at(2000), at(3000))]
        + 3 * [(at(100), at(101)), (at(950), at(1100)), (at(2500), at(2501))]
    )


def test_candles_that_turn_up_when_asked_again_are_stored(store: Store) -> None:
    shy = {at(m): 1 for m in range(200, 300)} | {at(500): 2, at(700): 3}
    report = HistoricalDataManager(FakeVenue(LATER, shy=shy), store).ingest_candles(KEY, minutes(0, 1000))
    assert [hole.period for hole in report.holes] == [minutes(700, 701)]
    assert report.rows_total == 999


def test_an_empty_page_is_asked_for_again_in_other_windows(small_store: Store) -> None:
    venue = FakeVenue(LATER, lost={at(m) for m in range(1000, 5000)})
    report = HistoricalDataManager(venue, small_store).ingest_candles(KEY, minutes(0, 6000))
    assert [hole.period for hole in report.holes] == [minutes(1000, 5000)]
    again = [b - a for a, b in venue.asked if b - a < 1000 * MINUTE_MS]
    assert max(again) <= 900 * MINUTE_MS
    assert sum(again) == 2 * 4000 * MINUTE_MS


def test_nothing_is_asked_before_the_listing(store: Store) -> None:
    launch = START + timedelta(minutes=500, seconds=30)
    venue = FakeVenue(LATER, listed=instrument(launch=launch))
    report = HistoricalDataManager(venue, store).ingest_candles(KEY, minutes(0, 1200))
    assert min(venue.asked)[0] == at(500)
    (hole,) = report.holes
    assert (hole.period, hole.reason) == (minutes(0, 500), BEFORE_LISTING)
    assert hole.evidence == {"launch_time": launch.isoformat()}
    assert report.rows_total == 700
    assert store.instruments.get(Category.LINEAR, "BTCUSDT").launch_time == launch


def test_nothing_is_asked_after_the_delisting(small_store: Store) -> None:
    ended = START + timedelta(minutes=100, seconds=1)
    venue = FakeVenue(LATER, listed=instrument(delivery_time=ended, status="Closed"))
    report = HistoricalDataManager(venue, small_store).ingest_candles(KEY, minutes(50, 400))
    assert venue.asked == [(at(50), at(101))]
    assert [(hole.period, hole.reason) for hole in report.holes] == [(minutes(101, 400), AFTER_DELISTING)]


def test_a_period_wholly_before_the_listing_costs_no_page(small_store: Store) -> None:
    venue = FakeVenue(LATER, listed=instrument(launch=START + timedelta(days=1)))
    report = HistoricalDataManager(venue, small_store).ingest_candles(KEY, minutes(0, 60))
    assert venue.asked == []
    assert (report.rows_total, report.missing) == (0, ())


def test_the_candle_still_forming_is_never_stored(store: Store) -> None:
    now = START + timedelta(minutes=30, seconds=59, milliseconds=999)
    report = HistoricalDataManager(FakeVenue(now), store).ingest_candles(KEY, minutes(0, 60))
    assert stored_minutes(store) == list(range(30))
    assert report.clipped_at == START + timedelta(minutes=30)
    assert report.period == minutes(0, 30)
    assert store.coverage.missing(KEY, minutes(0, 60)) == [minutes(30, 60)]


def test_a_candle_is_stored_from_the_millisecond_of_its_close(small_store: Store) -> None:
    HistoricalDataManager(FakeVenue(START + timedelta(minutes=30)), small_store).ingest_candles(KEY, minutes(0, 60))
    assert stored_minutes(small_store) == list(range(30))


@pytest.mark.parametrize("interval", [Interval.HOUR_4, Interval.DAY_1, Interval.WEEK_1, Interval.MONTH_1])
def test_long_candles_are_closed_by_the_calendar(interval: Interval, small_store: Store) -> None:
    key = SeriesKey(Category.LINEAR, "BTCUSDT", PriceType.LAST, interval)
    report = HistoricalDataManager(FakeVenue(LATER), small_store).ingest_candles(
        key, Period(START - timedelta(days=400), LATER + timedelta(days=40))
    )
    last = int(small_store.candles.read(key, Period(START - timedelta(days=400), LATER)).index.asi8[-1])
    assert interval.close_ms(last) == interval.floor_ms(to_ms(LATER)) <= to_ms(LATER)
    assert report.missing == ()


def test_a_period_in_the_future_is_clipped_to_nothing(small_store: Store) -> None:
    venue = FakeVenue(START)
    report = HistoricalDataManager(venue, small_store).ingest_candles(KEY, minutes(5, 10))
    assert (report.period, report.rows_total, venue.asked) == (None, 0, [])
    assert report.clipped_at == START


def test_candles_that_are_merely_late_stay_missing(store: Store) -> None:
    now = START + timedelta(minutes=60)
    venue = FakeVenue(now, lost={at(20), at(55), at(57)})
    manager = HistoricalDataManager(venue, store)
    report = manager.ingest_candles(KEY, minutes(0, 60))
    assert [hole.period for hole in report.holes] == [minutes(20, 21)]
    assert report.missing == (minutes(55, 60),)
    assert report.flagged
    assert stored_minutes(store) == [m for m in range(60) if m not in (20, 55, 57)]
    venue.lost = {at(20)}
    venue.now = now + timedelta(minutes=1)
    assert manager.ingest_candles(KEY, minutes(0, 61)).missing == ()
    assert stored_minutes(store) == [m for m in range(61) if m != 20]


def test_rows_that_contradict_each_other_are_recorded_and_flagged(store: Store) -> None:
    venue = FakeVenue(LATER, spoil=contradict(at(7)))
    report = HistoricalDataManager(venue, store).ingest_candles(KEY, minutes(0, 20))
    assert report.conflicts == 1
    assert report.flagged
    (conflict,) = store.conflicts.list(KEY)
    assert conflict.time == utc(at(7))
    assert {row.split(",")[1] for row in conflict.rows} == {"1", "2"}
    assert [(hole.period, hole.reason) for hole in report.holes] == [(minutes(7, 8), CONFLICTING)]
    assert 7 not in stored_minutes(store)


def test_a_contradiction_that_the_next_reply_clears_up_leaves_a_candle_and_a_record(small_store: Store) -> None:
    spoil = contradict(at(7))
    venue = FakeVenue(LATER)
    venue.spoil = lambda page: spoil(page) if len(venue.asked) == 1 else page
    report = HistoricalDataManager(venue, small_store, workers=1).ingest_candles(KEY, minutes(0, 20))
    assert (report.conflicts, report.holes, report.rows_total) == (1, (), 20)


def test_unusable_rows_are_quarantined_with_their_reason(store: Store) -> None:
    venue = FakeVenue(LATER, spoil=reject(at(3)))
    report = HistoricalDataManager(venue, store).ingest_candles(KEY, minutes(0, 20))
    (row,) = store.rejected.list(KEY)
    assert row.raw == f"{at(3)},NaN,1,1,1,1,1"
    assert "not a number" in row.reason
    assert [(hole.period, hole.reason) for hole in report.holes] == [(minutes(3, 4), REJECTED)]
    assert report.rejected == 1
    assert report.flagged


def test_rows_outside_the_question_or_off_the_grid_never_get_in(small_store: Store) -> None:
    def spoil(page: CandlePage) -> CandlePage:
        times = np.asarray([*page.candles.open_time_ms.tolist(), at(99_998), at(99_999)], dtype=np.int64)
        return CandlePage(columns_at(times), n_outside=2, n_duplicate=1)

    report = HistoricalDataManager(FakeVenue(LATER, spoil=spoil), small_store).ingest_candles(KEY, minutes(0, 501))
    assert stored_minutes(small_store) == list(range(501))
    assert report.n_outside == 4
    assert report.n_duplicate == 1


def test_an_off_grid_row_inside_the_question_is_quarantined(small_store: Store) -> None:
    def spoil(page: CandlePage) -> CandlePage:
        times = np.sort(np.append(page.candles.open_time_ms, at(5) + 15_000))
        return CandlePage(columns_at(times))

    report = HistoricalDataManager(FakeVenue(LATER, spoil=spoil), small_store).ingest_candles(KEY, minutes(0, 10))
    assert report.rejected == 1
    assert "not on the grid of 1m" in small_store.rejected.list(KEY)[0].reason
    assert stored_minutes(small_store) == list(range(10))


def test_prices_without_volume_are_stored_without(store: Store) -> None:
    HistoricalDataManager(FakeVenue(LATER), store).ingest_candles(MARK, minutes(0, 10))
    assert store.candles.read(MARK, minutes(0, 10))["volume"].isna().all()


@pytest.mark.parametrize(
    ("category", "price"),
    [(Category.SPOT, PriceType.MARK), (Category.SPOT, PriceType.PREMIUM), (Category.INVERSE, PriceType.PREMIUM)],
)
def test_a_price_the_category_has_not_is_refused_before_any_request(
    category: Category, price: PriceType, small_store: Store
) -> None:
    venue = FakeVenue(LATER)
    with pytest.raises(InvalidInput, match="use one of last"):
        HistoricalDataManager(venue, small_store).ingest_candles(
            SeriesKey(category, "BTCUSDT", price, Interval.HOUR_1), minutes(0, 60)
        )
    assert venue.asked == []


def test_a_symbol_the_venue_does_not_list_is_refused(small_store: Store) -> None:
    venue = FakeVenue(LATER)
    with pytest.raises(InvalidInput, match="lists no linear contract DOGEUSDT"):
        HistoricalDataManager(venue, small_store).ingest_candles(
            SeriesKey(Category.LINEAR, "DOGEUSDT", PriceType.LAST, Interval.HOUR_1), minutes(0, 60)
        )
    assert venue.asked == []


def test_after_a_failure_the_next_run_asks_only_for_the_rest(store: Store) -> None:
    venue = FakeVenue(LATER, fail_after=20)
    manager = HistoricalDataManager(venue, store, workers=2)
    with pytest.raises(NoResponse):
        manager.ingest_candles(KEY, minutes(0, 40_000))
    (known,) = store.coverage.known(KEY)
    assert known[0] == at(0)
    assert len(stored_minutes(store)) == (known[1] - known[0]) // MINUTE_MS >= 16_000
    venue.fail_after = None
    venue.asked.clear()
    # The lease of the failed run was given back: nobody waits for it.
    report = manager.ingest_candles(KEY, minutes(0, 40_000))
    assert min(venue.asked)[0] == known[1]
    assert (report.rows_total, report.missing) == (40_000, ())


def test_only_a_bounded_number_of_pages_runs_ahead_of_the_commits(small_store: Store) -> None:
    venue = FakeVenue(LATER)
    ahead: list[int] = []
    HistoricalDataManager(venue, small_store, workers=2).ingest_candles(
        KEY, minutes(0, 60_000), on_progress=lambda done, _total: ahead.append(len(venue.asked) - done // 1000)
    )
    assert max(ahead) <= 2 * 2 + 2 * 2 + 2


def test_pages_are_fetched_in_parallel(small_store: Store) -> None:
    venue = FakeVenue(LATER, latency_s=0.05, lost={at(m) for m in range(0, 40_000, 1000)})
    began = time.monotonic()
    report = HistoricalDataManager(venue, small_store).ingest_candles(KEY, minutes(0, 40_000))
    took_s = time.monotonic() - began
    assert len(report.holes) == 40
    # One after the other, 40 pages and 80 confirmations would take 6 s.
    assert took_s < 3.0


def test_two_who_fetch_the_same_at_once_leave_what_one_would(store: Store) -> None:
    venue = FakeVenue(LATER, latency_s=0.005)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            HistoricalDataManager(venue, store, workers=2).ingest_candles(KEY, minutes(0, 10_000))
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert stored_minutes(store) == list(range(10_000))
    # The second waited for the first and found everything done.
    assert len(venue.asked) == 10


def test_whoever_waits_too_long_for_a_series_gives_up(small_store: Store) -> None:
    small_store.leases.take(f"candles bybit {KEY}", "somebody", TTL)
    with pytest.raises(LeaseHeld, match="somebody"):
        HistoricalDataManager(FakeVenue(LATER), small_store, lease_wait_s=0.05).ingest_candles(KEY, minutes(0, 10))


def test_a_fetch_whose_lease_was_taken_over_is_refused(store: Store) -> None:
    venue = FakeVenue(LATER)

    def usurp(page: CandlePage) -> CandlePage:
        if len(venue.asked) == 1:
            store.leases.take(f"candles bybit {KEY}", "usurper", TTL, abandoned=lambda _owner: True)
        return page

    venue.spoil = usurp
    with pytest.raises(LeaseLost, match="belongs to usurper"):
        HistoricalDataManager(venue, store).ingest_candles(KEY, minutes(0, 10))
    assert stored_minutes(store) == []
    assert store.coverage.known(KEY) == []


def test_a_lease_outlives_a_reply_that_takes_longer_than_it(small_store: Store) -> None:
    venue = FakeVenue(LATER, latency_s=2.0)
    manager = HistoricalDataManager(venue, small_store, lease_ttl=timedelta(seconds=1.2))
    held: list[bool] = []

    def intrude() -> None:
        time.sleep(1.6)
        try:
            small_store.leases.take(f"candles bybit {KEY}", "intruder", TTL)
        except LeaseHeld:
            held.append(True)

    intruder = threading.Thread(target=intrude)
    intruder.start()
    manager.ingest_candles(KEY, minutes(0, 10))
    intruder.join()
    assert held == [True]


def test_nonsense_settings_are_refused(small_store: Store) -> None:
    with pytest.raises(InvalidInput, match="1 or more"):
        HistoricalDataManager(FakeVenue(LATER), small_store, workers=0)


def test_an_end_of_zero_is_no_end(small_store: Store) -> None:
    venue = FakeVenue(LATER, listed=instrument(launch=START, delivery_time=utc(0)))
    report = HistoricalDataManager(venue, small_store).ingest_candles(KEY, minutes(0, 10))
    assert (report.rows_total, report.holes) == (10, ())


def test_a_contract_the_venue_no_longer_lists_is_fetched_by_its_stored_rules(small_store: Store) -> None:
    ended = instrument(launch=START, delivery_time=START + timedelta(minutes=30))
    small_store.instruments.write([ended])
    venue = FakeVenue(LATER, listed=instrument("ETHUSDT"))
    report = HistoricalDataManager(venue, small_store).ingest_candles(KEY, minutes(0, 60))
    assert (report.rows_total, report.missing) == (30, ())
