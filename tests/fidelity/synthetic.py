"""A small market of our own, so that a clone without ../shared compares too."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd

from bybit.backtest.engine import MarketData
from bybit.rules.candles import Interval
from bybit.rules.funding import FundingRate
from bybit.rules.periods import Period
from tests.bybit.backtest.markets import ladder
from tests.fidelity.recorded import instrument

START = datetime(2024, 7, 1, tzinfo=UTC)
PERIOD = Period(START, START + timedelta(days=60))
_WARMUP = timedelta(days=6)


def walk(seed: int = 11) -> MarketData:
    """Return 60 days of a random walk with gaps between candles, and 6 days before them."""
    random = np.random.default_rng(seed)
    n = int((PERIOD.end - START + _WARMUP) / timedelta(hours=1))
    closes = 2.0 * np.exp(np.cumsum(random.normal(0.0, 0.012, n)))
    # The next open is not the last close: an engine that mixes them up is seen.
    opens = np.concatenate([[2.0], closes[:-1]]) * np.exp(random.normal(0.0, 0.001, n))
    rows = np.column_stack([opens, np.maximum(opens, closes), np.minimum(opens, closes), closes]).round(4)
    index = pd.date_range(START - _WARMUP, periods=n, freq="1h", name="open_time")
    table = pd.DataFrame(rows, columns=["open", "high", "low", "close"], index=index).assign(volume=1e6, turnover=2e6)
    symbol = "WIFUSDT"
    hours = range(8, n, 8)
    rates = [FundingRate(symbol, (index[hour]).to_pydatetime(), Decimal("0.0001")) for hour in hours]
    contract = replace(instrument(symbol), as_of=START)
    return MarketData(symbol, Interval.HOUR_1, table, table, Interval.HOUR_1, rates, contract, ladder())
