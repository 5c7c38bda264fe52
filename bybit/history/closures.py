"""When the venue was closed, by its own announcements: asked for once an ingest at most, and only if nobody traded."""

from collections.abc import Iterator
from datetime import datetime

from bybit.client.errors import RequestRejected
from bybit.history.venue import Venue
from bybit.rules.availability import MAINTENANCE, Closure
from bybit.rules.candles import Category, Interval, SeriesKey
from bybit.rules.periods import Period, Span
from bybit.store import VENUE_EMPTY, Hole, Store

# How long after an outage the venue's word on it, and on when it ended, may still come.
_ANNOUNCED_MS = 7 * 86_400_000

Reason = tuple[str, tuple[tuple[str, str | int], ...]]
"""The word for a hole, and what the venue said about it; holes of one candle each with equal ones are one hole."""


class Closures:
    """The closures of one category that the venue has announced by ``now``, or had when the store last heard of them.

    A venue that does not serve announcements has announced none; its holes stay without an excuse.
    """

    def __init__(self, venue: Venue, store: Store, category: Category, now: datetime) -> None:
        self._venue = venue
        self._store = store
        self._category = category
        self._now = now
        self._known: list[Closure] | None = None
        self.requests = 0

    def all(self) -> list[Closure]:
        """Return them; the first call asks the venue, and keeps what it says."""
        if self._known is None:
            self.requests += 1
            try:
                notices = self._venue.get_system_status()
            except RequestRejected:
                notices = []
            found = [Closure.of(notice, self._now) for notice in notices]
            self._store.closures.write(closure for closure in found if closure is not None)
            # The venue forgets its old ones.
            self._known = self._store.closures.list(self._category)
        return self._known

    def reason(self, interval: Interval, open_ms: int) -> Reason:
        """Return why the venue has no candle that opens at ``open_ms``."""
        for closure in self.all():
            if closure.explains(open_ms, interval.close_ms(open_ms)):
                return MAINTENANCE, tuple(closure.evidence.items())
        return VENUE_EMPTY, ()


def unexplained(store: Store, key: SeriesKey, span: Span, now_ms: int) -> Iterator[Hole]:
    """Give the stored holes in ``span`` that end in the last days and had no excuse when they were found."""
    since_ms = now_ms - _ANNOUNCED_MS
    if span[1] > since_ms:
        for hole in store.coverage.holes(key, Period.from_ms(*span)):
            if hole.reason == VENUE_EMPTY and hole.period.end_ms > since_ms:
                yield hole
