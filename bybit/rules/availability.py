"""When a contract can be traded: between its listing and its end, except while the venue is closed.

A candle that is absent for one of these reasons was never made: nothing is missing, and nothing can have been filled.
Any other absence is a fault of the data until somebody explains it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final, Protocol

from bybit.rules.candles import Category
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
        start, end = self.period.span_ms
        return start // _MINUTE_MS * _MINUTE_MS <= open_ms and close_ms <= -(-end // _MINUTE_MS) * _MINUTE_MS

    @property
    def evidence(self) -> dict[str, str | int]:
        """What the venue said, for the record."""
        start, end = (utc(moment).isoformat() for moment in self.period.span_ms)
        return {"notice": self.notice_id, "title": self.title, "begin": start, "end": end}


def is_closed(reason: str) -> bool:
    """Return whether a hole of this reason is a time in which nobody could trade, and so no fault."""
    return reason.startswith(CLOSED)
