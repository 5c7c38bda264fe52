"""One connection of a stream: what every kind has in common, and the faults that hit its messages."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from bybit.sandbox.clock import Clock
from bybit.sandbox.faults import FaultPlan
from bybit.sandbox.faults_http import ABORT

# Clients note a subscription after they have sent it: an answer faster than any network would come too early for them.
_ANSWER_S = 0.02
_TICK_S = 0.02
_SILENCE_MS = 600_000


class Connection(ABC):
    """Receives operations, answers them in order, and pushes what there is to tell in between.

    Parameters
    ----------
    websocket : WebSocket
        Not yet accepted.
    clock : Clock
        The sandbox's.
    plan : FaultPlan
        What goes wrong with the messages.
    conn_id : str
        As answers name it.
    silence_ms : int
        How long a client may say nothing, by the sandbox's clock, before the connection is closed.
    """

    def __init__(
        self, websocket: WebSocket, clock: Clock, plan: FaultPlan, conn_id: str, silence_ms: int = _SILENCE_MS
    ) -> None:
        self.conn_id = conn_id
        self.clock = clock
        self._websocket, self._plan = websocket, plan
        self._silence_ms = silence_ms
        self._heard_ms = clock.now_ms()
        self._is_mute = False

    async def run(self) -> None:
        """Serve until one side goes."""
        await self._websocket.accept()
        self._heard_ms = self.clock.now_ms()
        tasks = {asyncio.create_task(self._receive()), asyncio.create_task(self._pump())}
        done: set[asyncio.Task[None]] = set()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.forget()
            for task in tasks - done:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            # A client that goes is no failure; anything else is ours and must show.
            if isinstance(end, Exception) and not isinstance(end, WebSocketDisconnect):
                raise end

    async def _receive(self) -> None:
        while (frame := await self._websocket.receive())["type"] == "websocket.receive":
            self._heard_ms = self.clock.now_ms()
            # A binary frame, which no client of the venue sends, has no text.
            await self._take(frame.get("text") or "")

    async def _take(self, text: str) -> None:
        await asyncio.sleep(_ANSWER_S)
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError:
            message = None
        # Nothing may happen between an answer and its way out: what it acknowledges acts, and tells, after it.
        await self.send(self.answer(message) if isinstance(message, dict) else self.refuse_text())
        self.answered()

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send a message as it is, unless the connection has fallen silent."""
        if not self._is_mute:
            await self._websocket.send_text(orjson.dumps(message).decode())

    async def _pump(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            now_ms = self.clock.now_ms()
            if now_ms >= self._heard_ms + self._silence_ms:
                # The receiving side ends with it.
                await self._websocket.close(1000)
                return
            for message in self.news(now_ms):
                await self._push(message, now_ms)

    async def _push(self, message: dict[str, Any], now_ms: int) -> None:
        topic = str(message["topic"])
        if message.get("type") == "snapshot" and self.is_first(topic) and isinstance(message["data"], dict):
            fault = self._plan.of_snapshot(topic, now_ms)
            if fault is not None:
                self._plan.note(fault, "WS", topic, now_ms)
                await self.send(_stray_delta(message))
        fault = self._plan.of_message(topic, now_ms)
        if fault is None or (fault.name == "stream-gap" and message.get("type") != "delta"):
            await self.send(message)
            return
        self._plan.note(fault, "WS", topic, now_ms)
        if fault.name == "stream-drop":
            self._is_mute = True
            self._websocket.scope[ABORT]()
        elif fault.name == "stream-mute":
            self._is_mute = True
        elif fault.name == "stream-duplicate":
            await self.send(message)
            await self.send(message)

    # What the kinds of streams differ in

    @abstractmethod
    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to an operation."""

    @abstractmethod
    def refuse_text(self) -> dict[str, Any]:
        """Return the answer to something that is no JSON object."""

    def news(self, now_ms: int) -> list[dict[str, Any]]:
        """Return what there is to push."""
        return []

    def is_first(self, topic: str) -> bool:
        """Return whether this message is the first of its subscription; asked once per snapshot."""
        return False

    def answered(self) -> None:  # noqa: B027 - a hook that most kinds leave empty
        """Note that an answer is out."""

    def forget(self) -> None:  # noqa: B027 - likewise
        """Note that the connection is gone."""


def _stray_delta(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    # A delta of the same book or ticker, before the client has anything to apply it to.
    data = dict(snapshot["data"])
    for side in ("a", "b"):
        if side in data:
            data[side] = data[side][:1]
    return {**snapshot, "type": "delta", "data": data}


def failed(refusal: str, op: str, conn_id: str, req_id: str | None) -> dict[str, Any]:
    """Return the answer to a public or private operation that is refused; ``req_id`` None leaves it out."""
    answer: dict[str, Any] = {"success": False, "ret_msg": refusal, "conn_id": conn_id}
    return answer | ({} if req_id is None else {"req_id": req_id}) | {"op": op}


def topics_of(message: Mapping[str, Any]) -> list[str] | None:
    """Return the topics of a subscription, None when ``args`` is no list of texts."""
    args = message.get("args")
    if not isinstance(args, list) or not args or not all(isinstance(topic, str) for topic in args):
        return None
    return args
