"""Which runs were made together: the cells of one matrix are judged together. Append-only."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from bybit.rules.periods import to_ms
from bybit.store.database import Database
from bybit.store.documents import dump, load
from bybit.store.schema import matrices


class MatrixTable:
    """Recorded matrices, in the order they were made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, run_keys: Sequence[str], made_at: datetime) -> None:
        """Record that these runs make up one matrix."""
        row = {"entry_key": uuid.uuid4().hex, "run_keys": dump(list(run_keys)), "made_at_ms": to_ms(made_at)}
        statement = self._database.insert(matrices).values(**row).on_conflict_do_nothing()
        self._database.write(lambda connection: connection.execute(statement))

    def newest(self) -> tuple[str, ...]:
        """Return the run keys of the matrix recorded last; empty when there is none."""
        query = select(matrices.c.run_keys).order_by(matrices.c.id.desc()).limit(1)
        found = self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())
        return () if found is None else tuple(load(found))
