"""The sandbox as an ASGI application: routes, signatures, limits."""

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.sandbox.account_endpoints import AccountEndpoints
from bybit.sandbox.book_endpoints import BookEndpoints
from bybit.sandbox.clock import Clock
from bybit.sandbox.config import SandboxConfig
from bybit.sandbox.endpoints import Endpoint, MarketEndpoints
from bybit.sandbox.exchange import Exchange
from bybit.sandbox.faults import FaultPlan
from bybit.sandbox.limits import AccountLimits, AddressLimit, Ration
from bybit.sandbox.market import Market
from bybit.sandbox.order_endpoints import OrderEndpoints, PrivateEndpoint, Request
from bybit.sandbox.query import Query, Refusal
from bybit.sandbox.streams import Streams
from bybit.sandbox.wire import envelope

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_READS = ("GET", "HEAD")
_BODY_CAP = 64 * 1024
_JSON = "application/json; charset=utf-8"
_TICK_S = 0.05
_LONGEST_STEP_MS = 31 * 86_400_000
OFFSET_KEY = "perpflow.offset_ms"
"""Key of the ASGI scope: by how much the venue's clock is off when it judges this request's timestamp, ms."""

Handler = Callable[[HttpRequest], Awaitable[Response]]


def create_app(
    market: Market,
    clock: Clock,
    *,
    exchange: Exchange | None = None,
    latency_ms: int = 0,
    address_limit: int | None = 600,
    account_limits: bool = True,
    body_cap: int = _BODY_CAP,
    plan: FaultPlan | None = None,
) -> Starlette:
    """Return the sandbox as an ASGI application.

    Market endpoints have no account limit, so their replies carry no ``X-Bapi-Limit`` headers.

    Parameters
    ----------
    market : Market
        What is served.
    clock : Clock
        Judges what has happened and stamps the replies.
    exchange : Exchange or None
        Accounts on that market; None opens the default one. It must be used on the event loop of the application.
    latency_ms : int
        Waited before every reply.
    address_limit : int or None
        Requests per 5 s, all endpoints together; None switches the limit off.
    account_limits : bool
        Whether signed endpoints are limited per second and account.
    body_cap : int
        Bytes of a request body read at most.
    plan : FaultPlan or None
        What goes wrong with streams; with requests it does so by a ``FaultGate`` around the application.
    """
    trading = SandboxConfig().exchange(market, clock) if exchange is None else exchange
    limits = AccountLimits() if account_limits else None
    service = _Service(trading, clock, limits)
    market_routes: dict[str, Endpoint] = {**MarketEndpoints(market).routes, **BookEndpoints(market).routes}
    orders = OrderEndpoints(trading)
    routes: list[BaseRoute] = [
        Route("/v5/market/time", service.server_time, methods=_METHODS),
        Route("/sandbox/clock", service.move_clock, methods=_METHODS),
        *(Route(path, service.public(endpoint), methods=_METHODS) for path, endpoint in market_routes.items()),
    ]
    for group in (orders, AccountEndpoints(trading)):
        routes += [Route(path, service.read(path, answer), methods=_METHODS) for path, answer in group.reads.items()]
        routes += [Route(path, service.write(path, answer), methods=_METHODS) for path, answer in group.writes.items()]
    routes += Streams(market_routes, trading, orders.writes, limits, clock, plan or FaultPlan()).routes()
    app = Starlette(routes=routes, exception_handlers={404: service.no_route}, lifespan=service.run)
    limit = None if address_limit is None else AddressLimit(address_limit)
    # The venue knows no path with a slash at its end.
    app.router.redirect_slashes = False
    app.add_middleware(_Gate, limit=limit, latency_s=latency_ms / 1000, body_cap=body_cap)
    return app


