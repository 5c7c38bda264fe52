"""The trade stream: orders over a socket, with the limits and the endpoints of HTTP."""

import time
from collections.abc import Mapping
from typing import Any

from starlette.websockets import WebSocket

from bybit.rules.errors import NotEstablished
from bybit.sandbox.accounts import TradingAccount
from bybit.sandbox.clock import Clock
from bybit.sandbox.exchange import Exchange
from bybit.sandbox.faults import FaultPlan
from bybit.sandbox.limits import AccountLimits
from bybit.sandbox.order_endpoints import PrivateEndpoint, Request
from bybit.sandbox.query import Query, Refusal
from bybit.sandbox.streams_private import SignedConnection

_AHEAD_MS = 1_000
_DEFAULT_WINDOW_MS = 5_000
_OPS = {
    f"order.{action}{batch}": f"/v5/order/{action}{batch}"
    for action in ("create", "amend", "cancel")
    for batch in ("", "-batch")
}
_N_REQ_IDS = 10_000


class TradeConnection(SignedConnection):
    """A connection to ``/v5/trade``: every request is answered once it is accepted or refused, and acts after that."""

    def __init__(
        self,
        websocket: WebSocket,
        clock: Clock,
        plan: FaultPlan,
        conn_id: str,
        exchange: Exchange,
        writes: Mapping[str, PrivateEndpoint],
        limits: AccountLimits | None,
        silence_ms: int,
    ) -> None:
        super().__init__(websocket, clock, plan, conn_id, exchange.keys, silence_ms)
        self._exchange, self._writes, self._limits = exchange, writes, limits
        self._req_ids: dict[str, None] = {}

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to auth, ping or an order operation."""
        op, req_id = str(message.get("op", "")), str(message.get("reqId", ""))
        named = {"reqId": req_id} if req_id else {}
        if op == "ping":
            return {**named, "op": "pong", "args": [str(self.clock.now_ms())], "connId": self.conn_id}
        try:
            if op == "auth":
                if self.account is not None:
                    raise Refusal(20001, "Repeat auth")
                self.sign_in(message)
                return {**named, "retCode": 0, "retMsg": "OK", "op": op, "connId": self.conn_id}
            if op not in _OPS:
                raise Refusal(10404, f"op is not found: {op}")
        except Refusal as refusal:
            return {**named, **_refused(refusal), "op": op, "connId": self.conn_id}
        return self._order(op, req_id, message)

    def refuse_text(self) -> dict[str, Any]:
        """Return the answer to something that is no JSON object."""
        return {"retCode": 10001, "retMsg": "request is not JSON", "op": "", "connId": self.conn_id}

    def answered(self) -> None:
        """Let what was acknowledged take effect."""
        self._exchange.advance(self.clock.now_ms())

    def _order(self, op: str, req_id: str, message: dict[str, Any]) -> dict[str, Any]:
        self._exchange.advance(self.clock.now_ms())
        headers: dict[str, str] = {}
        data: Mapping[str, Any] = {}
        ext: Mapping[str, Any] = {}
        code: dict[str, Any] = {"retCode": 0, "retMsg": "OK"}
        try:
            account, values = self._admit(req_id, message)
            query = Query.of_object({name: value for name, value in values.items() if name != "request"})
            n_passed = self._ration(account, _OPS[op], values, headers)
            answer = self._writes[_OPS[op]](Request(account, query, values, n_passed))
            data, ext = answer.result, answer.ext or {}
        except Refusal as refusal:
            code = _refused(refusal)
        except NotEstablished as error:
            code = {"retCode": 10001, "retMsg": f"not served: {error}"}
        header = {**headers, "Traceid": f"{self.conn_id}-{len(self._req_ids)}", "Timenow": str(self.clock.now_ms())}
        reply = {**code, "op": op, "data": data, "retExtInfo": ext, "header": header, "connId": self.conn_id}
        return {"reqId": req_id, **reply} if req_id else reply

    def _admit(self, req_id: str, message: dict[str, Any]) -> tuple[TradingAccount, dict[str, Any]]:
        # What is checked before the order itself: sign-in, reqId, time and shape. Returns the order's parameters.
        account = self.account
        if account is None:
            raise Refusal(10003, "Request not authorized")
        if req_id and req_id in self._req_ids:
            raise Refusal(20006, "Duplicate reqId")
        header, args = message.get("header"), message.get("args")
        if (
            not isinstance(header, dict)
            or not isinstance(args, list)
            or len(args) != 1
            or not isinstance(args[0], dict)
        ):
            raise Refusal(10001, "params error: header, and args with one object, are required")
        stamp, window = (str(header.get(f"X-BAPI-{name}", "")) for name in ("TIMESTAMP", "RECV-WINDOW"))
        if not (stamp.isdecimal() and len(stamp) < 16 and (not window or (window.isdecimal() and len(window) < 16))):
            raise Refusal(10001, "params error: X-BAPI-TIMESTAMP or X-BAPI-RECV-WINDOW is invalid")
        now_ms = self.clock.now_ms()
        if not now_ms - int(window or _DEFAULT_WINDOW_MS) <= int(stamp) < now_ms + _AHEAD_MS:
            raise Refusal(10002, "invalid request, please check your server timestamp or recv_window param.")
        if req_id:
            self._req_ids[req_id] = None
            if len(self._req_ids) > _N_REQ_IDS:
                del self._req_ids[next(iter(self._req_ids))]
        return account, args[0]

    def _ration(self, account: TradingAccount, path: str, values: Mapping[str, Any], headers: dict[str, str]) -> int:
        # How many orders the account's limit lets pass; the limit's headers go into ``headers``.
        orders = values.get("request")
        n_units = max(1, len(orders)) if isinstance(orders, list) else 1
        if self._limits is None:
            return n_units
        ration = self._limits.take(account.uid, path, account.tier, n_units, time.monotonic_ns())
        headers.update(ration.headers(self.clock.now_ms(), self.clock.speed))
        if not ration.n_passed:
            raise Refusal(10006, "Too many visits!")
        return ration.n_passed


def _refused(refusal: Refusal) -> dict[str, Any]:
    return {"retCode": refusal.ret_code, "retMsg": refusal.ret_msg}
