"""The private stream: orders, executions, positions and the wallet of the account that signed in."""

from typing import Any

from starlette.websockets import WebSocket

from bybit.sandbox.access import KeyRing
from bybit.sandbox.accounts import TradingAccount
from bybit.sandbox.clock import Clock
from bybit.sandbox.exchange import AccountEvent
from bybit.sandbox.faults import FaultPlan
from bybit.sandbox.query import Refusal
from bybit.sandbox.streams_connection import Connection, failed, topics_of

_WHOLE = ("order", "execution", "position", "wallet")
_SPLIT = tuple(f"{topic}.{category}" for topic in _WHOLE[:3] for category in ("spot", "linear", "inverse", "option"))


class SignedConnection(Connection):
    """A connection that is for nothing before ``auth``."""

    def __init__(
        self,
        websocket: WebSocket,
        clock: Clock,
        plan: FaultPlan,
        conn_id: str,
        keys: KeyRing[TradingAccount],
        silence_ms: int,
    ) -> None:
        super().__init__(websocket, clock, plan, conn_id, silence_ms)
        self._keys = keys
        self.account: TradingAccount | None = None

    def sign_in(self, message: dict[str, Any]) -> None:
        """Take up the account of an ``auth`` operation.

        Raises
        ------
        Refusal
            For arguments that are not key, expiry and signature, and as ``KeyRing.authenticate_stream``.
        """
        args = message.get("args")
        if not isinstance(args, list) or len(args) != 3 or not str(args[1]).isdecimal() or len(str(args[1])) > 15:
            raise Refusal(10001, "Params Error: auth takes key, expiry and signature")
        key, expires_ms, signature = str(args[0]), int(args[1]), str(args[2])
        self.account = self._keys.authenticate_stream(key, expires_ms, signature, self.clock.now_ms())


class PrivateConnection(SignedConnection):
    """A connection to ``/v5/private``."""

    def __init__(
        self,
        websocket: WebSocket,
        clock: Clock,
        plan: FaultPlan,
        conn_id: str,
        keys: KeyRing[TradingAccount],
        silence_ms: int,
    ) -> None:
        super().__init__(websocket, clock, plan, conn_id, keys, silence_ms)
        self._topics: list[str] = []
        self._opened: list[str] = []
        self._waiting: list[dict[str, Any]] = []
        self._n_frames = 0

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to auth, ping, subscribe or unsubscribe."""
        op = message.get("op")
        req_id = str(message["req_id"]) if "req_id" in message else None
        named = {} if req_id is None else {"req_id": req_id}
        if op == "ping":
            return {**named, "op": "pong", "args": [str(self.clock.now_ms())], "conn_id": self.conn_id}
        try:
            if op == "auth":
                self.sign_in(message)
            elif op in ("subscribe", "unsubscribe"):
                self._subscribe(op, topics_of(message))
            else:
                raise Refusal(10001, f"error:invalid op,op:{op}")
        except Refusal as refusal:
            return failed(refusal.ret_msg, str(op), self.conn_id, req_id)
        return {"success": True, "ret_msg": "", "op": op, "conn_id": self.conn_id, **named}

    def refuse_text(self) -> dict[str, Any]:
        """Return the answer to something that is no JSON object."""
        return failed("error:invalid request", "", self.conn_id, None)

    def _subscribe(self, op: str, topics: list[str] | None) -> None:
        if self.account is None:
            raise Refusal(10003, "Request not authorized")
        if topics is None:
            raise Refusal(10001, "error:invalid args")
        if op == "unsubscribe":
            self._topics = [topic for topic in self._topics if topic not in topics]
            return
        unknown = [topic for topic in topics if topic not in _WHOLE + _SPLIT]
        if unknown:
            raise Refusal(10001, f"error:handler not found,topic:{unknown[0]}")
        kinds = {"." in topic for topic in topics if topic != "wallet"}
        if len(kinds) > 1:
            raise Refusal(10001, "error:all-in-one and categorised topics do not go together in one request")
        known = [topic for place, topic in enumerate(topics) if topic in self._topics or topic in topics[:place]]
        if known:
            raise Refusal(10001, f"error:already subscribed,topic:{known[0]}")
        self._opened = topics

    def answered(self) -> None:
        """Let the topics speak that were acknowledged."""
        self._topics += self._opened
        self._opened = []

    def tell(self, event: AccountEvent) -> None:
        """Take up an event of any account."""
        if self.account is None or event.account != self.account.uid:
            return
        for topic in self._topics:
            kind, _, category = topic.partition(".")
            rows = [row for row in event.rows if not category or row.get("category") == category]
            if kind == event.topic and rows:
                self._n_frames += 1
                frame_id = f"{self.account.uid}_{topic}_{self._n_frames}"
                frame = {"id": frame_id, "topic": topic, "creationTime": event.time_ms, "data": rows}
                self._waiting.append(frame)

    def news(self, now_ms: int) -> list[dict[str, Any]]:
        """Return the frames since the last time."""
        frames, self._waiting = self._waiting, []
        return frames
