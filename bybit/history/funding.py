"""Funding settlements from the venue into the store.

Settlements have no grid: their interval changes without notice and is never assumed. Questions run ahead in parallel;
the replies are joined in order, and every step is judged by its neighbours, across the edges of questions and of what
was stored before. What looks left out is asked for again; what stays out is recorded as a hole.
"""

import itertools
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from bybit.history.candles import Tally
from bybit.history.steps import LONGEST_MS, Doubt, decided_to, doubts
from bybit.history.venue import Contradiction, Venue
from bybit.rules.funding import FundingRate
from bybit.rules.periods import Period, Span, to_ms, utc
from bybit.store import VENUE_EMPTY, Conflict, FundingKey, Hole, Lease, Store

_HOUR_MS = 3_600_000
# 200 settlements at the shortest interval known (an hour) fill one reply, so no question is cut short by the venue.
_CHUNK_MS = 200 * _HOUR_MS
# As many settlements beside a span as it takes to see whether a step lasts.
_N_NEIGHBOURS = 6


@dataclass(frozen=True, slots=True)
class _Reply:
    span: Span
    rates: dict[int, FundingRate]
    conflicts: tuple[Conflict, ...]
    asked_at: str


@dataclass(slots=True)
class _Stretch:
    """A span on its way into the store; ``done_ms`` is how far it has come."""

    span: Span
    # From where on settlements are due: a contract is not funded before it is listed.
    due_ms: int
    done_ms: int
    # Settlements in and around the span, those of ``rates`` included.
    times: list[int]
    before_known: bool
    after_known: bool = False
    first_asked: str = ""
    rates: dict[int, FundingRate] = field(default_factory=dict)
    conflicts: dict[Conflict, None] = field(default_factory=dict)
    n_asked: Counter[Span] = field(default_factory=Counter)

    def take(self, reply: _Reply, *, keep: bool = True) -> None:
        """Add a reply; its rates are to be stored unless they are only neighbours."""
        self.times = sorted({*self.times, *reply.rates})
        if keep:
            self.rates |= reply.rates
            self.conflicts |= dict.fromkeys(reply.conflicts)

    def doubts(self, end_ms: int | None) -> list[Doubt]:
        """Return the doubts about what is not committed yet, their spans cut to what is worth a question."""
        # A silence of months is not asked for again as a whole whenever it grows.
        earliest = self.done_ms - _CHUNK_MS
        found = doubts(self.times, max(self.span[0], self.due_ms), end_ms)
        return [
            Doubt((max(each.span[0], earliest), each.span[1]), each.until_ms, each.lone, each.first, each.last)
            for each in found
            if each.until_ms > self.done_ms
        ]

    def forget(self) -> None:
        """Drop what is committed except for the nearest neighbours."""
        self.times = self.times[max(bisect_left(self.times, self.done_ms) - _N_NEIGHBOURS, 0) :]


