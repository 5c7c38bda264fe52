"""Small tapes of our own, so that a clone without ../shared proves the whole path too."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.periods import Period
from bybit.sandbox.market import Window
from bybit.sandbox.synthetic import SyntheticMarket

COLUMNS = ["open_time", "open", "high", "low", "close", "volume", "turnover"]


def write_tape(folder: Path, symbols: list[str], period: Period, interval: Interval = Interval.MINUTE_15) -> Path:
    """Record the synthetic market of seed 7 over ``period`` as a tape; return ``folder``."""
    market = SyntheticMarket(7)
    later = period.end_ms + 40 * 86_400_000
    for part in ("klines", "funding"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    window = Window(period.start_ms, period.end_ms - 1, 10**7)
    for symbol in symbols:
        for price in (PriceType.LAST, PriceType.MARK):
            rows = market.candles(SeriesKey(Category.LINEAR, symbol, price, interval), window, later)
            frame = pd.DataFrame(rows, columns=COLUMNS[: rows.shape[1]])
            frame["open_time"] = frame["open_time"].astype(np.int64)
            frame.insert(0, "symbol", symbol)
            frame.insert(1, "interval", interval.value)
            name = f"bybit_linear_{'mark_' if price is PriceType.MARK else ''}{symbol}_{interval.value}.parquet"
            frame.to_parquet(folder / "klines" / name)
        rates = market.funding(Category.LINEAR, symbol, window, later)
        pd.DataFrame(
            {
                "symbol": symbol,
                "funding_time": [int(rate.funding_time.timestamp() * 1000) for rate in rates],
                "funding_rate": [float(rate.funding_rate) for rate in rates],
            }
        ).to_parquet(folder / "funding" / f"bybit_linear_{symbol}.parquet")
    return folder


def write_inverse_tape(
    folder: Path, symbols: list[str], period: Period, interval: Interval = Interval.MINUTE_15
) -> Path:
    """Record inverse contracts at the prices of the linear ones: volume in USD, turnover in coin; return ``folder``."""
    write_tape(folder, [f"{symbol}T" for symbol in symbols], period, interval)
    for file in [*folder.glob("*/bybit_linear_*.parquet")]:
        frame = pd.read_parquet(file)
        frame["symbol"] = frame["symbol"].str.removesuffix("T")
        if "volume" in frame:
            frame["volume"] = (frame["volume"] * frame["close"]).round()
            frame["turnover"] = (frame["volume"] / frame["close"]).round(8)
        frame.to_parquet(file.with_name(file.name.replace("bybit_linear_", "bybit_inverse_").replace("USDT", "USD")))
        file.unlink()
    return folder


def ninety_days(start: datetime) -> Period:
    return Period(start, start + timedelta(days=90))
