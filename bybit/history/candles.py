"""Candles from the venue into the store: fetched in parallel, judged, committed oldest to newest.

Pages run ahead of the commits in a bounded window. What a page lacks is asked for again, narrower, while later pages
are still on their way; only then is a span committed, with its rows, its coverage and its holes together. A process
that is killed has lost what was in flight and nothing else: the next ingest asks for what is not covered.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from bybit.history.closures import Closures, Reason
from bybit.history.pages import NARROW_CANDLES, absent, gaps, pages
from bybit.history.venue import Reply, Venue, ask
from bybit.rules.candles import PriceType, SeriesKey
from bybit.rules.periods import Period, Span
from bybit.store import Conflict, Hole, Lease, Rejected, Store
from bybit.store.bulk import ROW, Rows
from bybit.store.candles import filled_spans

# A transaction costs about as much as a thousand rows: pages that are ready together are committed together.
_COMMIT_PAGES = 8


@dataclass(slots=True)
class Tally:
    """Counts of one ingest, kept by the committing thread alone."""

    rows_written: int = 0
    requests: int = 0
    conflicts: int = 0
    rejected: int = 0
    n_outside: int = 0
    n_duplicate: int = 0


@dataclass(slots=True, eq=False)
class _Segment:
    """A span whose page is here and whose gaps are being asked for again."""

    span: Span
    replies: list[Reply]
    asked: "list[Future[list[Reply]]]" = field(default_factory=list)
    first_asked: str = ""

    @property
    def ready(self) -> bool:
        return all(future.done() for future in self.asked)


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """A span ready to be committed; ``covered_to`` is where its certainty ends, ms UTC."""

    span: Span
    covered_to: int
    rows: Rows
    holes: list[Hole]
    conflicts: list[Conflict]
    rejected: list[Rejected]


class CandleIngest:
    """One run over one series, under one lease.

    Parameters
    ----------
    venue, store, key, lease
        From where, to where, what, and by which right.
    workers : int
        Requests in flight at once.
    confirmations : int
        How often a gap is asked for again before it counts as empty at the venue.
    now : callable
        The venue's clock, aware UTC, without a request.
    fresh_ms : int
        Gaps from here on (ms UTC) are not called holes: the venue may just be late with them.
    closures : Closures
        Tells an announced maintenance from an emptiness that nobody explains.
    wait : callable
        Returns a future's result and keeps the lease alive meanwhile.
    on_settled : callable
        Told how many candles more are stored or explained.
    """

    def __init__(
        self,
        venue: Venue,
        store: Store,
        key: SeriesKey,
        lease: Lease,
        *,
        workers: int,
        confirmations: int,
        now: Callable[[], datetime],
        fresh_ms: int,
        closures: Closures,
        wait: "Callable[[Future[list[Reply]]], list[Reply]]",
        on_settled: Callable[[int], None],
    ) -> None:
        self._venue = venue
        self._store = store
        self._key = key
        self._lease = lease
        self._workers = workers
        self._confirmations = confirmations
        self._now = now
        self._fresh_ms = fresh_ms
        self._closures = closures
        self._wait = wait
        self._on_settled = on_settled
        self.tally = Tally()

    def explain(self, spans: Iterable[Span], hole_of: Callable[[Span], Hole]) -> None:
        """Record ``spans`` as known and empty without asking the venue."""
        for span in spans:
            empty = np.empty(0, dtype=ROW)
            self._commit([_Judged(span, span[1], empty, [hole_of(span)], [], [])])

    def reconsider(self, holes: Iterable[Hole]) -> None:
        """Give stored holes of this series the reason that the venue has announced since they were found."""
        interval = self._key.interval
        for hole in holes:
            times = interval.open_times(*hole.period.span_ms).tolist()
            told = self._holes(times, {}, dict(hole.evidence))
            if any(part.reason != hole.reason for part in told):
                span = hole.period.span_ms
                self._commit([_Judged(span, span[1], np.empty(0, dtype=ROW), told, [], [])])

    def fetch(self, spans: Sequence[Span]) -> None:
        """Fetch, judge and commit the aligned ``spans``, oldest first."""
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix=f"ingest-{self._key.symbol}")
        try:
            self._run(pool, spans)
        finally:
            # After an error nothing more is asked; what is on its way ends by the client's own time limits.
            pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, pool: ThreadPoolExecutor, spans: Sequence[Span]) -> None:
        backlog: deque[_Segment] = deque()
        for segment in self._segments(pool, self._ahead(pool, spans)):
            backlog.append(segment)
            while backlog and (backlog[0].ready or len(backlog) > 2 * self._workers):
                self._settle(backlog)
        while backlog:
            self._settle(backlog)

    def _ahead(self, pool: ThreadPoolExecutor, spans: Sequence[Span]) -> Iterator[Reply]:
        """Yield the pages in order while later ones are on their way."""
        asked = iter(pages(self._key.interval, spans))
        on_the_way = deque(pool.submit(self._page, span) for span in itertools.islice(asked, 2 * self._workers))
        while on_the_way:
            (reply,) = self._wait(on_the_way.popleft())
            on_the_way.extend(pool.submit(self._page, span) for span in itertools.islice(asked, 1))
            yield reply

    def _page(self, span: Span) -> list[Reply]:
        return [ask(self._venue, self._key, span)]

    def _segments(self, pool: ThreadPoolExecutor, replies: Iterable[Reply]) -> Iterator[_Segment]:
        """Turn pages into segments; a gap that runs over the end of a page is asked for once, with the next page."""
        interval = self._key.interval
        upcoming = iter(replies)
        reply = next(upcoming, None)
        start = None
        while reply is not None:
            following = next(upcoming, None)
            span = (reply.span[0] if start is None else start, reply.span[1])
            missing = gaps(interval, span, reply.rows)
            start = None
            if missing and missing[-1][1] == span[1] and following is not None and following.span[0] == span[1]:
                start = self._carried(missing[-1])
            if start is not None:
                missing.pop()
                span = (span[0], start)
            segment = _Segment(span, [reply], first_asked=self._stamp())
            segment.asked = [pool.submit(self._confirm, gap) for gap in missing]
            yield segment
            reply = following

    def _carried(self, gap: Span) -> int | None:
        # A gap as long as a question gains nothing by waiting for the rest of it.
        return gap[0] if len(self._key.interval.open_times(*gap)) < NARROW_CANDLES else None

    def _confirm(self, gap: Span) -> list[Reply]:
        """Ask again for a gap, each time only for what is still missing of it."""
        interval = self._key.interval
        replies: list[Reply] = []
        left = [gap]
        for _ in range(self._confirmations):
            replies += [ask(self._venue, self._key, window) for window in pages(interval, left, NARROW_CANDLES)]
            left = gaps(interval, gap, _joined(replies))
            if not left:
                break
        return replies

    def _settle(self, backlog: deque[_Segment]) -> None:
        """Commit the oldest segment, with those after it that are ready too and adjoin it."""
        batch = [self._judge(backlog.popleft())]
        while (
            backlog
            and len(batch) < _COMMIT_PAGES
            and backlog[0].ready
            and batch[-1].covered_to == batch[-1].span[1] == backlog[0].span[0]
        ):
            batch.append(self._judge(backlog.popleft()))
        self._commit(batch)

    def _judge(self, segment: _Segment) -> _Judged:
        again = [reply for future in segment.asked for reply in self._wait(future)]
        replies = [*segment.replies, *again]
        rows = _joined(replies)
        self.tally.requests += len(replies)
        self.tally.n_outside += sum(reply.n_outside for reply in replies)
        self.tally.n_duplicate += sum(reply.n_duplicate for reply in replies)
        left = absent(self._key.interval, segment.span, rows)
        if self._key.price is PriceType.LAST and (rows["volume"] == 0).any():
            # The venue fills what nobody traded: whether anybody could have is known now, and forgotten later.
            self._closures.all()
        late = left[left >= self._fresh_ms]
        covered_to = int(late[0]) if len(late) else segment.span[1]
        spoiled: dict[int, str] = {}
        for reply in replies:
            spoiled |= reply.spoiled
        evidence: dict[str, str | int] = {
            "confirmations": self._confirmations,
            "first_asked": segment.first_asked,
            "last_asked": self._stamp(),
        }
        return _Judged(
            segment.span,
            covered_to,
            rows,
            self._holes(left[left < covered_to].tolist(), spoiled, evidence),
            [conflict for reply in replies for conflict in reply.conflicts],
            [row for reply in replies for row in reply.rejected],
        )

    def _holes(self, times: Sequence[int], spoiled: dict[int, str], evidence: dict[str, str | int]) -> list[Hole]:
        by_reason: dict[Reason, list[int]] = {}
        for time in times:
            word = spoiled.get(time)
            reason = self._closures.reason(self._key.interval, time) if word is None else (word, ())
            by_reason.setdefault(reason, []).append(time)
        return [
            Hole(Period.from_ms(*span), word, evidence | dict(said))
            for (word, said), found in by_reason.items()
            for span in filled_spans(self._key.interval, np.asarray(found, dtype=np.int64))
        ]

    def _commit(self, batch: Sequence[_Judged]) -> None:
        start, end = batch[0].span[0], batch[-1].covered_to
        rows = np.concatenate([judged.rows for judged in batch]).view(np.recarray)
        conflicts = list(dict.fromkeys(conflict for judged in batch for conflict in judged.conflicts))
        rejected = list(dict.fromkeys(row for judged in batch for row in judged.rejected))
        count = self._store.candles.write(
            self._key,
            rows,
            Period.from_ms(start, end) if start < end else None,
            [hole for judged in batch for hole in judged.holes],
            self._lease,
            conflicts=conflicts,
            rejected=rejected,
        )
        self.tally.rows_written += count.inserted + count.updated
        self.tally.conflicts += len(conflicts)
        self.tally.rejected += len(rejected)
        self._on_settled(sum(len(self._key.interval.open_times(*judged.span)) for judged in batch))

    def _stamp(self) -> str:
        return self._now().isoformat(timespec="seconds")


def _joined(replies: Sequence[Reply]) -> Rows:
    """Return all rows in order; of one time that came twice, the row that came last."""
    if len(replies) == 1:
        return replies[0].rows
    rows = np.concatenate([reply.rows for reply in replies])[::-1]
    _, first = np.unique(rows["open_time_ms"], return_index=True)
    return rows[first]
