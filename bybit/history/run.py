"""One ingest's idea of the venue's time."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from bybit.rules.periods import to_ms


@dataclass(slots=True)
class Run:
    """The venue's time, asked once, then carried on by a clock that cannot jump."""

    asked: datetime
    started: float
    requests: int = 1

    @property
    def now_ms(self) -> int:
        """When the venue was asked, ms UTC."""
        return to_ms(to_ms(self.asked))

    @property
    def seconds(self) -> float:
        """How long the ingest has taken so far."""
        return time.monotonic() - self.started

    def now(self) -> datetime:
        """Return the venue's time as of this instant."""
        return self.asked + timedelta(seconds=self.seconds)
