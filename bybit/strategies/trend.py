"""Trend: hold the side on which a fast average has left a slow one, sized by volatility."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bybit.features.indicators import ema, held_since_change, latch, volatility
from bybit.rules.candles import Interval
from bybit.rules.errors import InvalidInput
from bybit.strategies.protocol import (
    DAY_MS,
    YEAR_DAYS,
    MarketView,
    Signals,
    Strategy,
    StrategyParams,
    check_positive,
    n_candles,
    protective_stop,
    register,
)


@dataclass(frozen=True, slots=True)
class TrendParams(StrategyParams):
    """Parameters of ``Trend``; times in hours.

    ``entry_band`` and ``exit_band`` are distances of the averages in daily standard deviations: between them a
    position is kept and none is opened, so noise around the crossing does not trade. ``volatility_target`` is the
    wanted yearly volatility of the position (fraction), ``max_exposure`` caps the multiple of equity.
    ``stop_rate`` is the stop's distance as a fraction of the price: a position that has gone so far against its trend
    is wrong, and an isolated one at 5x would be liquidated about 0.19 away.
    """

    fast_hours: float = 24.0
    slow_hours: float = 120.0
    volatility_hours: float = 120.0
    entry_band: float = 0.4
    exit_band: float = 0.05
    volatility_target: float = 0.4
    max_exposure: float = 1.5
    stop_rate: float = 0.12
    allow_short: bool = True

    def __post_init__(self) -> None:
        """Refuse values that make no sense together."""
        check_positive(self, "fast_hours", "slow_hours", "volatility_hours", "entry_band", "volatility_target")
        check_positive(self, "max_exposure", "stop_rate")
        if not self.fast_hours < self.slow_hours:
            raise InvalidInput(f"fast_hours {self.fast_hours} must be shorter than slow_hours {self.slow_hours}")
        if not 0.0 <= self.exit_band <= self.entry_band:
            raise InvalidInput(f"exit_band {self.exit_band} must lie between 0 and entry_band {self.entry_band}")


@register
class Trend(Strategy):
    """Cross of two exponential averages with a dead band; exposure fixed when the side changes."""

    name = "trend"
    params_type: ClassVar[type[StrategyParams]] = TrendParams
    params: TrendParams

    def warmup(self, interval: Interval) -> int:
        """Return three slow averages: what is older weighs less than 0.3 %."""
        return 3 * n_candles(max(self.params.slow_hours, self.params.volatility_hours), interval, at_least=2)

    def signals(self, view: MarketView) -> Signals:
        """Return +exposure above the band, -exposure below it, 0 once the averages meet again; market orders, stops."""
        p = self.params
        fast = ema(view.close, view.n_candles(p.fast_hours))
        slow = ema(view.close, view.n_candles(p.slow_hours, at_least=2))
        candle_volatility = volatility(view.close, view.n_candles(p.volatility_hours, at_least=2))
        candles_a_day = DAY_MS / view.interval.ms
        daily = candle_volatility * math.sqrt(candles_a_day)
        distance = np.full(len(view), np.nan)
        np.divide(fast / slow - 1.0, daily, out=distance, where=daily > 0.0)

        long = latch(distance > p.entry_band, distance < p.exit_band)
        short = latch(distance < -p.entry_band, distance > -p.exit_band) & p.allow_short
        side = long.astype(np.float64) - short.astype(np.float64)
        # Before warm-up there is no opinion, so the first known side counts as a change from flat.
        side[: self.warmup(view.interval) - 1] = 0.0
        yearly = daily * math.sqrt(YEAR_DAYS)
        exposure = np.zeros(len(view))
        np.divide(p.volatility_target, yearly, out=exposure, where=yearly > 0.0)
        target = side * held_since_change(np.minimum(exposure, p.max_exposure), side)
        target[: self.warmup(view.interval) - 1] = np.nan
        return Signals(target, stop_price=protective_stop(view.close, side, p.stop_rate * view.close))
