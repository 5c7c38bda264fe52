"""Candles in and out: the cache against a memory map, SQL against its bare driver."""

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import psycopg
import pyarrow as pa
from sqlalchemy import make_url

from bybit.history import CandleCache, HistoricalDataManager
from bybit.rules.candles import SeriesKey
from bybit.rules.periods import Period, utc
from bybit.store import Store, bulk, open_store
from tests.bench.ratio import Ratio, minima
from tests.bybit.history.venues import FakeVenue
from tests.bybit.store.examples import KEY, MINUTE_MS, START_MS, Columns
from tests.postgres import fresh_database, running

_numbers = itertools.count(1)
_VALUES = ("open", "high", "low", "close", "volume", "turnover")


def ratios(folder: Path, n_rows: int, rounds: int, *, postgres: bool) -> Iterator[Ratio]:
    """Measure everything on SQLite, then, where wanted, on a real PostgreSQL."""
    columns = minutes_of(n_rows)
    yield from _on("sqlite", f"sqlite:///{folder / 'bench.db'}", folder / "sqlite", columns, rounds)
    if postgres:
        with running(folder) as url:
            yield from _on("postgresql", fresh_database(url), folder / "postgresql", columns, rounds)


def minutes_of(n_rows: int) -> Columns:
    """Candles with prices of two decimals, as the venue gives them."""
    random = np.random.default_rng(7)
    times = START_MS - n_rows * MINUTE_MS + np.arange(n_rows, dtype=np.int64) * MINUTE_MS
    return Columns(times, *(np.round(random.uniform(1.0, 60_000.0, n_rows), 2) for _ in _VALUES))


