import itertools
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bybit.history import HistoricalDataManager
from bybit.history.cache import CandleCache
from bybit.history.reader import CandleReader
from bybit.rules.candles import Category, PriceType, SeriesKey
from bybit.rules.errors import InvalidInput
from bybit.store import VENUE_EMPTY, Hole, Lease, Store, open_store
from tests.bybit.history.venues import FakeVenue
from tests.bybit.store.databases import KINDS, fresh
from tests.bybit.store.examples import KEY, MARK, START, TTL, candles, minutes

_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=KINDS)
def long_lived_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    with open_store(fresh(request.param, tmp_path_factory.mktemp("cache"), request)) as opened:
        yield opened


@pytest.fixture
def lease(store: Store) -> Lease:
    return store.leases.take("everything", "test", TTL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def fill(store: Store, n_minutes: int = 60, key: SeriesKey = KEY) -> Lease:
    lease = store.leases.take(f"fill {key}", "test", TTL)
    store.candles.write(key, candles(range(n_minutes)), minutes(0, n_minutes), [], lease)
    return lease


def read(store: Store, cache: CandleCache | None, start: int = 0, end: int = 60, key: SeriesKey = KEY):
    reader = CandleReader(store, cache)
    return reader.read(reader.look(key), minutes(start, end))


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.arrow"))


def assert_as_stored(store: Store, cache: CandleCache, start: int = 0, end: int = 60, key: SeriesKey = KEY) -> None:
    frame, known = read(store, cache, start, end, key)
    plain, plainly_known = read(store, None, start, end, key)
    pd.testing.assert_frame_equal(frame, plain, check_exact=True, check_freq=True)
    assert frame.index.dtype == plain.index.dtype
    assert [frame[name].dtype for name in frame] == [plain[name].dtype for name in plain]
    for name in plain:
        assert frame[name].to_numpy().tobytes() == plain[name].to_numpy().tobytes()
    assert known == plainly_known == store.coverage.known(key)


def forbid_sql_rows(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("rows were read out of SQL")

    monkeypatch.setattr(store.candles, "snapshot", refuse)
    monkeypatch.setattr(store.candles, "read_known", refuse)


# What a writer may do next: (start, length, shift of values, covered, hole after it).
writes = st.tuples(
    st.integers(0, 40), st.integers(0, 12), st.sampled_from([0.0, 1.0]), st.booleans(), st.integers(0, 3)
)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(writes, st.booleans(), st.integers(0, 50), st.integers(1, 60)), max_size=8))
def test_cached_and_plain_reads_agree_after_any_writes(
    long_lived_store: Store, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple]
) -> None:
    store, key = long_lived_store, SeriesKey(KEY.category, f"R{next(_numbers)}USDT", KEY.price, KEY.interval)
    folder = tmp_path_factory.mktemp("random")
    cache = CandleCache(folder)
    lease = store.leases.take(f"candles {key}", "test", TTL)
    for (start, length, shift, covered, empty), reopened, read_start, read_length in steps:
        end = start + length
        span = minutes(start, end + empty) if covered and length + empty else None
        holes = [Hole(minutes(end, end + empty), VENUE_EMPTY)] if span and empty else []
        store.candles.write(key, candles(range(start, end), shift=shift), span, holes, lease)
        if reopened:
            cache = CandleCache(folder)
        assert_as_stored(store, cache, read_start, read_start + read_length, key)
        assert_as_stored(store, cache, 0, 60, key)
    assert len(files(folder)) <= 1


