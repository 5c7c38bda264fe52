"""Positions and closed round trips: records and their parsers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from bybit.client.fields import (
    BadRow,
    flag,
    label,
    moment,
    number,
    optional,
    optional_moment,
    price,
    symbol,
    text,
    whole,
)
from bybit.client.market import category_of, side
from bybit.rules.candles import Category


@dataclass(frozen=True, slots=True)
class Position:
    """One position. ``size`` is signed: long is positive, 0 is flat. Amounts in settle coin, None where unset.

    ``position_idx`` is 0 in one-way mode, 1 and 2 are the two sides of hedge mode. ``liquidation_price`` is an
    estimate in cross margin and None when there is none in reach.
    """

    category: Category
    symbol: str
    position_idx: int
    size: Decimal
    entry_price: Decimal | None
    mark_price: Decimal | None
    notional: Decimal | None
    leverage: Decimal | None
    liquidation_price: Decimal | None
    initial_margin: Decimal | None
    maintenance_margin: Decimal | None
    take_profit: Decimal | None
    stop_loss: Decimal | None
    trailing_stop: Decimal | None
    unrealized_pnl: Decimal | None
    realized_pnl: Decimal | None
    cumulative_realized_pnl: Decimal | None
    break_even_price: Decimal | None
    status: str | None
    adl_rank: int | None
    auto_add_margin: bool | None
    reduce_only: bool | None
    sequence: int | None
    created_time: datetime | None
    updated_time: datetime | None
    open_time: datetime | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Trade:
    """One closed round trip, entry to exit, in settle coin.

    ``realized_pnl`` has the fees inside, not the funding. ``side`` is that of the closing order.
    """

    category: Category
    symbol: str
    order_id: str
    side: str
    qty: Decimal
    closed_size: Decimal
    entry_price: Decimal
    exit_price: Decimal
    entry_notional: Decimal
    exit_notional: Decimal
    realized_pnl: Decimal
    open_fee: Decimal | None
    close_fee: Decimal | None
    leverage: Decimal | None
    order_type: str | None
    exec_type: str | None
    n_fills: int | None
    created_time: datetime
    updated_time: datetime
    raw: Mapping[str, Any] = field(repr=False, compare=False)


def position(row: dict[str, Any], category: Category | None = None) -> Position:
    """Return one position of a list or of the ``position`` stream, which names the entry price differently.

    Parameters
    ----------
    category : Category, optional
        The one asked for: rows of a list do not name theirs.
    """
    size = number(row.get("size"), "size")
    direction = label(row, "side")
    # Old replies said None for flat.
    if direction not in ("Buy", "Sell", "None", None) or (size and direction in ("None", None)):
        raise BadRow(f"side: {direction!r} of a size of {size}, expected Buy or Sell")
    return Position(
        category=category_of(row, category),
        symbol=symbol(row),
        position_idx=whole(row, "positionIdx") or 0,
        size=-size if direction == "Sell" else size,
        entry_price=price(row, "entryPrice" if "entryPrice" in row else "avgPrice"),
        mark_price=price(row, "markPrice"),
        notional=optional(row, "positionValue"),
        leverage=price(row, "leverage"),
        liquidation_price=price(row, "liqPrice"),
        initial_margin=optional(row, "positionIM"),
        maintenance_margin=optional(row, "positionMM"),
        take_profit=price(row, "takeProfit"),
        stop_loss=price(row, "stopLoss"),
        trailing_stop=price(row, "trailingStop"),
        unrealized_pnl=optional(row, "unrealisedPnl", signed=True),
        realized_pnl=optional(row, "curRealisedPnl", signed=True),
        cumulative_realized_pnl=optional(row, "cumRealisedPnl", signed=True),
        break_even_price=price(row, "breakEvenPrice"),
        status=label(row, "positionStatus"),
        adl_rank=whole(row, "adlRankIndicator"),
        auto_add_margin=flag(row, "autoAddMargin"),
        reduce_only=flag(row, "isReduceOnly"),
        sequence=whole(row, "seq"),
        created_time=optional_moment(row, "createdTime"),
        updated_time=optional_moment(row, "updatedTime"),
        open_time=optional_moment(row, "openTime"),
        raw=row,
    )


def trade(row: dict[str, Any], category: Category | None = None) -> Trade:
    """Return one closed-pnl row; ``category`` as for :func:`position`."""
    return Trade(
        category=category_of(row, category),
        symbol=symbol(row),
        order_id=text(row, "orderId"),
        side=side(row),
        qty=number(row.get("qty"), "qty"),
        closed_size=number(row.get("closedSize"), "closedSize"),
        entry_price=number(row.get("avgEntryPrice"), "avgEntryPrice"),
        exit_price=number(row.get("avgExitPrice"), "avgExitPrice"),
        entry_notional=number(row.get("cumEntryValue"), "cumEntryValue"),
        exit_notional=number(row.get("cumExitValue"), "cumExitValue"),
        realized_pnl=number(row.get("closedPnl"), "closedPnl", signed=True),
        open_fee=optional(row, "openFee", signed=True),
        close_fee=optional(row, "closeFee", signed=True),
        leverage=price(row, "leverage"),
        order_type=label(row, "orderType"),
        exec_type=label(row, "execType"),
        n_fills=whole(row, "fillCount"),
        created_time=moment(row, "createdTime"),
        updated_time=moment(row, "updatedTime"),
        raw=row,
    )
