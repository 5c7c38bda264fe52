"""The sandbox's clock: real time, or a simulated instant that moves on at a speed of its own."""

import time
from datetime import datetime

from bybit.rules.errors import InvalidInput
from bybit.rules.periods import to_ms


class Clock:
    """Tells milliseconds since 1970 UTC.

    Parameters
    ----------
    now : datetime or None
        The instant to start from, aware; None follows the machine's clock.
    speed : float
        Simulated seconds per real second, 0 or more; 0 stands still and moves by ``advance`` only. Real time has
        speed 1.

    Raises
    ------
    InvalidInput
        For a negative speed, or a speed other than 1 without a simulated instant.
    """

    def __init__(self, now: datetime | None = None, speed: float = 1.0) -> None:
        if not 0 <= speed < float("inf"):
            raise InvalidInput(f"the clock's speed is {speed}: use 0 (stands still) or more")
        if now is None and speed != 1:
            raise InvalidInput(f"real time has speed 1, not {speed}: give a simulated instant to start from as well")
        self._start_ns = None if now is None else to_ms(now) * 1_000_000
        self._origin_ns = time.monotonic_ns()
        self._speed = speed

    @property
    def speed(self) -> float:
        """Simulated seconds per real second."""
        return self._speed

    @property
    def is_simulated(self) -> bool:
        """Whether the clock can be moved."""
        return self._start_ns is not None

    def now_ns(self) -> int:
        """Return nanoseconds since 1970 UTC."""
        if self._start_ns is None:
            return time.time_ns()
        return self._start_ns + int((time.monotonic_ns() - self._origin_ns) * self._speed)

    def now_ms(self) -> int:
        """Return milliseconds since 1970 UTC."""
        return self.now_ns() // 1_000_000

    def advance(self, ms: int) -> None:
        """Move on by ``ms`` at once; time never goes back.

        Raises
        ------
        InvalidInput
            For a negative step, and in real time.
        """
        if self._start_ns is None:
            raise InvalidInput("the clock follows real time: start the sandbox at a simulated instant to move it")
        if ms < 0:
            raise InvalidInput(f"the clock cannot go back by {-ms} ms")
        self._start_ns += ms * 1_000_000

    def run_at(self, speed: float) -> None:
        """Go on from this instant at another speed; errors as the constructor's and ``advance``'s."""
        if not 0 <= speed < float("inf"):
            raise InvalidInput(f"the clock's speed is {speed}: use 0 (stands still) or more")
        if self._start_ns is None:
            raise InvalidInput("the clock follows real time: start the sandbox at a simulated instant to change it")
        self._start_ns, self._origin_ns = self.now_ns(), time.monotonic_ns()
        self._speed = speed
