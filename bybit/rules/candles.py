"""Candles and the words that name a series of them."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum

import numpy as np
from numpy.typing import NDArray

from bybit.rules.errors import InvalidInput

_SYMBOL = re.compile(r"[A-Z0-9]{2,30}(-[A-Z0-9]{2,12}){0,3}")
_DAY_MS = 86_400_000
# 1970-01-05 was the first Monday: weeks start there.
_MONDAY_MS = 4 * _DAY_MS


class Category(StrEnum):
    """Product type, as Bybit names it."""

    SPOT = "spot"
    LINEAR = "linear"
    INVERSE = "inverse"


class PriceType(StrEnum):
    """Which price a candle describes; liquidation uses MARK, never LAST."""

    LAST = "last"
    MARK = "mark"
    INDEX = "index"
    PREMIUM = "premium"


class Interval(Enum):
    """Length of one candle. The value is our own text, ``wire`` is Bybit's."""

    MINUTE_1 = "1m"
    MINUTE_3 = "3m"
    MINUTE_5 = "5m"
    MINUTE_15 = "15m"
    MINUTE_30 = "30m"
    HOUR_1 = "1h"
    HOUR_2 = "2h"
    HOUR_4 = "4h"
    HOUR_6 = "6h"
    HOUR_12 = "12h"
    DAY_1 = "1d"
    WEEK_1 = "1w"
    MONTH_1 = "1M"

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Return the interval written as ours ("15m", "1h") or as Bybit's ("15", "60", "D").

        Raises
        ------
        InvalidInput
            When the venue has no such interval (2m and 8h, for example).
        """
        for interval in cls:
            if text in (interval.value, interval.wire):
                return interval
        allowed = ", ".join(interval.value for interval in cls)
        raise InvalidInput(f"interval {text!r} is not one that Bybit serves: use one of {allowed}")

    def __lt__(self, other: "Interval") -> bool:
        """Return whether this interval is shorter."""
        order = list(Interval)
        return order.index(self) < order.index(other)

    @property
    def wire(self) -> str:
        """Bybit's name of the interval: minutes as a number, or D, W, M."""
        return _WIRE[self]

    @property
    def ms(self) -> int:
        """Length in milliseconds; a month has none and raises ``InvalidInput``."""
        if self is Interval.MONTH_1:
            raise InvalidInput("a month has no fixed length: use open_times() or close_ms()")
        return _LENGTH_MS[self]

    @property
    def length(self) -> timedelta:
        """Length as a timedelta; a month has none and raises ``InvalidInput``."""
        return timedelta(milliseconds=self.ms)

    def floor_ms(self, time_ms: int) -> int:
        """Return the open time (ms UTC) of the candle that covers ``time_ms``. Weeks start on Monday."""
        if self is Interval.MONTH_1:
            day = datetime.fromtimestamp(time_ms / 1000, UTC)
            return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp() * 1000)
        offset = _MONDAY_MS if self is Interval.WEEK_1 else 0
        return (time_ms - offset) // self.ms * self.ms + offset

    def close_ms(self, open_ms: int) -> int:
        """Return the exclusive end (ms UTC) of the candle that opens at ``open_ms``."""
        if self is Interval.MONTH_1:
            return self.floor_ms(open_ms + 32 * _DAY_MS)
        return open_ms + self.ms

    def open_times(self, start_ms: int, end_ms: int) -> NDArray[np.int64]:
        """Return every open time t on the venue's grid with start_ms <= t < end_ms, shape (n_candles,)."""
        first = self.floor_ms(start_ms)
        if first < start_ms:
            first = self.close_ms(first)
        if self is Interval.MONTH_1:
            times = []
            while first < end_ms:
                times.append(first)
                first = self.close_ms(first)
            return np.asarray(times, dtype=np.int64)
        return np.arange(first, end_ms, self.ms, dtype=np.int64)


_WIRE = {
    Interval.MINUTE_1: "1",
    Interval.MINUTE_3: "3",
    Interval.MINUTE_5: "5",
    Interval.MINUTE_15: "15",
    Interval.MINUTE_30: "30",
    Interval.HOUR_1: "60",
    Interval.HOUR_2: "120",
    Interval.HOUR_4: "240",
    Interval.HOUR_6: "360",
    Interval.HOUR_12: "720",
    Interval.DAY_1: "D",
    Interval.WEEK_1: "W",
    Interval.MONTH_1: "M",
}
_LENGTH_MS = {
    interval: int(wire) * 60_000 if wire.isdigit() else {"D": _DAY_MS, "W": 7 * _DAY_MS, "M": 0}[wire]
    for interval, wire in _WIRE.items()
}


@dataclass(frozen=True, slots=True)
class Candle:
    """One interval of prices, covering [open_time, open_time + interval); known only at its close.

    ``volume`` and ``turnover`` are as Bybit gives them (linear and spot: base and quote coin; inverse: USD and
    coin); None for mark, index and premium candles, which have no volume.
    """

    open_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None = None
    turnover: Decimal | None = None


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    """Names one series of candles of one venue."""

    category: Category
    symbol: str
    price: PriceType
    interval: Interval
    exchange: str = "bybit"

    def __post_init__(self) -> None:
        """Refuse a symbol that is not shaped like one."""
        check_symbol(self.symbol)

    def __str__(self) -> str:
        """Return e.g. ``linear/BTCUSDT/mark/1h``."""
        return f"{self.category}/{self.symbol}/{self.price}/{self.interval.value}"


def check_symbol(text: str) -> str:
    """Return ``text`` when it is shaped like a symbol of the venue, else raise ``InvalidInput``.

    The whitelist also keeps paths, quotes and look-alike letters out of file names and queries.
    """
    if not _SYMBOL.fullmatch(text):
        shown = text[:40].encode("ascii", "backslashreplace").decode()
        raise InvalidInput(f"symbol {shown!r} is not one: expected upper-case letters and digits such as BTCUSDT")
    return text