def test_a_cached_request_equals_a_plain_one_in_values_types_and_attributes(store: Store, folder: Path) -> None:
    venue = FakeVenue(START + pd.Timedelta(days=9), lost=set(candles([30, 31]).open_time_ms.tolist()))
    cached = HistoricalDataManager(venue, store, cache=CandleCache(folder))
    first = cached.fetch_ohlcv("BTCUSDT", "1m", START, START + pd.Timedelta(hours=2))
    asked = len(venue.asked)
    again = cached.fetch_ohlcv("BTCUSDT", "1m", START, START + pd.Timedelta(hours=2))
    wider = cached.fetch_ohlcv("BTCUSDT", "1m", START, START + pd.Timedelta(hours=3), fetch=False)
    plain = HistoricalDataManager(venue, store)
    for frame, hours in ((first, 2), (again, 2), (wider, 3)):
        expected = plain.fetch_ohlcv("BTCUSDT", "1m", START, START + pd.Timedelta(hours=hours), fetch=False)
        pd.testing.assert_frame_equal(frame, expected, check_exact=True)
        assert frame.attrs == expected.attrs
    assert len(first) == 118
    assert wider.attrs["missing"] == ["2025-03-01T02:00..2025-03-01T03:00"]
    assert len(venue.asked) == asked
    assert len(files(folder)) == 1


def test_a_second_read_takes_no_rows_out_of_sql(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store)
    cache = CandleCache(folder)
    read(store, cache)
    expected = store.candles.read(KEY, minutes(5, 9))
    forbid_sql_rows(store, monkeypatch)
    pd.testing.assert_frame_equal(read(store, cache, 5, 9)[0], expected)
    pd.testing.assert_frame_equal(read(store, CandleCache(folder), 5, 9)[0], expected)


def test_a_revised_candle_is_seen_by_the_very_next_read(store: Store, folder: Path) -> None:
    lease = fill(store)
    cache = CandleCache(folder)
    before, _ = read(store, cache)
    store.candles.write(KEY, candles([7], shift=1.0), None, [], lease)
    after, _ = read(store, cache)
    assert after["open"].iloc[7] == before["open"].iloc[7] + 1.0
    assert_as_stored(store, cache)


def test_a_new_hole_alone_is_seen_by_the_very_next_read(store: Store, folder: Path) -> None:
    lease = fill(store)
    cache = CandleCache(folder)
    read(store, cache)
    store.candles.write(KEY, candles([]), minutes(60, 70), [Hole(minutes(60, 70), VENUE_EMPTY)], lease)
    assert read(store, cache)[1] == [minutes(0, 70).span_ms]


def test_what_another_process_writes_is_seen(store: Store, folder: Path) -> None:
    lease = fill(store)
    cache = CandleCache(folder)
    read(store, cache)
    # A second store on the same database shares nothing with the first but the database.
    with open_store(store.database.engine.url.render_as_string(hide_password=False)) as other:
        other.candles.write(KEY, candles(range(60, 70)), minutes(60, 70), [], lease)
        other.candles.write(KEY, candles([3], shift=2.0), None, [], lease)
        assert_as_stored(store, cache, 0, 70)
        assert_as_stored(other, cache, 0, 70)


def test_two_databases_may_share_a_folder(tmp_path: Path, folder: Path) -> None:
    cache = CandleCache(folder)
    with open_store(f"sqlite:///{tmp_path}/a.db") as a, open_store(f"sqlite:///{tmp_path}/b.db") as b:
        for store, shift in ((a, 0.0), (b, 5.0)):
            lease = store.leases.take("everything", "test", TTL)
            store.candles.write(KEY, candles(range(60), shift=shift), minutes(0, 60), [], lease)
        for store in (a, b, a, b):
            assert_as_stored(store, cache)


def test_writing_into_a_frame_changes_nobody_elses(small_store: Store, folder: Path) -> None:
    fill(small_store)
    cache = CandleCache(folder)
    frame, _ = read(small_store, cache)
    frame.loc[frame.index[3], "close"] = -1.0
    frame["volume"] *= 2
    frame["funding_rate"] = 0.0
    frame.index.name = frame.columns.name = "changed"
    frame.attrs["missing"] = ["changed"]
    assert_as_stored(small_store, cache)
    assert_as_stored(small_store, CandleCache(folder))


def test_a_frame_outlives_its_file_and_can_still_be_written(small_store: Store, folder: Path) -> None:
    lease = fill(small_store)
    cache = CandleCache(folder)
    frame, _ = read(small_store, cache)
    expected = frame.copy(deep=True)
    small_store.candles.write(KEY, candles([1], shift=1.0), None, [], lease)
    read(small_store, cache)
    del cache
    for path in files(folder):
        path.unlink()
    pd.testing.assert_frame_equal(frame, expected)
    frame.iloc[0, 0] = 5.0
    assert frame.iloc[0, 0] == 5.0


