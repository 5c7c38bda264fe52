"""Are these candles true? The suite as data, what it looks at, and the door ``check_candles``."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bybit.rules.availability import UNLISTED, is_closed
from bybit.rules.candles import Interval, SeriesKey
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period, Span, merge_spans, subtract_spans, to_ms
from validation.expectations import run_suite
from validation.reports import QualityReport
from validation.suites import COLUMNS, PRICES, CandleLimits, candle_suite
from validation.tables import (
    HoleLike,
    add_conflicts,
    failed_check,
    hole_check,
    report,
    times_ms,
    unusable,
)

_HOUR_MS: Final = 3_600_000


def check_candles(
    frame: pd.DataFrame,
    key: SeriesKey,
    period: Period,
    *,
    holes: Iterable[HoleLike] = (),
    conflicts: int = 0,
    allow_gaps: bool = False,
    mark: pd.DataFrame | None = None,
    now: datetime | None = None,
    limits: CandleLimits | None = None,
) -> QualityReport:
    """Check candles against everything known of them; nothing is changed or filled in.

    Parameters
    ----------
    frame : DataFrame
        Index open_time (aware UTC), columns open high low close volume turnover.
    period : Period
        What the candles must cover, end to end: every candle that lies wholly inside.
    holes : iterable
        Recorded holes with ``period`` and ``reason``. Before listing, after delisting and maintenance are no fault;
        any other (venue-empty, rejected) blocks.
    conflicts : int
        Contradictions that the store recorded for this range; more than 0 blocks.
    allow_gaps : bool
        Turn recorded holes without an excuse into a warning that counts them. Gaps that nobody recorded still block.
    mark : DataFrame, optional
        Mark-price candles of any interval: opens at equal times are compared.
    now : datetime, optional
        Refuses candles that have not closed by then, and does not ask for those that could not have.

    Raises
    ------
    InvalidInput
        For a naive index or a ``conflicts`` below 0.
    """
    subject = f"{key} {period}"
    if conflicts < 0:
        raise InvalidInput(f"the number of conflicts is {conflicts}, expected 0 or more")
    if reason := unusable(frame, COLUMNS):
        return report(subject, [reason], len(frame), (period,))
    opened = times_ms(frame)
    table, found = _table(frame, opened, key, period, list(holes), mark, now)
    suite = candle_suite(key, limits or CandleLimits())
    checks = add_conflicts(run_suite(table, suite, time="open_time_ms", observed=found.words), conflicts)
    checks.append(hole_check(found.unexcused, "candles", allow_gaps))
    if mark is not None and bool(table["mark_deviation"].isna().all()):
        checks.append(failed_check("mark_comparable", "no mark price at the time of any candle", "prices to compare"))
    return report(subject, checks, len(frame), found.gaps)


@dataclass(frozen=True, slots=True)
class _Found:
    """What is missing: all gaps, the recorded holes without an excuse with their candles, and words for the checks."""

    gaps: tuple[Period, ...]
    unexcused: list[tuple[HoleLike, int]]
    words: dict[str, str]


def _table(
    frame: pd.DataFrame,
    opened: NDArray[np.int64],
    key: SeriesKey,
    period: Period,
    holes: list[HoleLike],
    mark: pd.DataFrame | None,
    now: datetime | None,
) -> tuple[pd.DataFrame, _Found]:
    """Return the candles with one column per question that takes more than one row to answer."""
    table = frame.loc[:, list(COLUMNS)].astype(np.float64).reset_index(drop=True)
    open_, high, low, close = (table[name].to_numpy() for name in PRICES)
    slots = floored(key.interval, opened)
    step = np.diff(opened, prepend=opened[:1])
    # Only neighbours are compared: what happens across a gap is the gap's fault.
    adjacent = np.concatenate(([False], slots[1:] == next_slots(key.interval, slots[:-1])))
    before = np.concatenate(([np.nan], close[:-1]))
    comparable = adjacent & np.isfinite(close) & np.isfinite(before) & (before > 0) & (close > 0)
    start, end = period.span_ms

    table.insert(0, "open_time_ms", opened)
    table["step_ms"] = step
    table["off_grid_ms"] = opened - slots
    table["outside_ms"] = np.maximum(start - opened, 0) + np.maximum(opened - end + 1, 0)
    table["n_absent"] = table[list(PRICES)].isna().sum(axis="columns")
    table["n_infinite"] = np.isinf(table[list(COLUMNS)].to_numpy()).sum(axis=1)
    table["lowest"] = np.fmin.reduce([open_, high, low, close])
    table["highest_other"] = np.fmax(np.fmax(open_, close), low)
    table["lowest_other"] = np.fmin(np.fmin(open_, close), high)
    table["jump"] = np.divide(close, before, out=np.full(len(close), np.nan), where=comparable) - 1
    table["frozen_for"] = _run_lengths(adjacent & (high == low) & (close == before))
    table["unpaid_move"] = np.where((table["volume"] == 0) & (high > low), high - low, 0.0)
    table["conflicting"] = _conflicting(table)
    table["mark_deviation"] = _mark_deviation(opened, open_, mark)
    return table, _missing(table, slots, key.interval, period, holes, now)


def floored(interval: Interval, times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the open time (ms) of the candle that covers each time, shape (n,)."""
    if interval is Interval.MONTH_1:
        months = times.astype("datetime64[ms]").astype("datetime64[M]")
        return months.astype("datetime64[ms]").astype(np.int64)
    phase = interval.floor_ms(0)
    return (times - phase) // interval.ms * interval.ms + phase


