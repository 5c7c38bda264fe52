"""The venue's address limit: so many requests in any few seconds, all endpoints together."""

from collections import deque


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
