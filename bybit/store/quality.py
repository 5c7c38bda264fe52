"""Outcomes of data checks. Append-only."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from bybit.rules.periods import to_ms, utc
from bybit.store.database import Database
from bybit.store.documents import dump, load
from bybit.store.schema import quality_results


@dataclass(frozen=True, slots=True)
class QualityRecord:
    """One check of one subject, e.g. ``linear/BTCUSDT/last/1m 2025-01-01..2025-02-01``, with its whole report."""

    subject: str
    passed: bool
    report: dict[str, Any]
    checked_at: datetime


class QualityTable:
    """Recorded checks, in the order they were made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: QualityRecord) -> None:
        """Record a check. Adding the same again records that it was made again."""
        row = {
            # Made once per call: a unit of work that is repeated after a lost reply adds nothing twice.
            "entry_key": uuid.uuid4().hex,
            "subject": record.subject,
            "passed": record.passed,
            "report": dump(record.report),
            "checked_at_ms": to_ms(record.checked_at),
        }
        statement = self._database.insert(quality_results).values(**row).on_conflict_do_nothing()
        self._database.write(lambda connection: connection.execute(statement))

    def list(self, subject: str | None = None) -> list[QualityRecord]:
        """Return the checks of ``subject`` (None: of all), oldest record first."""
        query = select(quality_results).order_by(quality_results.c.id)
        if subject is not None:
            query = query.where(quality_results.c.subject == subject)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [QualityRecord(row.subject, row.passed, load(row.report), utc(row.checked_at_ms)) for row in rows]
