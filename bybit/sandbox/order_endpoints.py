"""The order and execution endpoints: parameters in, the venue's result out. No HTTP in here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bybit.sandbox.accounts import TradingAccount
from bybit.sandbox.exchange import Exchange
from bybit.sandbox.listing import Row, page, select, time_span
from bybit.sandbox.order_desk import OrderDesk
from bybit.sandbox.orders import Order, Status
from bybit.sandbox.query import Query, Refusal

CATEGORIES = ("spot", "linear", "inverse", "option")
_DAY_MS = 86_400_000
_BATCH = 20
_RECENTLY_CLOSED = 500
_WITHOUT_FILL = (Status.CANCELLED, Status.REJECTED, Status.DEACTIVATED)


@dataclass(frozen=True, slots=True)
class Request:
    """What a signed endpoint is given.

    ``values`` are the parameters as they came (a batch holds a list); ``quota`` is how many orders of a batch the
    account's limit lets pass.
    """

    account: TradingAccount
    query: Query
    values: Mapping[str, Any] = field(default_factory=dict)
    quota: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """A result, and what else goes into ``retExtInfo``."""

    result: Mapping[str, Any]
    ext: Mapping[str, Any] | None = None


PrivateEndpoint = Callable[[Request], Answer]


class OrderEndpoints:
    """Answers ``/v5/order/...`` and ``/v5/execution/list``; ``reads`` are GET, ``writes`` are POST."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.desk = OrderDesk(exchange)
        desk = self.desk
        self.writes: dict[str, PrivateEndpoint] = {
            "/v5/order/create": lambda request: Answer(desk.create(request.account, request.query)),
            "/v5/order/amend": lambda request: Answer(desk.amend(request.account, request.query)),
            "/v5/order/cancel": lambda request: Answer(desk.cancel(request.account, request.query)),
            "/v5/order/cancel-all": lambda request: Answer(desk.cancel_all(request.account, request.query)),
            "/v5/order/create-batch": lambda request: self._batch(request, desk.create, is_new=True),
            "/v5/order/amend-batch": lambda request: self._batch(request, desk.amend),
            "/v5/order/cancel-batch": lambda request: self._batch(request, desk.cancel),
        }
        self.reads: dict[str, PrivateEndpoint] = {
            "/v5/order/realtime": self.open_orders,
            "/v5/order/history": self.order_history,
            "/v5/execution/list": self.executions,
        }

    def _batch(
        self, request: Request, act: Callable[[TradingAccount, Query], dict[str, str]], *, is_new: bool = False
    ) -> Answer:
        category, orders = request.query.category(CATEGORIES), request.values.get("request")
        if not isinstance(orders, list) or not 1 <= len(orders) <= _BATCH:
            raise Refusal(10001, f"params error: request holds 1 to {_BATCH} orders")
        rows, notes = [], []
        for place, values in enumerate(orders):
            row = {"category": category, "symbol": "", "orderId": "", "orderLinkId": ""}
            try:
                if not isinstance(values, dict):
                    raise Refusal(10001, "params error: an order is an object")
                query = Query.of_object({**values, "category": category})
                row.update(symbol=query.text("symbol"), orderLinkId=query.text("orderLinkId"))
                if place >= request.quota:
                    raise Refusal(10006, "Too many visits!")
                row.update(act(request.account, query))
                notes.append({"code": 0, "msg": "OK"})
            except Refusal as refusal:
                notes.append({"code": refusal.ret_code, "msg": refusal.ret_msg})
            if is_new:
                row["createAt"] = str(self._exchange.now_ms) if row["orderId"] else ""
            rows.append(row)
        return Answer({"list": rows}, {"list": notes})

    def open_orders(self, request: Request) -> Answer:
        """Return open orders, or with ``openOnly`` 1 the last 500 closed ones; by id both are found."""
        query, account = request.query, request.account
        category = query.category(CATEGORIES)
        by_id = query.text("orderId") or query.text("orderLinkId")
        if category == "linear" and not (
            by_id or any(query.text(name) for name in ("symbol", "baseCoin", "settleCoin"))
        ):
            raise Refusal(10001, "params error: symbol, baseCoin or settleCoin is required")
        closed = [order for order in account.orders.values() if not order.is_open][-_RECENTLY_CLOSED:]
        wants_closed = query.choice("openOnly", ("0", "1", "2"), "0") != "0"
        opened = [order for orders in account.open_orders.values() for order in orders.values()]
        found = [*closed, *opened] if by_id else closed if wants_closed else opened
        return self._orders(query, found, category)

    def order_history(self, request: Request) -> Answer:
        """Return orders by creation in a window; those that closed without a fill for 24 hours only."""
        query, now_ms = request.query, self._exchange.now_ms
        category = query.category(CATEGORIES)
        by_id = query.text("orderId") or query.text("orderLinkId")
        first, last = time_span(query, now_ms)
        found = [
            order
            for order in request.account.orders.values()
            if not order.is_open
            and (by_id or first <= order.created_ms <= last)
            and not (order.status in _WITHOUT_FILL and not order.cum_qty and order.updated_ms < now_ms - _DAY_MS)
        ]
        return self._orders(query, found, category)

    def _orders(self, query: Query, found: list[Order], category: str) -> Answer:
        # Newest first; of one millisecond the later one first.
        newest = sorted(reversed(found), key=lambda order: -order.created_ms)
        kind = query.choice("orderFilter", ("", "Order", "StopOrder", "tpslOrder", "OpenOrder"))
        rows: list[Row] = [
            order.row()
            for order in newest
            if kind in ("", "OpenOrder") or (kind == "Order") == (not order.stop_order_type)
        ]
        wanted = {
            "orderId": query.text("orderId"),
            "orderLinkId": "" if query.text("orderId") else query.text("orderLinkId"),
            "symbol": query.symbol() or "",
            "orderStatus": query.text("orderStatus"),
        }
        rows = self._of_coins(query, select(rows, **wanted)) if category == "linear" else []
        chosen, cursor = page(query, rows, lambda row: row["orderId"], default=20, largest=50)
        return Answer({"category": category, "list": chosen, "nextPageCursor": cursor})

    def executions(self, request: Request) -> Answer:
        """Return executions in a window, funding among them; an order's id overrides every other filter."""
        query = request.query
        category = query.category(CATEGORIES)
        first, last = time_span(query, self._exchange.now_ms)
        rows: list[Row] = list(reversed(request.account.executions)) if category == "linear" else []
        if order_id := query.text("orderId"):
            rows = select(rows, orderId=order_id)
        elif link_id := query.text("orderLinkId"):
            rows = select(rows, orderLinkId=link_id)
        else:
            rows = [row for row in rows if first <= int(row["execTime"]) <= last]
            rows = select(rows, symbol=query.symbol() or "", execType=query.text("execType"))
            rows = self._of_coins(query, rows)
        chosen, cursor = page(query, rows, lambda row: row["execId"], default=50, largest=100)
        return Answer({"category": category, "list": chosen, "nextPageCursor": cursor})

    def _of_coins(self, query: Query, rows: list[Row]) -> list[Row]:
        base, settle = query.text("baseCoin"), query.text("settleCoin")
        return [
            row
            for row in rows
            if (not base or self._exchange.instrument(row["symbol"]).base_coin == base) and settle in ("", "USDT")
        ]
