"""Graduation decisions: the log that alone says where a strategy stands. Append-only."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from bybit.rules.periods import to_ms, utc
from bybit.store.database import Database
from bybit.store.documents import dump, load
from bybit.store.schema import decisions


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One outcome with its reasons; ``evidence_hash`` binds it to what was judged."""

    strategy: str
    from_stage: str
    to_stage: str
    verdict: str
    reasons: list[dict[str, Any]]
    metrics: dict[str, Any]
    evidence_hash: str
    decided_by: str
    decided_at: datetime


class DecisionTable:
    """Recorded decisions, in the order they were made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: DecisionRecord) -> None:
        """Record a decision; whether it counts is for the reader of the log to say."""
        row = {
            # Made once per call: a unit of work that is repeated after a lost reply adds nothing twice.
            "entry_key": uuid.uuid4().hex,
            "strategy": record.strategy,
            "from_stage": str(record.from_stage),
            "to_stage": str(record.to_stage),
            "verdict": str(record.verdict),
            "reasons": dump(record.reasons),
            "metrics": dump(record.metrics),
            "evidence_hash": record.evidence_hash,
            "decided_by": record.decided_by,
            "decided_at_ms": to_ms(record.decided_at),
        }
        statement = self._database.insert(decisions).values(**row).on_conflict_do_nothing()
        self._database.write(lambda connection: connection.execute(statement))

    def list(self, strategy: str | None = None) -> list[DecisionRecord]:
        """Return the decisions on ``strategy`` (None: on all), oldest record first."""
        query = select(decisions).order_by(decisions.c.id)
        if strategy is not None:
            query = query.where(decisions.c.strategy == strategy)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [
            DecisionRecord(
                strategy=row.strategy,
                from_stage=row.from_stage,
                to_stage=row.to_stage,
                verdict=row.verdict,
                reasons=load(row.reasons),
                metrics=load(row.metrics),
                evidence_hash=row.evidence_hash,
                decided_by=row.decided_by,
                decided_at=utc(row.decided_at_ms),
            )
            for row in rows
        ]
