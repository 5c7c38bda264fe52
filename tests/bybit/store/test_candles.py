import hashlib
import os
import struct
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period
from bybit.store import VENUE_EMPTY, Conflict, Hole, Lease, Rejected, Store, WriteCount, open_store
from bybit.store.errors import CoverageClaim
from tests.bybit.store.examples import KEY, MARK, MINUTE_MS, START, START_MS, TTL, candles, minutes


def _spelled_out_hash() -> str:
    """The hash of candles 0, 1, 4 with a hole at 2..4, byte by byte from its description."""
    text = b"perpflow candles 1 bybit linear/BTCUSDT/last/1m\n"
    sent = candles([0, 1, 4])
    for i in range(3):
        row = [getattr(sent, name)[i] for name in ("open", "high", "low", "close", "volume", "turnover")]
        text += struct.pack("<q6d", int(sent.open_time_ms[i]), *row)
    text += b"covered 1740787200000 1740787500000\n"
    text += b"hole 1740787320000 1740787440000 venue-empty\n"
    return hashlib.sha256(text).hexdigest()


HASH = _spelled_out_hash()


def test_rows_come_back_as_they_went_in(store: Store, lease: Lease) -> None:
    sent = candles(range(50))
    assert store.candles.write(KEY, sent, minutes(0, 50), [], lease) == WriteCount(50, 0, 0)
    frame = store.candles.read(KEY, minutes(0, 50))
    assert list(frame.columns) == ["open", "high", "low", "close", "volume", "turnover"]
    assert frame.index.name == "open_time"
    assert str(frame.index.dtype) == "datetime64[ms, UTC]"
    assert frame.index[0] == pd.Timestamp(START)
    for name in frame.columns:
        assert frame[name].dtype == np.float64
        assert frame[name].to_numpy().tobytes() == getattr(sent, name).tobytes()


def test_prices_without_volume_have_none_rather_than_zero(store: Store, lease: Lease) -> None:
    store.candles.write(MARK, candles(range(5), volume=False), minutes(0, 5), [], lease)
    frame = store.candles.read(MARK, minutes(0, 5))
    assert frame[["volume", "turnover"]].isna().all(axis=None)
    stored = store.database.read(
        lambda connection: connection.exec_driver_sql("SELECT count(*) FROM candles WHERE volume IS NULL").scalar_one()
    )
    assert stored == 5


def test_volume_may_be_missing_on_some_candles_only(store: Store, lease: Lease) -> None:
    mixed = candles(range(4))
    mixed.volume[1], mixed.turnover[1], mixed.turnover[3] = np.nan, np.nan, np.nan
    store.candles.write(KEY, mixed, minutes(0, 4), [], lease)
    frame = store.candles.read(KEY, minutes(0, 4))
    np.testing.assert_array_equal(frame["volume"], mixed.volume)
    np.testing.assert_array_equal(frame["turnover"], mixed.turnover)


