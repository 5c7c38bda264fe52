"""The public streams: subscriptions to topics of one category, acknowledged the way that category does it."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.websockets import WebSocket

from bybit.rules.candles import Category
from bybit.sandbox.clock import Clock
from bybit.sandbox.faults import FaultPlan
from bybit.sandbox.query import Refusal
from bybit.sandbox.streams_connection import Connection, failed, topics_of
from bybit.sandbox.streams_feeds import Feed, Feeds, LiquidationFeed

_ARGS_CAP = 21_000
_SPOT_ARGS = 10
_OPTION_ARGS = 2_000


class PublicConnection(Connection):
    """A connection to ``/v5/public/{category}``.

    Which topics of a refused request are subscribed to all the same is not established: here none is. So is the
    wording of refusals.
    """

    def __init__(
        self, websocket: WebSocket, clock: Clock, plan: FaultPlan, conn_id: str, category: str, feeds: Feeds
    ) -> None:
        super().__init__(websocket, clock, plan, conn_id)
        self._category, self._open = category, feeds
        self._feeds: dict[str, Feed | None] = {}
        self._opened: dict[str, Feed | None] = {}
        self._fresh: set[str] = set()

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to ping, subscribe or unsubscribe."""
        op, req_id = message.get("op"), str(message.get("req_id", ""))
        if op == "ping":
            return self._pong(req_id)
        if op not in ("subscribe", "unsubscribe"):
            return failed(f"error:invalid op,op:{op}", str(op), self.conn_id, req_id)
        topics = topics_of(message)
        if topics is None:
            return failed("error:invalid args", op, self.conn_id, req_id)
        try:
            self._subscribe(topics) if op == "subscribe" else self._unsubscribe(topics)
        except Refusal as refusal:
            return failed(refusal.ret_msg, op, self.conn_id, req_id)
        if self._category == "option":
            data: dict[str, Any] = {"failTopics": [], "successTopics": topics}
            return {"success": True, "conn_id": self.conn_id, "data": data, "type": "COMMAND_RESP"}
        ret_msg = op if self._category == "spot" else ""
        return {"success": True, "ret_msg": ret_msg, "conn_id": self.conn_id, "req_id": req_id, "op": op}

    def refuse_text(self) -> dict[str, Any]:
        """Return the answer to something that is no JSON object."""
        return failed("error:invalid request", "", self.conn_id, "")

    def _pong(self, req_id: str) -> dict[str, Any]:
        if self._category == "option":
            return {"args": [str(self.clock.now_ms())], "op": "pong", "conn_id": self.conn_id}
        return {"success": True, "ret_msg": "pong", "conn_id": self.conn_id, "req_id": req_id, "op": "ping"}

    def _subscribe(self, topics: list[str]) -> None:
        if self._category == "spot" and len(topics) > _SPOT_ARGS:
            raise Refusal(10001, f"args size >{_SPOT_ARGS}")
        together = [*self._feeds, *topics]
        if self._category == "option" and len(together) > _OPTION_ARGS:
            raise Refusal(10001, f"args size >{_OPTION_ARGS}")
        if len(orjson.dumps(together)) > _ARGS_CAP:
            raise Refusal(10001, f"args length >{_ARGS_CAP}")
        known = [topic for place, topic in enumerate(topics) if topic in self._feeds or topic in topics[:place]]
        if known:
            raise Refusal(10001, f"error:already subscribed,topic:{known[0]}")
        now_ms = self.clock.now_ms()
        # Options are not traded here: their topics are acknowledged, as the venue does with any, and stay silent.
        is_option = self._category == "option"
        opened = {
            topic: None if is_option else self._open.open(Category(self._category), topic, now_ms) for topic in topics
        }
        self._opened = opened

    def answered(self) -> None:
        """Let the topics speak that were acknowledged: no client wants a snapshot before its acknowledgement."""
        self._feeds |= self._opened
        self._fresh |= self._opened.keys()
        self._opened = {}

    def _unsubscribe(self, topics: list[str]) -> None:
        for topic in topics:
            self._feeds.pop(topic, None)
            self._fresh.discard(topic)

    def news(self, now_ms: int) -> list[dict[str, Any]]:
        """Return what the subscribed topics have to tell."""
        return [message for feed in self._feeds.values() if feed is not None for message in feed.poll(now_ms)]

    def is_first(self, topic: str) -> bool:
        """Return whether this snapshot is the first of its subscription."""
        first = topic in self._fresh
        self._fresh.discard(topic)
        return first

    def liquidated(self, execution: Mapping[str, Any]) -> None:
        """Take up a liquidation of one of the sandbox's accounts."""
        for feed in self._feeds.values():
            if isinstance(feed, LiquidationFeed) and feed.symbol == execution["symbol"]:
                feed.add(execution)