def test_an_extended_series_reads_only_what_is_new(small_store: Store, folder: Path) -> None:
    lease = fill(small_store)
    cache = CandleCache(folder)
    read(small_store, cache)
    small_store.candles.write(KEY, candles(range(60, 65)), minutes(60, 65), [], lease)
    asked: list[int] = []
    original = small_store.candles.snapshot

    def counted(key: SeriesKey, since: str | None = None):
        found = original(key, since)
        asked.append(sum(len(rows) for rows in found.rows))
        return found

    small_store.candles.snapshot = counted
    frame, _ = read(small_store, CandleCache(folder), 0, 65)
    assert asked == [5]
    pd.testing.assert_frame_equal(frame, small_store.candles.read(KEY, minutes(0, 65)))
    assert len(files(folder)) == 1


@pytest.mark.parametrize("place", ["start", "rows", "end", "short", "empty", "other words"])
def test_a_damaged_file_is_built_again(
    place: str, small_store: Store, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(small_store)
    cache = CandleCache(folder)
    read(small_store, cache)
    (path,) = files(folder)
    whole = path.read_bytes()
    row = whole.index(small_store.candles.read(KEY, minutes(0, 60))["close"].to_numpy().tobytes())
    at = {"start": 2, "rows": row + 100, "end": len(whole) - 30, "other words": whole.rindex(b'"known":[[') + 12}
    broken = {"short": whole[: len(whole) // 2], "empty": b""}.get(place)
    if broken is None:
        broken = whole[: at[place]] + bytes([whole[at[place]] ^ 1]) + whole[at[place] + 1 :]
    path.write_bytes(broken)
    os.utime(path, ns=(1, 1))
    with caplog.at_level(logging.WARNING, logger="bybit.history.cache"):
        # Who had opened it before the damage notices as well.
        assert_as_stored(small_store, cache)
        assert_as_stored(small_store, CandleCache(folder))
    if place != "start":
        assert "built again" in caplog.text
        assert path.read_bytes() == whole


def test_every_flipped_byte_is_refused_or_means_nothing(small_store: Store, folder: Path) -> None:
    fill(small_store, 3)
    read(small_store, CandleCache(folder), 0, 3)
    (path,) = files(folder)
    whole = path.read_bytes()
    stamp = small_store.candles.stamp(KEY)
    assert stamp is not None
    expected = small_store.candles.read(KEY, minutes(0, 3))
    logging.getLogger("bybit.history.cache").disabled = True
    try:
        for at in range(0, len(whole), 3):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
            copy = CandleCache(folder).find(KEY, stamp)
            if copy is not None:
                pd.testing.assert_frame_equal(copy.read(minutes(0, 3)), expected, check_exact=True)
                assert copy.known == [minutes(0, 3).span_ms]
    finally:
        logging.getLogger("bybit.history.cache").disabled = False


def test_the_file_of_one_series_is_not_taken_for_another(small_store: Store, folder: Path) -> None:
    fill(small_store)
    fill(small_store, 40, MARK)
    cache = CandleCache(folder)
    read(small_store, cache)
    stamp = small_store.candles.stamp(MARK)
    (path,) = files(folder)
    path.rename(folder / f"linear-BTCUSDT-mark-1m-bybit.{stamp}.arrow")
    assert_as_stored(small_store, CandleCache(folder), key=MARK)


def test_a_file_is_plain_arrow_that_other_tools_can_map(small_store: Store, folder: Path) -> None:
    fill(small_store)
    read(small_store, CandleCache(folder))
    (path,) = files(folder)
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    assert table.column_names == ["open_time_ms", "open", "high", "low", "close", "volume", "turnover"]
    np.testing.assert_array_equal(table["close"].to_numpy(), small_store.candles.read(KEY, minutes(0, 60))["close"])


def test_above_its_bound_the_folder_loses_what_was_unused_for_longest(small_store: Store, folder: Path) -> None:
    keys = [SeriesKey(Category.LINEAR, f"C{n}USDT", PriceType.LAST, KEY.interval) for n in range(4)]
    for key in keys:
        fill(small_store, key=key)
    read(small_store, CandleCache(folder), key=keys[0])
    size = files(folder)[0].stat().st_size
    cache = CandleCache(folder, max_bytes=3 * size + size // 2)
    for at, key in enumerate(keys[:3]):
        read(small_store, cache, key=key)
        (path,) = folder.glob(f"linear-{key.symbol}-*.arrow")
        os.utime(path, ns=(10**18 + at, 10**18 + at))
    (folder / "somebody's.txt").write_text("stays")
    # The oldest is used once more, so the second oldest goes.
    CandleCache(folder).find(keys[0], small_store.candles.stamp(keys[0]) or "")
    read(small_store, cache, key=keys[3])
    assert {path.name.split("-")[1] for path in files(folder)} == {"C0USDT", "C2USDT", "C3USDT"}
    assert (folder / "somebody's.txt").exists()
    for key in keys:
        assert_as_stored(small_store, cache, key=key)


def test_the_last_series_stays_even_when_it_alone_is_too_much(small_store: Store, folder: Path) -> None:
    fill(small_store)
    assert_as_stored(small_store, CandleCache(folder, max_bytes=1))
    assert len(files(folder)) == 1
    with pytest.raises(InvalidInput, match="0 bytes: 1 or more"):
        CandleCache(folder, max_bytes=0)


def test_a_folder_that_cannot_be_written_costs_speed_and_nothing_else(
    small_store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(small_store)
    (tmp_path / "file").write_text("in the way")
    cache = CandleCache(tmp_path / "file" / "cache")
    with caplog.at_level(logging.WARNING, logger="bybit.history.cache"):
        assert_as_stored(small_store, cache)
        assert_as_stored(small_store, cache)
    assert "without being kept" in caplog.text


def test_a_single_day_of_a_long_series_does_not_wait_for_all_of_it(small_store: Store, folder: Path) -> None:
    fill(small_store, 1000)
    cache = CandleCache(folder)
    for _ in range(4):
        # Each task makes a reader of its own; the cache counts for all of them.
        assert len(CandleReader(small_store, cache).candles(KEY, minutes(10, 60))) == 50
        assert files(folder) == []
    # A quarter of it has now been read past the cache.
    CandleReader(small_store, cache).candles(KEY, minutes(10, 60))
    assert len(files(folder)) == 1


def test_what_a_killed_process_left_unfinished_is_removed(small_store: Store, folder: Path) -> None:
    fill(small_store)
    folder.mkdir()
    old, recent = (folder / f"linear-X-last-1m-bybit.ab.arrow.{n}.part" for n in "12")
    for path in (old, recent):
        path.write_bytes(b"half")
    os.utime(old, ns=(10**18, 10**18))
    read(small_store, CandleCache(folder))
    assert not old.exists()
    assert recent.exists()


def test_threads_that_start_cold_build_one_copy(store: Store, folder: Path) -> None:
    fill(store)
    cache, built, failed = CandleCache(folder), [], []
    original = store.candles.snapshot

    def counted(key: SeriesKey, since: str | None = None):
        built.append(since)
        return original(key, since)

    store.candles.snapshot = counted
    expected = store.candles.read(KEY, minutes(0, 60))

    def work() -> None:
        try:
            pd.testing.assert_frame_equal(read(store, cache)[0], expected)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(built) == 1


@pytest.mark.slow
def test_processes_share_one_file(store: Store, folder: Path) -> None:
    fill(store)
    url = store.database.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.bybit.history.cached_read", url, str(folder), "60"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = {process.communicate(timeout=120)[0] for process in started}
    assert [process.returncode for process in started] == [0, 0]
    plain = store.candles.read(KEY, minutes(0, 60))
    assert told == {f"60 {pd.util.hash_pandas_object(plain).sum()}\n"}
    assert len(files(folder)) == 1
    assert list(folder.glob("*.part")) == []
