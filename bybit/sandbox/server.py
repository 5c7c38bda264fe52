"""The sandbox over HTTP: routes, limits and the life of the server."""

import asyncio
import ipaddress
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bybit.rules.errors import InvalidInput
from bybit.sandbox.clock import Clock
from bybit.sandbox.endpoints import Endpoint, MarketEndpoints
from bybit.sandbox.limits import AddressLimit
from bybit.sandbox.market import Gap, Market
from bybit.sandbox.query import Query, Refusal
from bybit.sandbox.synthetic import SyntheticMarket
from bybit.sandbox.tape import load_tape
from bybit.sandbox.wire import envelope

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_BODY_CAP = 64 * 1024
_JSON = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """How to run a sandbox.

    Parameters
    ----------
    tape : Path or None
        Folder (or one Parquet file) of recorded candles and funding; None is the synthetic market.
    port : int
        0 picks a free one.
    now : datetime or None
        Aware instant the clock starts from; None is real time.
    latency_ms : int
        Waited before every reply.
    seed : int
        Of the synthetic market.
    symbols : tuple of str or None
        Contracts to list; None lists all the market has.
    gaps : tuple of Gap
        Candles never served.
    host : str
        A loopback address, unless ``allow_open``.
    allow_open : bool
        Serve beyond this machine; the sandbox has no protection of its own.
    address_limit : int or None
        Requests per 5 s; None switches the limit off.
    """

    tape: Path | None = None
    port: int = 8900
    now: datetime | None = None
    latency_ms: int = 0
    seed: int = 7
    symbols: tuple[str, ...] | None = None
    gaps: tuple[Gap, ...] = ()
    host: str = "127.0.0.1"
    allow_open: bool = False
    address_limit: int | None = 600

    def __post_init__(self) -> None:
        """Refuse what cannot be served, and an open address that was not asked for by name."""
        if not 0 <= self.port <= 65_535:
            raise InvalidInput(f"port {self.port} does not exist: use 0 (any free one) to 65535")
        if self.latency_ms < 0:
            raise InvalidInput(f"latency is {self.latency_ms} ms: use 0 or more")
        if self.address_limit is not None and self.address_limit < 1:
            raise InvalidInput(f"the address limit is {self.address_limit}: use 1 or more, or None for no limit")
        try:
            is_loopback = self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError as error:
            raise InvalidInput(f"host {self.host!r} is no address: use 127.0.0.1") from error
        if not is_loopback and not self.allow_open:
            raise InvalidInput(f"host {self.host} is open to other machines: use 127.0.0.1, or allow_open=True")

    def market(self) -> Market:
        """Return the market this configuration asks for."""
        if self.tape is None:
            return SyntheticMarket(self.seed, self.symbols, self.gaps)
        return load_tape(self.tape, symbols=self.symbols, gaps=self.gaps)


