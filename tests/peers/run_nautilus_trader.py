"""nautilus_trader: a strategy on bars, market orders at the quote. Run by the peers' interpreter: FILE REQUEST.

Its simulated venue fills a market order at the price that stands when the order arrives. The open of the next candle is
the first price after the close, so it is given as a quote at that instant, and the closed bar follows one nanosecond
later: the strategy decides on the bar and trades at the open, as everywhere else here. Bars themselves fill nothing.
"""

import json
import sys
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path

import nautilus_trader
import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import Bar, BarType, QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Currency, Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

VENUE = Venue("BYBIT")
MS = 1_000_000
# Far more than any order: the book's depth is not what is compared.
DEPTH = 10_000_000


class PlannedConfig(StrategyConfig, frozen=True):
    instrument_id: InstrumentId
    bar_type: BarType


class Planned(Strategy):
    """Holds the plan's target: one market order for the difference at each bar where it changes."""

    def __init__(self, config, targets):
        super().__init__(config)
        self.targets = targets
        self.wanted = Decimal(0)
        self.closed = []

    def on_start(self):
        self.instrument = self.cache.instrument(self.config.instrument_id)
        self.subscribe_bars(self.config.bar_type)

    def on_bar(self, bar):
        wanted = self.targets[bar.ts_event]
        if wanted == self.wanted:
            return
        self.wanted = wanted
        if order := wanted - self.portfolio.net_position(self.config.instrument_id):
            side = OrderSide.BUY if order > 0 else OrderSide.SELL
            self.submit_order(
                self.order_factory.market(self.config.instrument_id, side, self.instrument.make_qty(abs(order)))
            )

    def on_position_closed(self, event):
        # Read here: the cache forgets a netted position that is turned over by one order.
        self.closed.append(event)


def instrument(case):
    tick, step = Decimal(case["tick_size"]), Decimal(case["qty_step"])
    base = case["symbol"].removesuffix("USDT")
    return CryptoPerpetual(
        instrument_id=InstrumentId(Symbol(case["symbol"] + "-LINEAR"), VENUE),
        raw_symbol=Symbol(case["symbol"]),
        base_currency=Currency.from_str(base),
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=-tick.as_tuple().exponent,
        price_increment=Price.from_str(case["tick_size"]),
        size_precision=-step.as_tuple().exponent,
        size_increment=Quantity.from_str(case["qty_step"]),
        margin_init=Decimal(1),
        margin_maint=Decimal("0.005"),
        maker_fee=Decimal(str(case["fee_rate"])),
        taker_fee=Decimal(str(case["fee_rate"])),
        ts_event=0,
        ts_init=0,
    )


def data_of(candles, contract, bar_type, step_ms, slippage_rate):
    sizes, prices = contract.size_precision, contract.price_precision
    depth = Quantity(DEPTH, sizes)
    tick = contract.price_increment.as_decimal()
    found = []
    for row in candles.itertuples():
        # What taking loses is the quoted spread, on ticks outwards.
        opened, part = Decimal(str(row.open)), Decimal(str(slippage_rate))
        bid = Price((opened * (1 - part) / tick).to_integral_value(ROUND_FLOOR) * tick, prices)
        ask = Price((opened * (1 + part) / tick).to_integral_value(ROUND_CEILING) * tick, prices)
        start, end = row.open_time * MS, (row.open_time + step_ms) * MS
        found.append(QuoteTick(contract.id, bid, ask, depth, depth, start, start))
        values = (Price(value, prices) for value in (row.open, row.high, row.low, row.close))
        found.append(Bar(bar_type, *values, Quantity(row.volume, sizes), end, end + 1))
    return found


def run(case):
    candles = pd.read_parquet(case["candles"])
    step_ms = int(pd.Timedelta(case["interval"]).total_seconds() * 1000)
    engine = BacktestEngine(
        BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), risk_engine=RiskEngineConfig())
    )
    engine.add_venue(
        venue=VENUE,
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=USDT,
        starting_balances=[Money(case["capital"], USDT)],
        default_leverage=Decimal(str(case["leverage"])),
        bar_execution=False,
    )
    contract = instrument(case)
    engine.add_instrument(contract)
    bar_type = BarType.from_str(f"{contract.id}-1-HOUR-LAST-EXTERNAL")
    engine.add_data(data_of(candles, contract, bar_type, step_ms, case["slippage_rate"]))
    targets = {
        (row.open_time + step_ms) * MS: Decimal(str(row.target)).quantize(Decimal(case["qty_step"]))
        for row in candles.itertuples()
    }
    strategy = Planned(PlannedConfig(instrument_id=contract.id, bar_type=bar_type), targets)
    engine.add_strategy(strategy)
    engine.run()
    account = engine.cache.account_for_venue(VENUE)
    trades = [trade(event) for event in strategy.closed]
    result = {"net": float(account.balance_total(USDT).as_decimal()) - case["capital"], "trades": trades}
    engine.dispose()
    return result


def trade(event):
    side = 1 if event.entry == OrderSide.BUY else -1
    qty, opened, closed = float(event.peak_qty.as_decimal()), float(event.avg_px_open), float(event.avg_px_close)
    net = float(event.realized_pnl.as_decimal())
    # The event names no fees: they are what the realized P&L lacks.
    fees = side * qty * (closed - opened) - net
    return [event.ts_opened // MS, event.ts_closed // MS, side, qty, opened, closed, net, fees]


if __name__ == "__main__":
    cases = json.loads(Path(sys.argv[1]).read_text())
    found = {case["name"]: run(case) for case in cases}
    print(json.dumps({"engine": "nautilus_trader", "version": nautilus_trader.__version__, "cases": found}))
