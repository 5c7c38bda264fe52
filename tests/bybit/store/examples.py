"""Small made-up rows for the tests of the store and of history."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.instruments import Instrument
from bybit.rules.margin import RiskTier
from bybit.rules.periods import Period

START = datetime(2025, 3, 1, tzinfo=UTC)
START_MS = 1_740_787_200_000
MINUTE_MS = 60_000
KEY = SeriesKey(Category.LINEAR, "BTCUSDT", PriceType.LAST, Interval.MINUTE_1)
MARK = SeriesKey(Category.LINEAR, "BTCUSDT", PriceType.MARK, Interval.MINUTE_1)
TTL = timedelta(seconds=30)


@dataclass
class Columns:
    open_time_ms: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    turnover: NDArray[np.float64]


def candles(minutes: Sequence[int], *, shift: float = 0.0, step_ms: int = MINUTE_MS, volume: bool = True) -> Columns:
    """Candles at START + minutes; every value follows from its minute and ``shift``."""
    at = np.asarray(minutes, dtype=np.int64)
    base = 100.0 + at * 0.1 + shift
    traded = at * 1.5 + 0.25 if volume else np.full(len(at), np.nan)
    return Columns(START_MS + at * step_ms, base, base + 0.7, base - 0.3, base + 0.123456789, traded, traded * base)


def minutes(start: int, end: int) -> Period:
    return Period.from_ms(START_MS + start * MINUTE_MS, START_MS + end * MINUTE_MS)


def instrument(symbol: str = "BTCUSDT", *, launch: datetime | None = None, **changes: object) -> Instrument:
    fields: dict[str, object] = {
        "category": Category.LINEAR,
        "symbol": symbol,
        "contract_type": "LinearPerpetual",
        "base_coin": symbol.removesuffix("USDT"),
        "quote_coin": "USDT",
        "settle_coin": "USDT",
        "status": "Trading",
        "tick_size": Decimal("0.10"),
        "qty_step": Decimal("0.001"),
        "min_order_qty": Decimal("0.001"),
        "max_order_qty": Decimal("1190.000"),
        "max_market_order_qty": None,
        "min_notional": Decimal(5),
        "max_leverage": Decimal(100),
        "leverage_step": Decimal("0.01"),
        "funding_interval": timedelta(hours=8),
        "upper_funding_rate": Decimal("0.00375"),
        "lower_funding_rate": Decimal("-0.00375"),
        "launch_time": launch,
        "delivery_time": None,
        "as_of": START,
    }
    return Instrument(**(fields | changes))  # type: ignore[arg-type]


def ladder(symbol: str = "BTCUSDT", as_of: datetime = START, n_tiers: int = 3) -> list[RiskTier]:
    return [
        RiskTier(
            symbol,
            tier,
            Decimal(2_000_000 * tier),
            Decimal("0.01") * tier,
            Decimal("0.005") * tier,
            Decimal(1200) * (tier - 1),
            Decimal(100) / tier,
            as_of,
        )
        for tier in range(1, n_tiers + 1)
    ]
