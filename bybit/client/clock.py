"""Time: the one seam for clocks and sleep, and the venue's time as this machine can know it."""

import statistics
import threading
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """What the client needs of time; a test passes its own."""

    def wall_ms(self) -> int:
        """Return ms since 1970 by this machine's clock, which may be wrong and may step."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary zero that only ever grows: for waits and deadlines."""

    def sleep(self, seconds: float) -> None:
        """Wait ``seconds``."""


class SystemClock:
    """The machine's own clocks."""

    def wall_ms(self) -> int:
        """Return ms since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds that only ever grow."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait ``seconds``."""
        time.sleep(seconds)


class VenueClock:
    """The venue's time for signatures.

    Until the first :meth:`sync` it trusts the machine's wall clock. From then on it counts the monotonic clock
    from the venue's own time, so a wall clock that steps or drifts no longer matters.
    """

    def __init__(self, clock: Clock, n_samples: int = 5) -> None:
        self._clock = clock
        self._n_samples = n_samples
        self._lock = threading.Lock()
        self._offset_ms: float | None = None
        self._synced_at_s = float("-inf")

    def now_ms(self) -> int:
        """Return ms since 1970 by the venue's clock, as far as known."""
        offset_ms = self._offset_ms
        return self._clock.wall_ms() if offset_ms is None else int(self._clock.monotonic() * 1000 + offset_ms)

    def sync(self, ask_ms: Callable[[], int], since_s: float) -> None:
        """Set the clock by asking the venue a few times, unless another thread did so after ``since_s``.

        Parameters
        ----------
        ask_ms : callable
            One request of the venue's time, ms since 1970; its errors pass through.
        since_s : float
            When the request was sent that found the clock wrong, by the monotonic clock.
        """
        with self._lock:
            if self._synced_at_s > since_s:
                return
            offsets = []
            for _ in range(self._n_samples):
                sent_ms = self._clock.monotonic() * 1000
                venue_ms = ask_ms()
                received_ms = self._clock.monotonic() * 1000
                # The venue read its clock half a round trip before the answer was here.
                offsets.append(venue_ms - (sent_ms + received_ms) / 2)
            # One slow answer moves the mean, not the median.
            self._offset_ms = statistics.median(offsets)
            self._synced_at_s = self._clock.monotonic()
