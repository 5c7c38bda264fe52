"""Where a database's market data comes from: one source for life, so that no two markets are ever mixed."""

import time

from sqlalchemy import Connection, select

from bybit.store.database import Database
from bybit.store.errors import OtherOrigin
from bybit.store.schema import origin


class OriginTable:
    """The one source of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> str | None:
        """Return the source's name, or None while nothing was fetched."""
        found = self._database.read(lambda connection: connection.execute(select(origin.c.name)).scalar_one_or_none())
        return None if found is None else str(found)

    def claim(self, name: str) -> None:
        """Bind the database to the source ``name``; does nothing when it is that already.

        Raises
        ------
        OtherOrigin
            When it holds the data of another source.
        """

        def work(connection: Connection) -> str:
            row = {"id": 1, "name": name, "claimed_at_ms": int(time.time() * 1000)}
            connection.execute(self._database.insert(origin).values(**row).on_conflict_do_nothing())
            return str(connection.execute(select(origin.c.name)).scalar_one())

        found = self.get() or self._database.write(work)
        if found != name:
            raise OtherOrigin(
                f"the database {self._database.address} holds the market data of {found}, not of {name}:"
                " use another database, or leave PERPFLOW_DATABASE_URL out and each source gets a file of its own"
            )
