"""Orders and executions over HTTP: one method per call. Needs a key that may trade."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bybit.client.arguments import Time, check_category, check_link_id, optional_symbol, order_params
from bybit.client.batches import BatchDesk
from bybit.client.calls import Caller
from bybit.client.errors import MalformedResponse, NoResponse, VenueUnavailable
from bybit.client.fields import each
from bybit.client.orders import Fill, Order, OrderAck, ack, fill, order
from bybit.client.pages import EXECUTIONS, OPEN_ORDERS, ORDERS, records, span_of
from bybit.client.parse import distinct_rows
from bybit.client.placing import OrderDesk
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput

_N_CANCELS = 4


class OrderCalls:
    """The order and execution methods of ``BybitClient``."""

    _caller: Caller
    _desk: OrderDesk
    _batches: BatchDesk

    def place_order(self, **order: Any) -> OrderAck:
        """Place one order exactly once.

        Takes the venue's names: category, symbol, side, orderType, qty, price, timeInForce, reduceOnly, ... Amounts may
        be texts, Decimals or numbers. An ``orderLinkId`` is always sent: yours, or one made up. The contract's rules
        are checked first. After a lost answer the venue is asked by that id, and only an order it does not have is
        sent again; asked and answered within about 6 s a time, four times at most.

        Raises
        ------
        InvalidOrder
            Before anything is sent: code and text are the venue's.
        RequestRejected
            When the venue refused it.
        OrderStateUnknown
            When the answer is lost and the venue cannot be asked: it names the id.
        BybitError
            Any other: the order is not placed.
        """
        return self._desk.place(order)

    def check_order(self, **order: Any) -> dict[str, Any]:
        """Return an order as it would go on the wire, without sending it; :class:`InvalidOrder` as for placing it."""
        return self._desk.prepare(order)

    def amend_order(self, **order: Any) -> OrderAck:
        """Amend one order: category, symbol, orderId or orderLinkId, and what is new; ``qty`` is the new total."""
        return self._desk.amend(order)

    def cancel_order(self, **order: Any) -> OrderAck:
        """Cancel one order: category, symbol, and orderId or orderLinkId.

        One that was filled or cancelled before is refused by the venue, with 110001; one that the first try of this
        call cancelled is a success.
        """
        return self._desk.cancel(order)

    def place_orders(self, category: Category | str, orders: Sequence[Mapping[str, Any]]) -> list[OrderAck]:
        """Place many orders exactly once each, as many requests as it takes; see ``OrderAck.ret_code`` of each."""
        return self._batches.place(category, orders)

    def amend_orders(self, category: Category | str, orders: Sequence[Mapping[str, Any]]) -> list[OrderAck]:
        """Amend many orders; see ``OrderAck.ret_code`` of each."""
        return self._batches.amend(category, orders)

    def cancel_orders(self, category: Category | str, orders: Sequence[Mapping[str, Any]]) -> list[OrderAck]:
        """Cancel many orders; see ``OrderAck.ret_code`` of each."""
        return self._batches.cancel(category, orders)

    def cancel_all_orders(self, **asked: Any) -> list[OrderAck]:
        """Cancel all open orders of a symbol, baseCoin or settleCoin; return those the venue says it cancels.

        After a lost answer it is sent again while orders are open: what is gone already is then not in the list.
        """
        params = order_params(asked, "category")
        if not any(params.get(name) for name in ("symbol", "baseCoin", "settleCoin")) and params["category"] != "spot":
            raise InvalidInput("symbol, baseCoin or settleCoin missing: say which orders")
        names = ("symbol", "baseCoin", "settleCoin", "orderFilter")
        filters = {name: params[name] for name in names if name in params}
        for n_sent in range(1, _N_CANCELS + 1):
            try:
                result = self._caller.post("/v5/order/cancel-all", params).result
                return each(distinct_rows(result), ack, "list of cancelled orders")
            except (NoResponse, VenueUnavailable, MalformedResponse):
                if n_sent == _N_CANCELS:
                    raise
                if not self._open_orders(params["category"], filters):
                    return []
        raise AssertionError("unreachable: the last try returns or raises")

    def find_order(
        self, category: Category | str, symbol: str, *, orderId: str | None = None, orderLinkId: str | None = None
    ) -> Order | None:
        """Return one order, open or closed, by one of its ids; None when the venue has none.

        Raises
        ------
        OrderStateUnknown
            When the venue cannot be asked.
        """
        if (orderId is None) == (orderLinkId is None):
            raise InvalidInput("give orderId or orderLinkId, one of them")
        if orderLinkId is not None:
            check_link_id(orderLinkId)
        params = {"category": category, "symbol": symbol, "orderId": orderId, "orderLinkId": orderLinkId}
        return self._desk.find(order_params(params, "category", "symbol"))

    def get_open_orders(
        self,
        category: Category | str = Category.LINEAR,
        symbol: str | None = None,
        *,
        baseCoin: str | None = None,
        settleCoin: str | None = None,
        orderFilter: str | None = None,
    ) -> list[Order]:
        """Return every open order, oldest first; those settled in USDT when linear is asked for without a filter."""
        given = {"symbol": optional_symbol(symbol), "baseCoin": baseCoin, "settleCoin": settleCoin}
        filters = {name: value for name, value in {**given, "orderFilter": orderFilter}.items() if value is not None}
        return self._open_orders(check_category(category), filters)

    def _open_orders(self, category: Category | str, filters: dict[str, Any]) -> list[Order]:
        category = check_category(category)
        if category is Category.LINEAR and not {"symbol", "baseCoin", "settleCoin"} & filters.keys():
            filters = {**filters, "settleCoin": "USDT"}
        params = {"category": category.value, "openOnly": 0, **filters}
        found = records(self._caller, OPEN_ORDERS, params, lambda row: order(row, category))
        return [listed for listed in found if listed.is_open]

    def iter_order_history(
        self,
        category: Category | str = Category.LINEAR,
        symbol: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        orderStatus: str | None = None,
    ) -> Iterator[Order]:
        """Yield closed orders in [start, end), oldest first; without bounds those of the last seven days.

        Follows every cursor, in windows of at most seven days. The venue forgets cancelled orders without a fill
        after a day.
        """
        category = check_category(category)
        params = {"category": category.value, "symbol": optional_symbol(symbol), "orderStatus": orderStatus}
        return records(
            self._caller, ORDERS, params, lambda row: order(row, category), span_of(self._caller, start, end)
        )

    def get_order_history(
        self,
        category: Category | str = Category.LINEAR,
        symbol: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
        **asked: Any,
    ) -> list[Order]:
        """Return what :meth:`iter_order_history` yields, as a list."""
        return list(self.iter_order_history(category, symbol, start, end, **asked))

    def iter_executions(
        self,
        category: Category | str = Category.LINEAR,
        symbol: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        orderId: str | None = None,
        orderLinkId: str | None = None,
        execType: str | None = None,
    ) -> Iterator[Fill]:
        """Yield executions in [start, end), oldest first; without bounds those of the last seven days.

        Funding, auto-deleveraging and liquidation are among them: see ``Fill.is_trade``.
        """
        category = check_category(category)
        params = {
            "category": category.value,
            "symbol": optional_symbol(symbol),
            "orderId": orderId,
            "orderLinkId": orderLinkId,
            "execType": execType,
        }
        return records(
            self._caller, EXECUTIONS, params, lambda row: fill(row, category), span_of(self._caller, start, end)
        )

    def get_executions(
        self,
        category: Category | str = Category.LINEAR,
        symbol: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
        **asked: Any,
    ) -> list[Fill]:
        """Return what :meth:`iter_executions` yields, as a list."""
        return list(self.iter_executions(category, symbol, start, end, **asked))
