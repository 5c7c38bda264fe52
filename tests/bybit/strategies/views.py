"""Markets for strategy tests: seeded random walks, and the checks that every strategy must pass."""

from dataclasses import fields

import numpy as np

from bybit.rules.candles import Interval
from bybit.strategies import MarketView, Signals, Strategy

START_MS = 1_704_067_200_000  # 2024-01-01, a midnight


def random_view(seed: int, n: int, interval: Interval = Interval.HOUR_1, daily_volatility: float = 0.05) -> MarketView:
    """Return a random walk with fat tails; its funding interval halves in the middle."""
    random = np.random.default_rng(seed)
    step = daily_volatility * np.sqrt(interval.ms / 86_400_000)
    close = 100.0 * np.exp(np.cumsum(step * random.standard_t(4, n)))
    open_ = np.concatenate([[100.0], close[:-1]])
    spread = np.abs(random.normal(0.0, step, (2, n)))
    high, low = np.maximum(open_, close) * (1 + spread[0]), np.minimum(open_, close) * np.exp(-spread[1])
    open_time = START_MS + interval.ms * np.arange(n)

    end = int(open_time[-1]) + interval.ms
    middle = START_MS + (end - START_MS) // 2 // 28_800_000 * 28_800_000
    settled = np.concatenate([np.arange(START_MS, middle, 28_800_000), np.arange(middle, end, 14_400_000)])
    shocks = random.normal(0.0, 4e-4, len(settled))
    rate = np.convolve(shocks, 0.8 ** np.arange(20))[: len(settled)]
    known = np.searchsorted(settled, open_time + interval.ms, side="right") - 1
    length = np.concatenate([[np.nan], np.diff(settled)])
    return MarketView(
        symbol="WIFUSDT",
        interval=interval,
        open_time_ms=open_time,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=random.lognormal(10.0, 1.0, n),
        funding_rate_known=rate[known],
        funding_interval_known_ms=length[known],
    )


def assert_no_look_ahead(strategy: Strategy, view: MarketView, n_known: int) -> None:
    """Demand that what was decided by candle ``n_known`` does not depend on what came after it."""
    whole, early = strategy.signals(view), strategy.signals(view.prefix(n_known))
    for name in (field.name for field in fields(Signals)):
        ours, theirs = getattr(whole, name), getattr(early, name)
        if ours is None or isinstance(ours, bool):
            # What holds for every candle was decided before the first.
            assert theirs is ours, name
        else:
            np.testing.assert_allclose(theirs, ours[:n_known], rtol=1e-12, atol=0.0, err_msg=name)


def turnover_a_day(signals: Signals, interval: Interval) -> float:
    """Return the traded notional in multiples of equity a day, were every target met."""
    target = np.nan_to_num(signals.target)
    return float(np.abs(np.diff(target)).sum() / (len(target) * interval.ms / 86_400_000))
