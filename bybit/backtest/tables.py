"""The kernel's logs as tables: words for numbers, aware times, and candle numbers of the reported closes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

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
from bybit.backtest.portfolio import Portfolio
from bybit.backtest.records import (
    ENTRY,
    FILL_COLUMNS,
    FUNDING_COLUMNS,
    LIQUIDATION_COLUMNS,
    LIQUIDATION_KINDS,
    LIQUIDATION_PRICE,
    LOTS,
    MARGIN,
    MARK,
    REASONS,
    REJECTION_COLUMNS,
    REJECTIONS,
    TRADE_CANDLE,
    TRADE_COLUMNS,
    TRADE_TIME,
    Floats,
    Integers,
    Logs,
)
from bybit.backtest.values import notional, price_pnl

OPEN_COLUMNS = (
    "symbol", "entry_time", "entry_candle", "size", "entry_price", "mark_price", "unrealized_pnl", "margin",
    "liquidation_price",
)  # fmt: skip
_TIMES = ("fill_time", "entry_time", "exit_time", "funding_time", "liquidation_time", "order_time")
_CANDLES = ("candle", "entry_candle", "exit_candle")
_WHOLE = (*_CANDLES, "event", "side")
_WORDS = {"reason": REASONS, "kind": LIQUIDATION_KINDS}


class Tables:
    """The logs of one run as tables; every method returns one, oldest first, symbol in words.

    Parameters
    ----------
    book : Portfolio
        What was simulated.
    logs, positions : Logs, ndarray of shape (n_symbols, N_POSITION)
        What came out.
    qty_step : ndarray of shape (n_symbols,)
        Size of a lot.
    inverse : bool
        Whether values and P&L count in coin.
    """

    def __init__(self, book: Portfolio, logs: Logs, positions: Floats, qty_step: Floats, *, inverse: bool) -> None:
        self._symbols = book.symbols
        self._reported: Callable[[Integers], Integers] = book.reported
        self._logs = logs
        self._positions = positions
        self._qty_step = qty_step
        self._inverse = inverse

    def fills(self) -> pd.DataFrame:
        """Return the fills; qty signed, fee + paid, ``liquidity`` maker or taker."""
        frame = self._frame(self._logs.fills, FILL_COLUMNS)
        frame["liquidity"] = _words(np.where(frame.pop("taker") > 0.0, "taker", "maker"))
        return frame

    def trades(self) -> pd.DataFrame:
        """Return the closed round trips.

        ``net_pnl`` is price P&L less fees plus funding payments; ``notional`` the value of both legs, ``return`` the
        net P&L per value entered.
        """
        frame = self._frame(self._logs.trades, TRADE_COLUMNS)
        entered, left = (
            notional(frame["qty"].to_numpy(), frame[name].to_numpy(), inverse=self._inverse)
            for name in ("entry_price", "exit_price")
        )
        frame["notional"] = entered + left
        frame["return"] = frame["net_pnl"] / entered
        return frame

    def funding(self) -> pd.DataFrame:
        """Return the settlements; ``payment`` + enters the wallet."""
        return self._frame(self._logs.funding, FUNDING_COLUMNS)

    def liquidations(self) -> pd.DataFrame:
        """Return the liquidations; ``loss`` is what the account lost by each."""
        return self._frame(self._logs.liquidations, LIQUIDATION_COLUMNS)

    def rejections(self) -> pd.DataFrame:
        """Return the rejected orders, with the reason in one word."""
        return self._frame(self._logs.rejections, REJECTION_COLUMNS, reasons=REJECTIONS)

    def open_positions(self) -> pd.DataFrame:
        """Return what is held at the end."""
        held = np.flatnonzero(self._positions[:, LOTS] != 0.0)
        states, size = self._positions[held], self._positions[held, LOTS] * self._qty_step[held]
        pnl = price_pnl(size, states[:, ENTRY], states[:, MARK], inverse=self._inverse)
        rows = [held, states[:, TRADE_TIME], states[:, TRADE_CANDLE], size, states[:, ENTRY], states[:, MARK], pnl]
        return self._frame(
            np.column_stack([*rows, states[:, MARGIN], states[:, LIQUIDATION_PRICE]]).astype(np.float64), OPEN_COLUMNS
        )

    def _frame(self, rows: Floats, names: Sequence[str], reasons: Sequence[str] = REASONS) -> pd.DataFrame:
        symbols = np.array(self._symbols, dtype=object)[rows[:, 0].astype(np.int64)]
        columns: dict[str, Any] = {"symbol": _words(symbols)}
        for place, name in enumerate(names[1:], 1):
            values = np.ascontiguousarray(rows[:, place])
            if name in _TIMES:
                columns[name] = pd.DatetimeIndex(values.astype("datetime64[ms]")).tz_localize("UTC")
            elif name in _CANDLES:
                columns[name] = self._reported(values.astype(np.int64))
            elif name in _WORDS:
                words = reasons if name == "reason" else _WORDS[name]
                columns[name] = _words(np.array(words, dtype=object)[values.astype(np.int64)])
            else:
                columns[name] = values.astype(np.int64) if name in _WHOLE else values
        return pd.DataFrame(columns)


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
    inverse: bool,
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
    values = notional(fills["qty"].to_numpy(), fills["price"].to_numpy(), inverse=inverse)
    traded = float(np.abs(values).sum())
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


def _words(values: "np.ndarray[Any, Any]") -> "pd.Series[str]":
    # Named, or an empty table would have another type than a full one.
    return pd.Series(values, dtype="str")
