"""Fee rates as dated rows: the venue's terms, and the account's own replies."""

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import Connection, select

from bybit.rules.candles import Category
from bybit.rules.fees import FeeEra, FeeRates, FeeSnapshot
from bybit.rules.periods import to_ms, utc
from bybit.store.database import Database
from bybit.store.documents import digest
from bybit.store.errors import AlreadyRecorded
from bybit.store.schema import fee_eras, fee_snapshots


class FeeTable:
    """Fee eras by market, tier and date, and what the account was told, which is never changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, eras: Sequence[FeeEra]) -> None:
        """Store eras; one of the same market, tier, start and symbols is replaced, so writing twice changes nothing."""
        rows = [
            {
                "era_key": digest([era.market, era.tier, to_ms(era.valid_from), sorted(era.symbols)]),
                "market": era.market,
                "tier": era.tier,
                "valid_from_ms": to_ms(era.valid_from),
                "valid_to_ms": None if era.valid_to is None else to_ms(era.valid_to),
                "maker": f"{era.rates.maker:f}",
                "taker": f"{era.rates.taker:f}",
                "source": era.source,
                "confidence": era.confidence,
                "symbols": ",".join(era.symbols),
            }
            for era in eras
        ]
        if not rows:
            return
        statement = self._database.insert(fee_eras)
        changes = {name: statement.excluded[name] for name in rows[0] if name != "era_key"}
        upsert = statement.on_conflict_do_update(index_elements=["era_key"], set_=changes)
        self._database.write(lambda connection: connection.execute(upsert, rows))

    def list(self, market: str | None = None, tier: str | None = None) -> list[FeeEra]:
        """Return the eras of ``market`` and ``tier`` (None: of all), by market, tier and start."""
        table = fee_eras.c
        query = select(fee_eras).order_by(table.market, table.tier, table.valid_from_ms, table.symbols)
        if market is not None:
            query = query.where(table.market == market)
        if tier is not None:
            query = query.where(table.tier == tier)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [
            FeeEra(
                market=row.market,
                tier=row.tier,
                rates=FeeRates(Decimal(row.maker), Decimal(row.taker)),
                valid_from=utc(row.valid_from_ms),
                valid_to=None if row.valid_to_ms is None else utc(row.valid_to_ms),
                source=row.source,
                confidence=row.confidence,
                symbols=tuple(row.symbols.split(",")) if row.symbols else (),
            )
            for row in rows
        ]

    def record(self, snapshots: Sequence[FeeSnapshot]) -> int:
        """Append the account's own replies; return how many were not there yet.

        All or none. Recording the same again changes nothing.

        Raises
        ------
        AlreadyRecorded
            When another rate is recorded for the same symbol and time: a database holds the replies of one account.
        """
        rows = {
            (str(snapshot.category), snapshot.symbol, snapshot.time_ms): (
                f"{snapshot.rates.maker:f}",
                f"{snapshot.rates.taker:f}",
            )
            for snapshot in snapshots
        }

        def work(connection: Connection) -> int:
            n_new = 0
            table = fee_snapshots.c
            for (category, symbol, time_ms), (maker, taker) in rows.items():
                row = {"category": category, "symbol": symbol, "time_ms": time_ms, "maker": maker, "taker": taker}
                statement = self._database.insert(fee_snapshots).values(**row).on_conflict_do_nothing()
                if connection.execute(statement.returning(table.id)).first() is not None:
                    n_new += 1
                    continue
                same = (table.category == category) & (table.symbol == symbol) & (table.time_ms == time_ms)
                found = connection.execute(select(table.maker, table.taker).where(same)).one()
                if (Decimal(found.maker), Decimal(found.taker)) != (Decimal(maker), Decimal(taker)):
                    raise AlreadyRecorded(
                        f"fee rates of {category} {symbol} at {utc(time_ms).isoformat()} are recorded as maker "
                        f"{found.maker}, taker {found.taker}, not {maker} and {taker}: records are never changed; "
                        "use another database for another account"
                    )
            return n_new

        return self._database.write(work)

    def snapshots(self, category: Category | None = None, symbol: str | None = None) -> tuple[FeeSnapshot, ...]:
        """Return the account's replies of ``category`` and ``symbol`` (None: of all), by symbol and time."""
        table = fee_snapshots.c
        query = select(fee_snapshots).order_by(table.category, table.symbol, table.time_ms)
        if category is not None:
            query = query.where(table.category == str(category))
        if symbol is not None:
            query = query.where(table.symbol == symbol)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return tuple(
            FeeSnapshot(
                Category(row.category), row.symbol, FeeRates(Decimal(row.maker), Decimal(row.taker)), utc(row.time_ms)
            )
            for row in rows
        )
