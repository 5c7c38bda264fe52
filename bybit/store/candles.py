"""Candles in and out; rows, coverage, holes and revisions change together or not at all."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from bybit.rules.candles import Interval, SeriesKey
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period, Span, to_ms, utc
from bybit.store import bulk
from bybit.store.changes import changes_since, latest_stamp, note_change
from bybit.store.coverage import Hole, covered_spans, join_holes, overlapping, record, stored_holes
from bybit.store.database import Database
from bybit.store.errors import CoverageClaim
from bybit.store.evidence import Conflict, Rejected, note_conflicts, note_rejected
from bybit.store.leases import Lease, hold
from bybit.store.schema import candle_revisions
from bybit.store.series import SeriesTable, lock_series

VALUES = ("open", "high", "low", "close", "volume", "turnover")
_ALL_TIME = (1_000_000_000_000, 10_000_000_000_000)
_HASHED_AT_ONCE = 200_000


class Columns(Protocol):
    """Candles as arrays of shape (n_candles,), oldest first; volume and turnover are NaN where there is none."""

    @property
    def open_time_ms(self) -> NDArray[np.int64]:
        """Open times, ms UTC, strictly increasing."""
        ...

    @property
    def open(self) -> NDArray[np.float64]:
        """First price, quote coin."""
        ...

    @property
    def high(self) -> NDArray[np.float64]:
        """Highest price, quote coin."""
        ...

    @property
    def low(self) -> NDArray[np.float64]:
        """Lowest price, quote coin."""
        ...

    @property
    def close(self) -> NDArray[np.float64]:
        """Last price, quote coin."""
        ...

    @property
    def volume(self) -> NDArray[np.float64]:
        """Traded quantity as the venue gives it."""
        ...

    @property
    def turnover(self) -> NDArray[np.float64]:
        """Traded value as the venue gives it."""
        ...


@dataclass(frozen=True, slots=True)
class WriteCount:
    """What one write did to the rows."""

    inserted: int
    updated: int
    unchanged: int


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """One moment of a series, as far as somebody who holds an earlier one needs it.

    Parameters
    ----------
    stamp : str
        Names the moment, in every copy of every database.
    passed : frozenset of str
        Names of earlier moments of the series, as far as they are remembered.
    known : list of Span
        The spans (ms) known in full, as ``CoverageTable.known``.
    changed : list of Span
        Where rows may differ from the earlier moment, ms UTC, sorted, none touching another.
    rows : list of Rows
        What is stored in each span of ``changed``; elsewhere the earlier rows still hold.
    """

    stamp: str
    passed: frozenset[str]
    known: list[Span]
    changed: list[Span]
    rows: list[bulk.Rows]


class CandleTable:
    """Stored candles of every series."""

    def __init__(self, database: Database, series: SeriesTable) -> None:
        self._database = database
        self._series = series

    def write(
        self,
        key: SeriesKey,
        columns: Columns,
        covered: Period | None,
        holes: Sequence[Hole],
        lease: Lease,
        *,
        conflicts: Sequence[Conflict] = (),
        rejected: Sequence[Rejected] = (),
    ) -> WriteCount:
        """Store candles and what is now known of their span, in one transaction.

        Idempotent: rows are upserted on (series, open_time); a candle that comes back different replaces the stored
        one, which is kept as a revision. Writing the same again changes nothing.

        Parameters
        ----------
        key : SeriesKey
            The series; named in the store if it is new.
        columns : Columns
            Closed candles, strictly increasing open times on the interval's grid; may be empty.
        covered : Period or None
            The span that ``columns`` and ``holes`` tell everything about; None claims nothing.
        holes : sequence of Hole
            Where in ``covered`` nothing exists, and why.
        lease : Lease
            The caller's right to write; renewed by this.
        conflicts, rejected : sequences
            What the venue said twice differently, and rows that cannot be used; kept as evidence.

        Raises
        ------
        InvalidInput
            For times that are not ms on the grid, not increasing, or values that are not finite.
        CoverageClaim
            When a candle of ``covered`` is neither given, stored, nor in a hole.
        LeaseLost
            When somebody else has taken the lease; nothing was written.
        """
        rows = _checked(key, columns)
        unexplained = _unexplained(key, rows, covered, holes)
        filled = filled_spans(key.interval, rows["open_time_ms"])
        series_id = self._series.add(key)

        def work(connection: Connection) -> WriteCount:
            now_ms = self._database.now_ms()
            hold(connection, lease, now_ms)
            lock_series(connection, series_id)
            _require_stored(connection, key, series_id, unexplained)
            count = WriteCount(*bulk.upsert(connection, series_id, rows, now_ms))
            span = None if covered is None else covered.span_ms
            changed = record(connection, series_id, span, holes, filled)
            note_conflicts(self._database, connection, series_id, conflicts, now_ms)
            note_rejected(self._database, connection, series_id, rejected, now_ms)
            if changed or count.inserted or count.updated:
                note_change(connection, series_id, _extent(key, rows) if count.inserted or count.updated else None)
            return count

        return self._database.write(work)

    def read(self, key: SeriesKey, period: Period) -> pd.DataFrame:
        """Return the stored candles that open in ``period``.

        Returns
        -------
        DataFrame of shape (n_candles, 6)
            Index ``open_time`` (UTC, datetime64[ms]), increasing; columns open, high, low, close, volume, turnover,
            float64; volume and turnover are NaN where the series has none. Gaps are gaps: nothing is filled in.
        """
        return self.read_known(key, period)[0]

    def read_known(self, key: SeriesKey, period: Period) -> tuple[pd.DataFrame, list[Span]]:
        """Return what ``read`` and ``CoverageTable.known`` do, both of one moment."""
        series_id = self._series.find(key)
        if series_id is None:
            return _frame(np.empty(0, dtype=bulk.ROW)), []
        rows, known = self._database.read(
            lambda connection: (
                bulk.read(connection, series_id, *period.span_ms),
                covered_spans(connection, series_id),
            )
        )
        return _frame(rows), known

    def stamp(self, key: SeriesKey) -> str | None:
        """Return the name of what is stored and known of ``key``; None when nothing ever was.

        Every change of rows, coverage or holes gives a new one, in the same transaction.
        """
        series_id = self._series.find(key)
        if series_id is None:
            return None
        return self._database.ask(lambda connection: latest_stamp(connection, series_id))

    def snapshot(self, key: SeriesKey, since: str | None = None) -> Snapshot | None:
        """Return what is stored now where it may differ from the moment ``since`` (None: everything).

        None when nothing was ever stored or known. A moment that is no longer remembered counts as None.
        """
        series_id = self._series.find(key)
        if series_id is None:
            return None

        def work(connection: Connection) -> Snapshot | None:
            found = changes_since(connection, series_id, since)
            if found is None:
                return None
            changed = [_ALL_TIME] if found.changed is None else found.changed
            rows = [bulk.read(connection, series_id, *span) for span in changed]
            return Snapshot(found.stamp, found.passed, covered_spans(connection, series_id), changed, rows)

        return self._database.read(work)

    def count(self, key: SeriesKey, period: Period | None = None) -> int:
        """Return how many candles that open in ``period`` (None: ever) are stored."""
        series_id = self._series.find(key)
        if series_id is None:
            return 0
        start, end = _ALL_TIME if period is None else period.span_ms
        query = (
            f"SELECT count(*) FROM candles WHERE series_id = {series_id:d} "
            f"AND open_time_ms >= {start:d} AND open_time_ms < {end:d}"
        )
        return int(self._database.read(lambda connection: connection.exec_driver_sql(query).scalar_one()))

    def content_hash(self, key: SeriesKey, period: Period | None = None) -> str:
        """Return the sha256 of what is known of ``key`` in ``period`` (None: ever), as hex.

        The same rows, coverage and holes give the same hash on every database and machine: little-endian rows in
        order, then the covered spans, then the holes with their reasons. When anything was fetched, and how often, is
        not part of it.
        """
        start, end = _ALL_TIME if period is None else period.span_ms
        series_id = self._series.find(key)

        def work(connection: Connection) -> str:
            digest = hashlib.sha256(f"perpflow candles 1 {key.exchange} {key}\n".encode())
            if series_id is None:
                return digest.hexdigest()
            after = start
            while len(rows := bulk.read(connection, series_id, after, end, _HASHED_AT_ONCE)):
                after = int(rows["open_time_ms"][-1]) + 1
                for name in VALUES:
                    # One bit pattern for zero and one for NaN.
                    rows[name] += 0.0
                    rows[name][np.isnan(rows[name])] = np.nan
                digest.update(rows.tobytes())
            for a, b in covered_spans(connection, series_id):
                if a < end and start < b:
                    digest.update(f"covered {max(a, start)} {min(b, end)}\n".encode())
            bare = [Hole(hole.period, hole.reason) for hole in stored_holes(connection, series_id, (start, end))]
            for hole in join_holes(bare):
                a, b = hole.period.span_ms
                if a < end and start < b:
                    digest.update(f"hole {max(a, start)} {min(b, end)} {hole.reason}\n".encode())
            return digest.hexdigest()

        return self._database.read(work)

    def revisions(self, key: SeriesKey, period: Period) -> pd.DataFrame:
        """Return the replaced versions of candles that open in ``period``, oldest replacement first.

        Columns: open_time and replaced_at (UTC), then the six values as they were before.
        """
        series_id = self._series.find(key)
        table = candle_revisions.c
        names = ("open_time_ms", "replaced_at_ms", *VALUES)
        start, end = period.span_ms
        query = (
            select(*(table[name] for name in names))
            .where(table.series_id == (-1 if series_id is None else series_id))
            .where(table.open_time_ms >= start, table.open_time_ms < end)
            .order_by(table.id)
        )
        rows = self._database.read(lambda connection: connection.execute(query).all())
        frame = pd.DataFrame([tuple(row) for row in rows], columns=list(names))
        for name in ("open_time", "replaced_at"):
            frame.insert(0, name, pd.to_datetime(frame.pop(f"{name}_ms").astype("int64"), unit="ms", utc=True))
        return frame[["open_time", "replaced_at", *VALUES]].astype(dict.fromkeys(VALUES, "float64"))


def candle_frame(open_time_ms: NDArray[np.int64], values: Mapping[str, NDArray[np.float64]]) -> pd.DataFrame:
    """Return candles as ``CandleTable.read`` hands them out, without copying ``values`` (named as in ``VALUES``)."""
    index = pd.DatetimeIndex(open_time_ms.view("datetime64[ms]"), name="open_time").tz_localize("UTC")
    return pd.DataFrame({name: values[name] for name in VALUES}, index=index, copy=False)


def _frame(rows: bulk.Rows) -> pd.DataFrame:
    times = np.ascontiguousarray(rows["open_time_ms"])
    return candle_frame(times, {name: np.ascontiguousarray(rows[name]) for name in VALUES})


def _extent(key: SeriesKey, rows: bulk.Rows) -> Span:
    return int(rows["open_time_ms"][0]), key.interval.close_ms(int(rows["open_time_ms"][-1]))


def _checked(key: SeriesKey, columns: Columns) -> bulk.Rows:
    times = np.asarray(columns.open_time_ms)
    if times.dtype != np.int64:
        raise InvalidInput(f"{key}: open times must be int64 milliseconds, found {times.dtype}")
    rows = np.empty(len(times), dtype=bulk.ROW)
    rows["open_time_ms"] = times
    for name in VALUES:
        values = np.asarray(getattr(columns, name), dtype=np.float64)
        if values.shape != times.shape:
            raise InvalidInput(f"{key}: {name} has shape {values.shape}, the open times have {times.shape}")
        rows[name] = values
        missing_allowed = name in ("volume", "turnover")
        bad = ~np.isfinite(values) & ~(np.isnan(values) & missing_allowed)
        if missing_allowed:
            bad |= values < 0
        if bad.any():
            at = int(np.argmax(bad))
            raise InvalidInput(f"{key}: {name} at {times[at]} is {values[at]}: quarantine rows without finite numbers")
    if not len(times):
        return rows
    to_ms(int(times[0]))
    to_ms(int(times[-1]))
    steps = np.diff(times)
    if (steps <= 0).any():
        at = int(np.argmax(steps <= 0))
        raise InvalidInput(f"{key}: open time {times[at + 1]} follows {times[at]}: sort them, each once")
    off = _off_grid(key.interval, times)
    if off is not None:
        raise InvalidInput(f"{key}: {utc(off).isoformat()} is not an open time of {key.interval.value} candles")
    return rows


def _off_grid(interval: Interval, times: NDArray[np.int64]) -> int | None:
    """Return the first time that is not on the interval's grid, or None."""
    if interval in (Interval.WEEK_1, Interval.MONTH_1):
        return next((time for time in times.tolist() if interval.floor_ms(time) != time), None)
    off = times % interval.ms != 0
    return int(times[np.argmax(off)]) if off.any() else None


