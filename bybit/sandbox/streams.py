"""The venue's streams, mounted beside the endpoints: who may connect, and where."""

import itertools
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from bybit.sandbox.accounts import TAKEN_OVER
from bybit.sandbox.clock import Clock
from bybit.sandbox.endpoints import Endpoint
from bybit.sandbox.exchange import AccountEvent, Exchange
from bybit.sandbox.faults import FaultPlan
from bybit.sandbox.limits import AccountLimits
from bybit.sandbox.order_endpoints import PrivateEndpoint
from bybit.sandbox.streams_feeds import Feeds
from bybit.sandbox.streams_private import PrivateConnection
from bybit.sandbox.streams_public import PublicConnection
from bybit.sandbox.streams_trade import TradeConnection

CATEGORIES = ("linear", "spot", "inverse", "option")
_NEW_CONNECTIONS = 500
_NEW_SPAN_MS = 300_000
_PUBLIC_CONNECTIONS = 1_000
_SILENCE_MS = 600_000
_ACTIVE_TIME = re.compile(r"(\d{1,4})([sm])")


class Streams:
    """Accepts connections and limits them: 500 new ones in 5 minutes, 1000 public ones of each category.

    Runs on the event loop of the application, as the exchange does.

    Parameters
    ----------
    endpoints : mapping
        The market endpoints by path: public streams tell what they answer.
    exchange : Exchange
        Its market, keys and accounts.
    writes : mapping
        The order endpoints by path, for the trade stream.
    limits : AccountLimits or None
        Shared with the endpoints.
    clock : Clock
        The sandbox's.
    plan : FaultPlan
        What goes wrong.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        exchange: Exchange,
        writes: Mapping[str, PrivateEndpoint],
        limits: AccountLimits | None,
        clock: Clock,
        plan: FaultPlan,
    ) -> None:
        self._feeds = Feeds(exchange.market, endpoints)
        self._exchange, self._writes, self._limits = exchange, writes, limits
        self._clock, self._plan = clock, plan
        self._numbers = itertools.count(1)
        self._opened_ms: deque[int] = deque()
        self._public: dict[str, set[PublicConnection]] = {category: set() for category in CATEGORIES}
        self._private: set[PrivateConnection] = set()
        exchange.listen(self._tell)

    def routes(self) -> list[BaseRoute]:
        """Return ``/v5/public/{category}`` for every category, ``/v5/private`` and ``/v5/trade``."""
        doors = {f"/v5/public/{category}": self._public_door(category) for category in CATEGORIES}
        doors |= {"/v5/private": self._enter_private, "/v5/trade": self._enter_trade}
        return [WebSocketRoute(path, door) for path, door in doors.items()]

    def _public_door(self, category: str) -> Callable[[WebSocket], Awaitable[None]]:
        async def enter(websocket: WebSocket) -> None:
            present = self._public[category]
            if len(present) >= _PUBLIC_CONNECTIONS or not self._admits():
                await websocket.close(1008)
                return
            connection = PublicConnection(websocket, self._clock, self._plan, self._name(), category, self._feeds)
            present.add(connection)
            try:
                await connection.run()
            finally:
                present.discard(connection)

        return enter

    async def _enter_private(self, websocket: WebSocket) -> None:
        if not self._admits():
            await websocket.close(1008)
            return
        silence_ms = _silence_ms(websocket)
        connection = PrivateConnection(
            websocket, self._clock, self._plan, self._name(), self._exchange.keys, silence_ms
        )
        self._private.add(connection)
        try:
            await connection.run()
        finally:
            self._private.discard(connection)

    async def _enter_trade(self, websocket: WebSocket) -> None:
        if not self._admits():
            await websocket.close(1008)
            return
        connection = TradeConnection(
            websocket,
            self._clock,
            self._plan,
            self._name(),
            self._exchange,
            self._writes,
            self._limits,
            _silence_ms(websocket),
        )
        await connection.run()

    def _tell(self, event: AccountEvent) -> None:
        for connection in self._private:
            connection.tell(event)
        if event.topic == "execution":
            for row in event.rows:
                if row["execType"] == TAKEN_OVER or row["createType"] == "CreateByLiq":
                    for public in self._public[row["category"]]:
                        public.liquidated(row)

    def _admits(self) -> bool:
        now_ms, opened = self._clock.now_ms(), self._opened_ms
        while opened and opened[0] <= now_ms - _NEW_SPAN_MS:
            opened.popleft()
        if len(opened) >= _NEW_CONNECTIONS:
            return False
        opened.append(now_ms)
        return True

    def _name(self) -> str:
        return f"sandbox-{next(self._numbers)}"


def _silence_ms(websocket: WebSocket) -> int:
    # Seconds or minutes, 30 s to 600 s; whatever else counts as not given.
    wanted = _ACTIVE_TIME.fullmatch(websocket.query_params.get("max_active_time", ""))
    if wanted is None:
        return _SILENCE_MS
    asked_ms = int(wanted[1]) * (60_000 if wanted[2] == "m" else 1_000)
    return asked_ms if 30_000 <= asked_ms <= _SILENCE_MS else _SILENCE_MS
