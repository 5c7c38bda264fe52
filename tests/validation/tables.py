"""Clean candles and funding rates, small and synthetic, for tests that put one defect in."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.periods import Period

START = datetime(2025, 3, 3, tzinfo=UTC)
MINUTES = SeriesKey(Category.LINEAR, "BTCUSDT", PriceType.LAST, Interval.MINUTE_1)


def key(price: PriceType = PriceType.LAST, interval: Interval = Interval.MINUTE_1) -> SeriesKey:
    return SeriesKey(Category.LINEAR, "BTCUSDT", price, interval)


def candles(n: int = 120, interval: Interval = Interval.MINUTE_1, start: datetime = START) -> pd.DataFrame:
    """A seeded walk around 100; every candle opens where the last one closed."""
    rng = np.random.default_rng(7)
    start_ms = int(start.timestamp() * 1000)
    opened = interval.open_times(start_ms, start_ms + n * 32 * 86_400_000 * (2 if interval.value == "1M" else 1))[:n]
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.001, n)))
    open_ = np.concatenate(([100.0], close[:-1]))
    frame = pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * 1.0005,
            "low": np.minimum(open_, close) * 0.9995,
            "close": close,
            "volume": rng.uniform(1, 9, n),
            "turnover": rng.uniform(100, 900, n),
        },
        index=pd.DatetimeIndex(pd.to_datetime(opened, unit="ms", utc=True), name="open_time"),
    )
    return frame


def span(frame: pd.DataFrame, interval: Interval = Interval.MINUTE_1) -> Period:
    first, last = (int(frame.index[i].timestamp() * 1000) for i in (0, -1))
    return Period.from_ms(first, interval.close_ms(last))


def settlements(steps_h: list[float], start: datetime = START) -> pd.DataFrame:
    hours = np.concatenate(([0.0], np.cumsum(steps_h)))
    index = pd.DatetimeIndex(pd.Timestamp(start) + pd.to_timedelta(hours, unit="h"), name="funding_time")
    rates = np.random.default_rng(7).normal(0.0001, 0.00005, len(hours))
    return pd.DataFrame({"funding_rate": rates}, index=index)