def test_both_edges_of_a_period_are_half_open(store: Store, lease: Lease) -> None:
    store.candles.write(KEY, candles(range(10)), minutes(0, 10), [], lease)
    frame = store.candles.read(KEY, minutes(3, 6))
    assert [int(t) for t in (frame.index.asi8 - START_MS) // MINUTE_MS] == [3, 4, 5]
    assert store.candles.count(KEY, minutes(3, 6)) == 3
    assert store.candles.count(KEY) == 10


def test_writing_the_same_again_changes_nothing(store: Store, lease: Lease) -> None:
    store.candles.write(KEY, candles(range(20)), minutes(0, 20), [], lease)
    before = store.candles.content_hash(KEY), store.series.version(KEY)
    assert store.candles.write(KEY, candles(range(20)), minutes(0, 20), [], lease) == WriteCount(0, 0, 20)
    assert (store.candles.content_hash(KEY), store.series.version(KEY)) == before
    assert store.candles.revisions(KEY, minutes(0, 20)).empty


def test_a_changed_candle_is_replaced_and_its_old_version_kept(store: Store, lease: Lease) -> None:
    store.candles.write(KEY, candles(range(5)), minutes(0, 5), [], lease)
    revised = candles(range(2, 8))
    revised.close[1] += 1.0
    revised.volume[2] = np.nan
    assert store.candles.write(KEY, revised, minutes(2, 8), [], lease) == WriteCount(3, 2, 1)
    frame = store.candles.read(KEY, minutes(0, 8))
    assert frame["close"].iloc[3] == revised.close[1]
    assert np.isnan(frame["volume"].iloc[4])
    old = store.candles.revisions(KEY, minutes(0, 8))
    assert list(old["open_time"]) == [pd.Timestamp(START + timedelta(minutes=m)) for m in (3, 4)]
    assert list(old["close"]) == list(candles([3, 4]).close)
    assert list(old["volume"]) == list(candles([3, 4]).volume)
    assert store.series.version(KEY) == 2


def test_both_databases_and_every_time_zone_give_the_same_hash(store: Store, lease: Lease) -> None:
    store.candles.write(KEY, candles([0, 1, 4]), minutes(0, 5), [Hole(minutes(2, 4), VENUE_EMPTY)], lease)
    assert store.candles.content_hash(KEY) == HASH


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_the_time_zone_of_the_machine_does_not_reach_the_bytes(zone: str, tmp_path: Path) -> None:
    program = (
        "import sys; from bybit.store import *; from tests.bybit.store.examples import *\n"
        "store = open_store(sys.argv[1]); lease = store.leases.take('x', 'y', TTL)\n"
        "store.candles.write(KEY, candles([0, 1, 4]), minutes(0, 5), [Hole(minutes(2, 4), VENUE_EMPTY)], lease)\n"
        "print(store.candles.content_hash(KEY), store.candles.read(KEY, minutes(0, 5)).index[0].isoformat())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, f"sqlite:///{tmp_path}/x.db"],
        env={**os.environ, "TZ": zone, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [HASH, "2025-03-01T00:00:00+00:00"]


def test_the_hash_changes_with_a_value_with_coverage_and_with_a_reason(store: Store, lease: Lease) -> None:
    seen = {store.candles.content_hash(KEY)}
    store.candles.write(KEY, candles([0, 1]), None, [], lease)
    seen.add(store.candles.content_hash(KEY))
    store.candles.write(KEY, candles([]), minutes(0, 3), [Hole(minutes(2, 3), VENUE_EMPTY)], lease)
    seen.add(store.candles.content_hash(KEY))
    store.candles.write(KEY, candles([]), minutes(0, 3), [Hole(minutes(2, 3), "maintenance")], lease)
    seen.add(store.candles.content_hash(KEY))
    store.candles.write(KEY, candles([1], shift=1e-9), None, [], lease)
    seen.add(store.candles.content_hash(KEY))
    assert len(seen) == 5
    assert store.candles.content_hash(KEY, minutes(0, 1)) == store.candles.content_hash(KEY, minutes(0, 1))


def test_a_hash_does_not_tell_when_or_how_often_was_asked(store: Store, lease: Lease) -> None:
    first = Hole(minutes(1, 2), VENUE_EMPTY, {"confirmations": 2, "first_asked": "2025-01-01"})
    store.candles.write(KEY, candles([0]), minutes(0, 2), [first], lease)
    before = store.candles.content_hash(KEY)
    again = Hole(minutes(1, 2), VENUE_EMPTY, {"confirmations": 5, "first_asked": "2026-01-01"})
    store.candles.write(KEY, candles([0]), minutes(0, 2), [again], lease)
    assert store.candles.content_hash(KEY) == before


def _scaled(scale: float, *, dtype: type = np.int64) -> object:
    given = candles(range(3))
    given.open_time_ms = (given.open_time_ms * scale).astype(dtype)
    return given


def _with(name: str, value: float) -> object:
    given = candles(range(3))
    getattr(given, name)[1] = value
    return given


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (_scaled(1e-3), "were seconds meant"),
        (_scaled(1e3), "not milliseconds"),
        (_scaled(1, dtype=np.float64), "must be int64"),
        (_with("open_time_ms", START_MS + MINUTE_MS + 1), "not an open time of 1m"),
        (_with("open_time_ms", START_MS), "sort them, each once"),
        (_with("close", np.nan), "close at"),
        (_with("high", np.inf), "high at"),
        (_with("volume", np.inf), "volume at"),
        (_with("turnover", -1.0), "turnover at"),
    ],
)
def test_rows_that_are_not_candles_are_refused(given: object, says: str, tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/x.db") as store:
        lease = store.leases.take("x", "test", TTL)
        with pytest.raises(InvalidInput, match=says):
            store.candles.write(KEY, given, None, [], lease)  # type: ignore[arg-type]
        assert store.candles.count(KEY) == 0


def test_weeks_and_months_are_kept_on_the_grid_of_the_calendar(store: Store, lease: Lease) -> None:
    month = SeriesKey(Category.LINEAR, "BTCUSDT", PriceType.LAST, Interval.MONTH_1)
    times = Interval.MONTH_1.open_times(START_MS, START_MS + 200 * 86_400_000)
    rows = candles(range(len(times)))
    rows.open_time_ms = times
    period = Period.from_ms(int(times[0]), Interval.MONTH_1.close_ms(int(times[-1])))
    assert store.candles.write(month, rows, period, [], lease).inserted == len(times)
    assert store.coverage.missing(month, period) == []


def test_a_span_with_an_unexplained_gap_is_never_called_complete(store: Store, lease: Lease) -> None:
    with pytest.raises(CoverageClaim, match=r"2 candles .* 2025-03-01T00:03:00"):
        store.candles.write(KEY, candles([0, 1, 2, 5]), minutes(0, 6), [], lease)
    assert store.candles.count(KEY) == 0
    assert store.coverage.known(KEY) == []


def test_rows_stored_before_may_fill_what_a_later_write_claims(store: Store, lease: Lease) -> None:
    store.candles.write(KEY, candles([2, 3]), None, [], lease)
    assert store.coverage.known(KEY) == []
    store.candles.write(KEY, candles([0, 1, 4]), minutes(0, 5), [], lease)
    assert store.coverage.missing(KEY, minutes(0, 6)) == [minutes(5, 6)]


@pytest.mark.parametrize(
    ("rows", "holes", "says"),
    [
        ([0, 1], [minutes(1, 3)], "candle at 2025-03-01T00:01:00"),
        ([0], [minutes(1, 5)], "outside the covered period"),
        ([0], [minutes(1, 3), minutes(2, 3)], "overlap"),
    ],
)
def test_holes_that_contradict_the_rows_are_refused(
    rows: list[int], holes: list[Period], says: str, store: Store, lease: Lease
) -> None:
    with pytest.raises(InvalidInput, match=says):
        store.candles.write(KEY, candles(rows), minutes(0, 3), [Hole(hole, VENUE_EMPTY) for hole in holes], lease)


def test_a_failure_after_the_rows_takes_the_rows_back(store: Store, lease: Lease) -> None:
    naive = Conflict(START.replace(tzinfo=None), ("1", "2"))
    with pytest.raises(InvalidInput, match="no time zone"):
        store.candles.write(KEY, candles(range(3)), minutes(0, 3), [], lease, conflicts=[naive])
    assert store.candles.count(KEY) == 0
    assert store.coverage.known(KEY) == []
    assert store.series.version(KEY) == 0


def test_contradictions_and_rubbish_are_kept_once(store: Store, lease: Lease) -> None:
    conflict = Conflict(START, ("1,2", "1,3"))
    turned = Conflict(START, ("1,3", "1,2"))
    rubbish = Rejected("1740787200000,NaN", "open is not a number")
    for seen in (conflict, turned):
        store.candles.write(KEY, candles([1]), None, [], lease, conflicts=[seen], rejected=[rubbish])
    assert store.conflicts.list(KEY) == [conflict]
    assert store.rejected.list(KEY) == [rubbish]
    store.rejected.add(KEY, [Rejected("x", "y")])
    store.conflicts.add(KEY, [conflict])
    assert len(store.rejected.list(KEY)) == 2
    assert store.conflicts.list(MARK) == []


def test_two_writers_of_one_range_leave_the_bytes_of_one(url: str, tmp_path: Path) -> None:
    steps = [(range(i * 10, i * 10 + 10), minutes(i * 10, i * 10 + 10)) for i in range(30)]
    with open_store(f"sqlite:///{tmp_path}/alone.db") as alone:
        lease = alone.leases.take("x", "alone", TTL)
        for rows, period in steps:
            alone.candles.write(KEY, candles(rows), period, [], lease)
        expected = alone.candles.content_hash(KEY)
    failures: list[BaseException] = []

    def write(store: Store, name: str, order: list[tuple[range, Period]]) -> None:
        try:
            # A lease of its own each: here the store itself has to keep two unsynchronised writers apart.
            lease = store.leases.take(name, name, TTL)
            for rows, period in order:
                store.candles.write(KEY, candles(rows), period, [], lease)
        except BaseException as error:
            failures.append(error)
            raise

    with open_store(url) as one, open_store(url) as two:
        threads = [
            threading.Thread(target=write, args=(one, "one", steps)),
            threading.Thread(target=write, args=(two, "two", steps[::-1])),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert one.candles.content_hash(KEY) == expected
        assert one.candles.revisions(KEY, minutes(0, 300)).empty
        assert len(one.coverage.known(KEY)) == 1
