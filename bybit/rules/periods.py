"""Spans of time: half-open, UTC, and the arithmetic of what is still missing."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bybit.rules.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Milliseconds lie between 2001 and 2286; seconds and microseconds given by mistake fall outside.
_FIRST_MS, _LAST_MS = 1_000_000_000_000, 9_999_999_999_999


def utc(ms: int | str) -> datetime:
    """Return the aware UTC datetime of ``ms`` milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=int(ms))


def to_ms(time: datetime | int) -> int:
    """Return milliseconds since 1970 of an aware datetime, or of a number that already is.

    Raises
    ------
    InvalidInput
        For a naive datetime, or a number that looks like seconds or microseconds.
    """
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise InvalidInput(f"{time.isoformat()} has no time zone: give an aware datetime, e.g. with tzinfo=UTC")
        return (time - _EPOCH) // timedelta(milliseconds=1)
    if isinstance(time, bool) or not _FIRST_MS <= time <= _LAST_MS:
        raise InvalidInput(f"{time!r} is not milliseconds since 1970 between 2001 and 2286; were seconds meant?")
    return time


def parse_time(text: str) -> datetime:
    """Return the UTC datetime of an ISO date or time; without a zone it is read as UTC.

    Raises
    ------
    InvalidInput
        When ``text`` is not ISO 8601.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r} is not an ISO time such as 2025-01-31 or 2025-01-31T08:00:00Z") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A half-open span [start, end) of aware UTC datetimes; never empty."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        """Refuse naive times and empty or reversed spans."""
        if to_ms(self.start) >= to_ms(self.end):
            raise InvalidInput(f"period ends at {self.end.isoformat()}, not after its start {self.start.isoformat()}")

    @classmethod
    def from_ms(cls, start_ms: int, end_ms: int) -> "Period":
        """Return the period of two bounds in milliseconds."""
        return cls(utc(start_ms), utc(end_ms))

    @property
    def start_ms(self) -> int:
        """Inclusive start, ms UTC."""
        return to_ms(self.start)

    @property
    def end_ms(self) -> int:
        """Exclusive end, ms UTC."""
        return to_ms(self.end)

    @property
    def span_ms(self) -> tuple[int, int]:
        """Both bounds, ms UTC."""
        return self.start_ms, self.end_ms

    def contains(self, other: "Period") -> bool:
        """Return whether ``other`` lies wholly inside."""
        return self.start <= other.start and other.end <= self.end

    def overlap(self, other: "Period") -> "Period | None":
        """Return what both share, or None."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Period(start, end) if start < end else None

    def split(self, n_parts: int) -> list["Period"]:
        """Return ``n_parts`` consecutive periods of equal length, cut at whole UTC days where longer than a day each.

        Raises
        ------
        InvalidInput
            When a part would be empty.
        """
        if n_parts < 1:
            raise InvalidInput(f"a period splits into 1 part or more, not {n_parts}")
        step = (self.end - self.start) / n_parts
        grain = timedelta(days=1) if step >= timedelta(days=2) else timedelta(milliseconds=1)
        cuts = [self.start + step * i for i in range(1, n_parts)]
        bounds = [self.start, *(_EPOCH + (cut - _EPOCH) // grain * grain for cut in cuts), self.end]
        return [Period(a, b) for a, b in itertools.pairwise(bounds)]

    def __str__(self) -> str:
        """Return e.g. ``2024-01-01..2024-04-01``; times only where they are not midnight."""
        return f"{_short(self.start)}..{_short(self.end)}"


def _short(time: datetime) -> str:
    return time.strftime("%Y-%m-%d") if time.time() == _EPOCH.time() else time.strftime("%Y-%m-%dT%H:%M")


Span = tuple[int, int]
"""A half-open span in milliseconds, for the arithmetic of coverage."""


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """Return the union of ``spans`` as sorted spans that do not touch."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def subtract_spans(wanted: Iterable[Span], known: Iterable[Span]) -> list[Span]:
    """Return the parts of ``wanted`` that no span of ``known`` covers, sorted."""
    rest = merge_spans(wanted)
    for start, end in merge_spans(known):
        rest = [part for a, b in rest for part in ((a, min(b, start)), (max(a, end), b)) if part[0] < part[1]]
    return rest
