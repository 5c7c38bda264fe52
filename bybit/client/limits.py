"""The venue's limit on requests per address, and what happens after a breach of it."""

import logging
import os
import random
import threading
from pathlib import Path

import orjson

from bybit.client.clock import Clock, SystemClock
from bybit.client.errors import AddressBanned
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import utc

_log = logging.getLogger(__name__)


class TokenBucket:
    """Holds back callers so that no window of ``per_s`` seconds ever sees more than ``capacity`` of them.

    The bucket refills at ``paced`` tokens per ``per_s`` seconds and holds ``capacity - paced`` of them. A full
    bucket plus one window's refill is then exactly ``capacity``, wherever the window starts. Thread-safe.

    Parameters
    ----------
    capacity : int
        The venue's limit: 600 per address.
    per_s : float
        Length of the venue's window, seconds.
    paced : int
        Requests per window in the long run; less than ``capacity``, so that the network may bunch them a little.
    clock : Clock
        For tests.
    """

    def __init__(
        self, capacity: int = 600, per_s: float = 5.0, *, paced: int = 500, clock: Clock | None = None
    ) -> None:
        if not 1 <= paced < capacity or per_s <= 0:
            raise InvalidInput(f"a bucket needs 1 <= paced < capacity and per_s > 0, not {paced}, {capacity}, {per_s}")
        self._capacity = capacity
        self._per_s = per_s
        self._burst = capacity - paced
        self._gap_s = per_s / paced
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        # When the bucket will be full again; a token may be taken once that is less than a bucket away.
        self._full_at_s = float("-inf")

    @property
    def rate_per_s(self) -> float:
        """Requests per second in the long run."""
        return 1 / self._gap_s

    def acquire(self) -> float:
        """Wait for the right to send one request; return the seconds waited."""
        waited_s = 0.0
        while (wait_s := self._take()) > 0:
            self._clock.sleep(wait_s)
            waited_s += wait_s
        return waited_s

    def slow_down(self, factor: float = 0.5, floor_per_s: float = 10.0) -> None:
        """Multiply the rate by ``factor``, for the rest of the process, but not below ``floor_per_s``."""
        if not 0 < factor <= 1:
            raise InvalidInput(f"a bucket slows down by a factor in (0, 1], not {factor}")
        with self._lock:
            slowest_gap_s = max(1 / floor_per_s, self._gap_s)
            self._gap_s = min(self._gap_s / factor, slowest_gap_s)
            self._burst = max(1, int(self._burst * factor))

    def _take(self) -> float:
        # Decided at the moment of sending, not reserved ahead: a thread that oversleeps bunches nothing.
        with self._lock:
            now_s = self._clock.monotonic()
            ready_at_s = self._full_at_s - (self._burst - 1) * self._gap_s
            # Floats round: a request a hair early is one too many in the venue's window.
            if now_s < ready_at_s:
                return ready_at_s - now_s + 1e-6
            self._full_at_s = max(self._full_at_s, now_s) + self._gap_s
            return 0.0


