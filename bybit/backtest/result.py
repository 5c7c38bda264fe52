"""What a run returns: every fill, trade, settlement and liquidation, the equity path, costs and provenance."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from bybit.backtest.costs import CostBreakdown
from bybit.backtest.metrics import Metrics
from bybit.backtest.records import Floats, Integers
from bybit.rules.periods import Period


@dataclass(frozen=True)
class BacktestResult:
    """One simulation: a strategy x fee tier x period, one account over one symbol or several.

    Attributes
    ----------
    symbols : tuple of str
        What was traded, in the order given.
    fills, trades, funding, liquidations, rejections : DataFrame
        One row an event, oldest first, column ``symbol`` included; times are aware UTC. Fills, settlements and
        liquidations carry ``event``, their order in the account. Of a settlement, ``payment`` is positive when it
        entered the wallet: -size x mark_price x funding_rate. Of a liquidation, ``kind`` is takeover, step_down or
        cross, ``fee`` what the account paid and ``fund`` what the insurance fund gained (+) or paid (-).
    open_positions : DataFrame
        What is still held at the end (no trade yet), valued at the last mark; empty when flat.
    equity, equity_time_ms : ndarray of shape (n_closes,)
        Account equity at the marks at every close of the strategy's candles, and that time.
    costs, costs_by_symbol : CostBreakdown, dict of CostBreakdown
        The account's, and each symbol's share of it; the shares add up to the account's.
    assumptions : dict
        Everything that was assumed rather than known, by name, with its count or in words.
    rejected_orders : int
        Orders, or opening parts of orders, that the venue would have refused; reasons in ``rejections``.
    ruined : bool
        Whether equity reached zero; trading stops there.
    """

    symbols: tuple[str, ...]
    period: Period
    fills: pd.DataFrame
    trades: pd.DataFrame
    funding: pd.DataFrame
    liquidations: pd.DataFrame
    rejections: pd.DataFrame
    open_positions: pd.DataFrame
    equity: Floats
    equity_time_ms: Integers
    initial_capital: float
    costs: CostBreakdown
    costs_by_symbol: dict[str, CostBreakdown]
    metrics: Metrics
    assumptions: dict[str, int | str]
    rejected_orders: int
    ruined: bool
    provenance: dict[str, Any]

    @property
    def symbol(self) -> str:
        """The symbols as one word, e.g. ``BTCUSDT+ETHUSDT``."""
        return "+".join(self.symbols)
