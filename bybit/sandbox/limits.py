"""The venue's limits: so many requests per address in any few seconds, so many per account, endpoint and second."""

from collections import deque
from dataclasses import dataclass


class AddressLimit:
    """Strict sliding window over the requests of this process, whatever address they come from.

    How long the venue shuts an address out after a breach (ten minutes and more) is not modelled: requests pass again
    as soon as the window has room. Refused requests do not count.

    Parameters
    ----------
    n_requests : int
        Requests allowed in any window; at least 1.
    window_ms : int
        Length of the window, ms.
    """

    def __init__(self, n_requests: int = 600, window_ms: int = 5_000) -> None:
        self._n_requests, self._window_ns = n_requests, window_ms * 1_000_000
        self._passed: deque[int] = deque()

    def admit(self, now_ns: int) -> bool:
        """Count a request at ``now_ns`` of a monotonic clock; return whether it may pass."""
        while self._passed and self._passed[0] <= now_ns - self._window_ns:
            self._passed.popleft()
        if len(self._passed) >= self._n_requests:
            return False
        self._passed.append(now_ns)
        return True


_SECOND_NS = 1_000_000_000
# Per second of a unified account; orders of linear contracts, raised by tier.
_ORDER_PATHS = tuple(
    f"/v5/order/{name}"
    for name in ("create", "amend", "cancel", "cancel-all", "create-batch", "amend-batch", "cancel-batch")
)
_ORDER_LIMITS = {"vip1": 20, "vip2": 40}
_READ_LIMITS = {"/v5/account/transaction-log": 25, "/v5/account/fee-rate": 5}
_WRITE_LIMIT, _READ_LIMIT, _RAISED_LIMIT = 10, 50, 60
_WRITES = ("/v5/position/set-leverage", "/v5/position/trading-stop", "/v5/position/switch-mode")


@dataclass(frozen=True, slots=True)
class Ration:
    """What an account may still do at one endpoint: ``n_passed`` of the units asked for passed."""

    limit: int
    n_passed: int
    n_left: int
    wait_ns: int

    def headers(self, now_ms: int, speed: float) -> dict[str, str]:
        """Return the venue's three headers; the limit runs in real time, its reset is told on the sandbox's clock."""
        reset_ms = now_ms + int(self.wait_ns / 1_000_000 * speed)
        return {
            "X-Bapi-Limit": str(self.limit),
            "X-Bapi-Limit-Status": str(self.n_left),
            "X-Bapi-Limit-Reset-Timestamp": str(reset_ms),
        }


class AccountLimits:
    """Strict rolling second of real time for each account and endpoint; what is refused does not count."""

    def __init__(self) -> None:
        self._passed: dict[tuple[str, str], deque[int]] = {}

    def take(self, uid: str, path: str, tier: str, n_units: int, now_ns: int) -> Ration:
        """Count up to ``n_units`` at ``now_ns`` of a monotonic clock; as many pass as the second has room for."""
        passed = self._passed.setdefault((uid, path), deque())
        while passed and passed[0] <= now_ns - _SECOND_NS:
            passed.popleft()
        limit = limit_of(path, tier)
        n_passed = min(n_units, limit - len(passed))
        passed.extend([now_ns] * n_passed)
        wait_ns = passed[0] + _SECOND_NS - now_ns if n_passed < n_units else 0
        return Ration(limit, n_passed, limit - len(passed), wait_ns)


def limit_of(path: str, tier: str) -> int:
    """Return an endpoint's limit per second; tiers above vip2 and the pro tiers share the highest."""
    if path in _ORDER_PATHS:
        return _WRITE_LIMIT if tier == "vip0" else _ORDER_LIMITS.get(tier, _RAISED_LIMIT)
    return _WRITE_LIMIT if path in _WRITES else _READ_LIMITS.get(path, _READ_LIMIT)
