"""What is known to be complete, and why nothing is there where nothing is.

A covered span was asked for in full. Inside it every candle is stored or lies in a hole, and every hole has a reason;
what is not covered is missing and will be asked for again.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from sqlalchemy import Connection, and_, delete, insert, select

from bybit.rules.availability import AFTER_DELISTING, BEFORE_LISTING, MAINTENANCE
from bybit.rules.periods import Period, Span, merge_spans, subtract_spans
from bybit.store.database import Database
from bybit.store.schema import coverage, holes
from bybit.store.series import AnyKey, SeriesTable

__all__ = ["AFTER_DELISTING", "BEFORE_LISTING", "MAINTENANCE", "CoverageTable", "Hole"]

VENUE_EMPTY = "venue-empty"
REJECTED = "rejected"
CONFLICTING = "conflicting"

# How the evidence of two adjoining holes becomes that of one; whatever else they say must be equal.
_JOINED = {"confirmations": min, "first_asked": min, "last_asked": max}


@dataclass(frozen=True, slots=True)
class Hole:
    """A span in which nothing exists, and why.

    ``reason`` is one of ``before listing``, ``after delisting``, ``maintenance`` (the venue was closed and says so),
    ``venue-empty`` (asked again and again: still nothing), ``rejected`` (rows came but cannot be used) and
    ``conflicting`` (rows came that contradict each other).
    ``evidence`` holds what was seen; ``confirmations``, ``first_asked``, ``last_asked`` are merged when holes adjoin.
    """

    period: Period
    reason: str
    evidence: Mapping[str, str | int] = field(default_factory=dict)


class CoverageTable:
    """What is known of each series, and what is still missing."""

    def __init__(self, database: Database, series: SeriesTable) -> None:
        self._database = database
        self._series = series

    def known(self, key: AnyKey, period: Period | None = None) -> list[Span]:
        """Return the spans (ms) known in full, holes included; sorted, none touching another.

        With ``period``, only what lies in it.
        """
        series_id = self._series.find(key)
        if series_id is None:
            return []
        spans = self._database.read(lambda connection: covered_spans(connection, series_id))
        if period is None:
            return spans
        start, end = period.span_ms
        return [(max(a, start), min(b, end)) for a, b in spans if a < end and start < b]

    def missing(self, key: AnyKey, period: Period) -> list[Period]:
        """Return the parts of ``period`` that nobody has asked for yet, oldest first."""
        return [Period.from_ms(*span) for span in subtract_spans([period.span_ms], self.known(key))]

    def holes(self, key: AnyKey, period: Period | None = None) -> list[Hole]:
        """Return the explained holes that overlap ``period`` (None: all), oldest first, whole."""
        series_id = self._series.find(key)
        if series_id is None:
            return []
        within = None if period is None else period.span_ms
        return self._database.read(lambda connection: stored_holes(connection, series_id, within))


def covered_spans(connection: Connection, series_id: int) -> list[Span]:
    """Return the covered spans of a series, sorted."""
    query = select(coverage.c.start_ms, coverage.c.end_ms).where(coverage.c.series_id == series_id)
    return [(row.start_ms, row.end_ms) for row in connection.execute(query.order_by(coverage.c.start_ms))]


def stored_holes(connection: Connection, series_id: int, within: Span | None = None) -> list[Hole]:
    """Return the holes of a series that overlap or touch ``within``, sorted."""
    query = select(holes).where(holes.c.series_id == series_id).order_by(holes.c.start_ms)
    if within is not None:
        query = query.where(holes.c.start_ms <= within[1], holes.c.end_ms >= within[0])
    return [
        Hole(Period.from_ms(row.start_ms, row.end_ms), row.reason, orjson.loads(row.evidence))
        for row in connection.execute(query)
    ]


def record(
    connection: Connection,
    series_id: int,
    covered: Span | None,
    new_holes: Sequence[Hole],
    filled: Sequence[Span],
) -> bool:
    """Extend the coverage of a locked series in the caller's transaction; return whether anything changed.

    ``new_holes`` replace what was known of holes inside ``covered``; holes elsewhere lose what ``filled`` fills.
    """
    changed = False
    touched = list(filled)
    if covered is not None:
        changed = _extend(connection, series_id, covered)
        touched.append(covered)
    if not touched:
        return changed
    around = (min(start for start, _ in touched), max(end for _, end in touched))
    before = stored_holes(connection, series_id, around)
    if not before and not new_holes:
        return changed
    rest = [piece for hole in before for piece in _without(hole, touched)]
    after = join_holes([*rest, *new_holes])
    if after == before:
        return changed
    if before:
        starts = [hole.period.start_ms for hole in before]
        connection.execute(delete(holes).where(and_(holes.c.series_id == series_id, holes.c.start_ms.in_(starts))))
    if after:
        connection.execute(insert(holes), [_hole_row(series_id, hole) for hole in after])
    return True


def join_holes(parts: Iterable[Hole]) -> list[Hole]:
    """Return ``parts`` sorted, with neighbours of one reason that touch made one."""
    joined: list[Hole] = []
    for hole in sorted(parts, key=lambda part: part.period):
        last = joined[-1] if joined else None
        if last is not None and last.period.end == hole.period.start and _same_story(last, hole):
            evidence = dict(last.evidence)
            for name in evidence.keys() & _JOINED.keys():
                evidence[name] = _JOINED[name](evidence[name], hole.evidence[name])
            joined[-1] = Hole(Period(last.period.start, hole.period.end), last.reason, evidence)
        else:
            joined.append(hole)
    return joined


def overlapping(parts: Sequence[Hole]) -> tuple[Hole, Hole] | None:
    """Return two holes of ``parts`` that share time, or None."""
    ordered = sorted(parts, key=lambda part: part.period)
    return next(((a, b) for a, b in itertools.pairwise(ordered) if b.period.start < a.period.end), None)


def _same_story(a: Hole, b: Hole) -> bool:
    if a.reason != b.reason or a.evidence.keys() != b.evidence.keys():
        return False
    return all(a.evidence[name] == b.evidence[name] for name in a.evidence.keys() - _JOINED.keys())


def _without(hole: Hole, spans: Sequence[Span]) -> list[Hole]:
    rest = subtract_spans([hole.period.span_ms], spans)
    return [Hole(Period.from_ms(*span), hole.reason, hole.evidence) for span in rest]


def _hole_row(series_id: int, hole: Hole) -> dict[str, object]:
    start_ms, end_ms = hole.period.span_ms
    evidence = orjson.dumps(dict(hole.evidence), option=orjson.OPT_SORT_KEYS).decode()
    return {"series_id": series_id, "start_ms": start_ms, "end_ms": end_ms, "reason": hole.reason, "evidence": evidence}


def _extend(connection: Connection, series_id: int, covered: Span) -> bool:
    touching = and_(
        coverage.c.series_id == series_id, coverage.c.start_ms <= covered[1], coverage.c.end_ms >= covered[0]
    )
    before = [
        (row.start_ms, row.end_ms)
        for row in connection.execute(select(coverage.c.start_ms, coverage.c.end_ms).where(touching))
    ]
    after = merge_spans([*before, covered])
    if after == before:
        return False
    connection.execute(delete(coverage).where(touching))
    rows = [{"series_id": series_id, "start_ms": start, "end_ms": end} for start, end in after]
    connection.execute(insert(coverage), rows)
    return True