def _unexplained(key: SeriesKey, rows: bulk.Rows, covered: Period | None, holes: Sequence[Hole]) -> NDArray[np.int64]:
    """Return the open times of ``covered`` that neither a row nor a hole accounts for."""
    crossing = overlapping(holes)
    if crossing is not None:
        raise InvalidInput(f"{key}: holes {crossing[0].period} and {crossing[1].period} overlap")
    for hole in holes:
        if covered is None or not covered.contains(hole.period):
            raise InvalidInput(f"{key}: hole {hole.period} lies outside the covered period {covered}")
        start, end = np.searchsorted(rows["open_time_ms"], hole.period.span_ms)
        if start < end:
            time = utc(int(rows["open_time_ms"][start])).isoformat()
            raise InvalidInput(f"{key}: there is a candle at {time} inside the hole {hole.period}")
    if covered is None:
        return np.empty(0, dtype=np.int64)
    expected = key.interval.open_times(*covered.span_ms)
    left = expected[~np.isin(expected, rows["open_time_ms"], assume_unique=True)]
    for hole in holes:
        start, end = np.searchsorted(left, hole.period.span_ms)
        left = np.delete(left, np.s_[start:end])
    return left


def _require_stored(connection: Connection, key: SeriesKey, series_id: int, times: NDArray[np.int64]) -> None:
    if not len(times):
        return
    stored = bulk.read(connection, series_id, int(times[0]), int(times[-1]) + 1)["open_time_ms"]
    absent = times[~np.isin(times, stored, assume_unique=True)]
    if len(absent):
        raise CoverageClaim(
            f"{key}: {len(absent)} candles of the period to be marked complete are neither given, stored nor "
            f"explained by a hole, the first at {utc(int(absent[0])).isoformat()}: fetch them or name the hole"
        )


def filled_spans(interval: Interval, times: NDArray[np.int64]) -> list[Span]:
    """Return the spans that candles at ``times`` fill."""
    if not len(times):
        return []
    if interval is Interval.MONTH_1:
        return [(time, interval.close_ms(time)) for time in times.tolist()]
    breaks = np.flatnonzero(np.diff(times) != interval.ms)
    starts = times[np.concatenate(([0], breaks + 1))].tolist()
    ends = (times[np.concatenate((breaks, [len(times) - 1]))] + interval.ms).tolist()
    return list(zip(starts, ends, strict=True))
