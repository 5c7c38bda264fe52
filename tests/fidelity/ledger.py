"""The complete year booked again, order by order, in the Decimal ledger: how far the kernel's floats are from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bybit.backtest.engine import BacktestResult, MarketData
from bybit.rules.account import Account
from bybit.rules.candles import Category
from bybit.rules.fees import FeeSchedule, Liquidity
from bybit.rules.ledger import Contract
from bybit.rules.liquidation import LiquidationMode, MarginBasis
from bybit.rules.periods import to_ms

D = Decimal


@dataclass(frozen=True, slots=True)
class Booked:
    """How often the two were compared, and the largest difference relative to the initial capital."""

    n_closes: int
    n_fills: int
    n_settlements: int
    n_liquidations: int
    largest: float


def book(result: BacktestResult, market: MarketData, leverage: float) -> Booked:
    """Give the ledger the same orders, rates and mark candles; it liquidates on its own.

    Raises
    ------
    AssertionError
        When one of the two liquidates where the other does not.
    """
    account = _account(result, market, leverage)
    orders = _by_hour(_orders(result, market), market.interval.ms)
    rates = {to_ms(rate.funding_time): rate.funding_rate for rate in market.funding}
    opens = market.mark.index.as_unit("ms").asi8.tolist()
    marks = dict(zip(opens, market.mark[["open", "high", "low", "close"]].to_numpy().tolist(), strict=True))
    cross = result.provenance["margin_mode"] == "cross"
    largest = 0.0
    for close_ms, equity in zip(result.equity_time_ms.tolist(), result.equity.tolist(), strict=True):
        open_ms = close_ms - market.interval.ms
        bar = [D(repr(price)) for price in marks[open_ms]]
        if open_ms in rates and account.positions[market.symbol].size:
            # An account that stands for all its positions is judged once everything at the open has been booked.
            account.funding(open_ms, market.symbol, rates[open_ms], bar[0], judge=not cross)
        if cross and account.positions[market.symbol].size:
            account.marks(open_ms, {market.symbol: bar[0]}, judge=False)
        for time_ms, qty, price, liquidity in orders.get(open_ms, ()):
            row = account.fill(time_ms, market.symbol, qty, price, liquidity)
            assert row["kind"] == "fill", row
        if account.positions[market.symbol].size:
            account.bar(close_ms - 1, market.symbol, *bar)
        largest = max(largest, abs(float(account.equity) - equity))
    assert len(account.liquidations) == len(result.liquidations), (len(account.liquidations), len(result.liquidations))
    totals = account.totals
    costs = result.costs
    pairs = [
        (costs.maker_fees + costs.taker_fees, totals.fees),
        (costs.funding, totals.funding),
        (costs.liquidation_loss, totals.liquidation_loss),
    ]
    largest = max(largest, *(abs(ours - float(exact)) for ours, exact in pairs))
    return Booked(
        n_closes=len(result.equity),
        n_fills=len(result.fills),
        n_settlements=len(result.funding),
        n_liquidations=len(result.liquidations),
        largest=largest / result.initial_capital,
    )


def _account(result: BacktestResult, market: MarketData, leverage: float) -> Account:
    eras = FeeSchedule.builtin().eras(Category.LINEAR, "vip0", result.period, market.symbol)
    contract = Contract(
        market.symbol,
        Category.LINEAR,
        D(str(leverage)),
        market.risk_tiers,
        tick_size=market.instrument.tick_size,
        qty_step=market.instrument.qty_step,
    )
    return Account(
        D(str(result.initial_capital)),
        contracts=[contract],
        fees=[(to_ms(era.valid_from), era.rates) for era in eras],
        margin_mode=result.provenance["margin_mode"],
        basis=MarginBasis.BY_DATE,
        liquidation=LiquidationMode.STEP_DOWN,
    )


def _orders(result: BacktestResult, market: MarketData) -> Iterator[tuple[int, Decimal, Decimal, Liquidity]]:
    step, tick = market.instrument.qty_step, market.instrument.tick_size
    for row in result.fills.itertuples():
        fill: Any = row
        # Floats on a grid: the nearest point of it is what was meant.
        qty = (D(repr(fill.qty)) / step).to_integral_value() * step
        price = (D(repr(fill.price)) / tick).to_integral_value() * tick
        yield to_ms(fill.fill_time), qty, price, Liquidity(fill.liquidity)


def _by_hour(orders: Iterator[tuple[int, Any, Any, Any]], step_ms: int) -> dict[int, list[tuple[int, Any, Any, Any]]]:
    found: dict[int, list[tuple[int, Any, Any, Any]]] = {}
    for order in orders:
        found.setdefault(order[0] // step_ms * step_ms, []).append(order)
    return found