class _Service:
    # What all replies share: the clock, the exchange that is brought up to date first, the envelope.
    def __init__(self, exchange: Exchange, clock: Clock, limits: AccountLimits | None) -> None:
        self._exchange, self._clock, self._limits = exchange, clock, limits

    @contextlib.asynccontextmanager
    async def run(self, app: Starlette) -> AsyncIterator[None]:
        """Let time act on the accounts while nobody asks."""
        ticking = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._exchange.advance(self._clock.now_ms())

    def reply(
        self,
        result: bytes | Mapping[str, Any],
        ret_code: int = 0,
        ret_msg: str = "OK",
        status: int = 200,
        ext: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Return the enveloped reply; what was acknowledged takes effect once it is sent."""
        now_ms = self._clock.now_ms()
        body = envelope(result, now_ms, ret_code, ret_msg, ext)
        return Response(
            body,
            status_code=status,
            headers={"content-type": _JSON, "timenow": str(now_ms), **(headers or {})},
            background=BackgroundTask(self._settle),
        )

    async def _settle(self) -> None:
        self._exchange.advance(self._clock.now_ms())

    async def no_route(self, request: HttpRequest, error: Exception) -> Response:
        return self.reply(b"{}", 10017, "Route not found", 404)

    def _wrong_method(self) -> Response:
        return self.reply(b"{}", 10001, "Request method is not supported", 400)

    async def server_time(self, request: HttpRequest) -> Response:
        if request.method not in _READS:
            return self._wrong_method()
        now_ns = self._clock.now_ns() + int(request.scope.get(OFFSET_KEY, 0)) * 1_000_000
        return self.reply({"timeSecond": str(now_ns // 1_000_000_000), "timeNano": str(now_ns)})

    def public(self, endpoint: Endpoint) -> Handler:
        async def serve(request: HttpRequest) -> Response:
            if request.method not in _READS:
                return self._wrong_method()
            try:
                result = endpoint(Query(request.query_params), self._clock.now_ms())
            except Refusal as refusal:
                return self.reply(b"{}", refusal.ret_code, refusal.ret_msg, refusal.status)
            return self.reply(result)

        return serve

    def read(self, path: str, endpoint: PrivateEndpoint) -> Handler:
        async def serve(request: HttpRequest) -> Response:
            if request.method not in _READS:
                return self._wrong_method()
            return self._signed(request, path, endpoint, request.scope["query_string"], dict(request.query_params))

        return serve

    def write(self, path: str, endpoint: PrivateEndpoint) -> Handler:
        async def serve(request: HttpRequest) -> Response:
            if request.method != "POST":
                return self._wrong_method()
            return self._signed(request, path, endpoint, await request.body(), None)

        return serve

    def _signed(
        self,
        request: HttpRequest,
        path: str,
        endpoint: PrivateEndpoint,
        payload: bytes,
        values: Mapping[str, Any] | None,
    ) -> Response:
        # ``values`` None: the parameters are the JSON body, which is looked at only once its signature is right.
        self._exchange.advance(self._clock.now_ms())
        headers: dict[str, str] = {}
        try:
            judged_ms = self._clock.now_ms() + int(request.scope.get(OFFSET_KEY, 0))
            account = self._exchange.keys.authenticate(request.headers, payload, judged_ms)
            if values is None:
                values = _object(payload)
            orders = values.get("request")
            n_units = max(1, len(orders)) if isinstance(orders, list) else 1
            ration = self._ration(account.uid, path, account.tier, n_units)
            headers = {} if ration is None else ration.headers(self._clock.now_ms(), self._clock.speed)
            if ration is not None and not ration.n_passed:
                raise Refusal(10006, "Too many visits!")
            query = Query.of_object({name: value for name, value in values.items() if name != "request"})
            quota = n_units if ration is None else ration.n_passed
            answer = endpoint(Request(account, query, values, quota))
        except Refusal as refusal:
            return self.reply(b"{}", refusal.ret_code, refusal.ret_msg, refusal.status, headers=headers)
        except NotEstablished as error:
            # Fees or margins of that date are not known: the account cannot be reckoned, and nothing is made up.
            return self.reply(b"{}", 10001, f"not served: {error}", headers=headers)
        return self.reply(answer.result, ext=answer.ext, headers=headers)

    def _ration(self, uid: str, path: str, tier: str, n_units: int) -> Ration | None:
        return None if self._limits is None else self._limits.take(uid, path, tier, n_units, time.monotonic_ns())

    async def move_clock(self, request: HttpRequest) -> Response:
        """Tell the clock, or move it: ours, not the venue's, and for callers on this machine only."""
        if request.client is None or not _is_loopback(request.client.host):
            return self.reply(b"{}", 10010, "control endpoints answer this machine only", 403)
        try:
            if request.method == "POST":
                self._move(_object(await request.body()))
            elif request.method not in _READS:
                return self._wrong_method()
        except InvalidInput as error:
            return self.reply(b"{}", 10001, str(error))
        except Refusal as refusal:
            return self.reply(b"{}", refusal.ret_code, refusal.ret_msg)
        clock = self._clock
        state = {"now_ms": clock.now_ms(), "speed": clock.speed, "is_simulated": clock.is_simulated}
        return self.reply(state)

    def _move(self, wanted: Mapping[str, Any]) -> None:
        unknown = sorted(set(wanted) - {"advance_ms", "speed"})
        step, speed = wanted.get("advance_ms"), wanted.get("speed")
        if unknown or (step is None and speed is None):
            raise InvalidInput(f"the clock takes advance_ms and speed, not {', '.join(unknown) or 'nothing'}")
        if step is not None:
            if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step <= _LONGEST_STEP_MS:
                raise InvalidInput(f"advance_ms is a whole number from 0 to {_LONGEST_STEP_MS}, not {step!r}")
            self._clock.advance(step)
        if speed is not None:
            if not isinstance(speed, (int, float)) or isinstance(speed, bool):
                raise InvalidInput(f"speed is a number, not {speed!r}")
            self._clock.run_at(float(speed))
        self._exchange.advance(self._clock.now_ms())


def _object(body: bytes) -> dict[str, Any]:
    try:
        values = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        raise Refusal(10001, "params error: the body is not JSON") from None
    if not isinstance(values, dict):
        raise Refusal(10001, "params error: the body is not an object")
    return values


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
