"""Are these funding rates true? What the suite looks at, and the door ``check_funding``."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bybit.rules.availability import is_closed
from bybit.rules.candles import Category, check_symbol
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period, to_ms
from validation.expectations import run_suite
from validation.reports import QualityReport
from validation.suites import FundingLimits, funding_suite
from validation.tables import HoleLike, add_conflicts, hole_check, report, times_ms, unusable

_HOUR_MS: Final = 3_600_000
# Settlements were seen late by milliseconds; a minute is far from the next hour either way.
_TOLERANCE_MS: Final = 60_000
# The venue publishes a settlement some seconds after it happened.
_PUBLISHED_AFTER_MS: Final = 300_000
_USUAL_H: Final = (1, 2, 4, 8)
_LONGEST_H: Final = 8
# An interval that is real lasts; a longer step that comes once or twice is settlements that are missing.
_LASTS: Final = 3


def check_funding(
    frame: pd.DataFrame,
    category: Category,
    symbol: str,
    period: Period,
    *,
    holes: Iterable[HoleLike] = (),
    conflicts: int = 0,
    allow_gaps: bool = False,
    funding_interval: timedelta | None = None,
    now: datetime | None = None,
    limits: FundingLimits | None = None,
) -> QualityReport:
    """Check settlements against everything known of them; a missing one is never a zero.

    The interval is read from the settlements themselves. A step longer than those around it must last three times
    before it counts as a change of interval; at the edge of a period that takes one day more of data to tell.

    Parameters
    ----------
    frame : DataFrame
        Index funding_time (aware UTC), column funding_rate (fraction, + longs pay shorts).
    period : Period
        What the settlements must cover, to within one interval of both ends.
    holes, conflicts, allow_gaps
        As in ``check_candles``.
    funding_interval : timedelta, optional
        The instrument's interval now: lets a change to it stand that has not lasted yet.
    now : datetime, optional
        Asks for no settlement that could not have been published by then.
    limits : FundingLimits, optional
        Give the symbol's own cap where it is known for the whole period: caps change.

    Raises
    ------
    InvalidInput
        For a naive index or a ``conflicts`` below 0.
    """
    subject = f"{category}/{check_symbol(symbol)}/funding {period}"
    if conflicts < 0:
        raise InvalidInput(f"the number of conflicts is {conflicts}, expected 0 or more")
    if reason := unusable(frame, ("funding_rate",)):
        return report(subject, [reason], len(frame), (period,))
    holes = list(holes)
    others = [hole for hole in holes if not is_closed(hole.reason)]
    # A hole that nothing explains excuses nothing at an end of the period either, unless gaps are allowed by name.
    excused = holes if allow_gaps else [hole for hole in holes if is_closed(hole.reason)]
    table = _table(frame, period)
    settled, rows = np.unique(table["funding_time_ms"].to_numpy(), return_index=True)
    steps = _steps_h(settled, holes)
    missing = _lone(steps, funding_interval) | (steps > _LONGEST_H)
    _tell(table, rows, settled, steps, _lone(steps, funding_interval), _due(period, excused, now))

    suite = funding_suite(limits or FundingLimits())
    checks = add_conflicts(run_suite(table, suite, time="funding_time_ms"), conflicts)
    crossed = [(hole, _n_crossed(settled, hole)) for hole in others]
    gaps = [Period.from_ms(int(settled[i]), int(settled[i + 1])) for i in np.flatnonzero(missing)]
    return report(subject, [*checks, hole_check(crossed, "steps", allow_gaps)], len(frame), tuple(gaps))


def _table(frame: pd.DataFrame, period: Period) -> pd.DataFrame:
    times = times_ms(frame)
    start, end = period.span_ms
    table = pd.DataFrame({"funding_time_ms": times, "funding_rate": frame["funding_rate"].to_numpy(dtype=np.float64)})
    repeated = table["funding_time_ms"].duplicated(keep=False)
    table["conflicting"] = (repeated & ~table.duplicated(keep=False)).astype(np.int64)
    table["step_ms"] = np.diff(times, prepend=times[:1])
    table["outside_ms"] = np.maximum(start - times, 0) + np.maximum(times - end + 1, 0)
    return table


def _steps_h(settled: NDArray[np.int64], holes: Iterable[HoleLike]) -> NDArray[np.float64]:
    """Return the hours from each settlement to the next, shape (n - 1,); NaN across a recorded hole."""
    steps = np.diff(settled) / _HOUR_MS
    near = np.abs(steps - np.rint(steps)) * _HOUR_MS <= _TOLERANCE_MS
    steps = np.where(near, np.rint(steps), steps)
    for hole in holes:
        start, end = hole.period.span_ms
        steps[(settled[:-1] < end) & (settled[1:] > start)] = np.nan
    return steps


def _n_crossed(settled: NDArray[np.int64], hole: HoleLike) -> int:
    start, end = hole.period.span_ms
    return int(((settled[:-1] < end) & (settled[1:] > start)).sum())


def _lone(steps: NDArray[np.float64], funding_interval: timedelta | None) -> NDArray[np.bool_]:
    """Return which steps are longer than those before and after without lasting, shape (n - 1,)."""
    lone = np.zeros(len(steps), dtype=np.bool_)
    known = np.flatnonzero(np.isfinite(steps))
    values = steps[known]
    if not len(values):
        return lone
    starts = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
    ends = np.append(starts[1:], len(values))
    plateau = values[starts]
    for place, (first, last) in enumerate(zip(starts, ends, strict=True)):
        around = [*plateau[max(place - 1, 0) : place], *plateau[place + 1 : place + 2]]
        at_end = place == len(plateau) - 1 and funding_interval == timedelta(hours=float(plateau[place]))
        if around and all(plateau[place] > value for value in around) and last - first < _LASTS and not at_end:
            lone[known[first:last]] = True
    return lone


def _due(period: Period, holes: Iterable[HoleLike], now: datetime | None) -> tuple[int, int]:
    """Return the span (ms) in which settlements were due: the period without holes at its ends."""
    start, end = period.span_ms
    if now is not None:
        end = min(end, to_ms(now) - _PUBLISHED_AFTER_MS)
    for hole in sorted(holes, key=lambda hole: hole.period.start):
        if hole.period.start_ms <= start:
            start = max(start, hole.period.end_ms)
    for hole in sorted(holes, key=lambda hole: hole.period.end, reverse=True):
        if hole.period.end_ms >= end:
            end = min(end, hole.period.start_ms)
    return start, end


def _tell(
    table: pd.DataFrame,
    rows: NDArray[np.intp],
    settled: NDArray[np.int64],
    steps: NDArray[np.float64],
    lone: NDArray[np.bool_],
    due: tuple[int, int],
) -> None:
    """Add to ``table`` what the steps say, each at the settlement that ends it, the edges at first and last row."""
    for name in ("off_hour_ms", "lone_step", "odd_step", "late_ms", "short_ms"):
        table[name] = np.zeros(len(table), dtype=np.int64)
    table["step_h"] = np.nan
    finite = np.isfinite(steps)
    whole = np.where(finite, steps, 1.0)
    table.loc[rows[1:], "step_h"] = steps
    table.loc[rows[1:], "lone_step"] = lone.astype(np.int64)
    table.loc[rows[1:], "off_hour_ms"] = np.rint(np.abs(whole - np.rint(whole)) * _HOUR_MS).astype(np.int64)
    table.loc[rows[1:], "odd_step"] = (~np.isin(whole, _USUAL_H) & (whole <= _LONGEST_H)).astype(np.int64)

    known = steps[finite]
    first_h, last_h = (known[0], known[-1]) if len(known) else (_LONGEST_H, _LONGEST_H)
    late, short = int(settled[0]) - due[0], due[1] - int(settled[-1])
    if late >= min(first_h, _LONGEST_H) * _HOUR_MS:
        table.loc[rows[0], "late_ms"] = late
    if short > min(last_h, _LONGEST_H) * _HOUR_MS + _TOLERANCE_MS:
        table.loc[rows[-1], "short_ms"] = short
