"""What the endpoints ask of a market, whichever way it knows the answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.funding import FundingRate
from bybit.rules.instruments import Instrument
from bybit.rules.margin import RiskTier
from bybit.rules.periods import Period

if TYPE_CHECKING:
    from bybit.sandbox.closed import Maintenance
    from bybit.sandbox.path import Tick

Rows = NDArray[np.float64]
"""Candles oldest first, shape (n_candles, 7): open time in ms, open, high, low, close, volume, turnover.

Mark, index and premium candles have no volume: shape (n_candles, 5). Milliseconds stay exact in float64.
"""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a list that a request asks for; both bounds are INCLUSIVE, ms UTC, as on the venue.

    With ``first_ms`` alone the rows run forward from it (the oldest ``limit``); otherwise the newest ``limit`` rows
    at or before ``last_ms`` are kept.
    """

    first_ms: int | None
    last_ms: int | None
    limit: int

    @property
    def forward(self) -> bool:
        """Whether the oldest rows are kept rather than the newest."""
        return self.first_ms is not None and self.last_ms is None


@dataclass(frozen=True, slots=True)
class Gap:
    """Minutes that the venue lost: no candle of ``symbol`` (None: of any) that opens in ``period`` is served.

    With ``price`` only candles of that price. Those that ``are_whole`` are lost only when they lie inside altogether:
    one that reaches further was traded outside.
    """

    period: Period
    symbol: str | None = None
    price: PriceType | None = None
    are_whole: bool = False

    def applies_to(self, symbol: str, price: PriceType) -> bool:
        """Return whether candles of ``symbol`` at ``price`` are missing in this gap."""
        return self.symbol in (None, symbol) and self.price in (None, price)

    def hides(self, open_ms: int, interval: Interval) -> bool:
        """Return whether the candle that opens at ``open_ms`` is missing."""
        start, end = self.period.span_ms
        return start <= open_ms < end and not (self.are_whole and interval.close_ms(open_ms) > end)


@dataclass(frozen=True, slots=True)
class Quote:
    """The current market of one symbol; prices in quote coin, None where nothing is known."""

    time_ms: int
    last_price: float
    mark_price: float | None
    index_price: float | None
    price_1h_ago: float | None
    price_24h_ago: float | None
    high_24h: float
    low_24h: float
    volume_24h: float
    turnover_24h: float
    funding_rate: str | None
    """Estimate for the settlement at ``next_funding``, a fraction, as text."""
    next_funding: datetime | None
    funding_interval_hours: int | None


class Market(Protocol):
    """A market as seen at an instant: every method takes the clock's ``now_ms`` and tells nothing later than it."""

    @property
    def assumptions(self) -> tuple[str, ...]:
        """One sentence for everything served that no record backs."""
        ...

    def instruments(self, category: Category, now_ms: int) -> Sequence[Instrument]:
        """Return the contracts of one category, sorted by symbol."""
        ...

    def candles(self, key: SeriesKey, window: Window, now_ms: int) -> Rows:
        """Return candles oldest first; the last one may still be forming, its close the last price so far."""
        ...

    def funding(self, category: Category, symbol: str, window: Window, now_ms: int) -> Sequence[FundingRate]:
        """Return settlements at or before ``now_ms``, oldest first."""
        ...

    def risk_tiers(self, category: Category, symbol: str, now_ms: int) -> tuple[RiskTier, ...]:
        """Return the margin ladder of one symbol, lowest tier first; empty where the contract has none."""
        ...

    def quote(self, category: Category, symbol: str, now_ms: int) -> Quote | None:
        """Return the current market, or None before the first price."""
        ...

    def tick(self, category: Category, symbol: str, now_ms: int) -> "Tick | None":
        """Return the current prices, those of ``quote`` without its statistics; None before the first."""
        ...

    def ticks(self, category: Category, symbol: str, after_ms: int, now_ms: int) -> "Iterator[Tick]":
        """Give the prices that show in (after_ms, now_ms], in order, extremes included, each as it shows."""
        ...

    def maintenances(self) -> "Sequence[Maintenance]":
        """Return when the market is closed, oldest first, whether over or still to come."""
        ...

    def open_interest(self, category: Category, symbol: str, times_ms: Sequence[int]) -> Sequence[float]:
        """Return the open interest in base coin at each time; empty where nothing is known of it."""
        ...


def n_columns(price: PriceType) -> int:
    """Return the width of ``Rows`` for a price type: 7 with volume and turnover, else 5."""
    return 7 if price is PriceType.LAST else 5


def no_rows(price: PriceType) -> Rows:
    """Return ``Rows`` without a candle."""
    return np.empty((0, n_columns(price)))


def cut(rows: Rows, window: Window) -> Rows:
    """Return the rows of ``window`` from rows sorted by open time; equal times are all kept."""
    times = rows[:, 0]
    start = 0 if window.first_ms is None else int(np.searchsorted(times, window.first_ms, side="left"))
    stop = len(rows) if window.last_ms is None else int(np.searchsorted(times, window.last_ms, side="right"))
    if window.forward:
        return rows[start : min(stop, start + window.limit)]
    return rows[max(start, stop - window.limit) : stop]
