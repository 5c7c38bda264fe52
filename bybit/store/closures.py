"""When the venue was closed, by its own announcements."""

from collections.abc import Iterable

from sqlalchemy import select

from bybit.rules.availability import Closure
from bybit.rules.candles import Category
from bybit.rules.periods import Period
from bybit.store.database import Database
from bybit.store.schema import closures


class ClosureTable:
    """Closures by the venue's name for them; one that was announced anew is replaced: its end was only expected."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, found: Iterable[Closure]) -> None:
        """Store closures; writing the same again changes nothing."""
        rows = [
            {
                "notice_id": closure.notice_id,
                "title": closure.title,
                "start_ms": closure.period.start_ms,
                "end_ms": closure.period.end_ms,
                "products": ",".join(str(product) for product in sorted(closure.products)),
            }
            for closure in found
        ]
        if rows:
            statement = self._database.insert(closures)
            changes = {name: statement.excluded[name] for name in rows[0] if name != "notice_id"}
            upsert = statement.on_conflict_do_update(index_elements=["notice_id"], set_=changes)
            self._database.write(lambda connection: connection.execute(upsert, rows))

    def list(self, category: Category, period: Period | None = None) -> list[Closure]:
        """Return the closures of ``category`` that overlap ``period`` (None: all), oldest first."""
        query = select(closures).order_by(closures.c.start_ms, closures.c.notice_id)
        if period is not None:
            query = query.where(closures.c.start_ms < period.end_ms, closures.c.end_ms > period.start_ms)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        found = [
            Closure(
                row.notice_id,
                row.title,
                Period.from_ms(row.start_ms, row.end_ms),
                frozenset(int(product) for product in row.products.split(",") if product),
            )
            for row in rows
        ]
        return [closure for closure in found if closure.closes(category)]
