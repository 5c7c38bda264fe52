"""What a run returns: every fill, trade, settlement and liquidation, the equity path, costs and provenance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bybit.backtest.metrics import (
    YEAR_DAYS,
    Metrics,
    as_metrics,
    daily_returns,
    drawdowns,
    exposure,
    return_metrics,
    trade_metrics,
)
from bybit.backtest.position import (
    FILL_COLUMNS,
    FUNDING_COLUMNS,
    LIQUIDATION_COLUMNS,
    REASONS,
    REJECTION_COLUMNS,
    REJECTIONS,
    TRADE_COLUMNS,
)
from bybit.rules.periods import Period

OPEN_COLUMNS = (
    "entry_time", "entry_candle", "size", "entry_price", "mark_price", "unrealized_pnl", "margin", "liquidation_price",
)  # fmt: skip

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CostBreakdown:
    """Where the money went, settle coin: net = gross less everything below it.

    Attributes
    ----------
    gross : float
        P&L of the trades (open ones at the last mark) at prices without slippage; a liquidated position counts zero
        here, its whole margin stands under ``liquidation_loss``.
    maker_fees, taker_fees, funding, slippage, liquidation_loss : float
        Positive is a cost; a rebate or funding received is negative.
    net : float
        Last equity less the initial capital.
    """

    gross: float
    maker_fees: float
    taker_fees: float
    funding: float
    slippage: float
    liquidation_loss: float
    net: float

    def __add__(self, other: "CostBreakdown") -> "CostBreakdown":
        """Return both together."""
        return CostBreakdown(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


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
        entered the wallet: -size x mark_price x funding_rate.
    open_positions : DataFrame
        What is still held at the end (no trade yet), valued at the last mark; empty when flat.
    equity, equity_time_ms : ndarray of shape (n_candles,)
        Account equity at the mark at each candle's close, and that time.
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


def fills_frame(symbol: str, rows: Floats) -> pd.DataFrame:
    """Return the fill log as a table; qty signed, fee + paid, ``liquidity`` maker or taker."""
    frame = _frame(symbol, rows, FILL_COLUMNS, ("fill_time",), ("event", "candle"))
    frame["liquidity"] = _words(np.where(frame.pop("taker") > 0.0, "taker", "maker"))
    return _with_words(frame, REASONS)


def trades_frame(symbol: str, rows: Floats) -> pd.DataFrame:
    """Return closed round trips as a table.

    ``net_pnl`` is price P&L less fees plus funding payments; ``notional`` the value of both legs, ``return`` the net
    P&L per value entered.
    """
    times, counts = ("entry_time", "exit_time"), ("entry_candle", "exit_candle", "side")
    frame = _with_words(_frame(symbol, rows, TRADE_COLUMNS, times, counts), REASONS)
    entered = frame["qty"] * frame["entry_price"]
    frame["notional"] = entered + frame["qty"] * frame["exit_price"]
    frame["return"] = frame["net_pnl"] / entered
    return frame


def funding_frame(symbol: str, rows: Floats) -> pd.DataFrame:
    """Return settlements as a table; ``payment`` + enters the wallet."""
    return _frame(symbol, rows, FUNDING_COLUMNS, ("funding_time",), ("event",))


def liquidations_frame(symbol: str, rows: Floats) -> pd.DataFrame:
    """Return liquidations as a table; ``loss`` is the position's margin."""
    return _frame(symbol, rows, LIQUIDATION_COLUMNS, ("liquidation_time",), ("event", "candle"))


def rejections_frame(symbol: str, rows: Floats) -> pd.DataFrame:
    """Return rejected orders as a table, with the reason in one word."""
    return _with_words(_frame(symbol, rows, REJECTION_COLUMNS, ("order_time",), ()), REJECTIONS)


def open_positions_frame(symbol: str, rows: Floats) -> pd.DataFrame:
    """Return what is held at the end as a table; rows in the order of ``OPEN_COLUMNS``."""
    return _frame(symbol, rows, OPEN_COLUMNS, ("entry_time",), ("entry_candle",))


def account_metrics(
    equity_time_ms: Integers,
    equity: Floats,
    initial: float,
    days: float,
    *,
    fills: pd.DataFrame,
    trades: pd.DataFrame,
    open_positions: pd.DataFrame,
    n_liquidations: int,
) -> Metrics:
    """Return the figures of one account: risk and return of daily equity, statistics of closed trades.

    ``net_return`` is the whole period's, ``max_drawdown`` that of daily equity, ``max_drawdown_at_closes`` that of
    every candle's close, ``turnover_ratio`` the notional of all fills per mean equity and year. ``exposure`` counts
    positions that are still open, every other figure of trades only closed ones.
    """
    daily = return_metrics(daily_returns(equity_time_ms, equity, initial))
    # A candle is exposed with the equity that it opened with.
    before = np.concatenate([[initial], equity[:-1]])
    of_trades = trade_metrics(trades, len(equity), before)
    del of_trades["turnover_on_mean_equity"]
    traded = float((fills["qty"] * fills["price"]).abs().sum())
    mean_equity = float(before.mean())
    still_open = open_positions[["entry_candle"]].assign(exit_candle=len(equity))
    holdings = pd.concat([trades[["entry_candle", "exit_candle"]], still_open])
    metrics = as_metrics(
        {
            "net_return": float(equity[-1]) / initial - 1.0,
            **daily,
            "max_drawdown_at_closes": float(drawdowns(equity, initial).max()),
            **of_trades,
            "traded_notional": traded,
            "turnover_ratio": traded / mean_equity * YEAR_DAYS / days if mean_equity > 0.0 else None,
            "exposure": exposure(holdings, len(equity)),
        }
    )
    del metrics["n"]
    whole = {"n_days": daily["n"], "n_trades": of_trades["n_trades"], "n_liquidations": n_liquidations}
    return {**metrics, **{name: None if value is None else int(value) for name, value in whole.items()}}


def _frame(symbol: str, rows: Floats, names: Sequence[str], times: Sequence[str], whole: Sequence[str]) -> pd.DataFrame:
    columns: dict[str, Any] = {"symbol": _words(np.full(len(rows), symbol, dtype=object))}
    for place, name in enumerate(names):
        values = np.ascontiguousarray(rows[:, place])
        if name in times:
            columns[name] = pd.DatetimeIndex(values.astype("datetime64[ms]")).tz_localize("UTC")
        else:
            columns[name] = values.astype(np.int64) if name in whole else values
    return pd.DataFrame(columns)


def _with_words(frame: pd.DataFrame, words: Sequence[str]) -> pd.DataFrame:
    frame["reason"] = _words(np.array(words, dtype=object)[frame["reason"].to_numpy(dtype=np.int64)])
    return frame


def _words(values: NDArray[Any]) -> "pd.Series[str]":
    # Named, or an empty table would have another type than a full one.
    return pd.Series(values, dtype="str")
