"""One order: what was asked, what has become of it, and how the venue writes it down."""

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from bybit.sandbox.query import Query, Refusal
from bybit.sandbox.wire import decimal_text

_ZERO = Decimal(0)
_LINK_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")
SIDES = ("Buy", "Sell")
PRICES = ("LastPrice", "MarkPrice", "IndexPrice")


class Status(StrEnum):
    """The states of an order; the first three are open."""

    NEW = "New"
    PARTIALLY_FILLED = "PartiallyFilled"
    UNTRIGGERED = "Untriggered"
    TRIGGERED = "Triggered"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    REJECTED = "Rejected"
    DEACTIVATED = "Deactivated"


WORKING = (Status.NEW, Status.PARTIALLY_FILLED)
OPEN = (*WORKING, Status.UNTRIGGERED)


@dataclass(slots=True)
class Order:
    """An order of one account. Quantities in base coin, prices in quote coin; None where the order has none.

    ``trigger_direction`` is 1 for a rise to the trigger, 2 for a fall. ``stop_order_type`` is "" for an order that
    was never conditional.
    """

    order_id: str
    link_id: str
    symbol: str
    side: str
    order_type: str
    qty: Decimal
    price: Decimal | None
    time_in_force: str
    reduce_only: bool
    close_on_trigger: bool
    created_ms: int
    updated_ms: int
    status: Status
    last_on_created: Decimal
    trigger_price: Decimal | None = None
    trigger_direction: int = 0
    trigger_by: str = ""
    stop_order_type: str = ""
    create_type: str = "CreateByUser"
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    tp_trigger_by: str = ""
    sl_trigger_by: str = ""
    smp_type: str = "None"
    cancel_type: str = "UNKNOWN"
    reject_reason: str = "EC_NoError"
    cum_qty: Decimal = _ZERO
    cum_value: Decimal = _ZERO
    cum_fee: Decimal = _ZERO

    @property
    def sign(self) -> int:
        """1 for a buy, -1 for a sell."""
        return 1 if self.side == "Buy" else -1

    @property
    def leaves(self) -> Decimal:
        """Quantity still to be filled; 0 once the order is closed."""
        return self.qty - self.cum_qty if self.is_open else _ZERO

    @property
    def is_open(self) -> bool:
        """Whether it can still do something."""
        return self.status in OPEN

    @property
    def is_working(self) -> bool:
        """Whether it stands in the book."""
        return self.status in WORKING

    @property
    def average_price(self) -> Decimal | None:
        """Value-weighted price of the fills, None without one."""
        return self.cum_value / self.cum_qty if self.cum_qty else None

    def close(self, status: Status, time_ms: int, *, cancel_type: str = "UNKNOWN", reason: str = "EC_NoError") -> None:
        """Take the order out of the market."""
        self.status, self.updated_ms = status, time_ms
        self.cancel_type, self.reject_reason = cancel_type, reason

    def row(self) -> dict[str, Any]:
        """Return the order as the venue lists it."""
        average = self.average_price
        shown = self.leaves
        return {
            "orderId": self.order_id,
            "orderLinkId": self.link_id,
            "parentOrderLinkId": "",
            "blockTradeId": "",
            "symbol": self.symbol,
            "price": decimal_text(self.price) if self.price is not None else "0",
            "qty": decimal_text(self.qty),
            "side": self.side,
            "isLeverage": "",
            "positionIdx": 0,
            "orderStatus": self.status.value,
            "createType": self.create_type,
            "cancelType": self.cancel_type,
            "rejectReason": self.reject_reason,
            "avgPrice": "" if average is None else number_text(average),
            "leavesQty": number_text(shown),
            "leavesValue": number_text(shown * self.price) if self.price is not None else "0",
            "cumExecQty": number_text(self.cum_qty),
            "cumExecValue": number_text(self.cum_value),
            "cumExecFee": number_text(self.cum_fee),
            "cumFeeDetail": {"USDT": number_text(self.cum_fee)} if self.cum_fee else {},
            "timeInForce": self.time_in_force,
            "orderType": self.order_type,
            "stopOrderType": self.stop_order_type,
            "orderIv": "",
            "marketUnit": "",
            "triggerPrice": decimal_text(self.trigger_price),
            "takeProfit": decimal_text(self.take_profit),
            "stopLoss": decimal_text(self.stop_loss),
            "tpslMode": "Full" if self.take_profit or self.stop_loss or self.stop_order_type != "" else "",
            "ocoTriggerBy": "",
            "tpLimitPrice": "",
            "slLimitPrice": "",
            "tpTriggerBy": self.tp_trigger_by,
            "slTriggerBy": self.sl_trigger_by,
            "triggerDirection": self.trigger_direction,
            "triggerBy": self.trigger_by,
            "lastPriceOnCreated": decimal_text(self.last_on_created),
            "reduceOnly": self.reduce_only,
            "closeOnTrigger": self.close_on_trigger,
            "placeType": "",
            "smpType": self.smp_type,
            "smpGroup": 0,
            "smpOrderId": "",
            "createdTime": str(self.created_ms),
            "updatedTime": str(self.updated_ms),
        }


def number_text(number: Decimal) -> str:
    """Return an amount at up to 8 decimals without zeros at its end, as the venue writes values."""
    return format(number.quantize(Decimal("1e-8")).normalize() + 0, "f")


def link_id_of(query: Query) -> str:
    """Return the ``orderLinkId`` of a request, "" when absent.

    Raises
    ------
    Refusal
        10001 when it is longer than 36 characters or holds others than letters, digits, - and _.
    """
    link_id = query.text("orderLinkId")
    if link_id and not _LINK_ID.fullmatch(link_id):
        raise Refusal(10001, "params error: OrderLinkId is invalid")
    return link_id
