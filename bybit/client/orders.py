"""Orders, their acknowledgements, and fills: records and their parsers."""

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
    part,
    price,
    symbol,
    text,
    whole,
)
from bybit.client.market import category_of, side
from bybit.rules.candles import Category
from bybit.rules.fees import Liquidity

OPEN_STATUSES = frozenset({"New", "PartiallyFilled", "Untriggered", "Triggered"})
"""An order in one of these may still fill."""


@dataclass(frozen=True, slots=True)
class OrderAck:
    """The venue took a request about an order; what comes of it arrives on the ``order`` stream.

    ``was_lost`` tells that the answer got lost and the order was found by asking. In a batch ``ret_code`` is the
    venue's verdict on this order, 0 when it took it.
    """

    order_id: str
    order_link_id: str | None
    ret_code: int = 0
    ret_msg: str = ""
    was_lost: bool = False
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def accepted(self) -> bool:
        """Whether the venue took it."""
        return self.ret_code == 0


@dataclass(frozen=True, slots=True)
class Order:
    """One order as the venue lists it. Quantities in base coin (inverse: USD), prices in quote coin, None where unset.

    ``status`` is the venue's word. ``fee`` is in settle coin, positive is paid; ``fees`` names the coins.
    """

    category: Category
    symbol: str
    order_id: str
    order_link_id: str | None
    side: str
    order_type: str
    status: str
    qty: Decimal
    price: Decimal | None
    time_in_force: str | None
    filled_qty: Decimal
    filled_notional: Decimal | None
    leaves_qty: Decimal | None
    avg_price: Decimal | None
    fee: Decimal | None
    fees: Mapping[str, Decimal]
    reduce_only: bool
    close_on_trigger: bool | None
    position_idx: int | None
    stop_order_type: str | None
    trigger_price: Decimal | None
    trigger_direction: int | None
    trigger_by: str | None
    take_profit: Decimal | None
    stop_loss: Decimal | None
    reject_reason: str | None
    cancel_type: str | None
    created_time: datetime
    updated_time: datetime
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def is_open(self) -> bool:
        """Whether it may still fill."""
        return self.status in OPEN_STATUSES


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. ``fee`` in ``fee_coin`` or, where the venue names none, the settle coin: positive is paid.

    Only an ``exec_type`` of "Trade" is an ordinary fill: "Funding" is cash; "AdlTrade", "BustTrade", "Settle" and
    "Delivery" are events of the venue.
    """

    category: Category
    symbol: str
    exec_id: str
    exec_type: str
    order_id: str
    order_link_id: str | None
    side: str
    price: Decimal
    qty: Decimal
    notional: Decimal | None
    fee: Decimal
    fee_rate: Decimal | None
    fee_coin: str | None
    liquidity: Liquidity
    time: datetime
    mark_price: Decimal | None
    order_type: str | None
    order_price: Decimal | None
    order_qty: Decimal | None
    leaves_qty: Decimal | None
    closed_size: Decimal | None
    sequence: int | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def is_trade(self) -> bool:
        """Whether it is an ordinary fill of an order."""
        return self.exec_type == "Trade"


def order(row: dict[str, Any], category: Category | None = None) -> Order:
    """Return one order of a list or of the ``order`` stream.

    Parameters
    ----------
    category : Category, optional
        The one asked for: rows of a list do not name theirs.
    """
    return Order(
        category=category_of(row, category),
        symbol=symbol(row),
        order_id=text(row, "orderId"),
        order_link_id=label(row, "orderLinkId"),
        side=side(row),
        order_type=text(row, "orderType"),
        status=text(row, "orderStatus"),
        qty=number(row.get("qty"), "qty"),
        price=price(row, "price"),
        time_in_force=label(row, "timeInForce"),
        filled_qty=number(row.get("cumExecQty"), "cumExecQty"),
        filled_notional=optional(row, "cumExecValue"),
        leaves_qty=optional(row, "leavesQty"),
        avg_price=price(row, "avgPrice"),
        fee=optional(row, "cumExecFee", signed=True),
        fees={
            coin: number(amount, f"cumFeeDetail {coin}", signed=True)
            for coin, amount in part(row, "cumFeeDetail").items()
        },
        reduce_only=flag(row, "reduceOnly") or False,
        close_on_trigger=flag(row, "closeOnTrigger"),
        position_idx=whole(row, "positionIdx"),
        stop_order_type=_known(row, "stopOrderType"),
        trigger_price=price(row, "triggerPrice"),
        trigger_direction=whole(row, "triggerDirection") or None,
        trigger_by=_known(row, "triggerBy"),
        take_profit=price(row, "takeProfit"),
        stop_loss=price(row, "stopLoss"),
        reject_reason=None if row.get("rejectReason") == "EC_NoError" else _known(row, "rejectReason"),
        cancel_type=_known(row, "cancelType"),
        created_time=moment(row, "createdTime"),
        updated_time=moment(row, "updatedTime"),
        raw=row,
    )


def fill(row: dict[str, Any], category: Category | None = None) -> Fill:
    """Return one execution of a list or of the ``execution`` stream; ``category`` as for :func:`order`."""
    is_maker = flag(row, "isMaker")
    if is_maker is None:
        raise BadRow("isMaker: missing, so nobody knows which fee applies")
    return Fill(
        category=category_of(row, category),
        symbol=symbol(row),
        exec_id=text(row, "execId"),
        exec_type=text(row, "execType"),
        order_id=text(row, "orderId"),
        order_link_id=label(row, "orderLinkId"),
        side=side(row),
        price=number(row.get("execPrice"), "execPrice"),
        qty=number(row.get("execQty"), "execQty"),
        notional=optional(row, "execValue"),
        fee=number(row.get("execFee"), "execFee", signed=True),
        fee_rate=optional(row, "feeRate", signed=True),
        fee_coin=label(row, "feeCurrency"),
        liquidity=Liquidity.MAKER if is_maker else Liquidity.TAKER,
        time=moment(row, "execTime"),
        mark_price=price(row, "markPrice"),
        order_type=_known(row, "orderType"),
        order_price=price(row, "orderPrice"),
        order_qty=optional(row, "orderQty"),
        leaves_qty=optional(row, "leavesQty"),
        closed_size=optional(row, "closedSize"),
        sequence=whole(row, "seq"),
        raw=row,
    )


def ack(row: dict[str, Any], ret_code: int = 0, ret_msg: str = "") -> OrderAck:
    """Return the acknowledgement in ``row``; one of a refused order in a batch has no order id."""
    order_id = label(row, "orderId") if ret_code else text(row, "orderId")
    return OrderAck(order_id or "", label(row, "orderLinkId"), ret_code, ret_msg, raw=row)


def _known(row: dict[str, Any], name: str) -> str | None:
    # The venue writes UNKNOWN where it means none.
    found = label(row, name)
    return None if found == "UNKNOWN" else found
