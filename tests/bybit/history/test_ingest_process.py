"""History against the sandbox, in processes that are killed, and on recorded data."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pytest

from bybit.client import BybitClient
from bybit.client.limits import TokenBucket
from bybit.history import HistoricalDataManager
from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.periods import Period, utc
from bybit.sandbox import Gap, SandboxConfig
from bybit.store import BEFORE_LISTING, VENUE_EMPTY, Store, open_store
from tests.bybit.store.databases import prepared
from tests.sandbox import running

LINEAR = Category.LINEAR
KEY = SeriesKey(LINEAR, "BTCUSDT", PriceType.LAST, Interval.MINUTE_1)
NOW = datetime(2025, 9, 1, tzinfo=UTC)
WANTED = Period(NOW - timedelta(minutes=120_000), NOW - timedelta(days=1))
LOST = Period(NOW - timedelta(minutes=70_500), NOW - timedelta(minutes=69_800))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    config = SandboxConfig(now=NOW, gaps=(Gap(LOST),), symbols=("BTCUSDT",), address_limit=None)
    with running(config) as url:
        yield url


@contextmanager
def manager(url: str, store: Store) -> Iterator[HistoricalDataManager]:
    # Faster than the venue allows: what is tested here is not the limiter.
    client = BybitClient(base_urls=[url], limiter=TokenBucket(20_000, paced=10_000))
    try:
        yield HistoricalDataManager(client, store)
    finally:
        client.close()


@contextmanager
def forking(database: str, sandbox: str) -> Iterator["subprocess.Popen[str]"]:
    start, end = (str(ms) for ms in WANTED.span_ms)
    command = [sys.executable, "-m", "tests.bybit.history.ingest_process", database, sandbox, KEY.symbol, start, end]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )
    try:
        yield process
    finally:
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        process.wait(30)


def said(stream: IO[str] | None, word: str) -> int:
    """Read lines up to the next one that starts with ``word`` or ``exit``; return its number."""
    assert stream is not None
    for line in stream:
        name, number = line.split()
        if name == "exit" and word != "exit":
            pytest.fail(f"the child ended ({number}) before it could be killed: ask for a longer period")
        if name == word:
            return int(number)
    raise AssertionError("the process has gone silent")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n_kills"), [("sqlite", 20), ("postgresql", 20)])
def test_an_ingest_killed_again_and_again_ends_with_the_bytes_of_an_undisturbed_one(
    kind: str, n_kills: int, sandbox: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "alone").mkdir()
    with open_store(prepared("sqlite", tmp_path / "alone", request)) as store, manager(sandbox, store) as undisturbed:
        report = undisturbed.ingest_candles(KEY, WANTED)
        assert [hole.period for hole in report.holes] == [LOST]
        expected = store.candles.content_hash(KEY)
    chance = random.Random(20250901)
    database = prepared(kind, tmp_path, request)
    with forking(database, sandbox) as process, open_store(database) as store:
        assert process.stdin is not None
        for _ in range(n_kills):
            process.stdin.write("go\n")
            process.stdin.flush()
            pid = said(process.stdout, "pid")
            for _commit in range(chance.randint(0, 3)):
                said(process.stdout, "commit")
            time.sleep(chance.uniform(0, 0.03))
            os.kill(pid, signal.SIGKILL)
            assert said(process.stdout, "exit") == -signal.SIGKILL
            # Whenever it died: every minute called known has its candle or lies in the hole.
            known = [Period.from_ms(*span) for span in store.coverage.known(KEY)]
            empty = sum((hole.period.end_ms - hole.period.start_ms) // 60_000 for hole in store.coverage.holes(KEY))
            n_known = sum((period.end_ms - period.start_ms) // 60_000 for period in known)
            assert store.candles.count(KEY) == n_known - empty
            # Oldest first: there is never an island further on.
            assert len(known) <= 1
        process.stdin.write("go\n")
        process.stdin.flush()
        assert said(process.stdout, "exit") == 0
        assert store.candles.content_hash(KEY) == expected
        assert store.candles.revisions(KEY, WANTED).empty


def tape(shared: Path, folder: Path, *names: str) -> Path:
    """A tape of a few recorded files; nothing of them is copied into the repository."""
    for name in names:
        link = folder / "tape" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((shared / "data" / name).resolve())
    return folder / "tape"


def values_of(table: pd.DataFrame) -> np.ndarray:
    return table[["open", "high", "low", "close", "volume", "turnover"]].to_numpy(dtype=np.float64)


@pytest.mark.slow
def test_524_recorded_gaps_are_recorded_exactly_and_every_other_row_is_stored(
    shared: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = "klines/bybit_linear_LINKUSDT_1m_blocks_2024-09_2025-09.parquet"
    table = pd.read_parquet(shared / "data" / name)
    times = table["open_time"].to_numpy()
    period = Period.from_ms(int(times[0]), int(times[-1]) + 60_000)
    key = SeriesKey(LINEAR, "LINKUSDT", PriceType.LAST, Interval.MINUTE_1)
    config = SandboxConfig(tape=tape(shared, tmp_path, name), now=period.end + timedelta(hours=1), address_limit=None)
    with (
        running(config) as url,
        open_store(prepared("sqlite", tmp_path, request)) as store,
        manager(url, store) as history,
    ):
        report = history.ingest_candles(key, period)
        frame = store.candles.read(key, period)
        known = store.coverage.known(key)
    after = np.flatnonzero(np.diff(times) != 60_000)
    expected = [Period.from_ms(int(times[i]) + 60_000, int(times[i + 1])) for i in after]
    assert len(expected) == 524
    assert {(hole.end_ms - hole.start_ms) // 60_000 for hole in expected} == {801}
    assert [hole.period for hole in report.holes] == expected
    assert {hole.reason for hole in report.holes} == {VENUE_EMPTY}
    assert known == [period.span_ms]
    assert report.missing == ()
    np.testing.assert_array_equal(frame.index.asi8, times)
    np.testing.assert_array_equal(values_of(frame), values_of(table))
    # One question a page, and two more a gap whatever page edges it runs over.
    assert report.requests == 526 + 2 * 524 + 2 or report.requests == 525 + 2 * 524 + 2


@pytest.mark.slow
def test_recorded_funding_of_a_new_listing_is_stored_to_the_digit_through_its_change_of_interval(
    shared: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    candles = "klines/bybit_linear_WIFUSDT_1h_listing_2025-06.parquet"
    rates = "funding/bybit_linear_WIFUSDT_listing_2025-06.parquet"
    table = pd.read_parquet(shared / "data" / rates)
    times = table["funding_time"].to_numpy()
    assert {int(step) // 3_600_000 for step in np.diff(times)} == {4, 8}
    end = utc(int(times[-1])) + timedelta(minutes=10)
    period = Period(utc(int(times[0])) - timedelta(days=30), end)
    config = SandboxConfig(
        tape=tape(shared, tmp_path, candles, rates), now=end + timedelta(minutes=10), address_limit=None
    )
    key = SeriesKey(LINEAR, "WIFUSDT", PriceType.LAST, Interval.HOUR_1)
    with (
        running(config) as url,
        open_store(prepared("sqlite", tmp_path, request)) as store,
        manager(url, store) as history,
    ):
        report = history.ingest_funding(LINEAR, "WIFUSDT", period)
        stored = store.funding.rates(LINEAR, "WIFUSDT", period)
        listing = history.ingest_candles(key, Period(period.start, period.start + timedelta(days=60)))
    np.testing.assert_array_equal([int(rate.funding_time.timestamp() * 1000) for rate in stored], times)
    assert [float(rate.funding_rate) for rate in stored] == table["funding_rate"].astype(float).tolist()
    assert report.missing == ()
    assert {hole.reason for hole in report.holes} == {BEFORE_LISTING}
    # The contract was funded hours before its first candle: that much is the venue's emptiness, not the listing's.
    assert [hole.reason for hole in listing.holes] == [BEFORE_LISTING, VENUE_EMPTY]
    assert listing.holes[0].period == Period(period.start, utc(int(times[0])))
    assert listing.holes[1].period == Period(utc(int(times[0])), datetime(2024, 1, 11, 12, tzinfo=UTC))
