"""The plan that every engine is given: positions in coin from a moving-average cross, and how ours trades it."""

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bybit.backtest.engine import BacktestEngine, BacktestResult, MarketData, Slippage
from bybit.rules.candles import Category, Interval
from bybit.rules.fees import FeeEra, FeeRates, FeeSchedule
from bybit.rules.periods import Period
from bybit.strategies import MarketView, Signals, Strategy, StrategyParams

FAST_HOURS, SLOW_HOURS, BAND = 24, 120, 0.0025
LIMIT_INSIDE, STOP_DISTANCE = 0.001, 0.02
_MOST_ROUNDS = 400
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Plan:
    """Positions in base coin, signed, by the close at which they were decided; the last are flat.

    ``stop`` is the last price at which the position is given up until the plan turns, NaN while flat.
    """

    target: "pd.Series[float]"
    stop: "pd.Series[float] | None" = None

    def lots(self, qty_step: Decimal) -> "Plan":
        """Return the plan on whole lots, toward zero."""
        step = float(qty_step)
        return replace(self, target=np.sign(self.target) * np.floor(self.target.abs() / step + 1e-9) * step)

    def protected(self, market: MarketData) -> "Plan":
        """Return the plan with a stop for each position, ``STOP_DISTANCE`` from the close that decided it, on a "
        "tick."""
        tick = float(market.instrument.tick_size)
        closes = market.candles["close"]
        closes.index = closes.index + pd.Timedelta(milliseconds=market.interval.ms)
        turns = self.target != self.target.shift(1, fill_value=0.0)
        raw = (closes.reindex(self.target.index) * (1.0 - np.sign(self.target) * STOP_DISTANCE)).where(turns)
        stop = ((raw / tick).round() * tick).round(10).ffill()
        return replace(self, stop=stop.where(self.target != 0.0))

    @property
    def n_orders(self) -> int:
        """Return how often the position changes."""
        return int((self.target.diff().fillna(self.target.iloc[0]) != 0.0).sum())


def crossing(market: MarketData, period: Period, value: float) -> Plan:
    """Return the plan on hourly candles: long above, short below, flat while the averages are within the band.

    The quantity is fixed: ``value`` in quote coin at the first open, to eight decimals. Fixed, so that profits are
    the same whatever the capital is, and engines that size differently can be compared to the last digit.
    """
    closes = market.candles["close"]
    ratio = closes.rolling(FAST_HOURS).mean() / closes.rolling(SLOW_HOURS).mean() - 1.0
    side = np.sign(ratio).where(ratio.abs() > BAND, 0.0)
    hour = pd.Timedelta(hours=1)
    inside = side[(side.index >= period.start) & (side.index + hour <= period.end)]
    qty = round(value / float(market.candles["open"].loc[inside.index[0]]), 8)
    target = inside * qty
    # Everybody begins flat and ends flat: open positions are valued differently (mark or last price).
    target.iloc[0] = 0.0
    target.iloc[-3:] = 0.0
    target.index = target.index + hour
    return Plan(target.rename("target"))


class Planned(Strategy):
    """Decides exposures given by time of the close; what is not given is held on."""

    name = "planned"
    params_type: ClassVar[type[StrategyParams]] = StrategyParams

    def __init__(
        self, exposure: "pd.Series[float]", stop: "pd.Series[float] | None" = None, limits: bool = False
    ) -> None:
        super().__init__()
        self.exposure = exposure
        self.stop = stop
        self.limits = limits

    def warmup(self, interval: Interval) -> int:
        return 1

    def signals(self, view: MarketView) -> Signals:
        closes = closes_of(view.open_time_ms, view.interval)
        wanted = self.exposure.reindex(closes, method="ffill").fillna(0.0).to_numpy(dtype=np.float64)
        if self.stop is not None:
            return Signals(wanted, stop_price=self.stop.reindex(closes, method="ffill").to_numpy(dtype=np.float64))
        if not self.limits:
            return Signals(wanted)
        # A post-only limit a little inside the close just seen, again at every close until it fills or the plan turns.
        turns = np.diff(wanted, prepend=0.0)
        side = pd.Series(np.where(turns == 0.0, np.nan, np.sign(turns))).ffill().fillna(0.0).to_numpy()
        return Signals(wanted, view.close * (1.0 - side * LIMIT_INSIDE))


