"""One call of the venue: signed, limited, tried again, on every host; nothing of what it means."""

import logging
import random
import re
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from bybit.client import parse
from bybit.client.clock import Clock, SystemClock, VenueClock
from bybit.client.envelope import AddressBanSeen, Envelope, open_envelope
from bybit.client.errors import (
    BybitError,
    ClockSkew,
    MalformedResponse,
    NoResponse,
    RateLimited,
    RequestRejected,
    VenueUnavailable,
)
from bybit.client.limits import Breaker, TokenBucket, process_breaker, process_limiter
from bybit.client.retries import Hosts, RetryPolicy
from bybit.client.signing import Signer, redact_signatures
from bybit.client.transport import RequestsTransport, Timeout, Transport
from bybit.rules.errors import InvalidInput

_log = logging.getLogger(__name__)

Value = str | int | None
"""A parameter of a query; None leaves it out."""

_MAX_PAGES = 2000
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})*")


class Caller:
    """Sends calls to one environment of the venue. Thread-safe; arguments as in ``BybitClient``."""

    def __init__(
        self,
        hosts: Hosts,
        signer: Signer | None = None,
        *,
        transport: Transport | None = None,
        recv_window_ms: int = 5000,
        limiter: TokenBucket | None = None,
        breaker: Breaker | None = None,
        clock: Clock | None = None,
        retry: RetryPolicy | None = None,
        timeout: Timeout | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if not 1 <= recv_window_ms <= 60_000:
            raise InvalidInput(f"recv_window_ms is {recv_window_ms}, expected 1 to 60000")
        self.hosts = hosts
        self._signer = signer
        self._transport = transport or RequestsTransport()
        self._recv_window_ms = recv_window_ms
        self._limiter = limiter or process_limiter(hosts.venue)
        self._breaker = breaker or process_breaker(hosts.venue)
        self._clock = clock or SystemClock()
        self._venue_clock = VenueClock(self._clock)
        self._retry = retry or RetryPolicy()
        self._timeout = timeout or Timeout()
        # Jitter only: nothing that must be unguessable.
        self._rng = rng or random.Random()
        self._count_lock = threading.Lock()
        self._n_requests = 0

    @property
    def request_count(self) -> int:
        """HTTP requests sent so far, retries included."""
        return self._n_requests

    def close(self) -> None:
        """Let go of all connections."""
        self._transport.close()

    def get(self, path: str, params: Mapping[str, Value], *, signed: bool = False) -> Envelope:
        """Return the reply of a read; retried on every host for some seconds."""
        query = "&".join(f"{name}={_encoded(value)}" for name, value in params.items() if value is not None)
        return self._call("GET", path, query, None, signed)

    def post(self, path: str, params: Mapping[str, Any]) -> Envelope:
        """Return the reply of a signed write; tried again only when the venue certainly did not act."""
        # Serialised once: the bytes that are signed are the bytes that are sent.
        return self._call("POST", path, "", orjson.dumps(dict(params)), signed=True)

    def every_page(self, path: str, params: Mapping[str, Value]) -> tuple[list[dict[str, Any]], int]:
        """Return the rows of every page of a listing and the venue's time of the last (ms UTC).

        Raises
        ------
        MalformedResponse
            When the pages repeat instead of ending: what is there is not the whole listing.
        """
        rows: list[dict[str, Any]] = []
        seen: set[bytes] = set()
        cursor = ""
        for _ in range(_MAX_PAGES):
            envelope = self.get(path, {**params, "cursor": cursor or None})
            parse.check_echo(envelope.result, category=str(params["category"]))
            page = parse.rows_of(envelope.result, dict)
            new = [row for row in page if orjson.dumps(row) not in seen]
            seen.update(orjson.dumps(row) for row in new)
            rows.extend(new)
            cursor = parse.cursor_of(envelope.result)
            # Some last pages carry a cursor, which leads to an empty one, or for one symbol to the same again.
            if not page or not cursor or (not new and params.get("symbol") is not None):
                return rows, self.time_ms_of(envelope)
            if not new:
                break
        raise MalformedResponse(
            f"GET {path}: the pages repeat after {len(rows)} rows instead of ending: truncated; ask by symbol or later"
        )

    def time_ms_of(self, envelope: Envelope) -> int:
        """Return the venue's time of a reply, ms UTC."""
        return self._venue_clock.now_ms() if envelope.time_ms is None else envelope.time_ms

    def venue_time_ms(self) -> int:
        """Ask the venue for its time, ms UTC."""
        return parse.venue_time_ms(self.get("/v5/market/time", {}).result)

    def _call(self, method: str, path: str, query: str, body: bytes | None, signed: bool) -> Envelope:
        began_s = self._clock.monotonic()
        n_failed = n_skewed = 0
        while True:
            host, sent_s = self.hosts.current, self._clock.monotonic()
            failure: BybitError
            try:
                return self._send(method, host, path, query, body, signed)
            except ClockSkew:
                n_skewed += 1
                if not signed or n_skewed > 2:
                    raise
                # The venue refused before acting, so a POST is sent again too; the window stays as it is.
                self._venue_clock.sync(self.venue_time_ms, sent_s)
                continue
            except (NoResponse, VenueUnavailable) as error:
                self.hosts.leave(host)
                if method != "GET":
                    raise
                failure = error
            except RateLimited as error:
                failure = error
            n_failed += 1
            spent_s = self._clock.monotonic() - began_s
            wait_s = self._retry.wait_s(failure, n_failed, spent_s, self._venue_clock.now_ms(), self._rng)
            if wait_s is None:
                raise failure
            _log.info("%s; try %d in %.2f s", failure, n_failed + 1, wait_s)
            self._clock.sleep(wait_s)

    def _send(self, method: str, host: str, path: str, query: str, body: bytes | None, signed: bool) -> Envelope:
        probe = self._breaker.enter()
        while not probe:
            self._limiter.acquire()
            # A ban may have come while this thread waited for its turn.
            if not self._breaker.is_open:
                break
            probe = self._breaker.enter()
        answered = False
        try:
            headers = self._headers(query, body, signed)
            with self._count_lock:
                self._n_requests += 1
            url = f"{host}{path}?{query}" if query else f"{host}{path}"
            reply = self._transport.send(method, url, headers, body, self._timeout)
            redact = redact_signatures if self._signer is None else self._signer.redact
            envelope = open_envelope(reply, f"{method} {path}", self._venue_clock.now_ms(), redact)
            answered = True
            return envelope
        except AddressBanSeen:
            raise self._breaker.ban() from None
        except (RequestRejected, RateLimited):
            answered = True
            raise
        finally:
            if probe and answered:
                self._limiter.slow_down()
                self._breaker.passed()
            elif probe:
                self._breaker.abandon()

    def _headers(self, query: str, body: bytes | None, signed: bool) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "perpflow"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if signed:
            if self._signer is None:
                raise InvalidInput(
                    "this call needs a key: give api_key and api_secret, or set BYBIT_API_KEY and _SECRET"
                )
            payload = query if body is None else body.decode()
            headers |= self._signer.headers(payload, self._venue_clock.now_ms(), self._recv_window_ms)
        return headers


def _encoded(value: str | int) -> str:
    text = str(value)
    # Cursors come encoded and go back as they came; anything else is encoded here, once.
    if _ENCODED.fullmatch(text):
        # The HTTP library writes escapes in capitals: what is signed must be what it sends.
        return re.sub("%..", lambda escape: escape.group().upper(), text)
    return quote(text, safe="")
