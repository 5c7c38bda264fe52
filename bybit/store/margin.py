"""Margin ladders as dated rows: a ladder is stored and read whole, never tier by tier."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.margin import RiskTier
from bybit.rules.periods import to_ms, utc
from bybit.store.database import Database
from bybit.store.schema import risk_tiers

_NUMBERS = ("initial_margin_rate", "maintenance_margin_rate", "mm_deduction", "max_leverage")


class RiskTierTable:
    """Margin ladders by symbol and date."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, tiers: Sequence[RiskTier]) -> int:
        """Store ladders, one per (symbol, as_of) in ``tiers``; return how many were new.

        A ladder that equals the one in force at its date is left out; a second one for the same date replaces the
        first.

        Raises
        ------
        InvalidInput
            For a ladder with a step missing, or bounds that do not rise: half a ladder margins positions wrongly.
        """
        ordered = sorted(tiers, key=lambda tier: (tier.symbol, tier.as_of, tier.tier))
        ladders = [tuple(steps) for _, steps in itertools.groupby(ordered, key=lambda tier: (tier.symbol, tier.as_of))]
        for ladder in ladders:
            _check(ladder)

        def work(connection: Connection) -> int:
            n_new = 0
            for ladder in ladders:
                symbol, as_of = ladder[0].symbol, ladder[0].as_of
                present = _in_force(connection, symbol, to_ms(as_of))
                if tuple(replace(tier, as_of=as_of) for tier in present) == ladder:
                    continue
                same = (risk_tiers.c.symbol == symbol) & (risk_tiers.c.as_of_ms == to_ms(as_of))
                connection.execute(delete(risk_tiers).where(same))
                connection.execute(insert(risk_tiers), [_values(tier) for tier in ladder])
                n_new += 1
            return n_new

        return self._database.write(work)

    def get(self, symbol: str, as_of: datetime | None = None) -> tuple[RiskTier, ...]:
        """Return the ladder in force at ``as_of`` (None: the newest), lowest tier first.

        Raises
        ------
        NotEstablished
            When none is stored, or only later ones.
        """
        at_ms = 9_999_999_999_999 if as_of is None else to_ms(as_of)
        found = self._database.read(lambda connection: _in_force(connection, symbol, at_ms))
        if not found:
            when = "" if as_of is None else f" as of {as_of.isoformat()}"
            raise NotEstablished(f"no margin ladder of {symbol}{when} is stored: ingest the risk tiers first")
        return found

    def history(self, symbol: str) -> tuple[RiskTier, ...]:
        """Return every ladder of ``symbol``, oldest day first, lowest tier first within a day; empty when none is."""
        query = (
            select(risk_tiers).where(risk_tiers.c.symbol == symbol).order_by(risk_tiers.c.as_of_ms, risk_tiers.c.tier)
        )
        return self._database.read(lambda connection: tuple(_tier(row) for row in connection.execute(query)))


def _check(ladder: tuple[RiskTier, ...]) -> None:
    name = f"margin ladder of {ladder[0].symbol} as of {ladder[0].as_of.isoformat()}"
    if [tier.tier for tier in ladder] != list(range(1, len(ladder) + 1)):
        raise InvalidInput(f"{name} has tiers {[tier.tier for tier in ladder]}, expected 1 to {len(ladder)}")
    bounds = [tier.max_notional for tier in ladder]
    if None in bounds[:-1] or any(b is not None and a is not None and a >= b for a, b in itertools.pairwise(bounds)):
        raise InvalidInput(f"{name} has bounds that do not rise: {[str(bound) for bound in bounds]}")


def _in_force(connection: Connection, symbol: str, at_ms: int) -> tuple[RiskTier, ...]:
    table = risk_tiers.c
    newest = select(func.max(table.as_of_ms)).where(table.symbol == symbol, table.as_of_ms <= at_ms).scalar_subquery()
    query = select(risk_tiers).where(table.symbol == symbol, table.as_of_ms == newest).order_by(table.tier)
    return tuple(_tier(row) for row in connection.execute(query))


def _values(tier: RiskTier) -> dict[str, Any]:
    return {
        "symbol": tier.symbol,
        "as_of_ms": to_ms(tier.as_of),
        "tier": tier.tier,
        "max_notional": None if tier.max_notional is None else f"{tier.max_notional:f}",
        **{name: f"{getattr(tier, name):f}" for name in _NUMBERS},
    }


def _tier(row: Row[Any]) -> RiskTier:
    return RiskTier(
        symbol=row.symbol,
        tier=row.tier,
        max_notional=None if row.max_notional is None else Decimal(row.max_notional),
        **{name: Decimal(getattr(row, name)) for name in _NUMBERS},
        as_of=utc(row.as_of_ms),
    )