def next_slots(interval: Interval, slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the open time (ms) of the candle after each one that opens at ``slots``, shape (n,)."""
    if interval is Interval.MONTH_1:
        months = slots.astype("datetime64[ms]").astype("datetime64[M]") + np.timedelta64(1, "M")
        return months.astype("datetime64[ms]").astype(np.int64)
    return slots + interval.ms


def _run_lengths(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many flags in a row are set up to each place, shape (n,)."""
    places = np.arange(len(flags))
    return places - np.maximum.accumulate(np.where(flags, -1, places))


def _conflicting(table: pd.DataFrame) -> NDArray[np.int64]:
    """Return 1 at each row whose open time comes again with other figures, shape (n,)."""
    conflicting = np.zeros(len(table), dtype=np.int64)
    repeated = np.flatnonzero(table["open_time_ms"].duplicated(keep=False))
    doubles = table.loc[repeated, ["open_time_ms", *COLUMNS]]
    conflicting[repeated] = ~doubles.duplicated(keep=False)
    return conflicting


def _mark_deviation(
    opened: NDArray[np.int64], open_: NDArray[np.float64], mark: pd.DataFrame | None
) -> NDArray[np.float64]:
    """Return |open / mark open - 1| where both open at the same time, else NaN, shape (n,)."""
    deviation = np.full(len(opened), np.nan)
    if mark is None or not len(mark):
        return deviation
    # Opens, not closes: two prices of one instant, whatever the two intervals are.
    marks = pd.Series(mark["open"].to_numpy(dtype=np.float64), index=times_ms(mark))
    matched = marks[~marks.index.duplicated()].reindex(opened).to_numpy()
    comparable = np.isfinite(matched) & (matched > 0) & np.isfinite(open_)
    deviation[comparable] = np.abs(open_[comparable] / matched[comparable] - 1)
    return deviation


def _missing(
    table: pd.DataFrame,
    slots: NDArray[np.int64],
    interval: Interval,
    period: Period,
    holes: list[HoleLike],
    now: datetime | None,
) -> _Found:
    """Add to ``table`` what is missing before each row and at both ends; return all that is missing."""
    start, end = period.span_ms
    until = end if now is None else min(end, to_ms(now))
    due = interval.open_times(start, until)
    due = due[next_slots(interval, due) <= until]
    others = [hole for hole in holes if not is_closed(hole.reason)]
    excused = merge_spans(hole.period.span_ms for hole in holes if is_closed(hole.reason))
    recorded = merge_spans(hole.period.span_ms for hole in others)

    present, first_rows = np.unique(slots, return_index=True)
    absent = np.setdiff1d(due, present, assume_unique=True)
    faults = absent[~(_within(absent, excused) | _within(absent, recorded))]
    inner = faults[(faults > present[0]) & (faults < present[-1])]

    # Each missing candle is told at the row that follows it, the ends at the first and the last row.
    after, counts = np.unique(present[np.searchsorted(present, inner)], return_counts=True)
    zero = np.zeros(len(slots), dtype=np.int64)
    for name in ("missing_before", "late_ms", "short_ms", "unfinished_ms"):
        table[name] = zero
    table.loc[first_rows[np.searchsorted(present, after)], "missing_before"] = counts
    last_row, closes = int(slots.argmax()), interval.close_ms(int(present[-1]))
    late = int(present[0] - faults[0]) if len(faults) and faults[0] < present[0] else 0
    short = int(next_slots(interval, faults[-1:])[0]) - closes if len(faults) and faults[-1] > present[-1] else 0
    unfinished = 0 if now is None else max(closes - to_ms(now), 0)
    table.loc[first_rows[0], "late_ms"] = late
    table.loc[last_row, ["short_ms", "unfinished_ms"]] = short, unfinished

    unlisted = merge_spans(hole.period.span_ms for hole in holes if hole.reason.startswith(UNLISTED))
    return _Found(
        gaps=tuple(Period.from_ms(*span) for span in subtract_spans(_spans(interval, absent), unlisted)),
        unexcused=[(hole, int(_within(absent, [hole.period.span_ms]).sum())) for hole in others],
        words={
            "no_gaps": _gap_words(counts, np.diff(present)),
            "covers_start": f"the first candle opens {late / _HOUR_MS:,.2f} h late",
            "covers_end": f"the last candle is stale: it closes {short / _HOUR_MS:,.2f} h before the end",
            "closed": f"the last candle closes {unfinished / 1000:,.0f} s from now",
        },
    )


def _within(times: NDArray[np.int64], spans: list[Span]) -> NDArray[np.bool_]:
    """Return which times lie in one of the sorted, disjoint half-open spans, shape (n,)."""
    if not spans:
        return np.zeros(len(times), dtype=np.bool_)
    starts, ends = np.asarray(spans, dtype=np.int64).T
    place = np.searchsorted(starts, times, side="right") - 1
    return np.asarray((place >= 0) & (times < ends[place]))


def _spans(interval: Interval, absent: NDArray[np.int64]) -> list[Span]:
    if not len(absent):
        return []
    ends = next_slots(interval, absent)
    breaks = np.flatnonzero(absent[1:] != ends[:-1])
    first, last = np.concatenate(([0], breaks + 1)), np.concatenate((breaks, [len(absent) - 1]))
    return [(int(absent[a]), int(ends[b])) for a, b in zip(first, last, strict=True)]


def _gap_words(counts: NDArray[np.int64], steps: NDArray[np.int64]) -> str:
    if not len(counts):
        return ""
    sizes, times = np.unique(steps, return_counts=True)
    common = sorted(zip(times.tolist(), sizes.tolist(), strict=True), reverse=True)[:5]
    told = ", ".join(f"{size / 60_000:g} min x {n:,}" for n, size in common)
    words = f"{int(counts.sum()):,} candles missing in {len(counts):,} gaps, the largest of {int(counts.max()):,}"
    several = len([n for n, _ in common if n > len(steps) * 0.05]) > 2
    return f"{words}; steps {told}" + (": several intervals in one table" if several else "")
