"""Several symbols as one account: isolated sub-accounts of equal capital, added up on one grid of closes."""

import dataclasses
from collections.abc import Sequence
from functools import reduce

import numpy as np
import pandas as pd

from bybit.backtest.metrics import DAY_MS
from bybit.backtest.result import BacktestResult, Integers, account_metrics
from bybit.rules.errors import InvalidInput

_PER_ACCOUNT = ("n_fills", "n_rejected_orders", "n_limits_crossed", "n_limits_unfilled", "ruined")


def combine(results: Sequence[BacktestResult]) -> BacktestResult:
    """Return ``results`` as one portfolio of isolated sub-accounts; no margin or cash moves between them.

    Equity is the sum at every close of any of them; one without a candle there keeps its last value (its initial
    capital before the first). Assumptions that are counts are added, those in words are listed by symbol.

    Raises
    ------
    InvalidInput
        Without results, for different periods, or for a symbol twice.
    """
    if not results:
        raise InvalidInput("nothing to combine: give at least one result")
    if len(results) == 1:
        return results[0]
    periods = {result.period for result in results}
    if len(periods) > 1:
        raise InvalidInput(f"results of different periods cannot be added: {', '.join(sorted(map(str, periods)))}")
    symbols = [result.symbol for result in results]
    if len(set(symbols)) < len(symbols):
        raise InvalidInput(f"a symbol stands twice among {', '.join(symbols)}")

    initial = sum(result.initial_capital for result in results)
    times = reduce(np.union1d, [result.equity_time_ms for result in results])
    equity = np.zeros(len(times))
    for result in results:
        n_closed = np.searchsorted(result.equity_time_ms, times, side="right")
        equity += np.concatenate([[result.initial_capital], result.equity])[n_closed]
    fills = _stack([result.fills for result in results], "fill_time")
    trades = _stack([_on_grid(result, result.trades, times) for result in results], "exit_time")
    still_open = _stack([_on_grid(result, result.open_positions, times) for result in results], "entry_time")
    days = (results[0].period.end_ms - results[0].period.start_ms) / DAY_MS
    n_liquidations = sum(len(result.liquidations) for result in results)
    return dataclasses.replace(
        results[0],
        symbols=tuple(symbols),
        fills=fills,
        trades=trades,
        open_positions=still_open,
        funding=_stack([result.funding for result in results], "funding_time"),
        liquidations=_stack([result.liquidations for result in results], "liquidation_time"),
        rejections=_stack([result.rejections for result in results], "order_time"),
        equity=equity,
        equity_time_ms=times,
        initial_capital=initial,
        costs=reduce(lambda a, b: a + b, [result.costs for result in results]),
        costs_by_symbol={result.symbol: result.costs for result in results},
        metrics={
            **account_metrics(
                times,
                equity,
                initial,
                days,
                fills=fills,
                trades=trades,
                open_positions=still_open,
                n_liquidations=n_liquidations,
            ),
            **{name: sum(int(result.metrics[name] or 0) for result in results) for name in _PER_ACCOUNT},
        },
        assumptions=_assumptions(results),
        rejected_orders=sum(result.rejected_orders for result in results),
        ruined=any(result.ruined for result in results),
        provenance={
            **{name: value for name, value in results[0].provenance.items() if _same(results, name)},
            "symbols": symbols,
            "initial_capital": initial,
            "data_versions": {result.symbol: result.provenance["data_version"] for result in results},
        },
    )


def _on_grid(result: BacktestResult, rows: pd.DataFrame, times: Integers) -> pd.DataFrame:
    # Candle numbers count along the account's own closes; the portfolio may have more of them.
    place = np.searchsorted(times, result.equity_time_ms)
    numbered = {name: place[rows[name]] for name in ("entry_candle", "exit_candle") if name in rows.columns}
    return rows.assign(**numbered)


def _stack(frames: Sequence[pd.DataFrame], by: str) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True).sort_values(by, kind="stable", ignore_index=True)


def _same(results: Sequence[BacktestResult], name: str) -> bool:
    return all(result.provenance.get(name) == results[0].provenance.get(name) for result in results)


def _assumptions(results: Sequence[BacktestResult]) -> dict[str, int | str]:
    total: dict[str, int | str] = {}
    for name in dict.fromkeys(name for result in results for name in result.assumptions):
        found = {result.symbol: result.assumptions[name] for result in results if name in result.assumptions}
        counts = [value for value in found.values() if isinstance(value, int)]
        if len(counts) == len(found):
            total[name] = sum(counts)
        elif len(set(found.values())) == 1:
            total[name] = next(iter(found.values()))
        else:
            total[name] = "; ".join(f"{symbol}: {value}" for symbol, value in found.items())
    return total
