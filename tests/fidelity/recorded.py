"""Recorded markets of ../shared/data as the engine reads them, and the year that is compared."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd

from bybit.backtest.engine import MarketData
from bybit.rules.candles import Category, Interval
from bybit.rules.funding import FundingRate
from bybit.rules.instruments import Instrument, recorded_instruments
from bybit.rules.periods import Period, utc
from bybit.sandbox.ladders import ladder

SYMBOLS = ("BTCUSDT", "WIFUSDT")
# The latest year in which candles, marks and funding of both contracts are recorded.
YEAR = Period(datetime(2024, 7, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
# The part of it with 5-minute candles.
HALF_YEAR = Period(datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
_INTERVALS = {"1h": Interval.HOUR_1, "15m": Interval.MINUTE_15, "5m": Interval.MINUTE_5}
_LADDERS_OF = date(2025, 7, 1)


def market(data: Path, symbol: str, interval: str = "1h") -> MarketData:
    """Return one contract with hourly marks, recorded funding and its contract rules."""
    return MarketData(
        symbol=symbol,
        interval=_INTERVALS[interval],
        candles=_candles(data, symbol, interval),
        mark=_candles(data, f"mark_{symbol}", "1h"),
        mark_interval=Interval.HOUR_1,
        funding=_funding(data, symbol),
        instrument=instrument(symbol),
        risk_tiers=ladder(symbol, None, _LADDERS_OF)[0],
    )


def instrument(symbol: str) -> Instrument:
    """Return the recorded rules; those of WIFUSDT are not recorded: tick and step are read off its prices."""
    known = recorded_instruments(Category.LINEAR, "BTCUSDT")[-1]
    if symbol == "BTCUSDT":
        return known
    # The launch is its first recorded candle; what nobody recorded limits nothing.
    return replace(
        known,
        symbol=symbol,
        base_coin=symbol.removesuffix("USDT"),
        tick_size=Decimal("0.0001"),
        qty_step=Decimal(1),
        min_order_qty=Decimal(1),
        max_order_qty=None,
        max_market_order_qty=None,
        max_leverage=None,
        upper_funding_rate=None,
        lower_funding_rate=None,
        launch_time=None,
    )


def lender(symbol: str) -> str | None:
    """Return the contract whose margin ladder stands in for one that is not recorded; None for its own."""
    return ladder(symbol, None, _LADDERS_OF)[1]


def _candles(data: Path, name: str, interval: str) -> pd.DataFrame:
    (path,) = sorted((data / "klines").glob(f"bybit_linear_{name}_{interval}[._]*"))
    table = pd.read_parquet(path)
    table.index = pd.DatetimeIndex(pd.to_datetime(table.pop("open_time"), unit="ms", utc=True), name="open_time")
    return table


def _funding(data: Path, symbol: str) -> list[FundingRate]:
    (path,) = sorted((data / "funding").glob(f"bybit_linear_{symbol}_*"))
    rows = pd.read_parquet(path)
    return [FundingRate(symbol, utc(row.funding_time), Decimal(repr(row.funding_rate))) for row in rows.itertuples()]