def closes_of(open_time_ms: NDArray[np.int64], interval: Interval) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.to_datetime(open_time_ms + interval.ms, unit="ms", utc=True))


@dataclass(frozen=True, slots=True)
class Terms:
    """How ours is set for one run; the defaults leave everything out that is not a price and a flat fee."""

    capital: float
    maker: str = "0"
    taker: str = "0"
    schedule: FeeSchedule | None = None
    leverage: float = 1.0
    slippage_rate: float = 0.0
    funding: bool = False
    mark_policy: str = "exact"
    limits: bool = False
    margin_mode: str = "isolated"

    def fees(self, period: Period) -> FeeSchedule:
        """Return the schedule in force, or one flat rate."""
        if self.schedule is not None:
            return self.schedule
        rates = FeeRates(Decimal(self.maker), Decimal(self.taker))
        start = period.start - timedelta(days=1)
        return FeeSchedule([FeeEra("linear_perpetual", "vip0", rates, start, None, "flat", "high")])


def trade(market: MarketData, period: Period, plan: Plan, terms: Terms) -> BacktestResult:
    """Trade a plan in ours, which takes exposures: each is the planned quantity over the equity it will meet.

    That equity is known only once everything before has been traded, so the run is made again until its equity no
    longer changes: then every order is the planned quantity.

    Raises
    ------
    AssertionError
        When it does not settle.
    """
    changed = plan.target[plan.target != plan.target.shift(1, fill_value=0.0)]
    closes = market.candles["close"]
    seen = closes.loc[changed.index - pd.Timedelta(milliseconds=market.interval.ms)].to_numpy()
    worth = np.full(len(changed), terms.capital)
    before: Floats = np.zeros(0)
    for _ in range(_MOST_ROUNDS):
        exposure = pd.Series(changed.to_numpy() * seen / worth, index=changed.index)
        result = engine(Planned(exposure, plan.stop, terms.limits), period, terms).run(market, period)
        if np.array_equal(result.equity, before):
            return result
        before = result.equity
        times = pd.DatetimeIndex(pd.to_datetime(result.equity_time_ms, unit="ms", utc=True))
        # Nothing is ordered once nothing is left; the bound only keeps the quotient finite.
        worth = np.maximum(pd.Series(before, index=times).loc[changed.index].to_numpy(), 1e-6 * terms.capital)
    raise AssertionError(f"the plan on {market.symbol} did not settle in {_MOST_ROUNDS} rounds")


def engine(strategy: Strategy, period: Period, terms: Terms) -> BacktestEngine:
    """Return the engine set to ``terms``."""
    choices: dict[str, Any] = {
        "leverage": terms.leverage,
        "fee_schedule": terms.fees(period),
        "tier": "vip0",
        "slippage": Slippage.fixed(terms.slippage_rate),
        "margin_mode": terms.margin_mode,
        "mark_policy": terms.mark_policy,
        "funding_policy": "recorded" if terms.funding else "zero",
        "category": Category.LINEAR,
    }
    return BacktestEngine(strategy, terms.capital, **choices)


def without_limits(market: MarketData, *, lots: bool, ticks: bool, maintenance: bool) -> MarketData:
    """Return the market with contract rules switched off: eight decimals for lots and ticks, no maintenance margin."""
    fine = Decimal("0.00000001")
    contract = market.instrument
    rules = replace(
        contract,
        qty_step=contract.qty_step if lots else fine,
        min_order_qty=contract.min_order_qty if lots else fine,
        tick_size=contract.tick_size if ticks else fine,
    )
    tiers = market.risk_tiers
    if not maintenance:
        # As little as the engine takes: the position is lost when its whole margin is.
        tiers = [
            replace(tiers[0], max_notional=None, maintenance_margin_rate=Decimal("1e-12"), mm_deduction=Decimal(0))
        ]
    return replace(market, instrument=rules, risk_tiers=tiers)
