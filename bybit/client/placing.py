"""Orders that are sent once: after a lost answer the venue is asked before anything is sent again."""

import logging
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from bybit.client.arguments import new_link_id, order_params
from bybit.client.calls import Caller
from bybit.client.errors import (
    BybitError,
    MalformedResponse,
    NoResponse,
    OrderStateUnknown,
    RequestRejected,
    VenueUnavailable,
)
from bybit.client.fields import BadRow, each
from bybit.client.filters import OrderRules
from bybit.client.orders import Order, OrderAck, ack, order
from bybit.client.parse import rows_of
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput

_log = logging.getLogger(__name__)

DUPLICATE_CODES = frozenset({10014, 110030, 110072, 170141})
"""The venue has an order of that id: placed already."""

GONE_CODES = frozenset({110001, 110008, 110010, 170213, 170142, 170139})
"""The order is filled, cancelled or unknown."""

_LOST = (NoResponse, VenueUnavailable, MalformedResponse)
_N_SENDS = 4
_FIRST_PAUSE_S = 0.2
# The venue takes orders one after the other: what it answered an error to shows within this time or never.
_SHOWS_WITHIN_S = 1.0
_UNSENT = ("orderId", "orderLinkId", "category", "symbol")


class OrderDesk:
    """Places, amends and cancels. Thread-safe; arguments are the venue's names."""

    def __init__(self, caller: Caller, rules: OrderRules) -> None:
        self._caller = caller
        self._rules = rules

    def prepare(self, given: Mapping[str, Any], category: str | None = None) -> dict[str, Any]:
        """Return an order as it goes on the wire: complete, with an ``orderLinkId``, inside the contract's rules."""
        given = dict(given) if category is None else {**given, "category": category}
        params = order_params(given, "category", "symbol", "side", "orderType", "qty")
        params.setdefault("orderLinkId", new_link_id())
        self._rules.check(params)
        return params

    def place(self, given: Mapping[str, Any]) -> OrderAck:
        """Place one order exactly once.

        Raises
        ------
        InvalidOrder
            Before anything is sent.
        RequestRejected
            When the venue refused it.
        NoResponse, VenueUnavailable, MalformedResponse
            When it could not be placed; the venue was asked and does not have it.
        OrderStateUnknown
            When the venue could not be asked either.
        """
        params = self.prepare(given)
        return self.send(params)

    def send(self, params: Mapping[str, Any]) -> OrderAck:
        """Send an order that is prepared; ask for it after a lost answer."""

        def post() -> OrderAck:
            return _ack_of(self._caller.post("/v5/order/create", params).result)

        def look(lost: BybitError, sent_s: float) -> OrderAck | None:
            found = self.wait_for(params, lost, sent_s)
            return None if found is None else _found_ack(found)

        try:
            return self._once(post, look)
        except RequestRejected as error:
            if error.ret_code not in DUPLICATE_CODES:
                raise
            return self.duplicate(params, error)

    def duplicate(self, params: Mapping[str, Any], refusal: RequestRejected) -> OrderAck:
        """Return the order the venue says it has already; raise ``refusal`` when the id is another order's."""
        found = self.wait_for(params, refusal, self._caller.monotonic())
        if found is None:
            raise OrderStateUnknown(
                f"the venue says it has order {params['orderLinkId']} already, but does not show it; ask for it later",
                (str(params["orderLinkId"]),),
            )
        if not _is_same(found, params):
            raise refusal
        return _found_ack(found)

    def wait_for(self, params: Mapping[str, Any], lost: BybitError, sent_s: float) -> Order | None:
        """Return the order once the venue shows it; None when it certainly is not there.

        A request without an answer may still be under way until its signature is too old; then it can only be
        refused.
        """
        unsent = isinstance(lost, NoResponse) and not lost.maybe_sent
        in_flight_s = self._caller.recv_window_ms / 1000 if isinstance(lost, NoResponse) else 0.0
        until_s = sent_s + (0.0 if unsent else in_flight_s + _SHOWS_WITHIN_S)
        pause_s = _FIRST_PAUSE_S
        while True:
            found = self.find(params)
            left_s = until_s - self._caller.monotonic()
            if found is not None or left_s <= 0:
                return found
            self._caller.sleep(min(pause_s, left_s))
            pause_s *= 2

    def find(self, params: Mapping[str, Any]) -> Order | None:
        """Return the order of an ``orderId`` or ``orderLinkId``, open or closed; None when the venue has none.

        Raises
        ------
        OrderStateUnknown
            When the venue cannot be asked.
        """
        category = Category(params["category"])
        name = "orderId" if params.get("orderId") else "orderLinkId"
        asked = {"category": category.value, "symbol": params.get("symbol"), name: params[name]}
        try:
            for path in ("/v5/order/realtime", "/v5/order/history"):
                rows = rows_of(self._caller.get(path, asked, signed=True).result, dict)
                for found in each(rows, lambda row: order(row, category), "order"):
                    if params[name] in (found.order_id, found.order_link_id):
                        return found
        except BybitError as error:
            raise OrderStateUnknown(
                f"order {params[name]} may be live: its answer is lost and the venue cannot be asked ({error}); ask "
                "by this id later, or place it again with the same orderLinkId",
                (str(params[name]),),
            ) from error
        return None

    def amend(self, given: Mapping[str, Any], lost: BybitError | None = None) -> OrderAck:
        """Amend one order; after a ``lost`` answer only what is not yet so is sent again."""
        params = named_order(given)
        changes = {name: value for name, value in params.items() if name not in _UNSENT}

        def post() -> OrderAck:
            return _ack_of(self._caller.post("/v5/order/amend", params).result)

        def look(_: BybitError, __: float) -> OrderAck | None:
            found = self.find(params)
            return _found_ack(found) if found is not None and _has(found, changes) else None

        return self._once(post, look, lost)

    def cancel(self, given: Mapping[str, Any], lost: BybitError | None = None) -> OrderAck:
        """Cancel one order; after a ``lost`` answer one that is cancelled counts as success."""
        params = named_order(given)

        def post() -> OrderAck:
            return _ack_of(self._caller.post("/v5/order/cancel", params).result)

        def look(_: BybitError, __: float) -> OrderAck | None:
            found = self.find(params)
            if found is None or found.is_open or "Cancel" not in found.status + (found.cancel_type or ""):
                return None
            return _found_ack(found)

        return self._once(post, look, lost)

    def _once(
        self,
        post: Callable[[], OrderAck],
        look: Callable[[BybitError, float], OrderAck | None],
        lost: BybitError | None = None,
    ) -> OrderAck:
        found = None if lost is None else look(lost, self._caller.monotonic())
        for _ in range(_N_SENDS):
            if found is not None:
                return found
            sent_s = self._caller.monotonic()
            try:
                return post()
            except _LOST as error:
                lost = error
                _log.warning("an order's answer is lost: asking before anything is sent again (%s)", error)
                found = look(error, sent_s)
            except RequestRejected as error:
                # Refused the second time may mean that the first one was taken.
                found = None if lost is None or error.ret_code in DUPLICATE_CODES else look(error, sent_s)
                if found is None:
                    raise
        if found is not None:
            return found
        assert lost is not None
        raise lost


