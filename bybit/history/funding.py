"""Funding settlements from the venue into the store.

Settlements have no grid: their interval changes without notice and is never assumed. A span is complete when the
venue was asked for all of it; what looks left out is asked for again.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from bybit.history.candles import Tally
from bybit.history.venue import Contradiction, Venue
from bybit.rules.funding import FundingRate
from bybit.rules.periods import Period, Span, to_ms, utc
from bybit.store import VENUE_EMPTY, Conflict, FundingKey, Hole, Lease, Store

_HOUR_MS = 3_600_000
# 200 settlements at the shortest interval known (an hour) fill one reply, so no question is cut short by the venue.
_CHUNK_MS = 200 * _HOUR_MS
# No interval as long as this has been seen; a span without a settlement for so long needs a reason.
_LONGEST_MS = 24 * _HOUR_MS


@dataclass(frozen=True, slots=True)
class _Chunk:
    span: Span
    rates: list[FundingRate]
    conflicts: tuple[Conflict, ...]
    hole: Hole | None
    requests: int


class FundingIngest:
    """One run over the settlements of one instrument, under one lease; parameters as in ``CandleIngest``."""

    def __init__(
        self,
        venue: Venue,
        store: Store,
        key: FundingKey,
        lease: Lease,
        *,
        workers: int,
        confirmations: int,
        now: Callable[[], datetime],
        fresh_ms: int,
        wait: "Callable[[Future[_Chunk]], _Chunk]",
    ) -> None:
        self._venue = venue
        self._store = store
        self._key = key
        self._lease = lease
        self._workers = workers
        self._confirmations = confirmations
        self._now = now
        self._fresh_ms = fresh_ms
        self._wait = wait
        self.tally = Tally()

    def explain(self, spans: Sequence[Span], hole_of: Callable[[Span], Hole]) -> None:
        """Record ``spans`` as known and empty without asking the venue."""
        for span in spans:
            self._write([], Period.from_ms(*span), (), [hole_of(span)])

    def fetch(self, spans: Sequence[Span]) -> None:
        """Fetch and commit ``spans``, oldest first."""
        chunks = iter(_chunks(spans))
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix=f"ingest-{self._key.symbol}-funding")
        try:
            on_the_way = deque(pool.submit(self._chunk, span) for span in itertools.islice(chunks, 2 * self._workers))
            while on_the_way:
                chunk = self._wait(on_the_way.popleft())
                on_the_way.extend(pool.submit(self._chunk, span) for span in itertools.islice(chunks, 1))
                self._commit(chunk)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _chunk(self, span: Span) -> _Chunk:
        first_asked = self._stamp()
        rates, conflicts = self._ask(span)
        requests = 1
        suspects = _suspects(span, rates)
        for _ in range(self._confirmations):
            if not suspects:
                break
            for narrow in suspects:
                more, contradictions = self._ask(narrow)
                rates, conflicts, requests = rates | more, (*conflicts, *contradictions), requests + 1
            # A gap that really is one stays one however often it is looked at; only an empty chunk is worth a hole.
            suspects = _suspects(span, rates)
        hole = None
        if not rates and span[1] - span[0] >= _LONGEST_MS:
            evidence: dict[str, str | int] = {
                "confirmations": self._confirmations,
                "first_asked": first_asked,
                "last_asked": self._stamp(),
            }
            hole = Hole(Period.from_ms(*span), VENUE_EMPTY, evidence)
        return _Chunk(span, [rates[time] for time in sorted(rates)], tuple(dict.fromkeys(conflicts)), hole, requests)

    def _ask(self, span: Span) -> tuple[dict[int, FundingRate], tuple[Conflict, ...]]:
        listing = self._venue.get_funding_rate_history(self._key.symbol, *span, category=self._key.category)
        contradictions: Sequence[Contradiction] = getattr(listing, "conflicts", ())
        conflicts = tuple(
            Conflict(utc(each.key), tuple(",".join(row) for row in each.rows))
            for each in contradictions
            if isinstance(each.key, int)
        )
        rates = {to_ms(rate.funding_time): rate for rate in listing}
        return {time: rate for time, rate in rates.items() if span[0] <= time < span[1]}, conflicts

    def _commit(self, chunk: _Chunk) -> None:
        start, end = chunk.span
        # The venue may publish a settlement late: the last minutes are stored but not called complete.
        covered_to = min(end, max(start, self._fresh_ms))
        if chunk.conflicts:
            # A settlement that is contradicted is missing, not absent: everything from it on stays open.
            covered_to = min(covered_to, *(to_ms(conflict.time) for conflict in chunk.conflicts))
        covered = Period.from_ms(start, covered_to) if start < covered_to else None
        holes = [chunk.hole] if chunk.hole is not None and covered_to == end else []
        self._write(chunk.rates, covered, chunk.conflicts, holes)
        self.tally.requests += chunk.requests

    def _write(
        self,
        rates: Sequence[FundingRate],
        covered: Period | None,
        conflicts: Sequence[Conflict],
        holes: Sequence[Hole],
    ) -> None:
        key = self._key
        count = self._store.funding.write(
            key.category, key.symbol, rates, covered, self._lease, holes=holes, conflicts=conflicts
        )
        self.tally.rows_written += count.inserted + count.updated
        self.tally.conflicts += len(conflicts)

    def _stamp(self) -> str:
        return self._now().isoformat(timespec="seconds")


def _chunks(spans: Sequence[Span]) -> Iterator[Span]:
    for start, end in spans:
        for first in range(start, end, _CHUNK_MS):
            yield first, min(first + _CHUNK_MS, end)


def _suspects(span: Span, rates: dict[int, FundingRate]) -> list[Span]:
    """Return where a settlement may have been left out of a reply, narrower than the question was.

    The whole span when there is none at all, else every gap that is longer than both its neighbours: a change of the
    interval makes a step, a settlement left out makes a peak.
    """
    if not rates:
        middle = (span[0] + span[1]) // 2
        return [(span[0], middle), (middle, span[1])] if span[0] < middle else [span]
    times = sorted(rates)
    steps = [b - a for a, b in itertools.pairwise(times)]
    return [
        (times[i] + 1, times[i + 1])
        for i in range(1, len(steps) - 1)
        if steps[i] > steps[i - 1] and steps[i] > steps[i + 1]
    ]
