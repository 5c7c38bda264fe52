"""What a run was worth: risk and return of an equity path, and statistics of its trades. Pure numpy.

A figure that is not defined (no variance, no loss, fewer than two observations) is None, never 0 and never infinite.
Drawdowns are fractions of the peak, >= 0. The risk-free rate is 0; a year has 365 days and no weekend.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Metrics = dict[str, float | None]

YEAR_DAYS = 365.0
DAY_MS = 86_400_000


def return_metrics(returns: Floats, periods_per_year: float = YEAR_DAYS) -> Metrics:
    """Return the risk and return figures of simple per-period returns, oldest first.

    Parameters
    ----------
    returns : ndarray of shape (n_periods,)
        Simple returns; -1 is the loss of everything.
    periods_per_year : float
        365 for days, 8760 for hours.

    Returns
    -------
    dict
        ``total_return``, ``cagr`` (by count of observations), ``volatility_annual`` and ``sharpe`` (ddof 1),
        ``sortino`` (downside over all observations), ``max_drawdown``, ``calmar``, indices of the worst drawdown
        (0 is the start before the first return; recovery None when never), ``longest_drawdown_duration_periods``,
        ``var_95_historical`` and ``cvar_95_historical`` (sign kept: losses are negative), and
        ``positive_periods_share``.
    """
    n = len(returns)
    if n == 0:
        return dict.fromkeys(_RETURN_METRICS)
    wealth = np.concatenate([[1.0], np.cumprod(1.0 + returns)])
    year = math.sqrt(periods_per_year)
    mean, std = float(returns.mean()), _deviation(returns)
    downside = math.sqrt(float((np.minimum(returns, 0.0) ** 2).sum()) / n)
    cagr = float(wealth[-1]) ** (periods_per_year / n) - 1.0 if wealth[-1] >= 0.0 and n >= 2 else None
    depth, peak, trough, recovery, longest = _worst_drawdown(wealth)
    tail = np.sort(returns)[: math.floor(0.05 * (n - 1)) + 1]
    return {
        "n": float(n),
        "total_return": float(wealth[-1]) - 1.0,
        "cagr": cagr,
        "volatility_annual": None if std is None else std * year,
        "sharpe": mean / std * year if std else None,
        "sortino": mean * year / downside if downside > 0.0 and n >= 2 else None,
        "downside_deviation_annual": downside * year,
        "max_drawdown": depth,
        "calmar": cagr / depth if cagr is not None and depth > 0.0 else None,
        "max_drawdown_peak_index": peak,
        "max_drawdown_trough_index": trough,
        "max_drawdown_recovery_index": recovery,
        "longest_drawdown_duration_periods": longest,
        "var_95_historical": float(np.quantile(returns, 0.05)) if n >= 2 else None,
        "cvar_95_historical": float(tail.mean()) if n >= 2 else None,
        "positive_periods_share": float((returns > 0.0).mean()),
    }


def trade_metrics(trades: pd.DataFrame, n_candles: int, equity_before: Floats) -> Metrics:
    """Return statistics of closed trades.

    Parameters
    ----------
    trades : DataFrame
        Columns ``net_pnl`` (settle coin, after fees), ``notional`` (both legs), ``return`` (net P&L per entry
        notional), ``entry_candle`` and ``exit_candle`` (positions in the equity path).
    n_candles : int
        Length of the record; a trade is exposed to candles entry_candle <= i < exit_candle.
    equity_before : ndarray of shape (n_candles,)
        Equity path over which the mean for turnover is taken.
    """
    net = trades["net_pnl"].to_numpy(dtype=np.float64)
    wins, losses = net[net > 0.0], net[net < 0.0]
    n = len(net)
    gain, loss = float(wins.sum()), float(losses.sum())
    average_win = float(wins.mean()) if len(wins) else None
    average_loss = float(losses.mean()) if len(losses) else None
    traded = float(trades["notional"].to_numpy(dtype=np.float64).sum())
    mean_equity = float(equity_before.mean()) if len(equity_before) else 0.0
    return {
        "n_trades": float(n),
        "net_pnl": float(net.sum()),
        "gross_profit": gain,
        "gross_loss": loss,
        "win_rate": len(wins) / n if n else None,
        "profit_factor": gain / -loss if loss < 0.0 else None,
        "expectancy_money": float(net.mean()) if n else None,
        "average_win": average_win,
        "average_loss": average_loss,
        "payoff_ratio": None if average_win is None or average_loss is None else average_win / -average_loss,
        "mean_return_per_trade": float(trades["return"].to_numpy(dtype=np.float64).mean()) if n else None,
        "exposure": exposure(trades, n_candles) if n_candles else None,
        "traded_notional": traded,
        "turnover_on_mean_equity": traded / mean_equity if mean_equity > 0.0 else None,
        "max_consecutive_losses": float(_longest_run(net < 0.0)),
    }


def exposure(trades: pd.DataFrame, n_candles: int) -> float:
    """Return the share of candles i with entry_candle <= i < exit_candle for any row of ``trades``."""
    steps = np.zeros(n_candles + 1)
    entries = trades["entry_candle"].to_numpy(dtype=np.int64)
    exits = trades["exit_candle"].to_numpy(dtype=np.int64)
    np.add.at(steps, entries, 1.0)
    np.add.at(steps, exits, -1.0)
    return float((np.cumsum(steps)[:n_candles] > 0.0).mean())


def daily_equity(close_time_ms: NDArray[np.int64], equity: Floats, initial: float) -> tuple[NDArray[np.int64], Floats]:
    """Return (end of day ms UTC, equity) at the last close of each UTC day, the initial capital first.

    The first and the last day may be shorter than 24 h and count as one. The initial capital stands at the end of
    the day before the first.
    """
    # A close at midnight ends the day before it.
    day = (close_time_ms - 1) // DAY_MS
    last = np.append(day[1:] != day[:-1], True) if len(day) else np.zeros(0, dtype=np.bool_)
    ends = (day[last] + 1) * DAY_MS
    start = ends[:1] - DAY_MS
    return np.concatenate([start, ends]), np.concatenate([np.full(len(start), initial), equity[last]])


def daily_returns(close_time_ms: NDArray[np.int64], equity: Floats, initial: float) -> Floats:
    """Return simple daily returns of an equity path; after ruin (equity <= 0) there are none but zeros."""
    _, sampled = daily_equity(close_time_ms, equity, initial)
    if len(sampled) < 2:
        return np.zeros(0)
    before, after = sampled[:-1], np.maximum(sampled[1:], 0.0)
    returns = np.zeros(len(before))
    np.divide(after - before, before, out=returns, where=before > 0.0)
    return returns


def drawdowns(equity: Floats, initial: float) -> Floats:
    """Return how far equity stands below its running peak, the initial capital included; fractions, 0 at a peak."""
    peak = np.maximum(np.maximum.accumulate(equity), initial)
    return (peak - equity) / peak


def _deviation(returns: Floats) -> float | None:
    if len(returns) < 2:
        return None
    # Identical returns have no deviation, though rounding of their mean may show one.
    return 0.0 if returns.min() == returns.max() else float(returns.std(ddof=1))


def _worst_drawdown(wealth: Floats) -> tuple[float, float | None, float | None, float | None, float]:
    peaks = np.maximum.accumulate(wealth)
    depth = np.zeros(len(wealth))
    np.divide(peaks - wealth, peaks, out=depth, where=peaks > 0.0)
    under = wealth < peaks
    longest = 0.0
    if under.any():
        # A drawdown lasts from its peak to the first point back at the peak, or to the end.
        starts = np.flatnonzero(np.diff(under.astype(np.int8), prepend=0) == 1) - 1
        ends = np.flatnonzero(np.diff(under.astype(np.int8), append=0) == -1) + 1
        longest = float((np.minimum(ends, len(wealth) - 1) - starts).max())
    trough = int(depth.argmax())
    if depth[trough] == 0.0:
        return 0.0, None, None, None, longest
    peak = int(np.flatnonzero(wealth[: trough + 1] == peaks[trough])[-1])
    back = np.flatnonzero(wealth[trough:] >= peaks[trough])
    return float(depth[trough]), float(peak), float(trough), float(trough + back[0]) if len(back) else None, longest


def _longest_run(flags: NDArray[np.bool_]) -> int:
    longest = run = 0
    for flag in flags.tolist():
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest


_RETURN_METRICS: tuple[str, ...] = tuple(return_metrics(np.array([0.01, -0.01])))


def as_metrics(values: dict[str, Any]) -> Metrics:
    """Return ``values`` with every number finite: what is not becomes None."""
    return {name: float(v) if v is not None and math.isfinite(v) else None for name, v in values.items()}
