"""The fast way in and out for candles: COPY on PostgreSQL, the plain driver on SQLite.

Both answer to one array layout, ``ROW``; NaN in volume or turnover is NULL in the database.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from sqlalchemy import Connection

ROW = np.dtype(
    [("open_time_ms", "<i8"), *((name, "<f8") for name in ("open", "high", "low", "close", "volume", "turnover"))]
)
"""One candle, little-endian, 56 bytes; volume and turnover are NaN where the series has none."""

Rows = NDArray[np.void]
"""Candles of ``ROW``, shape (n_candles,), strictly increasing in open_time_ms."""

_VALUES = ("open", "high", "low", "close", "volume", "turnover")
_COLUMNS = ", ".join(("open_time_ms", *_VALUES))
_DIFFERENT = " OR ".join(f"old.{name} IS DISTINCT FROM new.{name}" for name in _VALUES)

# PostgreSQL's binary COPY: a header, then per row a field count and per field its length and big-endian bytes.
_HEADER = b"PGCOPY\n\xff\r\n\x00" + b"\x00" * 8
_TRAILER = b"\xff\xff"


def _wire(names: Sequence[str]) -> np.dtype[np.void]:
    kinds = {"series_id": ">i4", "open_time_ms": ">i8"}
    fields: list[tuple[str, str]] = [("n_fields", ">i2")]
    for name in names:
        fields += [(f"{name}_length", ">i4"), (name, kinds.get(name, ">f8"))]
    return np.dtype(fields)


_WIRE_OUT = _wire(("open_time_ms", *_VALUES))


def insert_new(connection: Connection, series_id: int, rows: Rows) -> None:
    """Insert candles that are known not to be stored yet."""
    if connection.dialect.name == "sqlite":
        columns = [rows[name].tolist() for name in ("open_time_ms", *_VALUES[:4])]
        # SQLite stores NaN as NULL by itself.
        columns += [rows["volume"].tolist(), rows["turnover"].tolist()]
        _sqlite(connection).executemany(
            f"INSERT INTO candles (series_id, {_COLUMNS}) VALUES ({series_id:d}, ?, ?, ?, ?, ?, ?, ?)",
            zip(*columns, strict=True),
        ).close()
        return
    _copy_in(_postgres(connection), "candles", series_id, rows)


def upsert(connection: Connection, series_id: int, rows: Rows, now_ms: int) -> tuple[int, int, int]:
    """Insert or update candles; return how many were inserted, updated and left as they were.

    The versions that were replaced go to ``candle_revisions``. The caller holds the series.
    """
    if not len(rows):
        return 0, 0, 0
    first, last = int(rows["open_time_ms"][0]), int(rows["open_time_ms"][-1])
    stored = read(connection, series_id, first, last + 1)
    if not len(stored):
        insert_new(connection, series_id, rows)
        return len(rows), 0, 0
    known = np.isin(rows["open_time_ms"], stored["open_time_ms"], assume_unique=True)
    here = np.searchsorted(stored["open_time_ms"], rows["open_time_ms"][known])
    differs = np.zeros(len(rows), dtype=bool)
    differs[known] = ~_equal(stored[here], rows[known])
    if differs.any():
        _replace(connection, series_id, rows[differs], now_ms)
    if not known.all():
        insert_new(connection, series_id, rows[~known])
    return int((~known).sum()), int(differs.sum()), int((known & ~differs).sum())


def read(connection: Connection, series_id: int, start_ms: int, end_ms: int, limit: int | None = None) -> Rows:
    """Return the candles with start_ms <= open_time_ms < end_ms, oldest first, at most ``limit``."""
    where = f"series_id = {series_id:d} AND open_time_ms >= {start_ms:d} AND open_time_ms < {end_ms:d}"
    tail = "" if limit is None else f" LIMIT {limit:d}"
    if connection.dialect.name == "sqlite":
        # SQLite has no NaN; an infinity is never stored, so it can stand for NULL on the way out.
        found = _sqlite(connection).execute(
            "SELECT open_time_ms, open, high, low, close, ifnull(volume, 9e999), ifnull(turnover, 9e999) "
            f"FROM candles WHERE {where} ORDER BY open_time_ms{tail}"
        )
        rows = np.fromiter(found, dtype=ROW)
        found.close()
        for name in ("volume", "turnover"):
            rows[name][np.isinf(rows[name])] = np.nan
        return rows
    query = (
        "SELECT open_time_ms, open, high, low, close, coalesce(volume, 'NaN'), coalesce(turnover, 'NaN') "
        f"FROM candles WHERE {where} ORDER BY open_time_ms{tail}"
    )
    # Each row comes as a block of its own: growing one buffer takes two thirds of the time that joining them does.
    data = bytearray()
    with (
        _postgres(connection).cursor() as cursor,
        cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT BINARY)".encode()) as copy,
    ):
        while block := copy.read():
            data += block
    wire = np.frombuffer(data, dtype=_WIRE_OUT, offset=len(_HEADER), count=len(data) // _WIRE_OUT.itemsize)
    rows = np.empty(len(wire), dtype=ROW)
    for name in ROW.names or ():
        rows[name] = wire[name]
    return rows


def _replace(connection: Connection, series_id: int, rows: Rows, now_ms: int) -> None:
    if connection.dialect.name == "sqlite":
        cursor = _sqlite(connection).cursor()
        times = [(now_ms, series_id, time) for time in rows["open_time_ms"].tolist()]
        cursor.executemany(
            f"INSERT INTO candle_revisions (series_id, replaced_at_ms, {_COLUMNS}) "
            f"SELECT series_id, ?, {_COLUMNS} FROM candles WHERE series_id = ? AND open_time_ms = ?",
            times,
        )
        cursor.executemany(
            "UPDATE candles SET open = ?, high = ?, low = ?, close = ?, volume = ?, turnover = ? "
            "WHERE series_id = ? AND open_time_ms = ?",
            [(*row[1:], series_id, row[0]) for row in rows.tolist()],
        )
        cursor.close()
        return
    driver = _postgres(connection)
    driver.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS incoming_candles "
        "(LIKE candles, PRIMARY KEY (open_time_ms)) ON COMMIT DELETE ROWS"
    )
    driver.execute("DELETE FROM incoming_candles")
    _copy_in(driver, "incoming_candles", series_id, rows)
    driver.execute(
        f"INSERT INTO candle_revisions (series_id, replaced_at_ms, {_COLUMNS}) "
        f"SELECT old.series_id, {now_ms:d}, {', '.join('old.' + name for name in ('open_time_ms', *_VALUES))} "
        "FROM candles old JOIN incoming_candles new USING (series_id, open_time_ms) "
        f"WHERE {_DIFFERENT} ORDER BY old.open_time_ms"
    )
    driver.execute(
        f"INSERT INTO candles AS old (series_id, {_COLUMNS}) "
        f"SELECT series_id, {_COLUMNS} FROM incoming_candles ON CONFLICT (series_id, open_time_ms) "
        f"DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _VALUES)} "
        f"WHERE {_DIFFERENT.replace('new.', 'excluded.')}"
    )


def _copy_in(driver: "psycopg.Connection[Any]", table: str, series_id: int, rows: Rows) -> None:
    """COPY rows into ``table``, once per set of columns that have a value: fixed-width rows cannot say NULL."""
    has_volume, has_turnover = ~np.isnan(rows["volume"]), ~np.isnan(rows["turnover"])
    for with_volume, with_turnover in ((True, True), (False, False), (True, False), (False, True)):
        part = rows[(has_volume == with_volume) & (has_turnover == with_turnover)]
        if not len(part):
            continue
        names = ["open_time_ms", *_VALUES[:4], *(["volume"] * with_volume), *(["turnover"] * with_turnover)]
        wire = np.empty(len(part), dtype=_wire(["series_id", *names]))
        wire["n_fields"] = len(names) + 1
        wire["series_id_length"], wire["series_id"] = 4, series_id
        for name in names:
            wire[f"{name}_length"], wire[name] = 8, part[name]
        statement = f"COPY {table} (series_id, {', '.join(names)}) FROM STDIN (FORMAT BINARY)"
        with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.write(_HEADER + wire.tobytes() + _TRAILER)


def _equal(a: Rows, b: Rows) -> NDArray[np.bool_]:
    equal = np.ones(len(a), dtype=bool)
    for name in _VALUES:
        equal &= (a[name] == b[name]) | (np.isnan(a[name]) & np.isnan(b[name]))
    return equal


def _sqlite(connection: Connection) -> sqlite3.Connection:
    driver: Any = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        raise TypeError(f"expected a SQLite connection, found {type(driver).__name__}")
    return driver


def _postgres(connection: Connection) -> "psycopg.Connection[Any]":
    driver: Any = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError(f"expected a PostgreSQL connection, found {type(driver).__name__}")
    return driver
