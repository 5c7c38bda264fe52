"""Batches of orders: cut to the venue's size and pace, each order's fate told, none sent twice."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bybit.client.arguments import check_category
from bybit.client.calls import Caller
from bybit.client.errors import (
    BybitError,
    MalformedResponse,
    NoResponse,
    OrderStateUnknown,
    RequestRejected,
    VenueUnavailable,
)
from bybit.client.orders import OrderAck
from bybit.client.placing import DUPLICATE_CODES, OrderDesk, acks_of, named_order
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput

_MAX_ORDERS = {Category.SPOT: 10, Category.LINEAR: 20, Category.INVERSE: 20}
Settle = Callable[[dict[str, Any], BybitError, float], OrderAck | None]
"""Finds out what became of an order whose answer is lost: order, error, and when it was sent."""

_LIMITED = 10006
_TIMEOUT = 10000
_N_ROUNDS = 5


class BatchDesk:
    """Places, amends and cancels many orders of one category. Thread-safe."""

    def __init__(self, caller: Caller, desk: OrderDesk) -> None:
        self._caller = caller
        self._desk = desk

    def place(self, category: Category | str, orders: Sequence[Mapping[str, Any]]) -> list[OrderAck]:
        """Place every order exactly once; one :class:`OrderAck` each, in their order.

        A refusal of one order is in its ``ret_code``. Orders the venue could not take at that pace are sent again.

        Raises
        ------
        InvalidOrder
            Before anything is sent, when the rules forbid one of them.
        OrderStateUnknown
            When an answer is lost and the venue cannot be asked.
        """
        category = check_category(category)
        prepared = [self._desk.prepare(given, category.value) for given in orders]
        ids = [params["orderLinkId"] for params in prepared]
        if len(set(ids)) != len(ids):
            raise InvalidInput("two orders of the batch have the same orderLinkId: give each its own or none")
        return self._rounds(category, "/v5/order/create-batch", prepared, self._settle_placed)

    def amend(self, category: Category | str, orders: Sequence[Mapping[str, Any]]) -> list[OrderAck]:
        """Amend every order; one :class:`OrderAck` each, in their order."""
        return self._each(category, "/v5/order/amend-batch", orders, self._desk.amend)

    def cancel(self, category: Category | str, orders: Sequence[Mapping[str, Any]]) -> list[OrderAck]:
        """Cancel every order; one :class:`OrderAck` each, in their order."""
        return self._each(category, "/v5/order/cancel-batch", orders, self._desk.cancel)

    def _each(
        self,
        category: Category | str,
        path: str,
        orders: Sequence[Mapping[str, Any]],
        single: Callable[[dict[str, Any], BybitError], OrderAck],
    ) -> list[OrderAck]:
        category = check_category(category)
        prepared = [named_order({**given, "category": category.value}) for given in orders]

        def settle(params: dict[str, Any], lost: BybitError, _: float) -> OrderAck | None:
            # One by one each order is asked for, and sent again only where that is needed.
            try:
                return single(params, lost)
            except RequestRejected as error:
                return _refused(params, error)

        return self._rounds(category, path, prepared, settle)

    def _settle_placed(self, params: dict[str, Any], lost: BybitError, sent_s: float) -> OrderAck | None:
        if isinstance(lost, RequestRejected):
            try:
                return self._desk.duplicate(params, lost)
            except RequestRejected as error:
                return _refused(params, error)
        found = self._desk.wait_for(params, lost, sent_s)
        return None if found is None else OrderAck(found.order_id, found.order_link_id, was_lost=True, raw=found.raw)

    def _rounds(self, category: Category, path: str, prepared: list[dict[str, Any]], settle: Settle) -> list[OrderAck]:
        acks: list[OrderAck | None] = [None] * len(prepared)
        lost: BybitError | None = None
        for _ in range(_N_ROUNDS):
            waiting = [i for i, known in enumerate(acks) if known is None]
            while waiting:
                size = self._chunk_size(category, path)
                chunk, waiting = waiting[:size], waiting[size:]
                lost = self._send(category, path, prepared, chunk, acks, settle) or lost
            if None not in acks:
                break
        # Whatever is left the venue was asked for and does not have.
        return [
            _refused(params, lost) if known is None else known for known, params in zip(acks, prepared, strict=True)
        ]

    def _send(
        self,
        category: Category,
        path: str,
        prepared: list[dict[str, Any]],
        chunk: list[int],
        acks: list[OrderAck | None],
        settle: Settle,
    ) -> BybitError | None:
        request = [{name: value for name, value in prepared[i].items() if name != "category"} for i in chunk]
        sent_s = self._caller.monotonic()
        try:
            envelope = self._caller.post(path, {"category": category.value, "request": request}, cost=len(chunk))
            verdicts = acks_of(envelope.result, envelope.extra, len(chunk))
        except (NoResponse, VenueUnavailable, MalformedResponse) as error:
            self._settle_lost(error, sent_s, prepared, chunk, acks, settle)
            return error
        except BybitError as error:
            if all(known is None for known in acks):
                raise
            # Some are placed: their acknowledgements must not be lost with the refusal of the others.
            for i in chunk:
                acks[i] = _refused(prepared[i], error)
            return None
        limited: BybitError | None = None
        for i, verdict in zip(chunk, verdicts, strict=True):
            refusal = RequestRejected(
                f"{path}: retCode {verdict.ret_code} ({verdict.ret_msg})", verdict.ret_code, verdict.ret_msg
            )
            if verdict.ret_code == _LIMITED:
                # The batch outran the limit: this order was not looked at, and goes into the next round.
                limited = refusal
            elif verdict.ret_code in DUPLICATE_CODES and path.endswith("create-batch"):
                acks[i] = settle(prepared[i], refusal, sent_s)
            else:
                acks[i] = verdict
        if limited is not None:
            self._caller.sleep(1.0)
        return limited

    def _settle_lost(
        self,
        lost: BybitError,
        sent_s: float,
        prepared: list[dict[str, Any]],
        chunk: list[int],
        acks: list[OrderAck | None],
        settle: Settle,
    ) -> None:
        unknown: list[OrderStateUnknown] = []
        for i in chunk:
            try:
                acks[i] = settle(prepared[i], lost, sent_s)
            except OrderStateUnknown as doubt:
                unknown.append(doubt)
        if unknown:
            ids = tuple(name for doubt in unknown for name in doubt.order_link_ids)
            raise OrderStateUnknown(f"{len(unknown)} orders of a batch: {unknown[0]}", ids) from lost

    def _chunk_size(self, category: Category, path: str) -> int:
        state = self._caller.quotas.of(path, category.value).state
        # More orders than the second has units would be refused one by one.
        return _MAX_ORDERS[category] if state is None else min(_MAX_ORDERS[category], state.limit)


def _refused(params: Mapping[str, Any], error: BybitError | None) -> OrderAck:
    code, said = (error.ret_code, error.ret_msg) if isinstance(error, RequestRejected) else (_TIMEOUT, str(error))
    return OrderAck(str(params.get("orderId") or ""), params.get("orderLinkId"), code, said)