class FundingIngest:
    """One run over the settlements of one instrument, under one lease; parameters as in ``CandleIngest``.

    ``launch_ms`` is when the contract was listed (ms UTC), None when that is not known.
    """

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
        launch_ms: int | None,
        wait: "Callable[[Future[_Reply]], _Reply]",
    ) -> None:
        self._venue = venue
        self._store = store
        self._key = key
        self._lease = lease
        self._workers = workers
        self._confirmations = confirmations
        self._now = now
        self._fresh_ms = fresh_ms
        self._launch_ms = launch_ms
        self._wait = wait
        self.tally = Tally()

    def explain(self, spans: Sequence[Span], hole_of: Callable[[Span], Hole]) -> None:
        """Record ``spans`` as known and empty without asking the venue."""
        for span in spans:
            self._write([], Period.from_ms(*span), (), [hole_of(span)])

    def fetch(self, spans: Sequence[Span]) -> None:
        """Fetch, judge and commit ``spans``, oldest first."""
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix=f"ingest-{self._key.symbol}-funding")
        try:
            replies = self._ahead(pool, spans)
            for span in spans:
                stretch = self._begin(span)
                for _ in _chunks([span]):
                    reply = next(replies)
                    stretch.first_asked = reply.asked_at
                    stretch.take(reply)
                    if reply.span[1] < span[1]:
                        self._advance(pool, stretch, reply.span[1])
                    else:
                        self._finish(pool, stretch)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _ahead(self, pool: ThreadPoolExecutor, spans: Sequence[Span]) -> Iterator[_Reply]:
        """Yield the replies in order while later ones are on their way."""
        asked = _chunks(spans)
        on_the_way = deque(pool.submit(self._ask, span) for span in itertools.islice(asked, 2 * self._workers))
        while on_the_way:
            reply = self._wait(on_the_way.popleft())
            on_the_way.extend(pool.submit(self._ask, span) for span in itertools.islice(asked, 1))
            self.tally.requests += 1
            yield reply

    def _begin(self, span: Span) -> _Stretch:
        before = self._stored_before(span[0])
        due_ms = span[0] if self._launch_ms is None else max(span[0], self._launch_ms)
        return _Stretch(span, due_ms, span[0], before, before_known=bool(before))

    def _advance(self, pool: ThreadPoolExecutor, stretch: _Stretch, asked_to: int) -> None:
        """Commit what later settlements cannot put in another light."""
        last = stretch.times[-1] if stretch.times else stretch.due_ms
        if asked_to - max(last, stretch.done_ms) >= _CHUNK_MS:
            # As long a silence gains nothing by waiting for the rest of it.
            self._commit(stretch, asked_to, self._confirmed(pool, stretch, asked_to))
            return
        left = self._confirmed(pool, stretch, None)
        decided = decided_to(stretch.times)
        if decided is not None and stretch.done_ms <= decided < asked_to:
            self._commit(stretch, decided + 1, [each for each in left if each.until_ms <= decided])

    def _finish(self, pool: ThreadPoolExecutor, stretch: _Stretch) -> None:
        end = min(stretch.span[1], max(stretch.span[0], self._fresh_ms))
        after = self._stored_after(stretch.span[1])
        stretch.times = sorted({*stretch.times, *after})
        stretch.after_known = bool(after)
        left = self._confirmed(pool, stretch, end)
        # What is overdue at the venue's front may only be late, or the interval longer from now on: it stays missing.
        at_front = stretch.span[1] + LONGEST_MS > to_ms(self._now())
        open_from = [each.span[0] for each in left if each.lone and each.last and at_front]
        # The venue may publish a settlement late: the last minutes are stored but not called complete.
        covered_to = min([end, *open_from])
        if open_from:
            holes = [each for each in left if each.span[1] <= covered_to]
        else:
            # Stored neighbours make a step over the end known in whole; else the next ingest judges the rest of it.
            bound = max([covered_to, *(each.span[1] for each in left)]) if after else covered_to
            holes = [
                Doubt((each.span[0], min(each.span[1], bound)), each.until_ms, each.lone)
                for each in left
                if each.span[0] < covered_to
            ]
        covered_to = max([covered_to, *(each.span[1] for each in holes)])
        # What was found beyond the end, in such a step, is stored too.
        self._commit(stretch, max([stretch.span[1], *(time + 1 for time in stretch.rates)]), holes, covered_to)

    def _confirmed(self, pool: ThreadPoolExecutor, stretch: _Stretch, end_ms: int | None) -> list[Doubt]:
        """Ask again for what is in doubt until it is answered or confirmed; return the lone steps that stay."""
        while True:
            found = stretch.doubts(end_ms)
            if self._look_around(pool, stretch, found):
                continue
            # A change of the interval is looked at once; what stands alone until it counts as the venue's emptiness.
            doubtful = [
                each.span for each in found if stretch.n_asked[each.span] < (self._confirmations if each.lone else 1)
            ]
            if not doubtful:
                return [each for each in found if each.lone]
            stretch.n_asked.update(doubtful)
            self._ask_again(pool, stretch, [part for span in doubtful for part in _chunks([span])])

    def _look_around(self, pool: ThreadPoolExecutor, stretch: _Stretch, found: Sequence[Doubt]) -> bool:
        """Ask for a day beside the span where only that can end a doubt; return whether anything was asked."""
        start, end = stretch.span
        sides = []
        if not stretch.before_known and any(each.first for each in found):
            stretch.before_known = True
            sides.append((start - LONGEST_MS, start))
        if not stretch.after_known and any(each.last for each in found):
            stretch.after_known = True
            sides.append((end, min(end + LONGEST_MS, to_ms(self._now()))))
        sides = [side for side in sides if side[0] < side[1] and self._may_be_funded(side)]
        self._ask_again(pool, stretch, sides, keep=False)
        return bool(sides)

    def _may_be_funded(self, span: Span) -> bool:
        return self._launch_ms is None or span[0] >= self._launch_ms - LONGEST_MS

    def _ask_again(
        self, pool: ThreadPoolExecutor, stretch: _Stretch, spans: Sequence[Span], *, keep: bool = True
    ) -> None:
        for future in [pool.submit(self._ask, span) for span in spans]:
            stretch.take(self._wait(future), keep=keep)
            self.tally.requests += 1

    def _ask(self, span: Span) -> _Reply:
        asked_at = self._stamp()
        listing = self._venue.get_funding_rate_history(self._key.symbol, *span, category=self._key.category)
        contradictions: Sequence[Contradiction] = getattr(listing, "conflicts", ())
        conflicts = tuple(
            Conflict(utc(each.key), tuple(",".join(row) for row in each.rows))
            for each in contradictions
            if isinstance(each.key, int)
        )
        rates = {to_ms(to_ms(rate.funding_time)): rate for rate in listing}
        inside = {time: rate for time, rate in rates.items() if span[0] <= time < span[1]}
        return _Reply(span, inside, conflicts, asked_at)

    def _commit(self, stretch: _Stretch, end: int, left: Sequence[Doubt], covered_to: int | None = None) -> None:
        """Store everything up to ``end``, complete up to ``covered_to``, with holes for the steps that are left."""
        start = min([stretch.done_ms, *(each.span[0] for each in left)])
        if (first := min(stretch.rates, default=start)) < start and (place := bisect_left(stretch.times, first)):
            # A settlement found in what was a hole ends that hole on both of its sides.
            start = stretch.times[place - 1] + 1
        covered_to = end if covered_to is None else covered_to
        conflicts = [conflict for conflict in stretch.conflicts if to_ms(conflict.time) < end]
        # A settlement that is contradicted is missing, not absent: everything from it on stays open.
        covered_to = min([covered_to, *(to_ms(conflict.time) for conflict in conflicts)])
        evidence: dict[str, str | int] = {
            "confirmations": self._confirmations,
            "first_asked": stretch.first_asked,
            "last_asked": self._stamp(),
        }
        holes = [Hole(Period.from_ms(*each.span), VENUE_EMPTY, evidence) for each in left if each.span[1] <= covered_to]
        rates = [stretch.rates.pop(time) for time in sorted(stretch.rates) if time < end]
        covered = Period.from_ms(start, covered_to) if start < covered_to else None
        self._write(rates, covered, conflicts, holes)
        for conflict in conflicts:
            del stretch.conflicts[conflict]
        stretch.done_ms = end
        stretch.forget()

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

    def _stored_before(self, start: int) -> list[int]:
        """Return the last settlements of the known span that ends at ``start``."""
        known = next((a for a, b in self._store.coverage.known(self._key) if b == start), start)
        # A few days hold enough of them, unless nothing was published for long.
        for first in (max(known, start - 4 * LONGEST_MS), known):
            times = self._stored((first, start))
            if len(times) >= _N_NEIGHBOURS or first == known:
                return times[-_N_NEIGHBOURS:]
        return []

    def _stored_after(self, end: int) -> list[int]:
        """Return the first settlements of the known span that begins at ``end``."""
        known = next((b for a, b in self._store.coverage.known(self._key) if a == end), end)
        for last in (min(known, end + 4 * LONGEST_MS), known):
            times = self._stored((end, last))
            if len(times) >= _N_NEIGHBOURS or last == known:
                return times[:_N_NEIGHBOURS]
        return []

    def _stored(self, span: Span) -> list[int]:
        if span[0] >= span[1]:
            return []
        stored = self._store.funding.rates(self._key.category, self._key.symbol, Period.from_ms(*span))
        return [to_ms(to_ms(rate.funding_time)) for rate in stored]

    def _stamp(self) -> str:
        return self._now().isoformat(timespec="seconds")


def _chunks(spans: Sequence[Span]) -> Iterator[Span]:
    for start, end in spans:
        for first in range(start, end, _CHUNK_MS):
            yield first, min(first + _CHUNK_MS, end)
