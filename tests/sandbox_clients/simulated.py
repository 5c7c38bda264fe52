"""The sandbox and our client in one simulated time: waits cost nothing, and half an hour passes in seconds."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from bybit.client import Reply, Timeout
from bybit.client.errors import NoResponse
from bybit.sandbox import SandboxConfig
from bybit.sandbox.app import create_app
from bybit.sandbox.clock import Clock
from bybit.sandbox.exchange import Exchange
from bybit.sandbox.faults import FaultPlan
from bybit.sandbox.faults_http import FaultGate

TRIP_S = 0.02
ALIVE, DEAD = "http://127.0.0.1:1", "http://127.0.0.1:2"


class SimulatedTime:
    """The client's clock, which the sandbox's follows; time passes by sleeping only."""

    def __init__(self, now: datetime) -> None:
        self.venue = Clock(now, 0.0)
        self._start_ms = self.venue.now_ms()
        self._passed_s = 0.0

    def wall_ms(self) -> int:
        return self._start_ms + int(self._passed_s * 1000)

    def monotonic(self) -> float:
        return self._passed_s

    def sleep(self, seconds: float) -> None:
        self._passed_s += seconds
        self.venue.advance(max(0, self.wall_ms() - self.venue.now_ms()))


class InProcessTransport:
    """Calls the sandbox's application directly, through the gate of its faults; nobody answers at ``DEAD``."""

    def __init__(self, time: SimulatedTime, plan: FaultPlan, config: SandboxConfig) -> None:
        self._time = time
        self._deadline_s = float("inf")
        self._hung_up = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        market = config.market()
        self.exchange: Exchange = config.exchange(market, time.venue)
        # The account's limits count real seconds, of which hardly any pass.
        app = create_app(
            market, time.venue, exchange=self.exchange, address_limit=None, account_limits=False, plan=plan
        )
        self._gate = FaultGate(app, plan, time.venue, sleep=self._sleep)
        self.n_dialled_dead = 0

    async def _sleep(self, seconds: float) -> None:
        left_s = self._deadline_s - self._time.monotonic()
        self._time.sleep(min(seconds, left_s))
        if seconds > left_s:
            self._hung_up.set()
            await asyncio.Event().wait()

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: Timeout) -> Reply:
        parts = urlsplit(url)
        self._time.sleep(TRIP_S)
        if f"{parts.scheme}://{parts.netloc}" == DEAD:
            self.n_dialled_dead += 1
            raise NoResponse("refused", maybe_sent=False)
        self._deadline_s = self._time.monotonic() + timeout.read_s
        self._hung_up.clear()
        sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        if body is not None:
            sent.append((b"content-length", str(len(body)).encode()))
        scope = {
            "type": "http",
            "method": method,
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "headers": sent,
            "client": ("127.0.0.1", 5),
        }
        try:
            return self._loop.run_until_complete(self._exchange_messages(scope, body or b""))
        except ConnectionResetError:
            raise NoResponse("no whole reply") from None

    async def _exchange_messages(self, scope: dict[str, Any], body: bytes) -> Reply:
        said: list[dict[str, Any]] = []
        asked = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if asked:
                return asked.pop()
            await self._hung_up.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        await self._gate(scope, receive, send)
        headers = {name.decode().lower(): value.decode() for name, value in said[0]["headers"]}
        return Reply(said[0]["status"], headers, b"".join(part.get("body", b"") for part in said[1:]))

    def close(self) -> None:
        self._loop.close()