def _on(kind: str, url: str, folder: Path, columns: Columns, rounds: int) -> Iterator[Ratio]:
    with open_store(url) as store:
        for ratio in (
            *_writes(store, columns, 2),
            *_cold(store, columns, max(2, rounds // 2)),
            *_warm(store, folder, columns, rounds),
        ):
            yield replace(ratio, name=f"{kind}: {ratio.name}")


def _warm(store: Store, folder: Path, columns: Columns, rounds: int) -> Iterator[Ratio]:
    key, period = _new_key(), _period(columns)
    _store(store, key, columns)

    def fetch(manager: HistoricalDataManager, span: tuple[int, int] = period.span_ms) -> pd.DataFrame:
        return manager.fetch_ohlcv(key.symbol, key.interval, *span, fetch=False)

    def manager() -> HistoricalDataManager:
        return HistoricalDataManager(FakeVenue(utc(START_MS)), store, cache=CandleCache(folder))

    warm = manager()
    fetch(warm)
    (file,) = folder.glob("*.arrow")

    def memory_map() -> pd.DataFrame:
        with pa.memory_map(str(file)) as source:
            return pa.ipc.open_file(source).read_all().to_pandas()

    def summed(read: Callable[[], pd.DataFrame]) -> Callable[[], float]:
        def work() -> float:
            frame = read()
            return sum(float(frame[name].to_numpy().sum()) for name in _VALUES)

        return work

    middle = int(columns.open_time_ms[len(columns.open_time_ms) // 2])
    day = (middle, middle + 86_400_000)
    ways: dict[str, Callable[[], object]] = {
        "map": memory_map,
        "warm": lambda: fetch(warm),
        "first": lambda: fetch(manager()),
        "day": lambda: fetch(warm, day),
    }
    best = minima(ways, rounds * 4)
    yield Ratio("warm fetch_ohlcv", best["warm"], best["map"], "memory map into a DataFrame", 2)
    yield Ratio("first fetch_ohlcv of a process", best["first"], best["map"], "memory map into a DataFrame", 2)
    yield Ratio("warm fetch_ohlcv of one day", best["day"], 1.0, "one millisecond", 1)
    used = minima({"map": summed(memory_map), "warm": summed(lambda: fetch(warm))}, rounds)
    yield Ratio("warm fetch_ohlcv, every value summed", used["warm"], used["map"], "memory map, the same", 2)
    before = psutil.Process().memory_full_info().uss
    frames = [fetch(warm) for _ in range(10)]
    total = sum(float(frame["close"].to_numpy().sum()) for frame in frames)
    own = psutil.Process().memory_full_info().uss - before
    assert np.isfinite(total)
    yield Ratio("ten frames in memory", max(own, 0) / 2**20, file.stat().st_size / 2**20, "the file", 1, "MiB")
    later = Period.from_ms(period.end_ms, period.end_ms + 60 * MINUTE_MS)
    hour = _shifted(columns, len(columns.open_time_ms), 60)
    lease = store.leases.take("bench", "bench", timedelta(hours=1))
    store.candles.write(key, hour, later, [], lease)
    grown = minima({"grown": lambda: fetch(warm)}, 1)["grown"]
    cold = minima({"cold": lambda: store.candles.read(key, period)}, 1)["cold"]
    yield Ratio("fetch_ohlcv after one more hour was stored", grown, cold, "SQL read")


def _cold(store: Store, columns: Columns, rounds: int) -> Iterator[Ratio]:
    """The store's read against the driver handing over the same rows to nobody."""
    key, period = _new_key(), _period(columns)
    _store(store, key, columns)
    series_id = store.series.find(key)
    query = (
        "SELECT open_time_ms, open, high, low, close, volume, turnover FROM candles "
        f"WHERE series_id = {series_id} ORDER BY open_time_ms"
    )
    with ExitStack() as stack:
        if store.database.is_sqlite:
            plain = stack.enter_context(closing(sqlite3.connect(store.database.engine.url.database or "")))
            floor, name = (lambda: sum(1 for _ in plain.execute(query))), "sqlite3 rows, dropped"
        else:
            driver = stack.enter_context(_psycopg(store))

            def floor() -> int:
                with driver.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT BINARY)") as copy:
                    return sum(len(block) for block in iter(copy.read, b""))

            name = "COPY blocks, dropped"
        best = minima({"store": lambda: store.candles.read(key, period), "floor": floor}, rounds)
    yield Ratio("cold read out of SQL", best["store"], best["floor"], name)


def _writes(store: Store, columns: Columns, rounds: int) -> Iterator[Ratio]:
    """The store's write, with checks, coverage and stamp, against the plain upsert of the same rows."""
    rows = np.empty(len(columns.open_time_ms), dtype=bulk.ROW)
    for name in bulk.ROW.names or ():
        rows[name] = getattr(columns, name)
    with ExitStack() as stack:
        keys: list[SeriesKey] = []

        def ours() -> None:
            keys.append(_new_key())
            _store(store, keys[-1], columns)

        if store.database.is_sqlite:
            path = Path(f"{store.database.engine.url.database}.plain")
            plain, ceiling = _plain_sqlite(path, rows), "executemany, one transaction"
        else:
            plain, ceiling = _plain_postgres(stack.enter_context(_psycopg(store)), rows), "COPY and ON CONFLICT"
        best = minima({"ours": ours, "plain": plain}, rounds)
        again = minima({"again": lambda: _store(store, keys[-1], columns)}, rounds)["again"]
    yield Ratio("upsert of new rows", best["ours"], best["plain"], ceiling, 1.3)
    yield Ratio("upsert of the same rows again", again, best["plain"], ceiling, 1.3)


def _plain_sqlite(path: Path, rows: bulk.Rows) -> Callable[[], None]:
    def plain() -> None:
        for old in path.parent.glob(f"{path.name}*"):
            old.unlink()
        with closing(sqlite3.connect(path, isolation_level=None)) as driver:
            driver.execute("PRAGMA journal_mode = WAL")
            driver.execute("PRAGMA synchronous = NORMAL")
            names = ", ".join(bulk.ROW.names or ())
            driver.execute(
                f"CREATE TABLE candles (series_id INTEGER, {names}, PRIMARY KEY (series_id, open_time_ms)) "
                "WITHOUT ROWID"
            )
            driver.execute("BEGIN IMMEDIATE")
            driver.executemany(
                f"INSERT INTO candles (series_id, {names}) VALUES (1, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (series_id, open_time_ms) DO UPDATE SET "
                + ", ".join(f"{name} = excluded.{name}" for name in _VALUES),
                zip(*(rows[name].tolist() for name in bulk.ROW.names or ()), strict=True),
            )
            driver.execute("COMMIT")

    return plain


def _plain_postgres(driver: "psycopg.Connection", rows: bulk.Rows) -> Callable[[], None]:
    names = ", ".join(bulk.ROW.names or ())
    fields = [
        ("n_fields", ">i2"),
        *((f, k) for n in bulk.ROW.names or () for f, k in ((f"{n}_length", ">i4"), (n, ">f8"))),
    ]
    layout = np.dtype([(f, ">i8" if f == "open_time_ms" else k) for f, k in fields])

    def plain() -> None:
        driver.execute("DROP TABLE IF EXISTS plain")
        driver.execute("CREATE TABLE plain (LIKE candles INCLUDING ALL)")
        driver.commit()
        driver.execute("CREATE TEMPORARY TABLE arrived (LIKE candles) ON COMMIT DROP")
        driver.execute("ALTER TABLE arrived ALTER series_id DROP NOT NULL")
        wire = np.empty(len(rows), dtype=layout)
        wire["n_fields"] = len(bulk.ROW.names or ())
        for name in bulk.ROW.names or ():
            wire[f"{name}_length"], wire[name] = 8, rows[name]
        with driver.cursor() as cursor, cursor.copy(f"COPY arrived ({names}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(b"PGCOPY\n\xff\r\n\x00" + b"\x00" * 8 + wire.tobytes() + b"\xff\xff")
        changes = ", ".join(f"{name} = excluded.{name}" for name in _VALUES)
        driver.execute(
            f"INSERT INTO plain (series_id, {names}) SELECT 1, {names} FROM arrived "
            f"ON CONFLICT (series_id, open_time_ms) DO UPDATE SET {changes}"
        )
        driver.commit()

    return plain


def _psycopg(store: Store) -> "psycopg.Connection":
    url = make_url(store.database.engine.url).set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False))


def _new_key() -> SeriesKey:
    return SeriesKey(KEY.category, f"B{next(_numbers)}USDT", KEY.price, KEY.interval)


def _period(columns: Columns) -> Period:
    return Period.from_ms(int(columns.open_time_ms[0]), int(columns.open_time_ms[-1]) + MINUTE_MS)


def _shifted(columns: Columns, first: int, n_rows: int) -> Columns:
    times = columns.open_time_ms[0] + (first + np.arange(n_rows, dtype=np.int64)) * MINUTE_MS
    return Columns(times, *(getattr(columns, name)[:n_rows] for name in _VALUES))


def _store(store: Store, key: SeriesKey, columns: Columns) -> None:
    lease = store.leases.take("bench", "bench", timedelta(hours=1))
    store.candles.write(key, columns, _period(columns), [], lease)
    store.leases.release(lease)
