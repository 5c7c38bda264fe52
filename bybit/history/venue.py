"""What history needs of a client, and what it makes of the replies."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from bybit.rules.availability import Notice
from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.funding import FundingRate
from bybit.rules.instruments import Instrument
from bybit.rules.margin import RiskTier
from bybit.rules.periods import Span, utc
from bybit.store import Conflict, Rejected
from bybit.store.bulk import ROW, Rows
from bybit.store.candles import Columns


class RejectedRow(Protocol):
    """A row the client could not use."""

    @property
    def raw(self) -> tuple[str, ...]:
        """The fields as they came; the first is the open time."""
        ...

    @property
    def reason(self) -> str:
        """Why it is not data."""
        ...


class Contradiction(Protocol):
    """Rows of one reply that differ for one time; the client uses none of them."""

    @property
    def key(self) -> int | str:
        """The time, ms UTC."""
        ...

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The rows as they came."""
        ...


class Page(Protocol):
    """One page of candles and an account of every row that is not among them."""

    @property
    def candles(self) -> Columns:
        """The usable candles, oldest first."""
        ...

    @property
    def n_outside(self) -> int:
        """Rows outside the span asked for."""
        ...

    @property
    def n_duplicate(self) -> int:
        """Rows that repeated another exactly."""
        ...

    @property
    def conflicts(self) -> Sequence[Contradiction]:
        """Rows that contradicted another."""
        ...

    @property
    def rejected(self) -> Sequence[RejectedRow]:
        """Rows that are not data."""
        ...


class Venue(Protocol):
    """The market data of a venue, as ``BybitClient`` gives it; safe to call from many threads.

    Bounds are half-open ms UTC or aware datetimes. Retries of requests are the client's own business.
    """

    def server_time(self) -> datetime:
        """Return the venue's clock."""
        ...

    def get_kline_data(
        self,
        symbol: str,
        interval: Interval,
        start: int,
        end: int,
        *,
        category: Category = Category.LINEAR,
        price: PriceType = PriceType.LAST,
    ) -> Page:
        """Return one page: the candles that open in [start, end), at most 1000."""
        ...

    def get_funding_rate_history(
        self, symbol: str, start_time: int, end_time: int, *, category: Category = Category.LINEAR
    ) -> list[FundingRate]:
        """Return every settlement in [start_time, end_time), oldest first."""
        ...

    def get_instruments(self, category: Category, symbol: str | None = None) -> list[Instrument]:
        """Return the contract rules in force."""
        ...

    def get_risk_limits(self, category: Category, symbol: str | None = None) -> list[RiskTier]:
        """Return the margin ladders in force."""
        ...

    def get_system_status(self) -> Sequence[Notice]:
        """Return the maintenances that the venue announces or has had."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """What one question about candles brought, cut to the question and to the grid."""

    span: Span
    rows: Rows
    conflicts: tuple[Conflict, ...]
    rejected: tuple[Rejected, ...]
    # Times for which something came that could not be stored, with the word for it.
    spoiled: dict[int, str]
    n_outside: int
    n_duplicate: int


def ask(venue: Venue, key: SeriesKey, span: Span) -> Reply:
    """Ask once for the candles of ``key`` that open in ``span``."""
    page = venue.get_kline_data(key.symbol, key.interval, *span, category=key.category, price=key.price)
    found = page.candles
    rows = np.empty(len(found.open_time_ms), dtype=ROW)
    for name in ROW.names or ():
        rows[name] = getattr(found, name)
    times = rows["open_time_ms"]
    inside = (times >= span[0]) & (times < span[1])
    on_grid = np.isin(times, key.interval.open_times(*span))
    stray = rows[inside & ~on_grid]
    off_grid = f"open time is not on the grid of {key.interval.value} candles"
    conflicts = tuple(
        Conflict(utc(each.key), tuple(",".join(row) for row in each.rows))
        for each in page.conflicts
        if isinstance(each.key, int)
    )
    spoiled = {int(each.raw[0]): "rejected" for each in page.rejected if each.raw and each.raw[0].isdecimal()}
    spoiled |= {each.key: "conflicting" for each in page.conflicts if isinstance(each.key, int)}
    return Reply(
        span=span,
        rows=rows[inside & on_grid],
        conflicts=conflicts,
        rejected=(
            *(Rejected(",".join(each.raw), each.reason) for each in page.rejected),
            *(Rejected(",".join(map(str, row)), off_grid) for row in stray.tolist()),
        ),
        spoiled=spoiled,
        n_outside=page.n_outside + int((~inside).sum()),
        n_duplicate=page.n_duplicate,
    )
