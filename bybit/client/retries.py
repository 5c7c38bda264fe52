"""When to try again, and where: seconds and hosts. Minutes belong to the scheduler."""

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from bybit.client.errors import BybitError, MalformedResponse, RateLimited
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import to_ms

MAIN_HOSTS = ("https://api.bybit.com", "https://api.bytick.com")
TEST_HOSTS = ("https://api-testnet.bybit.com",)
_DEAD_S = 30.0
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long one call may go on: at most ``n_tries`` requests, and no wait that ends after ``budget_s`` seconds.

    Without word from the venue the n-th wait is drawn from [0, ``base_s`` x 2^n], at most ``cap_s`` (full jitter:
    threads that failed together do not come back together). When the venue names a time, that time is obeyed between
    ``floor_s`` and ``told_cap_s``.
    """

    n_tries: int = 6
    budget_s: float = 30.0
    base_s: float = 0.25
    cap_s: float = 4.0
    floor_s: float = 0.05
    told_cap_s: float = 10.0

    def wait_s(self, error: BybitError, n_failed: int, spent_s: float, now_ms: int, rng: random.Random) -> float | None:
        """Return the seconds to wait before the next try; None to give up.

        Parameters
        ----------
        error : BybitError
            What the last try raised.
        n_failed : int
            Tries so far, all failed; 1 or more.
        spent_s : float
            Seconds since the first try began.
        now_ms : int
            The venue's time, to judge the time it named.
        rng : random.Random
            Source of the jitter.
        """
        # A torn page may be whole the next time; the caller bounds how often it asks.
        may_pass = error.retryable or isinstance(error, MalformedResponse)
        if not may_pass or n_failed >= self.n_tries:
            return None
        jittered = rng.random() * min(self.cap_s, self.base_s * 2.0**n_failed)
        wait_s = max(self.floor_s, jittered)
        if isinstance(error, RateLimited) and error.reset_at is not None:
            told_s = (to_ms(error.reset_at) - now_ms) / 1000
            # Never earlier than told, and not all in the same millisecond.
            wait_s = min(max(told_s, self.floor_s), self.told_cap_s) + rng.random() * self.floor_s
        return wait_s if spent_s + wait_s <= self.budget_s else None


class Hosts:
    """The addresses of one environment; remembers the one that answered. Thread-safe.

    Parameters
    ----------
    urls : sequence of str
        Base addresses in order of preference, ``https`` unless on this machine.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        if isinstance(urls, str) or not urls:
            raise InvalidInput(f"base_urls is {urls!r}: give a list of at least one address such as {MAIN_HOSTS[0]}")
        self._urls = tuple(_checked(url) for url in urls)
        self._lock = threading.Lock()
        self._i = 0
        self._dead_until_s: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._urls)

    @property
    def urls(self) -> tuple[str, ...]:
        """All of them, in order of preference."""
        return self._urls

    @property
    def current(self) -> str:
        """The address to use now."""
        return self._urls[self._i]

    @property
    def venue(self) -> str:
        """Whose request limit applies: one per address for all hosts of Bybit, its own for a server on this machine."""
        return self._urls[0] if urlsplit(self._urls[0]).hostname in _LOOPBACK else "bybit"

    def leave(self, url: str, now_s: float = 0.0, *, unreachable: bool = False) -> None:
        """Turn to the next address, unless another thread has already left ``url``.

        Parameters
        ----------
        now_s : float
            Seconds by a clock that only grows.
        unreachable : bool
            Whether no connection came about: such a host is passed over for half a minute while another is there.
        """
        with self._lock:
            if unreachable:
                self._dead_until_s[url] = now_s + _DEAD_S
            if self.current != url:
                return
            n_urls = len(self._urls)
            others = [(self._i + step) % n_urls for step in range(1, n_urls)]
            alive = [i for i in others if self._dead_until_s.get(self._urls[i], now_s) <= now_s]
            if alive or (unreachable and others):
                self._i = (alive or others)[0]

    def __str__(self) -> str:
        return ", ".join(self._urls)


def _checked(url: str) -> str:
    split = urlsplit(url)
    if split.username or split.password:
        raise InvalidInput("a base address holds a user name or password: keys go into api_key and api_secret")
    if not split.hostname or split.query or split.fragment or split.scheme not in ("http", "https"):
        raise InvalidInput(f"{url!r} is not a base address: expected one such as {MAIN_HOSTS[0]}")
    if split.scheme == "http" and split.hostname not in _LOOPBACK:
        raise InvalidInput(f"{url!r} is not encrypted: https is required except on 127.0.0.1")
    return url.rstrip("/")
