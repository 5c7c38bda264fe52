"""A market that closes: while it does nothing is traded, and its last price stands still."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bybit.rules.availability import Product, Service
from bybit.rules.candles import Category, PriceType, SeriesKey
from bybit.rules.errors import InvalidInput
from bybit.rules.funding import FundingRate
from bybit.rules.instruments import Instrument
from bybit.rules.margin import RiskTier
from bybit.rules.periods import Period
from bybit.sandbox.market import Gap, Market, Quote, Rows, Window
from bybit.sandbox.path import Tick

_PLANNED, _PRODUCTION = 1, 1


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A span in which derivatives and spot cannot be traded, announced ahead as the venue does."""

    period: Period
    title: str = "System maintenance"

    @property
    def gap(self) -> Gap:
        """What it leaves out of the candles: without trades there is no last price; mark and index go on."""
        return Gap(self.period, price=PriceType.LAST, are_whole=True)

    def row(self, now_ms: int) -> dict[str, Any]:
        """Return the announcement in the venue's wire form."""
        start, end = self.period.span_ms
        return {
            "id": str(uuid.UUID(int=start << 64 | end)),
            "title": self.title,
            "state": "scheduled" if now_ms < start else "ongoing" if now_ms < end else "completed",
            "begin": str(start),
            "end": str(end),
            "href": "",
            "serviceTypes": [Service.TRADING.value],
            "product": [Product.FUTURES.value, Product.SPOT.value],
            "uidSuffix": [],
            "maintainType": _PLANNED,
            "env": _PRODUCTION,
        }


class ClosedMarket:
    """``market`` with maintenances: it must have been made with their gaps.

    Between the last trade before and the first one after nothing is traded: there are no ticks, so that orders wait,
    no trigger fires and no position is liquidated. At the end the prices jump to where they have gone meanwhile.
    Funding goes on, at the mark price.
    """

    def __init__(self, market: Market, maintenances: Sequence[Maintenance]) -> None:
        self._market = market
        self._maintenances = tuple(sorted(maintenances, key=lambda each: each.period))
        for one, other in zip(self._maintenances, self._maintenances[1:], strict=False):
            if other.period.start < one.period.end:
                raise InvalidInput(f"maintenances {one.period} and {other.period} overlap: make them one")

    @property
    def assumptions(self) -> tuple[str, ...]:
        """One sentence for everything served that no record backs."""
        closed = ", ".join(str(each.period) for each in self._maintenances)
        return (*self._market.assumptions, f"the market is closed by request: {closed}")

    def maintenances(self) -> Sequence[Maintenance]:
        """Return when it is closed, oldest first."""
        return self._maintenances

    def instruments(self, category: Category, now_ms: int) -> Sequence[Instrument]:
        """Return the contracts of one category, sorted by symbol."""
        return self._market.instruments(category, now_ms)

    def candles(self, key: SeriesKey, window: Window, now_ms: int) -> Rows:
        """Return candles oldest first."""
        return self._market.candles(key, window, now_ms)

    def funding(self, category: Category, symbol: str, window: Window, now_ms: int) -> Sequence[FundingRate]:
        """Return settlements at or before ``now_ms``, oldest first."""
        return self._market.funding(category, symbol, window, now_ms)

    def risk_tiers(self, category: Category, symbol: str, now_ms: int) -> tuple[RiskTier, ...]:
        """Return the margin ladder of one symbol."""
        return self._market.risk_tiers(category, symbol, now_ms)

    def open_interest(self, category: Category, symbol: str, times_ms: Sequence[int]) -> Sequence[float]:
        """Return the open interest at each time."""
        return self._market.open_interest(category, symbol, times_ms)

    def quote(self, category: Category, symbol: str, now_ms: int) -> Quote | None:
        """Return the current market; while closed the last price is that of the last trade."""
        quote, tick = self._market.quote(category, symbol, now_ms), self.tick(category, symbol, now_ms)
        return quote if quote is None or tick is None else replace(quote, last_price=float(tick.last))

    def tick(self, category: Category, symbol: str, now_ms: int) -> Tick | None:
        """Return the current prices; while closed the last price is that of the last trade."""
        tick = self._market.tick(category, symbol, now_ms)
        closed = maintenance_at(self._maintenances, now_ms)
        if tick is None or closed is None:
            return tick
        before = self._market.tick(category, symbol, closed.period.start_ms - 1)
        return tick if before is None else replace(tick, last=before.last)

    def ticks(self, category: Category, symbol: str, after_ms: int, now_ms: int) -> Iterator[Tick]:
        """Give the prices that show in (after_ms, now_ms] while the market is open."""
        ends = [each.period.end_ms for each in self._maintenances if after_ms < each.period.end_ms <= now_ms]
        for tick in self._market.ticks(category, symbol, after_ms, now_ms):
            while ends and ends[0] <= tick.time_ms:
                yield from self._reopened(category, symbol, ends.pop(0))
            if maintenance_at(self._maintenances, tick.time_ms) is None:
                yield tick
        for end in ends:
            yield from self._reopened(category, symbol, end)

    def _reopened(self, category: Category, symbol: str, end_ms: int) -> Iterator[Tick]:
        # Another maintenance may follow at once.
        if maintenance_at(self._maintenances, end_ms) is None:
            tick = self._market.tick(category, symbol, end_ms)
            if tick is not None:
                yield replace(tick, jumps=True)


def maintenance_at(maintenances: Sequence[Maintenance], time_ms: int) -> Maintenance | None:
    """Return the one that holds at ``time_ms``, None while the market is open."""
    return next((each for each in maintenances if each.period.start_ms <= time_ms < each.period.end_ms), None)
