"""One call of the venue: signed, limited, tried again, on every host; nothing of what it means."""

import logging
import random
import re
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
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
from bybit.client.quotas import Quotas
from bybit.client.retries import Hosts, RetryPolicy
from bybit.client.signing import Signer, redact_signatures
from bybit.client.transport import RequestsTransport, Timeout, Transport
from bybit.rules.errors import InvalidInput

_log = logging.getLogger(__name__)

Value = str | int | None
"""A parameter of a query; None leaves it out."""

_MAX_PAGES = 2000
# A torn or foreign page is another's fault once or twice; for ever, the address is no v5 endpoint.
_MAX_MALFORMED = 2
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})*")


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    query: str
    # Holds an order, never a key.
    body: bytes | None
    signed: bool
    category: str
    may_repeat: bool = False
    cost: int = 1

    @property
    def repeatable(self) -> bool:
        return self.may_repeat or self.method == "GET"


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
        self.quotas = Quotas(self._clock)
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

    @property
    def recv_window_ms(self) -> int:
        """How old a signed request may be on arrival."""
        return self._recv_window_ms

    def sleep(self, seconds: float) -> None:
        """Wait, by the clock of this caller."""
        self._clock.sleep(seconds)

    def monotonic(self) -> float:
        """Return seconds that only ever grow."""
        return self._clock.monotonic()

    def wall_ms(self) -> int:
        """Return this machine's time, ms UTC."""
        return self._clock.wall_ms()

    def now_ms(self) -> int:
        """Return the venue's time as far as known without asking, ms UTC."""
        return self._venue_clock.now_ms()

    def get(self, path: str, params: Mapping[str, Value], *, signed: bool = False) -> Envelope:
        """Return the reply of a read; retried on every host for some seconds."""
        query = "&".join(f"{name}={_encoded(value)}" for name, value in params.items() if value is not None)
        return self._call(_Call("GET", path, query, None, signed, str(params.get("category"))))

    def post(
        self,
        path: str,
        params: Mapping[str, Any],
        *,
        repeatable: bool = False,
        same: Collection[int] = (),
        cost: int = 1,
    ) -> Envelope:
        """Return the reply of a signed write; tried again only when the venue certainly did not act.

        Parameters
        ----------
        repeatable : bool
            Whether doing it twice is the same as once: then it is retried as a read is.
        same : collection of int
            Codes by which the venue says that everything is already so: success.
        cost : int
            Units of the endpoint's limit.
        """
        # Serialised once: the bytes that are signed are the bytes that are sent.
        body = orjson.dumps(dict(params))
        call = _Call("POST", path, "", body, True, str(params.get("category")), repeatable, cost)
        try:
            return self._call(call)
        except RequestRejected as error:
            if error.ret_code not in same:
                raise
            return Envelope({}, None, ret_code=error.ret_code)

    @property
    def has_key(self) -> bool:
        """Whether signed calls can be made."""
        return self._signer is not None

    def stream_auth(self, expires_ms: int) -> dict[str, Any]:
        """Return the ``auth`` message of a private stream, valid until ``expires_ms``."""
        if self._signer is None:
            raise InvalidInput("the private stream needs a key: give api_key and api_secret")
        return self._signer.stream_auth(expires_ms)

    def ask_host(self, host: str) -> Envelope:
        """Return one host's answer to the question for the time: one request, no retry, no other host."""
        return self._send(_Call("GET", "/v5/market/time", "", None, False, ""), host)

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

    def _call(self, call: "_Call") -> Envelope:
        began_s = self._clock.monotonic()
        n_failed = n_skewed = n_malformed = 0
        while True:
            host, sent_s = self.hosts.current, self._clock.monotonic()
            failure: BybitError
            try:
                return self._send(call, host)
            except ClockSkew:
                n_skewed += 1
                if not call.signed or n_skewed > 2:
                    raise
                # The venue refused before acting, so a POST is sent again too; the window stays as it is.
                self._venue_clock.sync(self.venue_time_ms, sent_s)
                continue
            except (NoResponse, VenueUnavailable) as error:
                unreachable = isinstance(error, NoResponse) and not error.maybe_sent
                self.hosts.leave(host, self._clock.monotonic(), unreachable=unreachable)
                if not call.repeatable:
                    raise
                failure = error
            except MalformedResponse as error:
                n_malformed += 1
                if not call.repeatable or n_malformed > _MAX_MALFORMED:
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

    def _send(self, call: "_Call", host: str) -> Envelope:
        quota = self.quotas.of(call.path, call.category) if call.signed else None
        if quota is not None:
            quota.acquire(call.cost)
        probe = self._breaker.enter()
        while not probe:
            self._limiter.acquire()
            # A ban may have come while this thread waited for its turn.
            if not self._breaker.is_open:
                break
            probe = self._breaker.enter()
        answered = False
        try:
            headers = self._headers(call.query, call.body, call.signed)
            with self._count_lock:
                self._n_requests += 1
            url = f"{host}{call.path}?{call.query}" if call.query else f"{host}{call.path}"
            reply = self._transport.send(call.method, url, headers, call.body, self._timeout)
            redact = redact_signatures if self._signer is None else self._signer.redact
            limited = False
            try:
                envelope = open_envelope(reply, f"{call.method} {call.path}", self._venue_clock.now_ms(), redact)
            except RateLimited:
                limited = True
                raise
            finally:
                if quota is not None:
                    quota.learn(reply.headers, self._venue_clock.now_ms(), refused=limited)
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
