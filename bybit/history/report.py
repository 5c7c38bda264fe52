"""What an ingest did and what it left undone."""

from dataclasses import dataclass
from datetime import datetime

from bybit.rules.periods import Period
from bybit.store import Hole
from bybit.store.series import AnyKey


@dataclass(frozen=True, slots=True)
class IngestReport:
    """One ingest of one series.

    Parameters
    ----------
    key : SeriesKey or FundingKey
        The series.
    period : Period or None
        What was asked for, moved outward to whole candles and cut at ``clipped_at``; None when nothing is left.
    rows_written : int
        Rows new or changed by this call.
    rows_total : int
        Rows now stored in ``period``.
    requests : int
        Questions put to the venue by this call, its client's own retries not counted.
    seconds : float
        Wall time.
    missing : tuple of Period
        Parts of ``period`` still neither stored nor explained.
    holes : tuple of Hole
        Explained holes in ``period``.
    conflicts, rejected : int
        Contradictory and unusable rows met by this call; they are kept in the store.
    n_outside, n_duplicate : int
        Rows outside what was asked, and exact repetitions; dropped.
    clipped_at : datetime or None
        Where the period was cut because what comes later is not finished; None when it was not.
    """

    key: AnyKey
    period: Period | None
    rows_written: int
    rows_total: int
    requests: int
    seconds: float
    missing: tuple[Period, ...]
    holes: tuple[Hole, ...]
    conflicts: int
    rejected: int
    n_outside: int = 0
    n_duplicate: int = 0
    clipped_at: datetime | None = None

    @property
    def flagged(self) -> bool:
        """Whether a person should look: the venue contradicted itself, sent rubbish, or left something out."""
        return bool(self.conflicts or self.rejected or self.missing)
