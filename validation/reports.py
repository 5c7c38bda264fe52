"""What a data check found, in a form that travels: to the log, the store and the reader."""

import math
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal

from bybit.rules.periods import Period
from validation.errors import QualityError

MAX_ROWS: Final = 10
"""Failing rows that a report shows; the count beside them is complete."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check. ``severity`` "block" refuses the data, "warn" only shows evidence.

    ``failing_rows`` holds at most ``MAX_ROWS`` rows with their real values; ``n_failing`` counts all of them.
    """

    name: str
    passed: bool
    severity: Literal["block", "warn"]
    observed: str
    expected: str
    failing_rows: list[dict[str, Any]]
    n_failing: int


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Every check of one table. ``gaps`` are the spans without a row that nothing explains."""

    subject: str
    passed: bool
    checks: tuple[CheckResult, ...]
    n_rows: int
    gaps: tuple[Period, ...]

    @property
    def blocking(self) -> tuple[CheckResult, ...]:
        """The failed checks that refuse the data."""
        return tuple(check for check in self.checks if not check.passed and check.severity == "block")

    @property
    def warnings(self) -> tuple[CheckResult, ...]:
        """The failed checks that only warn."""
        return tuple(check for check in self.checks if not check.passed and check.severity == "warn")

    def require(self) -> "QualityReport":
        """Return the report itself; raise ``QualityError`` with the reasons when the data did not pass."""
        if not self.passed:
            raise QualityError(self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types: times as ISO text, figures that are not numbers as text."""
        plain = _plain(asdict(self) | {"gaps": [str(gap) for gap in self.gaps]})
        assert isinstance(plain, dict)
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
