"""Mean reversion: fade a stretched price with post-only limits, so that it pays the maker rate."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bybit.features.indicators import atr, held_since_change, latch, zscore
from bybit.rules.candles import Interval
from bybit.rules.errors import InvalidInput
from bybit.strategies.protocol import MarketView, Signals, Strategy, StrategyParams, check_positive, n_candles, register


@dataclass(frozen=True, slots=True)
class MeanReversionParams(StrategyParams):
    """Parameters of ``MeanReversion``; times in hours.

    ``entry_z`` and ``exit_z`` are distances of the logarithmic price from its mean in standard deviations;
    ``limit_offset_rate`` how far from the close a limit is quoted (fraction of the price); ``stop_atr`` the stop's
    distance from the close of the decision in average true ranges of ``range_hours``.
    ``max_stop_rate`` caps the stop's distance as a fraction of the price, so that it is
    met before an isolated position's liquidation (about 0.19 away at 5x).
    """

    window_hours: float = 24.0
    entry_z: float = 2.25
    exit_z: float = 0.25
    limit_offset_rate: float = 0.0003
    range_hours: float = 24.0
    atr_hours: float = 120.0
    stop_atr: float = 0.75
    max_stop_rate: float = 0.12
    exposure: float = 0.5
    allow_short: bool = True

    def __post_init__(self) -> None:
        """Refuse values that make no sense together."""
        check_positive(self, "window_hours", "entry_z", "range_hours", "atr_hours", "stop_atr", "exposure")
        check_positive(self, "max_stop_rate")
        if not -self.entry_z < self.exit_z < self.entry_z:
            raise InvalidInput(f"exit_z {self.exit_z} must lie within entry_z {self.entry_z} of zero")
        if not 0.0 <= self.limit_offset_rate < 0.1:
            raise InvalidInput(f"limit_offset_rate {self.limit_offset_rate} must lie in [0, 0.1): it is a fraction")


@register
class MeanReversion(Strategy):
    """Fade the z-score of the logarithmic price; every entry and exit is quoted, only the stop takes."""

    name = "mean_reversion"
    params_type: ClassVar[type[StrategyParams]] = MeanReversionParams
    params: MeanReversionParams

    def warmup(self, interval: Interval) -> int:
        """Return the window of the mean, or one true range and its average, whichever is longer."""
        p = self.params
        n_range = n_candles(p.range_hours, interval) + n_candles(p.atr_hours, interval)
        return max(self._window(interval), n_range) + 1

    def _window(self, interval: Interval) -> int:
        # Among n values none lies further than (n - 1) / sqrt(n) deviations out: long candles take a longer window.
        return n_candles(self.params.window_hours, interval, at_least=12)

    def signals(self, view: MarketView) -> Signals:
        """Return +exposure below the mean, -exposure above it, 0 once back; a limit and a stop for each."""
        p = self.params
        z = zscore(np.log(view.close), self._window(view.interval))
        long = latch(z < -p.entry_z, z > -p.exit_z)
        short = latch(z > p.entry_z, z < p.exit_z) & p.allow_short
        side = long.astype(np.float64) - short.astype(np.float64)
        # Before warm-up there is no opinion, so the first known side counts as a change from flat.
        side[: self.warmup(view.interval) - 1] = 0.0

        moved = np.diff(side, prepend=0.0)
        order_side = np.sign(held_since_change(moved, side))
        limit = view.close * (1.0 - order_side * p.limit_offset_rate)

        distance = p.stop_atr * atr(
            view.high, view.low, view.close, view.n_candles(p.atr_hours), view.n_candles(p.range_hours)
        )
        distance = np.minimum(distance, p.max_stop_rate * view.close)
        # An exit that still rests as a limit keeps the stop of its entry, so the stop changes at entries only.
        entered = np.cumsum((side != 0.0) & (moved != 0.0)).astype(np.float64)
        stop = held_since_change(view.close - side * distance, entered)
        stop[(entered == 0.0) | ~(stop > 0.0)] = np.nan

        target = p.exposure * side
        target[: self.warmup(view.interval) - 1] = np.nan
        return Signals(target, limit_price=limit, stop_price=stop)
