"""Recorded fills and closed positions from Parquet tables whose ``*_text`` columns keep the decimal text."""

import io
from collections.abc import Callable
from datetime import tzinfo
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bybit.rules.candles import Category
from bybit.rules.fees import Liquidity
from validation.reconcile_bookings import (
    BadBooking,
    BadExport,
    Booking,
    Closing,
    Export,
    Kind,
    Source,
    decimal_of,
    optional_decimal,
    side_of,
    text_of,
    time_of,
)

_FILLS = ("market", "symbol", "side", "exec_time", "price_text", "qty_text", "fee_text")
_POSITIONS = (
    "market", "symbol", "position_side", "qty_text", "opened_text", "closed_text", "entry_price_text",
    "exit_price_text", "fees_text",
)  # fmt: skip
_MARKETS = ", ".join(Category)


def read_parquet(name: str, payload: bytes, zone: tzinfo) -> Export:
    """Return the rows of a table of recorded fills or of closed positions; ``zone`` is that of local times.

    Raises
    ------
    BadExport
        When it is no Parquet, or lacks a column; names those found and those missing.
    """
    try:
        table = pq.read_table(io.BytesIO(payload))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise BadExport(f"{name} is no Parquet file ({str(error)[:80]}): expected recorded fills") from None
    layouts: tuple[tuple[tuple[str, ...], Source, Callable[..., Booking]], ...] = (
        (_FILLS, Source.RECORDED_FILLS, fill_of),
        (_POSITIONS, Source.CLOSED_POSITIONS, position_of),
    )
    columns = table.column_names
    needed, source, reader = min(layouts, key=lambda layout: len(set(layout[0]) - set(columns)))
    if missing := [column for column in needed if column not in columns]:
        raise BadExport(
            f"{name} has the columns {', '.join(columns)[:200]}: {source} also need {', '.join(missing)} "
            "(amounts as decimal text)"
        )
    export = Export(name, source)
    for number, row in enumerate(table.to_pylist(), 1):
        try:
            export.bookings.append(reader(name, number, row, zone))
        except BadBooking as error:
            export.unreadable.append((number, str(error)))
    return export


def fill_of(name: str, number: int, row: dict[str, Any], _: tzinfo) -> Booking:
    """Return one recorded fill or funding payment."""
    is_maker, kind_text = row.get("is_maker"), str(row.get("kind") or "trade")
    exec_time = row["exec_time"]
    if not isinstance(exec_time, int):
        raise BadBooking(f"exec_time is {exec_time!r}, expected ms since 1970")
    return Booking(
        source=Source.RECORDED_FILLS,
        file=name,
        number=number,
        kind=Kind.FUNDING if kind_text.lower() == "funding" else Kind.TRADE,
        kind_text=kind_text,
        category=_category(row["market"]),
        symbol=text_of(row["symbol"]),
        side=side_of(row["side"]),
        time_ms=exec_time,
        precision_ms=1 if row.get("time_precision") == "ms" else 1_000,
        price=decimal_of(row["price_text"], "price_text"),
        qty=abs(decimal_of(row["qty_text"], "qty_text")),
        coin=text_of(row.get("fee_currency")),
        fee=decimal_of(row["fee_text"], "fee_text"),
        rate=optional_decimal(row.get("fee_rate_text"), "fee_rate_text"),
        liquidity=None if is_maker is None else Liquidity.MAKER if is_maker else Liquidity.TAKER,
        effect=text_of(row.get("position_effect")),
    )


def position_of(name: str, number: int, row: dict[str, Any], zone: tzinfo) -> Booking:
    """Return one closed position of the site's list; its local times are read in ``zone``."""
    direction = (text_of(row["position_side"]) or "").lower()
    if direction not in ("long", "short"):
        raise BadBooking(f"position_side is {row['position_side']!r}, expected Long or Short")
    opened_ms, _ = time_of(row["opened_text"], "opened_text", zone)
    closed_ms, precision_ms = time_of(row["closed_text"], "closed_text", zone)
    is_long = direction == "long"
    exit_price = decimal_of(row["exit_price_text"], "exit_price_text")
    return Booking(
        source=Source.CLOSED_POSITIONS,
        file=name,
        number=number,
        kind=Kind.CLOSED,
        kind_text=direction,
        category=_category(row["market"]),
        symbol=text_of(row["symbol"]),
        side="Sell" if is_long else "Buy",
        time_ms=closed_ms,
        precision_ms=precision_ms,
        price=exit_price,
        qty=abs(decimal_of(row["qty_text"], "qty_text")),
        coin=None,
        fee=decimal_of(row["fees_text"], "fees_text"),
        closing=Closing(
            is_long=is_long,
            entry_price=decimal_of(row["entry_price_text"], "entry_price_text"),
            exit_price=exit_price,
            pnl=_pnl(row),
            opened_ms=opened_ms,
            is_rounded=True,
        ),
    )


def _category(market: object) -> Category:
    try:
        return Category(str(market))
    except ValueError:
        raise BadBooking(f"market is {str(market)[:40]!r}, expected one of {_MARKETS}") from None


def _pnl(row: dict[str, Any]) -> Decimal | None:
    return optional_decimal(row.get("closed_pnl_text"), "closed_pnl_text")
