"""What candles and funding tables have in common on their way into a suite."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period, to_ms
from validation.reports import MAX_ROWS, CheckResult, QualityReport


class HoleLike(Protocol):
    """A recorded span without data."""

    @property
    def period(self) -> Period:
        """The span."""
        ...

    @property
    def reason(self) -> str:
        """Why nothing is there."""
        ...


def times_ms(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Return the index as ms UTC, shape (n,).

    Raises
    ------
    InvalidInput
        When it is not a time index, has no zone, or holds a time that cannot be.
    """
    index = frame.index
    if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
        raise InvalidInput(f"the index is {index.dtype}, expected aware UTC times such as datetime64[ms, UTC]")
    if index.hasnans:
        raise InvalidInput("the index holds a time that is missing")
    times = np.asarray(index.as_unit("ms").asi8, dtype=np.int64)
    for extreme in (times.min(), times.max()) if len(times) else ():
        to_ms(int(extreme))
    return times


def unusable(frame: pd.DataFrame, columns: Sequence[str]) -> CheckResult | None:
    """Return why a table cannot even be looked at: no rows, a column missing, or text for figures; else None."""
    if missing := [name for name in columns if name not in frame]:
        return failed_check("columns_present", f"no column {', '.join(missing)}", f"columns {', '.join(columns)}")
    if text := [name for name in columns if not pd.api.types.is_numeric_dtype(frame[name].dtype)]:
        found = ", ".join(f"{name} is {frame[name].dtype}" for name in text)
        return failed_check("columns_numeric", found, "figures, not text")
    if not len(frame):
        return failed_check("rows_present", "0 rows", "at least one row: nothing checked is not a pass")
    return None


def failed_check(name: str, observed: str, expected: str, n_failing: int = 0) -> CheckResult:
    """Return a blocking check that failed without a row to show."""
    return CheckResult(name, False, "block", observed, expected, [], n_failing)


def report(subject: str, checks: Iterable[CheckResult], n_rows: int, gaps: tuple[Period, ...] = ()) -> QualityReport:
    """Return the report of these checks; it passes when there is at least one and none blocks."""
    checks = tuple(checks)
    passed = bool(checks) and all(check.passed or check.severity == "warn" for check in checks)
    return QualityReport(subject, passed, checks, n_rows, gaps)


def add_conflicts(checks: Iterable[CheckResult], n_recorded: int) -> list[CheckResult]:
    """Return the checks, ``no_conflicts`` failed when contradictions were recorded while fetching."""
    found = f"{n_recorded:,} contradictions recorded while fetching"
    return [
        replace(
            check,
            passed=False,
            observed=found if check.passed else f"{check.observed}; {found}",
            n_failing=check.n_failing + n_recorded,
        )
        if n_recorded and check.name == "no_conflicts"
        else check
        for check in checks
    ]


def hole_check(holes: Iterable[tuple[HoleLike, int]], what: str, allow_gaps: bool) -> CheckResult:
    """Return whether recorded holes without an excuse take anything away; each comes with how much."""
    found = [(hole, n) for hole, n in holes if n]
    n_missing = sum(n for _, n in found)
    words = f"{n_missing:,} {what} in {len(found):,} recorded holes" if found else "no such hole"
    rows = [{"period": str(hole.period), "reason": hole.reason, what: n} for hole, n in found[:MAX_ROWS]]
    return CheckResult(
        "no_empty_holes",
        not found,
        "warn" if allow_gaps else "block",
        words,
        "no hole that was recorded without an excuse",
        rows,
        n_missing,
    )
