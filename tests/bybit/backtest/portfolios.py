"""Several symbols in one account, for tests: a script a symbol, and random markets of both categories."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

from bybit.backtest.engine import BacktestResult, MarketData
from bybit.rules.candles import Category, Interval
from bybit.rules.fees import FeeEra, FeeRates, FeeSchedule
from bybit.rules.periods import Period
from bybit.strategies import MarketView, Signals, Strategy, StrategyParams
from tests.bybit.backtest.markets import START, D, Scripted, engine, funding, instrument, ladder, market, period
from tests.bybit.backtest.random_markets import random_market


class Scripts(Strategy):
    """Decides of each symbol what it was told."""

    name = "scripts"
    params_type: ClassVar[type[StrategyParams]] = StrategyParams

    def __init__(self, **scripts):
        super().__init__()
        self.scripts = {
            symbol: script if isinstance(script, Scripted) else Scripted(script) for symbol, script in scripts.items()
        }

    def warmup(self, interval: Interval) -> int:
        return 1

    def signals(self, view: MarketView) -> Signals:
        return self.scripts[view.symbol].signals(view)


def part(rows, symbol, **changes) -> MarketData:
    """Return a linear market of ``symbol``; the first row is the warm-up candle."""
    rules = {"instrument": instrument(symbol), "risk_tiers": ladder(symbol=symbol)}
    settled = {"settlements": funding((-8, "0.0001"), symbol=symbol)}
    return market(rows, symbol=symbol, **(rules | settled | changes))


def inverse_part(rows, symbol="BTCUSD", **changes) -> MarketData:
    """Return an inverse market: quantities in USD, everything else in coin."""
    values = {"category": Category.INVERSE, "contract_type": "InversePerpetual", "quote_coin": "USD"}
    values |= {"base_coin": "BTC", "settle_coin": "BTC", "qty_step": D(1), "min_order_qty": D(1), "min_notional": None}
    values |= {"max_order_qty": D(10**9), "max_market_order_qty": D(10**9)}
    rules = {"instrument": instrument(symbol, **values), "risk_tiers": ladder((20, 80, None), symbol=symbol)}
    settled = {"settlements": funding((-8, "0.0001"), symbol=symbol)}
    return market(rows, symbol=symbol, **(rules | settled | changes))


def inverse_schedule() -> FeeSchedule:
    rates = FeeRates(D("0.0002"), D("0.00055"))
    return FeeSchedule([FeeEra("inverse_perpetual", "vip0", rates, START - timedelta(days=400), None, "test", "high")])


def trade(markets: Sequence[MarketData], scripts: Mapping, *, allocations=None, span=None, **changes) -> BacktestResult:
    """Run one account over ``markets`` until the last close of any of them."""
    if markets[0].instrument.category is Category.INVERSE:
        changes = {"category": Category.INVERSE, "fee_schedule": inverse_schedule()} | changes
    until = span or Period(START, max(period(data).end for data in markets))
    return engine(Scripts(**scripts), **changes).run(markets, until, allocations)


def random_account(seed, n, n_symbols, category=Category.LINEAR, **changes) -> BacktestResult:
    """Return the result of random decisions on random markets."""
    symbols = ("WIFUSDT", "ETHUSDT", "SOLUSDT") if category is Category.LINEAR else ("BTCUSD", "BTCUSDH24", "BTCUSDM24")
    make = part if category is Category.LINEAR else inverse_part
    markets, scripts = [], {}
    for k, symbol in enumerate(symbols[:n_symbols]):
        data, script = random_market(seed + k, n, symbol=symbol)
        rows = make([(1.0, 1.0, 1.0, 1.0)], symbol)
        markets.append(dataclasses.replace(data, instrument=rows.instrument, risk_tiers=rows.risk_tiers))
        scripts[symbol] = Scripted(*script)
    return trade(markets, scripts, **changes)
