"""The sandbox's clock: real time, or a simulated instant that moves on in real time."""

import time
from datetime import datetime

from bybit.rules.periods import to_ms


class Clock:
    """Tells milliseconds since 1970 UTC.

    Parameters
    ----------
    now : datetime or None
        The instant to start from, aware; None follows the machine's clock.
    """

    def __init__(self, now: datetime | None = None) -> None:
        self._start_ns = None if now is None else to_ms(now) * 1_000_000
        self._origin_ns = time.monotonic_ns()

    def now_ns(self) -> int:
        """Return nanoseconds since 1970 UTC."""
        if self._start_ns is None:
            return time.time_ns()
        return self._start_ns + time.monotonic_ns() - self._origin_ns

    def now_ms(self) -> int:
        """Return milliseconds since 1970 UTC."""
        return self.now_ns() // 1_000_000
