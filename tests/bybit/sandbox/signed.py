"""Signed requests to a running sandbox, written out by hand so that no client of ours takes part."""

import hashlib
import hmac
import http.client
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.bybit.sandbox.wire import Reply


@dataclass
class Signer:
    """One key at one sandbox; ``ahead_ms`` is how far its clock is off."""

    base: str
    key: str = "sandbox-key"
    secret: str = "sandbox-secret"
    window: str = "5000"
    now_ms: int | None = None
    ahead_ms: int = 0

    def get(self, path: str, **params: Any) -> Reply:
        query = urlencode(params)
        return self.send("GET", f"/v5/{path}" + (f"?{query}" if query else ""), query.encode(), None)

    def post(self, path: str, **params: Any) -> Reply:
        body = json.dumps(params).encode()
        return self.send("POST", f"/v5/{path}", body, body)

    def send(self, method: str, target: str, payload: bytes, body: bytes | None) -> Reply:
        stamp = str((int(time.time() * 1000) if self.now_ms is None else self.now_ms) + self.ahead_ms)
        text = (stamp + self.key + self.window).encode() + payload
        headers = {
            "X-BAPI-API-KEY": self.key,
            "X-BAPI-TIMESTAMP": stamp,
            "X-BAPI-RECV-WINDOW": self.window,
            "X-BAPI-SIGN": hmac.new(self.secret.encode(), text, hashlib.sha256).hexdigest(),
            "Content-Type": "application/json",
        }
        connection = http.client.HTTPConnection(urlsplit(self.base).netloc, timeout=30)
        try:
            connection.request(method, target, body=body, headers=headers)
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.headers.items()}, response.read())
        finally:
            connection.close()
