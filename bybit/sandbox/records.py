"""The lasting records of an account in the venue's wire form: executions, closed P&L, transactions."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bybit.sandbox.orders import Order, number_text
from bybit.sandbox.wire import decimal_text

_ZERO = Decimal(0)


@dataclass(slots=True)
class ClosedTrade:
    """What one order has closed: entry and exit values, and the fees of both ends that belong to it."""

    order: Order
    side: str
    exec_type: str
    leverage: Decimal
    created_ms: int
    updated_ms: int
    closed_size: Decimal = _ZERO
    entry_value: Decimal = _ZERO
    exit_value: Decimal = _ZERO
    gross: Decimal = _ZERO
    open_fee: Decimal = _ZERO
    close_fee: Decimal = _ZERO
    n_fills: int = 0

    def row(self) -> dict[str, Any]:
        """Return the record as the venue lists it: ``closedPnl`` is gross less both fees, without funding."""
        return {
            "symbol": self.order.symbol,
            "orderId": self.order.order_id,
            "side": self.side,
            "qty": decimal_text(self.order.qty),
            "orderPrice": decimal_text(self.order.price) or "0",
            "orderType": self.order.order_type,
            "execType": self.exec_type,
            "closedSize": number_text(self.closed_size),
            "cumEntryValue": number_text(self.entry_value),
            "avgEntryPrice": number_text(self.entry_value / self.closed_size),
            "cumExitValue": number_text(self.exit_value),
            "avgExitPrice": number_text(self.exit_value / self.closed_size),
            "closedPnl": number_text(self.gross - self.open_fee - self.close_fee),
            "openFee": number_text(self.open_fee),
            "closeFee": number_text(self.close_fee),
            "fillCount": str(self.n_fills),
            "leverage": decimal_text(self.leverage),
            "createdTime": str(self.created_ms),
            "updatedTime": str(self.updated_ms),
        }


def execution_row(
    symbol: str,
    side: str,
    qty: Decimal,
    price: Decimal,
    fee: Decimal,
    rate: Decimal,
    mark_price: Decimal,
    time_ms: int,
    *,
    kind: str,
    order: Order | None,
    exec_id: str,
    is_maker: bool,
    closed: Decimal,
    seq: int,
) -> dict[str, Any]:
    """Return a row of the fills list; ``order`` is None for funding, whose ``execFee`` is positive when paid."""
    return {
        "symbol": symbol,
        "orderId": exec_id if order is None else order.order_id,
        "orderLinkId": "" if order is None else order.link_id,
        "side": side,
        "orderPrice": "0" if order is None or order.price is None else decimal_text(order.price),
        "orderQty": "0" if order is None else decimal_text(order.qty),
        "leavesQty": "0" if order is None else number_text(order.qty - order.cum_qty),
        "createType": "" if order is None else order.create_type,
        "orderType": "UNKNOWN" if order is None else order.order_type,
        "stopOrderType": "UNKNOWN" if order is None else order.stop_order_type or "UNKNOWN",
        "execFee": number_text(fee),
        "execId": exec_id,
        "execPrice": decimal_text(price),
        "execQty": number_text(qty),
        "execType": kind,
        "execValue": number_text(qty * price),
        "execTime": str(time_ms),
        "feeCurrency": "USDT",
        "isMaker": is_maker,
        "feeRate": decimal_text(rate),
        "tradeIv": "",
        "markIv": "",
        "markPrice": decimal_text(mark_price),
        "indexPrice": "",
        "underlyingPrice": "",
        "blockTradeId": "",
        "closedSize": number_text(closed),
        "extraFees": "",
        "seq": seq,
    }


def transaction_row(
    row_id: str,
    execution: dict[str, Any],
    kind: str,
    cash_flow: Decimal,
    funding: Decimal,
    fee: Decimal,
    size: Decimal | None,
    balance: Decimal,
) -> dict[str, Any]:
    """Return a row of the transaction log: ``change`` = ``cashFlow`` + ``funding`` - ``fee``; ``size`` is signed."""
    return {
        "id": row_id,
        "symbol": execution["symbol"],
        "category": "linear",
        "side": execution["side"],
        "transactionTime": execution["execTime"],
        "type": kind,
        "transSubType": "",
        "qty": execution["execQty"],
        "size": "" if size is None else number_text(size),
        "currency": "USDT",
        "tradePrice": execution["execPrice"],
        "funding": number_text(funding) if kind == "SETTLEMENT" else "",
        "fee": number_text(fee),
        "cashFlow": number_text(cash_flow),
        "change": number_text(cash_flow + funding - fee),
        "cashBalance": number_text(balance),
        "feeRate": execution["feeRate"],
        "bonusChange": "",
        "tradeId": execution["execId"],
        "orderId": execution["orderId"],
        "orderLinkId": execution["orderLinkId"],
        "extraFees": "",
    }
