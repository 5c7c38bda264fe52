"""The faults as they look on the wire: what stands between the sandbox's application and its clients."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import orjson
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bybit.sandbox.clock import Clock
from bybit.sandbox.faults import KINDS, Fault, FaultPlan
from bybit.sandbox.wire import envelope

CONTROL_PATH = "/sandbox/faults"
"""Lists the plan and what was injected; no fault touches it."""

ABORT = "perpflow.abort"
"""Key of the scope: a callable that resets the connection."""

OFFSET = "perpflow.offset_ms"
"""Key of the scope: how far the venue's clock is off for this request, ms."""

_JSON = "application/json; charset=utf-8"
# Control endpoints of the sandbox itself, which no ban shuts out.
_OURS = "/sandbox/"
_N_REMEMBERED = 512
_N_OVERLAP = 20
_HTML = "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_HOUR_MS = 3_600_000
_RESET_MS = {"soon": 1_000, "past": -60_000, "absurd": 10 * _HOUR_MS}
_PAGES = {"duplicate-rows", "overlapping-page", "out-of-order", "short-page", "empty-page", "looping-cursor"}


class FaultGate:
    """An ASGI application around the sandbox's own that does to it what a plan says.

    Parameters
    ----------
    app : ASGI application
        The sandbox.
    plan : FaultPlan
        Empty for a venue without faults.
    clock : Clock
        The sandbox's: bans and clock faults last by it.
    sleep : callable
        Waits some seconds; a test with simulated time passes its own.
    """

    def __init__(
        self,
        app: ASGIApp,
        plan: FaultPlan,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._app, self._plan, self._clock, self._sleep = app, plan, clock, sleep
        self._banned_until_ms = self._offset_until_ms = self._offset_ms = 0
        self._n_turned_away = 0
        self._pages: dict[tuple[str, ...], list[Any]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's scope."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        now_ms = self._clock.now_ms()
        offset_ms = self._offset_ms if now_ms < self._offset_until_ms else 0
        scope = {**scope, ABORT: _abort_of(send), OFFSET: offset_ms}
        if scope["type"] == "websocket":
            if now_ms < self._banned_until_ms:
                # Before the handshake this is an HTTP 403.
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
        elif scope["path"] == CONTROL_PATH:
            await self._report(scope)(scope, receive, send)
        elif now_ms < self._banned_until_ms and not scope["path"].startswith(_OURS):
            self._n_turned_away += 1
            await _too_frequent()(scope, receive, send)
        else:
            fault = self._plan.of_request(scope["method"], scope["path"], now_ms)
            if fault is None:
                await self._pass(scope, receive, send)
            else:
                await self._do(fault, scope, receive, send)

    def _report(self, scope: Scope) -> Response:
        if scope["method"] != "GET":
            return PlainTextResponse("GET lists what was injected", 405)
        body = {
            "seed": self._plan.seed,
            "faults": [fault.as_dict() for fault in self._plan.faults],
            "n_injected": self._plan.n_injected,
            "injected": [
                {"number": one.number, "time": one.time_ms, "fault": one.fault, "method": one.method, "path": one.path}
                for one in self._plan.injected
            ],
            "banned_until": self._banned_until_ms,
            "n_turned_away": self._n_turned_away,
            "kinds": {name: {"text": kind.text, "settings": dict(kind.settings)} for name, kind in KINDS.items()},
        }
        return Response(orjson.dumps(body), media_type=_JSON)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Only a plan with overlapping pages needs to know what the pages before held.
        if scope["method"] == "GET" and any(fault.name == "overlapping-page" for fault in self._plan.faults):
            start, body = await _captured(self._app, scope, receive)
            self._remember(scope, body)
            await _send_whole(send, start, body)
        else:
            await self._app(scope, receive, send)

    async def _do(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        settings = fault.settings
        if fault.name in _PAGES:
            await self._spoil_page(fault, scope, receive, send)
            return
        self._note(fault, scope)
        if fault.name == "latency":
            await self._sleep(int(settings["ms"]) / 1000)
            await self._pass(scope, receive, send)
        elif fault.name == "timeout":
            if settings["applied"]:
                await _captured(self._app, scope, receive)
            await self._hang(int(settings["ms"]) / 1000, receive)
            await _reset(scope, receive)
        elif fault.name in ("reset", "truncated-json"):
            start, body = await _captured(self._app, scope, receive)
            half = body[: len(body) // 2]
            if fault.name == "truncated-json":
                await _send_whole(send, start, half)
            else:
                await send(start)
                await send({"type": "http.response.body", "body": half, "more_body": True})
                # What was written is on its way before the connection goes.
                await asyncio.sleep(0.005)
                await _reset(scope, receive)
        elif fault.name == "lost-answer":
            await _captured(self._app, scope, receive)
            await _reset(scope, receive)
        elif fault.name == "clock":
            until_ms = self._clock.now_ms() + int(settings["ms"])
            self._offset_ms, self._offset_until_ms = int(settings["offset_ms"]), until_ms
            await self._pass({**scope, OFFSET: self._offset_ms}, receive, send)
        else:
            if settings.get("applied"):
                await _captured(self._app, scope, receive)
            await self._refusal(fault)(scope, receive, send)

    def _refusal(self, fault: Fault) -> Response:
        now_ms, settings = self._clock.now_ms(), fault.settings
        if fault.name == "ban":
            self._banned_until_ms = now_ms + int(settings["ms"])
            return _too_frequent()
        if fault.name == "html":
            return HTMLResponse(_HTML.format("Just a moment"))
        if fault.name == "server-error":
            return HTMLResponse(_HTML.format(f"{settings['status']} error"), int(settings["status"]))
        headers = {"content-type": _JSON, "X-Bapi-Limit": "10", "X-Bapi-Limit-Status": "0"}
        if settings["reset"] != "missing":
            headers["X-Bapi-Limit-Reset-Timestamp"] = str(now_ms + _RESET_MS[str(settings["reset"])])
        return Response(envelope(b"{}", now_ms, 10006, "Too many visits!"), headers=headers)

    def _note(self, fault: Fault, scope: Scope) -> None:
        self._plan.note(fault, scope["method"], scope["path"], self._clock.now_ms())

    async def _hang(self, seconds: float, receive: Receive) -> None:
        waiting = asyncio.ensure_future(self._sleep(seconds))
        gone = asyncio.ensure_future(_disconnect(receive))
        # Whoever gives up first ends it: a client that hung up needs no reset.
        _, open_tasks = await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
        for task in open_tasks:
            task.cancel()
        await asyncio.gather(*open_tasks, return_exceptions=True)

    async def _spoil_page(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        start, body = await _captured(self._app, scope, receive)
        before = self._pages.get(_page_key(scope), [])
        self._remember(scope, body)
        payload = _page_of(body)
        if payload is not None and self._spoil(fault, payload["result"], before, scope):
            self._note(fault, scope)
            body = orjson.dumps(payload)
        await _send_whole(send, start, body)

    def _spoil(self, fault: Fault, result: dict[str, Any], before: list[Any], scope: Scope) -> bool:
        # Changes the page in place; returns whether there was anything to change.
        rows = result["list"]
        if fault.name == "looping-cursor":
            asked = parse_qs(scope["query_string"].decode("latin-1")).get("cursor", [""])[0]
            if not asked or "nextPageCursor" not in result:
                return False
            result["nextPageCursor"] = quote(unquote(asked), safe="")
            return True
        if not rows:
            return False
        if fault.name == "duplicate-rows":
            result["list"] = [row for place, row in enumerate(rows) for _ in range(2 if place % 7 == 0 else 1)]
        elif fault.name == "overlapping-page":
            result["list"] = before[-_N_OVERLAP:] + rows if before else rows + rows[-1:]
        elif fault.name == "out-of-order":
            places = sorted(range(len(rows)), key=lambda place: self._plan.draw(self._plan.n_injected, place))
            result["list"] = [rows[place] for place in places]
        else:
            result["list"] = [] if fault.name == "empty-page" else rows[: len(rows) // 2]
        return True

    def _remember(self, scope: Scope, body: bytes) -> None:
        payload = _page_of(body)
        if payload is not None and payload["result"]["list"]:
            key = _page_key(scope)
            self._pages.pop(key, None)
            self._pages[key] = payload["result"]["list"][-_N_OVERLAP:]
            if len(self._pages) > _N_REMEMBERED:
                del self._pages[next(iter(self._pages))]


def _too_frequent() -> Response:
    # The exact body is not established; it is known not to be the JSON envelope.
    return PlainTextResponse("access too frequent", 403)


def _abort_of(send: Send) -> Callable[[], None]:
    transport = getattr(getattr(send, "__self__", None), "transport", None)

    def abort() -> None:
        # ASGI has no word for a reset, so the server's own transport is asked; in a test without one it is raised.
        if transport is None:
            raise ConnectionResetError("the sandbox reset this connection, as its faults ask")
        transport.abort()

    return abort


async def _reset(scope: Scope, receive: Receive) -> None:
    scope[ABORT]()
    # Until the server has seen it, an end without a reply would be made up into a 500.
    await _disconnect(receive)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _captured(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    # The application's whole reply: the message that starts it, and its body.
    starts: list[Message] = []
    body = bytearray()

    async def keep(message: Message) -> None:
        if message["type"] == "http.response.start":
            starts.append(message)
        else:
            body.extend(message.get("body", b""))

    await app(scope, receive, keep)
    return starts[0], bytes(body)


async def _send_whole(send: Send, start: Message, body: bytes) -> None:
    headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
    await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


def _page_key(scope: Scope) -> tuple[str, ...]:
    query = parse_qs(scope["query_string"].decode("latin-1"))
    return (scope["path"], *(query.get(name, [""])[0] for name in ("category", "symbol", "interval")))


def _page_of(body: bytes) -> dict[str, Any] | None:
    # The reply, if it is one with a list.
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    result = payload.get("result") if isinstance(payload, dict) else None
    return payload if isinstance(result, dict) and isinstance(result.get("list"), list) else None
