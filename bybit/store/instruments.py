"""Contract rules as dated rows: what the venue said of an instrument, and since when."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, select

from bybit.rules.candles import Category
from bybit.rules.errors import NotEstablished
from bybit.rules.instruments import Instrument
from bybit.rules.periods import to_ms, utc
from bybit.store.database import Database
from bybit.store.schema import instruments

_TEXTS = ("contract_type", "base_coin", "quote_coin", "settle_coin", "status")
_NUMBERS = ("tick_size", "qty_step", "min_order_qty")
_OPTIONAL_NUMBERS = (
    "max_order_qty",
    "max_market_order_qty",
    "min_notional",
    "max_leverage",
    "leverage_step",
    "upper_funding_rate",
    "lower_funding_rate",
)
_MS = timedelta(milliseconds=1)


class InstrumentTable:
    """Contract rules by symbol and date."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, rows: Sequence[Instrument]) -> int:
        """Store rules; return how many rows were new.

        A row that says what the row in force at its date already says is left out, so asking daily does not pile up
        copies; a second row for the same date replaces the first.
        """
        ordered = sorted(rows, key=lambda row: row.as_of)

        def work(connection: Connection) -> int:
            n_new = 0
            for row in ordered:
                present = _in_force(connection, row.category, row.symbol, to_ms(row.as_of))
                if present is not None and replace(present, as_of=row.as_of) == row:
                    continue
                statement = self._database.insert(instruments).values(**_values(row))
                keys = ["category", "symbol", "as_of_ms"]
                changes = {name: statement.excluded[name] for name in _values(row) if name not in keys}
                connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes))
                n_new += 1
            return n_new

        return self._database.write(work)

    def get(self, category: Category, symbol: str, as_of: datetime | None = None) -> Instrument:
        """Return the rules in force at ``as_of`` (None: the newest).

        Raises
        ------
        NotEstablished
            When none are stored, or only later ones.
        """
        at_ms = 9_999_999_999_999 if as_of is None else to_ms(as_of)
        found = self._database.read(lambda connection: _in_force(connection, category, symbol, at_ms))
        if found is None:
            when = "" if as_of is None else f" as of {as_of.isoformat()}"
            raise NotEstablished(f"no rules of {category} {symbol}{when} are stored: ingest the instruments first")
        return found

    def list(self, category: Category) -> list[Instrument]:
        """Return the newest rules of every symbol of ``category``, by symbol."""
        query = select(instruments).where(instruments.c.category == category.value)
        query = query.order_by(instruments.c.symbol, instruments.c.as_of_ms)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        newest = {row.symbol: row for row in rows}
        return [_instrument(row) for row in newest.values()]


def _in_force(connection: Connection, category: Category, symbol: str, at_ms: int) -> Instrument | None:
    table = instruments.c
    query = select(instruments).where(table.category == category.value, table.symbol == symbol)
    query = query.where(table.as_of_ms <= at_ms).order_by(table.as_of_ms.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else _instrument(row)


def _values(row: Instrument) -> dict[str, Any]:
    optional = {name: getattr(row, name) for name in _OPTIONAL_NUMBERS}
    return {
        "category": row.category.value,
        "symbol": row.symbol,
        "as_of_ms": to_ms(row.as_of),
        **{name: getattr(row, name) for name in _TEXTS},
        **{name: f"{getattr(row, name):f}" for name in _NUMBERS},
        **{name: None if value is None else f"{value:f}" for name, value in optional.items()},
        "funding_interval_ms": None if row.funding_interval is None else row.funding_interval // _MS,
        "launch_time_ms": None if row.launch_time is None else to_ms(row.launch_time),
        "delivery_time_ms": None if row.delivery_time is None else to_ms(row.delivery_time),
    }


def _instrument(row: Row[Any]) -> Instrument:
    optional = {name: getattr(row, name) for name in _OPTIONAL_NUMBERS}
    fields: dict[str, Any] = {
        **{name: getattr(row, name) for name in _TEXTS},
        **{name: Decimal(getattr(row, name)) for name in _NUMBERS},
        **{name: None if text is None else Decimal(text) for name, text in optional.items()},
    }
    return Instrument(
        category=Category(row.category),
        symbol=row.symbol,
        **fields,
        funding_interval=None if row.funding_interval_ms is None else row.funding_interval_ms * _MS,
        launch_time=None if row.launch_time_ms is None else utc(row.launch_time_ms),
        delivery_time=None if row.delivery_time_ms is None else utc(row.delivery_time_ms),
        as_of=utc(row.as_of_ms),
    )
