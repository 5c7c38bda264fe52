"""What the venue said that could not simply be stored: contradictions and rows that cannot be used."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import Connection, select

from bybit.rules.periods import to_ms, utc
from bybit.store.database import Database
from bybit.store.schema import conflicts as conflicts_table
from bybit.store.schema import rejected_rows
from bybit.store.series import AnyKey, SeriesTable


@dataclass(frozen=True, slots=True)
class Conflict:
    """Different rows for one time, as the venue wrote them; none of them was stored on the strength of that reply."""

    time: datetime
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row as the venue wrote it, and why it is not data."""

    raw: str
    reason: str


class ConflictTable:
    """Contradictions, each kept once however often it is seen."""

    def __init__(self, database: Database, series: SeriesTable) -> None:
        self._database = database
        self._series = series

    def add(self, key: AnyKey, conflicts: Sequence[Conflict]) -> None:
        """Keep ``conflicts``; one that is already there is not added again."""
        series_id = self._series.add(key)
        now_ms = self._database.now_ms()
        self._database.write(
            lambda connection: note_conflicts(self._database, connection, series_id, conflicts, now_ms)
        )

    def list(self, key: AnyKey) -> list[Conflict]:
        """Return the contradictions of a series, in order of time."""
        table = conflicts_table.c
        query = select(conflicts_table).where(table.series_id == (self._series.find(key) or -1))
        query = query.order_by(table.time_ms, table.id)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [Conflict(utc(row.time_ms), tuple(orjson.loads(row.rows))) for row in rows]


class RejectedTable:
    """Quarantined rows, each kept once however often it is seen."""

    def __init__(self, database: Database, series: SeriesTable) -> None:
        self._database = database
        self._series = series

    def add(self, key: AnyKey, rejected: Sequence[Rejected]) -> None:
        """Keep ``rejected``; one that is already there is not added again."""
        series_id = self._series.add(key)
        now_ms = self._database.now_ms()
        self._database.write(lambda connection: note_rejected(self._database, connection, series_id, rejected, now_ms))

    def list(self, key: AnyKey) -> list[Rejected]:
        """Return the quarantined rows of a series in the order they were found."""
        table = rejected_rows.c
        query = select(rejected_rows).where(table.series_id == (self._series.find(key) or -1)).order_by(table.id)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [Rejected(row.raw, row.reason) for row in rows]


def note_conflicts(
    database: Database, connection: Connection, series_id: int, conflicts: Sequence[Conflict], now_ms: int
) -> None:
    """Keep conflicts in the caller's transaction."""
    rows = [
        # Sorted, so that the same contradiction seen in another order is the same.
        {"series_id": series_id, "time_ms": to_ms(found.time), "rows": orjson.dumps(sorted(found.rows)).decode()}
        for found in conflicts
    ]
    if rows:
        statement = database.insert(conflicts_table).on_conflict_do_nothing()
        connection.execute(statement, [{**row, "found_at_ms": now_ms} for row in rows])


def note_rejected(
    database: Database, connection: Connection, series_id: int, rejected: Sequence[Rejected], now_ms: int
) -> None:
    """Keep quarantined rows in the caller's transaction."""
    rows = [{"series_id": series_id, "raw": found.raw, "reason": found.reason} for found in rejected]
    if rows:
        statement = database.insert(rejected_rows).on_conflict_do_nothing()
        connection.execute(statement, [{**row, "found_at_ms": now_ms} for row in rows])
