"""The venue over HTTP: one method per call, typed results, every limit and fault handled below them."""

import random
from collections.abc import Sequence
from datetime import datetime
from typing import NoReturn

from pydantic import SecretStr

from bybit.client.batches import BatchDesk
from bybit.client.calls import Caller
from bybit.client.clock import Clock, SystemClock
from bybit.client.errors import BybitError
from bybit.client.filters import OrderRules
from bybit.client.limits import Breaker, TokenBucket
from bybit.client.parse import venue_time_ms
from bybit.client.placing import OrderDesk
from bybit.client.quotas import QuotaState
from bybit.client.replies import HostAnswer
from bybit.client.rest_account import AccountCalls
from bybit.client.rest_market import MAX_CANDLES, MAX_SETTLEMENTS
from bybit.client.rest_orders import OrderCalls
from bybit.client.rest_streams import StreamCalls
from bybit.client.retries import MAIN_HOSTS, TEST_HOSTS, Hosts, RetryPolicy
from bybit.client.signing import Signer
from bybit.client.transport import Timeout, Transport
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import utc

__all__ = ["MAX_CANDLES", "MAX_SETTLEMENTS", "BybitClient"]


class BybitClient(StreamCalls, AccountCalls, OrderCalls):
    """Bybit v5 over HTTP. Market data needs no key. Thread-safe: share one object between threads.

    Every request passes the venue's address limit and the ban breaker, which all clients of one process share.
    Reads are retried for some seconds, on every host there is; anything that changes an account is retried only
    when the venue certainly did not act. All times are half-open [start, end), everything listed is oldest first.

    Parameters
    ----------
    api_key, api_secret : str or SecretStr, optional
        A pair of one environment. Never shown, logged or pickled.
    testnet : bool
        Which official hosts to use when ``base_urls`` is not given.
    base_urls : sequence of str, optional
        Other addresses of one environment, tried in turn when one does not answer.
    transport : Transport, optional
        The way to the network; a test passes its own.
    recv_window_ms : int
        How old a signed request may be on arrival; never widened.
    limiter, breaker : optional
        Instead of the ones shared by the process.
    clock : Clock, optional
        Time and sleep; a test passes its own.
    retry, timeout : optional
        Bounds of one call and of one request.
    rng : random.Random, optional
        Source of jitter.
    """

    def __init__(
        self,
        api_key: str | SecretStr | None = None,
        api_secret: str | SecretStr | None = None,
        testnet: bool = True,
        base_urls: Sequence[str] | None = None,
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
        if (api_key is None) != (api_secret is None):
            raise InvalidInput("api_key and api_secret belong together: give both or neither")
        signer: Signer | None = None
        if api_key is not None and api_secret is not None:
            signer = Signer(_secret(api_key), _secret(api_secret))
        self._signed = signer is not None
        self._caller = Caller(
            Hosts(base_urls if base_urls is not None else TEST_HOSTS if testnet else MAIN_HOSTS),
            signer,
            transport=transport,
            recv_window_ms=recv_window_ms,
            limiter=limiter,
            breaker=breaker,
            clock=clock,
            retry=retry,
            timeout=timeout,
            rng=rng,
        )
        self._rules = OrderRules(self, clock or SystemClock())
        self._desk = OrderDesk(self._caller, self._rules)
        self._batches = BatchDesk(self._caller, self._desk)

    @property
    def base_urls(self) -> tuple[str, ...]:
        """The addresses in use, in order of preference."""
        return self._caller.hosts.urls

    @property
    def has_key(self) -> bool:
        """Whether calls that need a key can be made."""
        return self._signed

    @property
    def limits(self) -> dict[str, QuotaState]:
        """The limit per second of every signed endpoint used so far, by path; the venue's headers correct them."""
        return self._caller.quotas.known()

    def probe(self) -> list[HostAnswer]:
        """Ask every host for the time, once each."""
        return [self._probe(url) for url in self.base_urls]

    def _probe(self, url: str) -> HostAnswer:
        began_s = self._caller.monotonic()
        try:
            venue_ms = venue_time_ms(self._caller.ask_host(url).result)
        except BybitError as error:
            return HostAnswer(url, self._caller.monotonic() - began_s, None, error)
        seconds = self._caller.monotonic() - began_s
        # The venue read its clock half a round trip ago.
        offset_s = (self._caller.wall_ms() - venue_ms) / 1000 - seconds / 2
        return HostAnswer(url, seconds, offset_s, None)

    def known_time(self) -> datetime:
        """Return the venue's time as far as known without asking."""
        return utc(self._caller.now_ms())

    def monotonic(self) -> float:
        """Return seconds of the client's clock that only ever grow."""
        return self._caller.monotonic()

    @property
    def request_count(self) -> int:
        """HTTP requests sent so far, retries included."""
        return self._caller.request_count

    def close(self) -> None:
        """Let go of all connections."""
        self._caller.close()

    def __enter__(self) -> "BybitClient":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"BybitClient({self._caller.hosts}, {'api_key=***' if self._signed else 'no key'})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a BybitClient holds connections and perhaps a secret: build it where it is used")


def _secret(text: str | SecretStr) -> SecretStr:
    return text if isinstance(text, SecretStr) else SecretStr(text)
