"""Backtest runs: what was simulated, with what, and what came out. Append-only."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from bybit.rules.periods import Period, to_ms, utc
from bybit.store.database import Database
from bybit.store.documents import dump, load
from bybit.store.errors import AlreadyRecorded
from bybit.store.schema import backtest_runs


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One simulation: strategy x fee tier x period.

    ``run_key`` is the hash of everything that went in (data, engine, parameters, fees), so the same key must always
    give the same ``metrics``.
    """

    run_key: str
    created_at: datetime
    strategy: str
    params: dict[str, Any]
    tier: str
    period: Period
    symbols: tuple[str, ...]
    metrics: dict[str, Any]
    provenance: dict[str, Any]


class RunTable:
    """Recorded runs, in the order they were recorded."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: RunRecord) -> bool:
        """Record a run; return False when that very run is already there.

        Idempotent on ``run_key``; when a run was made does not count as a difference.

        Raises
        ------
        AlreadyRecorded
            When the same inputs have been recorded with another outcome: the simulation is not deterministic, or the
            key left an input out.
        """
        start_ms, end_ms = record.period.span_ms
        row: dict[str, Any] = {
            "run_key": record.run_key,
            "created_at_ms": to_ms(record.created_at),
            "strategy": record.strategy,
            "tier": record.tier,
            "start_ms": start_ms,
            "end_ms": end_ms,
            "params": dump(record.params),
            "symbols": dump(list(record.symbols)),
            "metrics": dump(record.metrics),
            "provenance": dump(record.provenance),
        }

        def work(connection: Connection) -> bool:
            statement = self._database.insert(backtest_runs).values(**row).on_conflict_do_nothing()
            if connection.execute(statement.returning(backtest_runs.c.id)).first() is not None:
                return True
            query = select(backtest_runs).where(backtest_runs.c.run_key == record.run_key)
            stored = connection.execute(query).one()._mapping
            differing = [name for name in row if name != "created_at_ms" and stored[name] != row[name]]
            if differing:
                raise AlreadyRecorded(
                    f"run {record.run_key[:16]} is recorded with other {', '.join(differing)}: records are never "
                    "changed; the same key must mean the same inputs and the same outcome"
                )
            return False

        return self._database.write(work)

    def find(self, content_key: str) -> RunRecord | None:
        """Return the run whose key is ``content_key``, or None."""
        query = select(backtest_runs).where(backtest_runs.c.run_key == content_key)
        row = self._database.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else _record(row)

    def list(self, strategy: str | None = None, tier: str | None = None) -> list[RunRecord]:
        """Return the runs of ``strategy`` and ``tier`` (None: of all), oldest record first."""
        query = select(backtest_runs).order_by(backtest_runs.c.id)
        if strategy is not None:
            query = query.where(backtest_runs.c.strategy == strategy)
        if tier is not None:
            query = query.where(backtest_runs.c.tier == tier)
        return [_record(row) for row in self._database.read(lambda connection: connection.execute(query).all())]


def _record(row: Row[Any]) -> RunRecord:
    return RunRecord(
        run_key=row.run_key,
        created_at=utc(row.created_at_ms),
        strategy=row.strategy,
        params=load(row.params),
        tier=row.tier,
        period=Period.from_ms(row.start_ms, row.end_ms),
        symbols=tuple(load(row.symbols)),
        metrics=load(row.metrics),
        provenance=load(row.provenance),
    )
