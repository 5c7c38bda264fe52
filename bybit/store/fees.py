"""Fee rates as dated rows."""

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import select

from bybit.rules.fees import FeeEra, FeeRates
from bybit.rules.periods import to_ms, utc
from bybit.store.database import Database
from bybit.store.documents import digest
from bybit.store.schema import fee_eras


class FeeTable:
    """Fee eras by market, tier and date."""

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