def named_order(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of an amendment or a cancellation, which name their order."""
    params = order_params(given, "category", "symbol")
    if not params.get("orderId") and not params.get("orderLinkId"):
        raise InvalidInput("orderId or orderLinkId missing: name the order")
    return params


def _ack_of(result: dict[str, Any]) -> OrderAck:
    try:
        return ack(result)
    except BadRow as error:
        # The venue answered, but not with an acknowledgement: as good as lost.
        raise MalformedResponse(f"the acknowledgement cannot be used: {error}") from None


def _found_ack(found: Order) -> OrderAck:
    return OrderAck(found.order_id, found.order_link_id, was_lost=True, raw=found.raw)


def _is_same(found: Order, params: Mapping[str, Any]) -> bool:
    if (found.symbol, found.side) != (params["symbol"], params["side"]):
        return False
    # The venue cuts reduce-only orders down to the position.
    return bool(params.get("reduceOnly")) or found.qty == Decimal(params["qty"])


def _has(found: Order, changes: Mapping[str, Any]) -> bool:
    values = {
        "qty": found.qty,
        "price": found.price,
        "triggerPrice": found.trigger_price,
        "takeProfit": found.take_profit,
        "stopLoss": found.stop_loss,
    }
    return all(name in values and (values[name] or Decimal(0)) == Decimal(value) for name, value in changes.items())


def acks_of(result: dict[str, Any], extra: dict[str, Any], n_orders: int) -> Sequence[OrderAck]:
    """Return what a batch reply says of each order, in the order they were sent.

    Raises
    ------
    MalformedResponse
        When it does not say something of each of ``n_orders``.
    """
    rows, verdicts = rows_of(result, dict), rows_of(extra, dict)
    if not len(rows) == len(verdicts) == n_orders:
        raise MalformedResponse(
            f"a batch of {n_orders} orders was answered with {len(rows)} rows and {len(verdicts)} verdicts; discarded"
        )
    codes = [verdict.get("code") for verdict in verdicts]
    if not all(type(code) is int for code in codes):
        raise MalformedResponse(f"a batch was answered with codes {str(codes)[:80]}, expected whole numbers; discarded")
    pairs = zip(rows, verdicts, strict=True)
    return each(
        ({**row, "_verdict": verdict} for row, verdict in pairs),
        lambda row: ack(row, row["_verdict"]["code"], str(row["_verdict"].get("msg", ""))[:200]),
        "batch reply",
    )
