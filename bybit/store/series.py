"""Which series there are; a series owns its rows, its coverage and its holes."""

import threading
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey, check_symbol
from bybit.store.database import Database
from bybit.store.schema import series


@dataclass(frozen=True, slots=True, order=True)
class FundingKey:
    """Names the funding settlements of one instrument."""

    category: Category
    symbol: str
    exchange: str = "bybit"

    def __post_init__(self) -> None:
        """Refuse a symbol that is not shaped like one."""
        check_symbol(self.symbol)

    def __str__(self) -> str:
        """Return e.g. ``linear/BTCUSDT/funding``."""
        return f"{self.category}/{self.symbol}/funding"


AnyKey = SeriesKey | FundingKey
_Names = tuple[str, str, str, str, str]


def _names(key: AnyKey) -> _Names:
    if isinstance(key, FundingKey):
        return key.exchange, key.category.value, key.symbol, "funding", "settlement"
    return key.exchange, key.category.value, key.symbol, key.price.value, key.interval.value


class SeriesTable:
    """The names of all stored series."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids: dict[_Names, int] = {}
        self._lock = threading.Lock()

    def add(self, key: AnyKey) -> int:
        """Return the id of ``key``, naming the series if it is new. Adding twice changes nothing."""
        known = self.find(key)
        if known is not None:
            return known
        row = dict(zip(("exchange", "category", "symbol", "price", "interval"), _names(key), strict=True))

        def work(connection: Connection) -> None:
            connection.execute(self._database.insert(series).values(**row).on_conflict_do_nothing())

        self._database.write(work)
        found = self.find(key)
        if found is None:
            raise AssertionError(f"series {key} was added and is not there")
        return found

    def find(self, key: AnyKey) -> int | None:
        """Return the id of ``key``, or None when it was never added."""
        names = _names(key)
        with self._lock:
            known = self._ids.get(names)
        if known is not None:
            return known
        found = self._database.read(lambda connection: _find(connection, names))
        if found is None:
            return None
        with self._lock:
            # Ids never change or disappear, so a committed one may be remembered.
            self._ids[names] = int(found.id)
        return int(found.id)

    def version(self, key: AnyKey) -> int:
        """Return how many commits have changed the series; 0 for one that is empty or unknown."""
        found = self._database.read(lambda connection: _find(connection, _names(key)))
        return 0 if found is None else int(found.version)

    def list(self) -> list[AnyKey]:
        """Return every series by name, candles and funding."""
        rows = self._database.read(lambda connection: connection.execute(select(series)).all())
        keys: list[AnyKey] = []
        for row in rows:
            category = Category(row.category)
            if row.price == "funding":
                keys.append(FundingKey(category, row.symbol, row.exchange))
            else:
                price, interval = PriceType(row.price), Interval.parse(row.interval)
                keys.append(SeriesKey(category, row.symbol, price, interval, row.exchange))
        return sorted(keys, key=str)


def lock_series(connection: Connection, series_id: int) -> None:
    """Hold the series for this transaction, so that two writers' coverage cannot interleave."""
    # SQLite ignores FOR UPDATE: there the whole transaction already is the only writer.
    connection.execute(select(series.c.id).where(series.c.id == series_id).with_for_update()).one()


def _find(connection: Connection, names: _Names) -> Row[Any, Any] | None:
    exchange, category, symbol, price, interval = names
    return connection.execute(
        select(series.c.id, series.c.version).where(
            series.c.exchange == exchange,
            series.c.category == category,
            series.c.symbol == symbol,
            series.c.price == price,
            series.c.interval == interval,
        )
    ).one_or_none()
