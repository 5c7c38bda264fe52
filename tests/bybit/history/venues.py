"""A venue in memory that can be told to misbehave."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import sleep

import numpy as np

from bybit.client.errors import NoResponse
from bybit.client.market import SystemNotice
from bybit.client.replies import CandleColumns, CandlePage, Conflict, Listing, RejectedRow
from bybit.rules.availability import Notice
from bybit.rules.candles import Category, Interval, PriceType
from bybit.rules.errors import InvalidInput
from bybit.rules.funding import FundingRate
from bybit.rules.instruments import Instrument
from bybit.rules.margin import RiskTier
from bybit.rules.periods import to_ms
from tests.bybit.store.examples import START_MS, instrument, ladder


def notice(begin: datetime | None, end: datetime | None, **more: object) -> SystemNotice:
    """Trading of futures is or was interrupted in [begin, end)."""
    told = {
        "notice_id": "n1",
        "title": "upgrade",
        "state": "completed",
        "begin": begin,
        "end": end,
        "services": (1, 4),
        "products": (1,),
        "uid_suffixes": (),
        "is_demo": False,
        "raw": {},
    }
    return SystemNotice(**(told | more))


@dataclass
class FakeVenue:
    """Serves every candle of any grid except the open times in ``lost``; values follow from the open time.

    ``shy`` maps open times to how many replies leave them out before they show up. ``spoil`` may change a page before
    it is handed out.
    """

    now: datetime
    lost: set[int] = field(default_factory=set)
    shy: dict[int, int] = field(default_factory=dict)
    listed: Instrument = field(default_factory=instrument)
    funding: Sequence[FundingRate] = ()
    forgotten: dict[int, int] = field(default_factory=dict)
    spoil: Callable[[CandlePage], CandlePage] | None = None
    fail_after: int | None = None
    latency_s: float = 0.0
    notices: Sequence[Notice] = ()
    n_status: int = 0
    asked: list[tuple[int, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def server_time(self) -> datetime:
        return self.now

    def get_kline_data(
        self,
        symbol: str,
        interval: Interval,
        start: int,
        end: int,
        *,
        category: Category = Category.LINEAR,
        price: PriceType = PriceType.LAST,
    ) -> CandlePage:
        times = interval.open_times(start, end)
        if len(times) > 1000:
            raise InvalidInput("one page holds 1000 candles")
        with self.lock:
            self.asked.append((start, end))
            if self.fail_after is not None and len(self.asked) > self.fail_after:
                raise NoResponse("the line is dead")
            hidden = self.lost | {time for time, n in self.shy.items() if n > 0}
            for time in times.tolist():
                if self.shy.get(time, 0) > 0:
                    self.shy[time] -= 1
        if self.latency_s:
            sleep(self.latency_s)
        # The candle that is still forming is served too, as the venue does.
        times = np.asarray([t for t in times.tolist() if t not in hidden and t <= to_ms(self.now)], dtype=np.int64)
        page = CandlePage(columns_at(times, price))
        return page if self.spoil is None else self.spoil(page)

    def get_funding_rate_history(
        self, symbol: str, start_time: int, end_time: int, *, category: Category = Category.LINEAR
    ) -> list[FundingRate]:
        with self.lock:
            self.asked.append((start_time, end_time))
            if self.fail_after is not None and len(self.asked) > self.fail_after:
                raise NoResponse("the line is dead")
            found = []
            for rate in self.funding:
                time = to_ms(to_ms(rate.funding_time))
                if not start_time <= time < end_time or rate.funding_time > self.now:
                    continue
                if self.forgotten.get(time, 0) > 0:
                    self.forgotten[time] -= 1
                else:
                    found.append(rate)
        return Listing(found)

    def get_instruments(self, category: Category, symbol: str | None = None) -> list[Instrument]:
        return [self.listed]

    def get_system_status(self) -> Sequence[Notice]:
        self.n_status += 1
        return self.notices

    def get_risk_limits(self, category: Category, symbol: str | None = None) -> list[RiskTier]:
        return ladder(symbol or self.listed.symbol)


def columns_at(times: np.ndarray, price: PriceType = PriceType.LAST) -> CandleColumns:
    base = 100.0 + np.abs(times - START_MS) / 600_000
    volume = base * 2 if price is PriceType.LAST else np.full(len(times), np.nan)
    return CandleColumns(times, base, base + 1, base - 1, base + 0.5, volume, volume * base)


def contradict(time: int) -> Callable[[CandlePage], CandlePage]:
    """Spoil every page so that it holds two versions of the candle at ``time``."""

    def spoil(page: CandlePage) -> CandlePage:
        kept = page.candles.open_time_ms != time
        if kept.all():
            return page
        rows = ((str(time), "1", "1", "1", "1", "1", "1"), (str(time), "2", "2", "2", "2", "2", "2"))
        return CandlePage(_only(page.candles, kept), conflicts=(Conflict(time, rows),))

    return spoil


def reject(time: int) -> Callable[[CandlePage], CandlePage]:
    """Spoil every page so that its candle at ``time`` is not a number."""

    def spoil(page: CandlePage) -> CandlePage:
        kept = page.candles.open_time_ms != time
        if kept.all():
            return page
        row = RejectedRow((str(time), "NaN", "1", "1", "1", "1", "1"), "open 'NaN' is not a number")
        return CandlePage(_only(page.candles, kept), rejected=(row,))

    return spoil


def _only(columns: CandleColumns, kept: np.ndarray) -> CandleColumns:
    names = ("open_time_ms", "open", "high", "low", "close", "volume", "turnover")
    return CandleColumns(*(getattr(columns, name)[kept] for name in names))
