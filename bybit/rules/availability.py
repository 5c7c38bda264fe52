"""When a contract can be traded: between its listing and its end, except while the venue is closed.

A candle that is absent for one of these reasons was never made: nothing is missing, and nothing can have been filled.
Any other absence is a fault of the data until somebody explains it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from bybit.rules.candles import Category, Interval
from bybit.rules.periods import Period, utc

BEFORE_LISTING: Final = "before listing"
AFTER_DELISTING: Final = "after delisting"
MAINTENANCE: Final = "maintenance"

UNLISTED: Final = (BEFORE_LISTING, AFTER_DELISTING)
"""Why there is no contract."""

CLOSED: Final = (*UNLISTED, MAINTENANCE)
"""Why nobody could trade; the reasons of every other hole are faults."""

_MINUTE_MS: Final = 60_000


class Service(IntEnum):
    """What a maintenance interrupts, by the venue's number."""

    TRADING = 1
    TRADING_BY_HTTP = 2
    TRADING_BY_WEBSOCKET = 3
    PRIVATE_STREAMS = 4
    MARKET_DATA = 5


class Product(IntEnum):
    """Whose maintenance it is, by the venue's number."""

    FUTURES = 1
    SPOT = 2
    OPTION = 3
    SPREAD = 4


_PRODUCTS: Final = {
    Category.LINEAR: Product.FUTURES,
    Category.INVERSE: Product.FUTURES,
    Category.SPOT: Product.SPOT,
}


class Notice(Protocol):
    """What the venue says of one maintenance."""

    @property
    def notice_id(self) -> str:
        """Its name for it."""
        ...

    @property
    def title(self) -> str:
        """Its words for it."""
        ...

    @property
    def state(self) -> str:
        """One of scheduled, ongoing, completed, canceled."""
        ...

    @property
    def begin(self) -> datetime | None:
        """When it begins, aware UTC."""
        ...

    @property
    def end(self) -> datetime | None:
        """When it ends: as expected at first, as it was once it is over."""
        ...

    @property
    def services(self) -> Sequence[int]:
        """What is interrupted, numbers of ``Service``."""
        ...

    @property
    def products(self) -> Sequence[int]:
        """For whom, numbers of ``Product``."""
        ...

    @property
    def uid_suffixes(self) -> Sequence[int]:
        """For which accounts alone; empty for all."""
        ...

    @property
    def is_demo(self) -> bool:
        """Whether it concerns demo trading only."""
        ...


@dataclass(frozen=True, slots=True)
class Closure:
    """A span in which the venue was closed to everybody for some products."""

    notice_id: str
    title: str
    period: Period
    products: frozenset[int]

    @classmethod
    def of(cls, notice: Notice, now: datetime) -> "Closure | None":
        """Return the closure that ``notice`` amounts to by ``now``, None when it is none.

        Only the trading service closes the market: while orders over the API or the streams are interrupted, others
        trade on, and so they do when some accounts alone are concerned. A notice without an end that is under way
        holds until ``now``; one that was called off, one without a beginning, and one that lies ahead closes nothing.
        """
        if notice.state == "canceled" or notice.begin is None or notice.begin >= now:
            return None
        if Service.TRADING not in notice.services or notice.uid_suffixes or notice.is_demo:
            return None
        end = now if notice.end is None else min(notice.end, now)
        if notice.begin >= end:
            return None
        return cls(notice.notice_id, notice.title, Period(notice.begin, end), frozenset(notice.products))

    def closes(self, category: Category) -> bool:
        """Return whether contracts of ``category`` could not be traded."""
        return _PRODUCTS[category] in self.products

    def explains(self, open_ms: int, close_ms: int) -> bool:
        """Return whether a candle of [open_ms, close_ms) can be absent because of this closure.

        It must lie inside as a whole: a longer one has seen trades before or after. Announcements are taken to the
        whole minute, outwards.
        """
        start, end = self.whole_minutes.span_ms
        return start <= open_ms and close_ms <= end

    @property
    def whole_minutes(self) -> Period:
        """The span to the whole minute, outwards: where candles may be absent."""
        start, end = self.period.span_ms
        return Period.from_ms(start // _MINUTE_MS * _MINUTE_MS, -(-end // _MINUTE_MS) * _MINUTE_MS)

    @property
    def evidence(self) -> dict[str, str | int]:
        """What the venue said, for the record."""
        start, end = (utc(moment).isoformat() for moment in self.period.span_ms)
        return {"notice": self.notice_id, "title": self.title, "begin": start, "end": end}


def untraded(
    closures: Iterable[Closure], interval: Interval, open_ms: NDArray[np.int64], volume: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which candles only stand for a time in which nobody could trade, shape (n_candles,).

    The venue writes a flat candle without volume for a minute without a trade, recorded ones show; in a closure it is
    no market. One with volume was traded, whatever was announced.
    """
    found = np.zeros(len(open_ms), dtype=np.bool_)
    for closure in closures:
        start, end = closure.whole_minutes.span_ms
        for place in np.flatnonzero((open_ms >= start) & (open_ms < end) & (volume == 0)):
            found[place] = closure.explains(int(open_ms[place]), interval.close_ms(int(open_ms[place])))
    return found


def is_closed(reason: str) -> bool:
    """Return whether a hole of this reason is a time in which nobody could trade, and so no fault."""
    return reason.startswith(CLOSED)
