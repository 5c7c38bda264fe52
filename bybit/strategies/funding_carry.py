"""Funding carry: hold the side that receives funding while the published rates are large."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bybit.features.indicators import atr, ema, latch
from bybit.rules.candles import Interval
from bybit.rules.errors import InvalidInput
from bybit.strategies.protocol import (
    DAY_MS,
    YEAR_DAYS,
    Floats,
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
class FundingCarryParams(StrategyParams):
    """Parameters of ``FundingCarry``; times in hours, rates as yearly fractions of notional.

    A side is taken when the smoothed rate exceeds ``entry_yearly_rate`` and left below ``exit_yearly_rate``;
    ``stop_atr`` is the stop's distance in average true ranges of a day. The exit lies above 10.95 %, the venue's
    resting rate (0.01 % each 8 h), or a position would never end.
    ``max_stop_rate`` caps the stop's distance as a fraction of the price, so that it is
    met before an isolated position's liquidation (about 0.19 away at 5x).
    """

    smoothing_hours: float = 48.0
    entry_yearly_rate: float = 0.2
    exit_yearly_rate: float = 0.12
    atr_hours: float = 120.0
    stop_atr: float = 2.0
    max_stop_rate: float = 0.12
    exposure: float = 0.5

    def __post_init__(self) -> None:
        """Refuse values that make no sense together."""
        check_positive(self, "smoothing_hours", "entry_yearly_rate", "atr_hours", "stop_atr", "exposure")
        check_positive(self, "max_stop_rate")
        if not 0.0 <= self.exit_yearly_rate < self.entry_yearly_rate:
            raise InvalidInput(
                f"exit_yearly_rate {self.exit_yearly_rate} must lie in [0, entry_yearly_rate {self.entry_yearly_rate})"
            )


@register
class FundingCarry(Strategy):
    """Short when longs pay much, long when shorts do; the price risk is not hedged, hence the stop."""

    name = "funding_carry"
    params_type: ClassVar[type[StrategyParams]] = FundingCarryParams
    params: FundingCarryParams

    def warmup(self, interval: Interval) -> int:
        """Return the smoothing and two settlements, or a day's range and its average, whichever is longer."""
        p = self.params
        return n_candles(24.0, interval) + n_candles(max(p.smoothing_hours, p.atr_hours), interval, at_least=2) + 1

    def signals(self, view: MarketView) -> Signals:
        """Return the side that receives funding, with stops; market orders. Flat while no rate is known."""
        p = self.params
        yearly = ema(yearly_funding_rate(view), view.n_candles(p.smoothing_hours))
        short = latch(yearly > p.entry_yearly_rate, yearly < p.exit_yearly_rate)
        long = latch(yearly < -p.entry_yearly_rate, yearly > -p.exit_yearly_rate)
        side = long.astype(np.float64) - short.astype(np.float64)
        # Before warm-up there is no opinion, so the first known side counts as a change from flat.
        side[: self.warmup(view.interval) - 1] = 0.0
        distance = p.stop_atr * atr(view.high, view.low, view.close, view.n_candles(p.atr_hours), view.n_candles(24.0))
        stop = protective_stop(view.close, side, np.minimum(distance, p.max_stop_rate * view.close))
        target = p.exposure * side
        target[: self.warmup(view.interval) - 1] = np.nan
        return Signals(target, stop_price=stop)


def yearly_funding_rate(view: MarketView) -> Floats:
    """Return the last published rate as a yearly fraction: 0.01 % each 4 h is twice 0.01 % each 8 h."""
    return view.funding_rate_known * (YEAR_DAYS * DAY_MS / view.funding_interval_known_ms)
