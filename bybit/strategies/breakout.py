"""Breakout: buy a new high of days, sell a new low; leave at a shorter channel or at a stop."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bybit.features.indicators import atr, latch, previous, rolling_max, rolling_min
from bybit.rules.candles import Interval
from bybit.rules.errors import InvalidInput
from bybit.strategies.protocol import (
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
class BreakoutParams(StrategyParams):
    """Parameters of ``Breakout``; times in hours.

    ``range_hours`` is the length over which one true range is measured, ``atr_hours`` the average of those;
    ``stop_atr`` the stop's distance from the close of the decision in that unit; ``exposure`` a multiple of equity.
    ``max_stop_rate`` caps the stop's distance as a fraction of the price, so that it is
    met before an isolated position's liquidation (about 0.19 away at 5x).
    """

    entry_hours: float = 72.0
    exit_hours: float = 24.0
    range_hours: float = 24.0
    atr_hours: float = 120.0
    stop_atr: float = 1.0
    max_stop_rate: float = 0.12
    exposure: float = 0.75
    allow_short: bool = True

    def __post_init__(self) -> None:
        """Refuse values that make no sense together."""
        check_positive(self, "entry_hours", "exit_hours", "range_hours", "atr_hours", "stop_atr", "exposure")
        check_positive(self, "max_stop_rate")
        if self.exit_hours > self.entry_hours:
            raise InvalidInput(f"exit_hours {self.exit_hours} must not exceed entry_hours {self.entry_hours}")


@register
class Breakout(Strategy):
    """Donchian channels of the candles before this one, with a stop fixed when the side changes."""

    name = "breakout"
    params_type: ClassVar[type[StrategyParams]] = BreakoutParams
    params: BreakoutParams

    def warmup(self, interval: Interval) -> int:
        """Return the entry channel, or one true range and its average, whichever is longer."""
        p = self.params
        n_range = n_candles(p.range_hours, interval) + n_candles(p.atr_hours, interval)
        return max(n_candles(p.entry_hours, interval, at_least=2), n_range) + 1

    def signals(self, view: MarketView) -> Signals:
        """Return +exposure above the old high, -exposure below the old low, with stops; market orders."""
        p = self.params
        n_entry, n_exit = view.n_candles(p.entry_hours, at_least=2), view.n_candles(p.exit_hours)
        close = view.close
        # The channel ends with the previous candle, or no close could ever leave it.
        long = latch(close > previous(rolling_max(view.high, n_entry)), close < previous(rolling_min(view.low, n_exit)))
        short = latch(
            close < previous(rolling_min(view.low, n_entry)), close > previous(rolling_max(view.high, n_exit))
        )
        side = long.astype(np.float64) - (short & p.allow_short).astype(np.float64)
        # Before warm-up there is no opinion, so the first known side counts as a change from flat.
        side[: self.warmup(view.interval) - 1] = 0.0
        distance = p.stop_atr * atr(
            view.high, view.low, close, view.n_candles(p.atr_hours), view.n_candles(p.range_hours)
        )
        stop = protective_stop(close, side, np.minimum(distance, p.max_stop_rate * close))
        target = p.exposure * side
        target[: self.warmup(view.interval) - 1] = np.nan
        return Signals(target, stop_price=stop)