class Breaker:
    """Stops every thread after the venue banned the address, and lets one probe find out when it is over.

    Parameters
    ----------
    path : Path or None
        Where to keep the end of a ban, so that a restarted process waits too. Processes that share the file share
        the ban.
    wait_s : float
        Shortest pause, seconds; doubled for each ban in a row up to ``max_wait_s``, plus up to a tenth of jitter.
    patience_s : float
        How long :meth:`enter` may sleep for the end of a ban. Beyond it raises ``AddressBanned`` at once, which is
        the default: the caller's scheduler knows better than a sleeping thread.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        wait_s: float = 600.0,
        max_wait_s: float = 7200.0,
        patience_s: float = 0.0,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._path = path
        self._wait_s = wait_s
        self._max_wait_s = max_wait_s
        self._patience_s = patience_s
        self._clock = clock or SystemClock()
        # Jitter only: nothing that must be unguessable.
        self._rng = rng or random.Random()
        self._lock = threading.Lock()
        self._n_bans = 0
        # Waits run on the monotonic clock: setting the wall clock ends no ban.
        self._until_s: float | None = None
        self._probing = False
        self._seen_file: tuple[int, int] | None = None

    @property
    def n_bans(self) -> int:
        """Bans in a row, as far as known; 0 after a reply that shows the ban is over."""
        return self._n_bans

    @property
    def is_open(self) -> bool:
        """Whether requests are held back now."""
        with self._lock:
            self._load()
            return self._until_s is not None

    def enter(self) -> bool:
        """Return whether this request is the probe; wait or raise ``AddressBanned`` while there is a ban.

        Every entry as a probe must be followed by one of :meth:`passed`, :meth:`ban` or :meth:`abandon`.
        """
        waited_s = 0.0
        while True:
            with self._lock:
                self._load()
                if self._until_s is None:
                    return False
                left_s = self._until_s - self._clock.monotonic()
                if left_s <= 0 and not self._probing:
                    self._probing = True
                    return True
                # While another thread probes, look again soon.
                pause_s = max(left_s, 0.5)
                until_ms = self._clock.wall_ms() + int(pause_s * 1000)
            if waited_s + pause_s > self._patience_s:
                until = utc(until_ms)
                raise AddressBanned(
                    f"the venue banned this address for too many requests: nothing is sent before "
                    f"{until.isoformat(timespec='seconds')} (ban {self._n_bans} in a row); try again after that",
                    until,
                )
            _log.warning("address banned by the venue: every request waits, %.0f s more", pause_s)
            self._clock.sleep(pause_s)
            waited_s += pause_s

    def ban(self) -> AddressBanned:
        """Note a ban seen now and return the error to raise."""
        with self._lock:
            now_s = self._clock.monotonic()
            # Requests that were already under way see the same ban: it is counted once.
            if self._until_s is None or self._probing or now_s >= self._until_s:
                self._n_bans += 1
                pause_s = min(self._wait_s * 2 ** (self._n_bans - 1), self._max_wait_s)
                self._until_s = now_s + pause_s * (1 + self._rng.random() / 10)
                self._probing = False
                self._save()
            until = utc(self._clock.wall_ms() + int((self._until_s - now_s) * 1000))
        return AddressBanned(
            f"the venue banned this address (HTTP 403, access too frequent): nothing is sent before "
            f"{until.isoformat(timespec='seconds')}; try again after that",
            until,
        )

    def passed(self) -> None:
        """Note that the probe was answered: the ban is over."""
        with self._lock:
            self._probing = False
            self._until_s = None
            self._n_bans = 0
            if self._path is not None:
                self._path.unlink(missing_ok=True)
                self._seen_file = None

    def abandon(self) -> None:
        """Note that the probe came to nothing: the next caller probes."""
        with self._lock:
            self._probing = False

    def _save(self) -> None:
        if self._path is None or self._until_s is None:
            return
        until_ms = self._clock.wall_ms() + int((self._until_s - self._clock.monotonic()) * 1000)
        # Written aside and renamed: a reader never sees half a file.
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        draft.write_bytes(orjson.dumps({"until_ms": until_ms, "n_bans": self._n_bans}))
        os.replace(draft, self._path)
        self._seen_file = self._stamp()

    def _stamp(self) -> tuple[int, int] | None:
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino

    def _load(self) -> None:
        # A stat per request is a microsecond; the file is read only when somebody changed it.
        stamp = self._stamp()
        if stamp is None or stamp == self._seen_file or self._path is None:
            return
        self._seen_file = stamp
        try:
            record = orjson.loads(self._path.read_bytes())
            until_ms, n_bans = int(record["until_ms"]), int(record["n_bans"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            _log.warning("%s is not a record of a ban: one request goes ahead to find out", self._path)
            until_ms, n_bans = 0, 1
        # A wall clock set back must not turn ten minutes into years.
        left_s = min(max((until_ms - self._clock.wall_ms()) / 1000, 0.0), self._max_wait_s * 1.1)
        self._until_s = self._clock.monotonic() + left_s
        self._n_bans = max(n_bans, 1)


# The limit is one per address, whichever client object asks; a local sandbox is another venue.
_shared = threading.Lock()
_limiters: dict[str, TokenBucket] = {}
_breakers: dict[str, Breaker] = {}


def process_limiter(venue: str) -> TokenBucket:
    """Return the bucket that every client of ``venue`` in this process shares."""
    with _shared:
        return _limiters.setdefault(venue, TokenBucket())


def process_breaker(venue: str) -> Breaker:
    """Return the breaker that every client of ``venue`` in this process shares."""
    with _shared:
        return _breakers.setdefault(venue, Breaker())
