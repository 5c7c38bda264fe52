"""Small helpers of the stream tests: a sandbox whose clock stands still, and one connection to it."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from websockets.sync.client import ClientConnection, connect

from bybit.sandbox import SandboxConfig, Serving, serving
from bybit.sandbox.config import DEFAULT_KEY, DEFAULT_SECRET
from tests.bybit.sandbox.wire import ask

NOW = datetime(2025, 3, 1, 12, 0, 30, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
MINUTE = 60_000
Message = dict[str, Any]


@contextmanager
def sandbox(**config: Any) -> Iterator[Serving]:
    settings = {"now": NOW, "speed": 0.0, "address_limit": None, "port": 0, **config}
    with serving(SandboxConfig(**settings)) as running:
        yield running


class Stream:
    """One connection, and the messages that came on it."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def ask(self, **message: Any) -> Message:
        self._connection.send(json.dumps(message))
        return self.take()

    def take(self, timeout: float = 3.0) -> Message:
        return json.loads(self._connection.recv(timeout=timeout))

    def is_silent(self, seconds: float = 0.15) -> bool:
        try:
            self.take(seconds)
        except TimeoutError:
            return True
        return False

    def sign_in(self, secret: str = DEFAULT_SECRET, key: str = DEFAULT_KEY, expires_ms: int = NOW_MS * 2) -> Message:
        sign = hmac.new(secret.encode(), f"GET/realtime{expires_ms}".encode(), hashlib.sha256).hexdigest()
        return self.ask(op="auth", args=[key, expires_ms, sign])


@contextmanager
def stream(running: Serving, path: str) -> Iterator[Stream]:
    with connect(running.ws + path, open_timeout=5, close_timeout=2) as connection:
        yield Stream(connection)


def advance(running: Serving, ms: int) -> None:
    reply = ask(running.url, "/sandbox/clock", "POST", json.dumps({"advance_ms": ms}).encode())
    assert reply.json["retCode"] == 0, reply.json


def now_ms(running: Serving) -> int:
    return int(ask(running.url, "/sandbox/clock").json["result"]["now_ms"])


def without_id(message: Message) -> Message:
    assert str(message.pop("conn_id", None) or message.pop("connId", None)).startswith("sandbox-")
    return message
