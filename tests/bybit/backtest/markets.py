"""Small markets and strategies for back-test tests, and the reference replay in the ``Decimal`` ledger."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import ClassVar

import numpy as np
import pandas as pd

from bybit.backtest.engine import BacktestEngine, BacktestResult, CostBreakdown, MarketData
from bybit.backtest.slippage import Slippage
from bybit.rules.account import Account
from bybit.rules.candles import Category, Interval
from bybit.rules.fees import FeeEra, FeeRates, FeeSchedule, Liquidity
from bybit.rules.funding import FundingRate
from bybit.rules.instruments import Instrument
from bybit.rules.ledger import Contract
from bybit.rules.liquidation import LiquidationMode, MarginBasis
from bybit.rules.margin import RiskTier
from bybit.rules.periods import Period, to_ms, utc
from bybit.strategies import MarketView, Signals, Strategy, StrategyParams

START = datetime(2024, 1, 1, tzinfo=UTC)
D = Decimal
SYMBOL = "WIFUSDT"


class Scripted(Strategy):
    """Decides what it was told: element i is decided at the close before candle i of the period."""

    name = "scripted"
    params_type: ClassVar[type[StrategyParams]] = StrategyParams

    def __init__(self, target, limit=None, stop=None, **others):
        super().__init__()
        given = {"target": target, "limit_price": limit, "stop_price": stop, **others}
        self.script = {name: values for name, values in given.items() if values is not None}

    def warmup(self, interval: Interval) -> int:
        return 1

    def signals(self, view: MarketView) -> Signals:
        # One warm-up candle; the decision at the very last close is never acted on.
        return Signals(**{name: stretched(values, len(view)) for name, values in self.script.items()})


def stretched(values, n):
    """Return the script of one signal for ``n`` candles; the last element stands for the close nobody acts on."""
    if isinstance(values, bool):
        return values
    kind = bool if isinstance(values[0], bool) else float
    return np.resize(np.array([*values, values[-1]], kind), n)


def instrument(symbol: str = SYMBOL, **changes) -> Instrument:
    values = {
        "category": Category.LINEAR,
        "symbol": symbol,
        "contract_type": "LinearPerpetual",
        "base_coin": symbol.removesuffix("USDT"),
        "quote_coin": "USDT",
        "settle_coin": "USDT",
        "status": "Trading",
        "tick_size": D("0.01"),
        "qty_step": D("0.1"),
        "min_order_qty": D("0.1"),
        "max_order_qty": D(1_000_000),
        "max_market_order_qty": D(500_000),
        "min_notional": D(5),
        "max_leverage": D(100),
        "leverage_step": D("0.01"),
        "funding_interval": timedelta(hours=8),
        "upper_funding_rate": None,
        "lower_funding_rate": None,
        "launch_time": None,
        "delivery_time": None,
        "as_of": START,
    }
    return Instrument(**(values | changes))


def ladder(bounds=(2_000, 8_000, None), rates=("0.01", "0.02", "0.05"), symbol: str = SYMBOL) -> tuple[RiskTier, ...]:
    """Return a ladder whose deductions chain; every tier allows 100x unless its rate forbids it."""
    tiers, deduction, before = [], D(0), D(0)
    for i, (bound, rate) in enumerate(zip(bounds, map(D, rates), strict=True)):
        if i:
            deduction += D(bounds[i - 1]) * (rate - before)
        before = rate
        upper = None if bound is None else D(bound)
        tiers.append(RiskTier(symbol, i + 1, upper, rate, rate, deduction, D(100), START))
    return tuple(tiers)


def schedule(*eras: tuple[datetime, str, str]) -> FeeSchedule:
    """Return a schedule of (from, maker, taker), the last still in force; without eras 0.0002 / 0.00055."""
    rows = eras or ((START - timedelta(days=400), "0.0002", "0.00055"),)
    ends = [row[0] for row in rows[1:]] + [None]
    return FeeSchedule(
        FeeEra("linear_perpetual", "vip0", FeeRates(D(maker), D(taker)), begin, end, "test", "high")
        for (begin, maker, taker), end in zip(rows, ends, strict=True)
    )


def frame(rows: Sequence[Sequence[float]], interval: Interval, start_ms: int) -> pd.DataFrame:
    """Return candles of (open, high, low, close) rows, one after the other from ``start_ms``."""
    times = pd.DatetimeIndex(pd.to_datetime(start_ms + interval.ms * np.arange(len(rows)), unit="ms", utc=True))
    table = pd.DataFrame(np.asarray(rows, float), columns=["open", "high", "low", "close"], index=times)
    return table.assign(volume=1.0, turnover=1.0).rename_axis("open_time")


def flat(price: float, n: int) -> list[tuple[float, float, float, float]]:
    return [(price, price, price, price)] * n


def funding(*rows: tuple[float, str], symbol: str = SYMBOL) -> list[FundingRate]:
    """Return settlements of (hours after the start, rate)."""
    return [FundingRate(symbol, START + timedelta(hours=hours), D(rate)) for hours, rate in rows]


def market(rows, *, mark=None, interval=Interval.HOUR_1, mark_interval=None, settlements=None, **changes) -> MarketData:
    """Return a market whose first row is the warm-up candle before START; the mark equals the last price by default."""
    start_ms = to_ms(START) - interval.ms
    values = {
        "symbol": SYMBOL,
        "interval": interval,
        "candles": frame(rows, interval, start_ms),
        "mark": frame(rows if mark is None else mark, mark_interval or interval, start_ms),
        "mark_interval": mark_interval or interval,
        # A settlement long before the period: funding is known, and none falls due.
        "funding": settlements if settlements is not None else funding((-8, "0.0001")),
        "instrument": instrument(),
        "risk_tiers": ladder(),
    }
    return MarketData(**(values | changes))


def period(data: MarketData, start: datetime = START) -> Period:
    """Return the period from ``start`` to the last close."""
    return Period(start, utc(to_ms(data.candles.index[-1].to_pydatetime()) + data.interval.ms))


def engine(strategy: Strategy, capital: float = 1_000.0, **changes) -> BacktestEngine:
    terms = {
        "leverage": 10.0,
        "fee_schedule": schedule(),
        "tier": "vip0",
        "slippage": Slippage.fixed(changes.pop("slippage_rate", 0.0)),
        "margin_mode": "isolated",
    }
    return BacktestEngine(strategy, capital, **(terms | changes))


SIGNALS = tuple(field.name for field in dataclasses.fields(Signals) if field.name != "target")


def run(data: MarketData, target, *, limit=None, stop=None, **changes) -> BacktestResult:
    """Run a script over all candles after the warm-up one; signals by their names, everything else is a term."""
    others = {name: changes.pop(name) for name in SIGNALS if name in changes}
    return engine(Scripted(target, limit, stop, **others), **changes).run(data, period(data))


def add_up(costs: CostBreakdown) -> float:
    """Return what was paid in all."""
    return costs.maker_fees + costs.taker_fees + costs.funding + costs.slippage + costs.liquidation_loss


def replay(result: BacktestResult, data: MarketData, eras, capital: float, leverage: float) -> Account:
    """Book a result's fills and settlements and the mark candles into the ledger and compare at every close.

    The ledger liquidates on its own: a mark candle that liquidates there and not here, or the other way round, fails.
    """
    account = Account(
        D(str(capital)),
        contracts=[
            Contract(
                data.symbol,
                Category.LINEAR,
                D(str(leverage)),
                data.risk_tiers,
                tick_size=data.instrument.tick_size,
                qty_step=data.instrument.qty_step,
            )
        ],
        fees=[(to_ms(begin), FeeRates(D(maker), D(taker))) for begin, maker, taker in eras],
        basis=MarginBasis.BY_DATE,
        liquidation=LiquidationMode(result.provenance["liquidation"]),
    )
    step, tick = data.instrument.qty_step, data.instrument.tick_size
    events: dict[int, tuple[str, object]] = {}
    for kind in ("fills", "funding", "liquidations"):
        events |= {row.event: (kind, row) for row in getattr(result, kind).itertuples()}
    queue = [events[number] for number in sorted(events)]
    assert len(queue) == len(events) == max(events, default=-1) + 1
    rates = {to_ms(rate.funding_time): rate.funding_rate for rate in data.funding}
    opens = data.mark.index.as_unit("ms").asi8 // data.interval.ms * data.interval.ms
    marks = data.mark.groupby(opens).agg({"open": "first", "high": "max", "low": "min", "close": "last"})
    place = clock = 0
    for i, close_ms in enumerate(result.equity_time_ms.tolist()):
        open_ms = close_ms - data.interval.ms
        bar = [D(repr(price)) for price in marks.loc[open_ms]]
        barred = entered_inside = False
        while place < len(queue):
            kind, row = queue[place]
            time_ms = to_ms(
                getattr(row, {"fills": "fill_time", "funding": "funding_time"}.get(kind, "liquidation_time"))
            )
            if time_ms >= close_ms:
                break
            place += 1
            # Inside a long candle what costs comes first, whatever the clock says.
            clock = max(clock + (kind == "funding"), time_ms)
            if kind == "funding":
                before = account.totals.funding
                account.funding(clock, data.symbol, rates[time_ms], D(repr(row.mark_price)))
                paid = float(account.totals.funding - before)
                assert abs(paid + row.payment) <= 1e-9 * max(1.0, abs(paid))
            elif kind == "liquidations":
                n_before = len(account.liquidations)
                account.bar(clock, data.symbol, *(seen_from_inside(account, data, bar) if entered_inside else bar))
                place += compare_liquidations(queue[place - 1 :], account.liquidations[n_before:])
                barred = True
            else:
                qty = (D(repr(row.qty)) / step).to_integral_value() * step
                price = (D(repr(row.price)) / tick).to_integral_value() * tick
                logged = account.fill(clock, data.symbol, qty, price, Liquidity(row.liquidity))
                entered_inside |= time_ms > open_ms and (row.size_after - row.qty) * row.size_after <= 0.0
                assert logged["kind"] == "fill", (i, row, logged)
                close_enough(row.fee, logged["fee"])
                close_enough(row.realized_pnl, logged["realized"], scale=float(abs(qty) * price))
        if account.positions[data.symbol].size and not barred:
            clock = max(clock, close_ms - 1)
            logged = account.bar(clock, data.symbol, *bar)
            assert logged["kind"] == "bar", (i, logged)
        elif account.positions[data.symbol].size:
            # What a step-down left: settlements that pay came after its candle, at marks of their own.
            account.mark(clock, data.symbol, bar[3])
        if not account.positions[data.symbol].size:
            close_enough(result.equity[i], account.cash, scale=capital)
        else:
            close_enough(result.equity[i], account.equity, scale=capital)
    assert place == len(queue)
    return account


def seen_from_inside(account: Account, data: MarketData, bar):
    """Return the mark candle of a position entered inside it: from its best mark on, for the open was before."""
    _, high, low, close = bar
    best = high if account.positions[data.symbol].size > 0 else low
    return best, high, low, close


def compare_liquidations(queue, booked) -> int:
    """Hold the liquidations that ``queue`` begins with to those booked of one candle; return how many come after."""
    ours = [row for kind, row in queue[: len(booked)] if kind == "liquidations"]
    assert [row.kind for row in ours] == [logged["how"] for logged in booked], (queue[0], booked)
    for row, logged in zip(ours, booked, strict=True):
        for name, exact in (("loss", "loss"), ("fee", "fee"), ("fund", "fund"), ("size", "qty")):
            close_enough(getattr(row, name), logged[exact])
        close_enough(row.trigger_price, logged["trigger_mark"])
    return len(ours) - 1


def close_enough(ours: float, exact: Decimal, scale: float = 1.0) -> None:
    """Demand a relative 1e-9, measured against ``scale`` where the figure itself is small."""
    assert abs(ours - float(exact)) <= 1e-9 * max(abs(float(exact)), scale), (ours, exact)
