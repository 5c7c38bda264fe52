"""Everything validation raises.

PerpflowError
├── QualityError              data that failed its checks; carries the report      not retryable
├── NotComputable             a figure a gate needs is missing, NaN or impossible  not retryable
└── ApprovalRefused           a promotion that may not happen as asked             not retryable
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bybit.rules.errors import PerpflowError

if TYPE_CHECKING:
    from validation.reports import QualityReport


class QualityError(PerpflowError):
    """Data failed its checks and must not be used; ``report`` says which and shows rows."""

    def __init__(self, report: QualityReport) -> None:
        self.report = report
        lines = [f"  {check.name}: {check.observed} (expected {check.expected})" for check in report.blocking]
        super().__init__(
            f"{report.subject} failed {len(lines)} of {len(report.checks)} data checks; "
            "fetch the range again or name an allowed exception:\n" + "\n".join(lines)
        )


class NotComputable(PerpflowError):
    """A figure that a gate needs is missing, not a number, or impossible: the gate says no."""


class ApprovalRefused(PerpflowError):
    """A promotion or rejection that may not happen as asked; the stage stays as it was."""
