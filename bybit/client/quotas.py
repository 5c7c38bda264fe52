"""The venue's limits per account and endpoint: so many a rolling second, corrected by what its replies say."""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from bybit.client.clock import Clock

# Defaults of a unified account, (derivatives, spot) per second; the headers raise them for higher tiers.
_DEFAULTS: dict[str, tuple[int, int]] = {
    "/v5/order/create": (10, 20),
    "/v5/order/amend": (10, 10),
    "/v5/order/cancel": (10, 20),
    "/v5/order/create-batch": (10, 20),
    "/v5/order/amend-batch": (10, 20),
    "/v5/order/cancel-batch": (10, 20),
    "/v5/order/cancel-all": (10, 20),
    "/v5/order/realtime": (50, 50),
    "/v5/order/history": (50, 50),
    "/v5/execution/list": (50, 50),
    "/v5/position/list": (50, 50),
    "/v5/position/closed-pnl": (50, 50),
    "/v5/position/set-leverage": (10, 10),
    "/v5/position/trading-stop": (10, 10),
    "/v5/account/wallet-balance": (50, 50),
    "/v5/account/info": (50, 50),
    "/v5/account/transaction-log": (25, 25),
    "/v5/account/fee-rate": (5, 5),
}
# Requests bunch on their way: the venue's second is kept a little longer here.
_WINDOW_S = 1.05
_MAX_PAUSE_S = 10.0
_MAX_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class QuotaState:
    """One endpoint's limit per second as last known, and where it is from: "default" or "venue"."""

    limit: int
    source: str


class Quota:
    """One endpoint's rolling second. Thread-safe."""

    def __init__(self, limit: int | None, clock: Clock) -> None:
        self._limit = limit
        self._source = "default"
        self._clock = clock
        self._lock = threading.Lock()
        self._sent_s: deque[float] = deque()
        self._paused_until_s = float("-inf")

    @property
    def state(self) -> QuotaState | None:
        """What is known of the limit; None before the venue said anything of an endpoint without a default."""
        return None if self._limit is None else QuotaState(self._limit, self._source)

    def acquire(self, cost: int = 1) -> float:
        """Wait until ``cost`` units fit into the second; return the seconds waited."""
        waited_s = 0.0
        while (wait_s := self._take(cost)) > 0:
            self._clock.sleep(wait_s)
            waited_s += wait_s
        return waited_s

    def _take(self, cost: int) -> float:
        with self._lock:
            now_s = self._clock.monotonic()
            if now_s < self._paused_until_s:
                return self._paused_until_s - now_s + 1e-6
            while self._sent_s and self._sent_s[0] <= now_s - _WINDOW_S:
                self._sent_s.popleft()
            if self._limit is None:
                return 0.0
            cost = min(cost, self._limit)
            if len(self._sent_s) + cost <= self._limit:
                self._sent_s.extend([now_s] * cost)
                return 0.0
            # So many of the oldest units have to leave the second first.
            oldest_s = self._sent_s[len(self._sent_s) + cost - self._limit - 1]
            return oldest_s + _WINDOW_S - now_s + 1e-6

    def learn(self, headers: Mapping[str, str], venue_ms: int, *, refused: bool) -> None:
        """Correct limit, what is left of it, and when it starts anew, by the headers of a reply.

        Parameters
        ----------
        headers : mapping
            Names in lower case. Missing or absurd ones change nothing.
        venue_ms : int
            The venue's time now, to judge the reset time it names.
        refused : bool
            Whether the reply was the refusal 10006: then every caller waits, not only this one.
        """
        limit, left, reset_ms = (
            _whole(headers.get(f"x-bapi-limit{name}")) for name in ("", "-status", "-reset-timestamp")
        )
        with self._lock:
            now_s = self._clock.monotonic()
            if limit is not None and 1 <= limit <= _MAX_LIMIT:
                self._limit, self._source = limit, "venue"
            if self._limit is not None and left is not None and left < self._limit:
                # Other programs use the same account: what they took is gone for this second.
                taken = self._limit - left
                self._sent_s.extend([now_s] * (taken - len(self._sent_s)))
            # Without a refusal the reset time is just the time of the reply.
            if refused and reset_ms is not None:
                pause_s = min(max((reset_ms - venue_ms) / 1000, 0.0), _MAX_PAUSE_S)
                self._paused_until_s = max(self._paused_until_s, now_s + pause_s)


class Quotas:
    """Every endpoint's quota of one account. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._quotas: dict[tuple[str, bool], Quota] = {}

    def of(self, path: str, category: str | None) -> Quota:
        """Return the quota of an endpoint; linear and inverse share one, spot has its own."""
        spot = category == "spot"
        with self._lock:
            quota = self._quotas.get((path, spot))
            if quota is None:
                default = _DEFAULTS.get(path)
                quota = self._quotas[path, spot] = Quota(None if default is None else default[spot], self._clock)
            return quota

    def known(self) -> dict[str, QuotaState]:
        """Return the limits of the endpoints used so far; spot's carry that word."""
        with self._lock:
            quotas = dict(self._quotas)
        states = {f"{path} (spot)" if spot else path: quota.state for (path, spot), quota in quotas.items()}
        return {name: state for name, state in states.items() if state is not None}


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 15 else None