def create_app(
    market: Market, clock: Clock, *, latency_ms: int = 0, address_limit: int | None = 600, body_cap: int = _BODY_CAP
) -> Starlette:
    """Return the sandbox as an ASGI application.

    Market endpoints have no account limit, so their replies carry no ``X-Bapi-Limit`` headers.

    Parameters
    ----------
    market : Market
        What is served.
    clock : Clock
        Judges what has happened and stamps the replies.
    latency_ms : int
        Waited before every reply.
    address_limit : int or None
        Requests per 5 s, all endpoints together; None switches the limit off.
    body_cap : int
        Bytes of a request body read at most.
    """
    endpoints = MarketEndpoints(market)

    def reply(result: bytes | dict[str, str], ret_code: int = 0, ret_msg: str = "OK", status: int = 200) -> Response:
        body = envelope(result, clock.now_ms(), ret_code, ret_msg)
        return Response(body, status_code=status, headers={"content-type": _JSON, "timenow": str(clock.now_ms())})

    async def server_time(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return reply(b"{}", 10001, "Request method is not supported", 400)
        now_ns = clock.now_ns()
        return reply({"timeSecond": str(now_ns // 1_000_000_000), "timeNano": str(now_ns)})

    def served(endpoint: Endpoint) -> Callable[[Request], object]:
        async def serve_one(request: Request) -> Response:
            if request.method not in ("GET", "HEAD"):
                return reply(b"{}", 10001, "Request method is not supported", 400)
            try:
                result = endpoint(Query(request.query_params), clock.now_ms())
            except Refusal as refusal:
                return reply(b"{}", refusal.ret_code, refusal.ret_msg, refusal.status)
            return reply(result if isinstance(result, bytes) else dict(result))

        return serve_one

    async def no_route(request: Request, error: Exception) -> Response:
        return reply(b"{}", 10017, "Route not found", 404)

    routes = [Route("/v5/market/time", server_time, methods=_METHODS)]
    routes += [Route(path, served(endpoint), methods=_METHODS) for path, endpoint in endpoints.routes.items()]
    app = Starlette(routes=routes, exception_handlers={404: no_route})
    limit = None if address_limit is None else AddressLimit(address_limit)
    # The venue knows no path with a slash at its end.
    app.router.redirect_slashes = False
    app.add_middleware(_Gate, limit=limit, latency_s=latency_ms / 1000, body_cap=body_cap)
    return app


class _Gate:
    # What the venue decides before it looks at the path: the address limit and the body.
    def __init__(self, app: ASGIApp, limit: AddressLimit | None, latency_s: float, body_cap: int) -> None:
        self._app, self._limit, self._latency_s, self._body_cap = app, limit, latency_s, body_cap

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        if (refusal := self._refusal(scope)) is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        if self._limit is not None and not self._limit.admit(time.monotonic_ns()):
            # The exact body is not established; it is known not to be the JSON envelope.
            return PlainTextResponse("access too frequent", 403)
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if scope["method"] == "GET" and (length != b"0" or b"transfer-encoding" in headers):
            return PlainTextResponse("a GET carries no body", 403)
        # A body without a length could be endless; the endpoints that take one are told its length by every client.
        if b"transfer-encoding" in headers or not length.isdigit() or int(length) > self._body_cap:
            return PlainTextResponse("request body too large", 413, headers={"connection": "close"})
        return None


@dataclass(frozen=True, slots=True)
class Serving:
    """A sandbox that answers: where, and what it made up."""

    url: str
    assumptions: tuple[str, ...]


class _Server(uvicorn.Server):
    # Tells when the socket listens, which uvicorn itself only logs.
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def _prepare(config: SandboxConfig, on_ready: Callable[[Serving], None]) -> tuple[_Server, socket.socket]:
    market = config.market()
    app = create_app(market, Clock(config.now), latency_ms=config.latency_ms, address_limit=config.address_limit)
    listening = _listen(config.host, config.port)
    serving = Serving(f"http://{_shown(config.host)}:{listening.getsockname()[1]}", market.assumptions)
    settings = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        # Longer than any client keeps an idle connection, so that none finds it closed under its next request.
        timeout_keep_alive=120,
        timeout_graceful_shutdown=5,
    )
    return _Server(settings, lambda: on_ready(serving)), listening


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP on purpose: asyncio switches Nagle's delay off only where the protocol is told, and without that every
    # reply on a kept connection waits 40 ms for an acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except OSError:
        listening.close()
        raise
    return listening


def serve(config: SandboxConfig) -> None:
    """Serve in the foreground until Ctrl-C or SIGTERM, then return.

    Prints one line of JSON on stdout once requests are answered: ``ready``, ``url``, ``ws`` (null: streams are not
    served) and ``assumptions``, everything served that no record backs.

    Raises
    ------
    InvalidInput
        When the tape cannot be used.
    OSError
        When the port is taken.
    """

    def announce(serving: Serving) -> None:
        line = {"ready": True, "url": serving.url, "ws": None, "assumptions": serving.assumptions}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    server, listening = _prepare(config, announce)

    def end(signal_number: int, frame: FrameType | None) -> None:
        # uvicorn has shut down by now and raises the signal once more: an end that was asked for is no failure.
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with listening:
            server.run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def serving(config: SandboxConfig) -> Iterator[Serving]:
    """Serve in a thread of this process for the length of a ``with`` block.

    Raises
    ------
    InvalidInput
        When the tape cannot be used.
    OSError
        When the port is taken, or the server does not come up.
    """
    is_up = threading.Event()
    told: list[Serving] = []

    def note(value: Serving) -> None:
        told.append(value)
        is_up.set()

    server, listening = _prepare(config, note)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="sandbox", daemon=True)
    thread.start()
    try:
        if not is_up.wait(30):
            raise OSError(f"the sandbox on port {listening.getsockname()[1]} did not come up within 30 s")
        yield told[0]
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
