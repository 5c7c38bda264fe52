"""Back-tests: one cell of the matrix, its symbols batched inside."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
import pandas as pd
from prefect import task

from bybit.backtest.engine import ENGINE_VERSION, BacktestEngine, BacktestResult, MarketData
from bybit.backtest.portfolio import combine
from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.errors import PerpflowError
from bybit.rules.fees import FeeSchedule
from bybit.store.runs import RunRecord
from bybit.strategies.protocol import Strategy
from bybit.strategies.registry import registry
from tasks.connections import store
from tasks.plans import BacktestCase, SymbolPlan
from tasks.settings import settings


def load_markets(symbols: Sequence[SymbolPlan], *, allow_gaps: bool) -> None:
    """Read the data of ``symbols`` into this process once, so that a fan-out over threads shares one copy."""
    _market.cache_clear()
    for symbol in symbols:
        _market(symbol, allow_gaps)


@task(task_run_name="bt-{case.name}")
def run_backtest(case: BacktestCase) -> dict[str, Any]:
    """Run one strategy at one fee tier over one period; return its row of the result table.

    Idempotent: the row is stored under the hash of everything that it depends on (data, parameters, fees, engine);
    when such a row is there already it is returned as it was. A refusal of the rules (no fee row, no mark price) is
    a row with its reason, not a failed task: the gates then say no.
    """
    schedule = FeeSchedule.builtin()
    strategy = registry()[case.strategy]()
    try:
        markets = [_market(symbol, case.terms.allow_gaps) for symbol in case.symbols]
        key = _run_key(case, strategy, markets, schedule)
        known = store().runs.find(key)
        if known is not None and _artifacts(key).is_dir():
            return _row(known, case)
        result = combine([_simulate(case, strategy, market, schedule, len(markets)) for market in markets])
    except PerpflowError as refusal:
        return _refused(case, refusal)
    _keep_tables(key, result)
    record = _record(key, case, strategy, result)
    if known is None:
        store().runs.add(record)
    return _row(record, case)


def _simulate(
    case: BacktestCase, strategy: Strategy, market: MarketData, schedule: FeeSchedule, n_symbols: int
) -> BacktestResult:
    terms = case.terms
    engine = BacktestEngine(
        strategy,
        terms.initial_capital / n_symbols,
        leverage=terms.leverage,
        fee_schedule=schedule,
        tier=case.tier,
        slippage_rate=terms.slippage_rate,
        mark_policy=terms.mark_policy,
        funding_policy=terms.funding_policy,
    )
    return engine.run(market, case.span.period)


@lru_cache(maxsize=256)
def _market(symbol: SymbolPlan, allow_gaps: bool) -> MarketData:
    database = store()
    interval = Interval.parse(symbol.interval)
    key = SeriesKey(Category.LINEAR, symbol.symbol, PriceType.LAST, interval)
    period = symbol.candles.period
    hashes = [database.candles.content_hash(key, period)]
    mark, mark_interval = None, None
    if symbol.mark is not None and symbol.mark_interval is not None:
        mark_interval = Interval.parse(symbol.mark_interval)
        mark_key = SeriesKey(Category.LINEAR, symbol.symbol, PriceType.MARK, mark_interval)
        mark = database.candles.read(mark_key, symbol.mark.period)
        hashes.append(database.candles.content_hash(mark_key, symbol.mark.period))
    funding = []
    if symbol.funding is not None:
        funding = database.funding.rates(Category.LINEAR, symbol.symbol, symbol.funding.period)
        hashes.append(hashlib.sha256(repr(funding).encode()).hexdigest())
    holes = database.coverage.holes(key) if allow_gaps else []
    return MarketData(
        symbol=symbol.symbol,
        interval=interval,
        candles=database.candles.read(key, period),
        mark=mark,
        mark_interval=mark_interval,
        funding=funding,
        instrument=database.instruments.get(Category.LINEAR, symbol.symbol),
        risk_tiers=database.risk_tiers.get(symbol.symbol),
        gaps=tuple(hole.period for hole in holes),
        data_version=hashlib.sha256("".join(hashes).encode()).hexdigest()[:16],
    )


def _run_key(case: BacktestCase, strategy: Strategy, markets: Sequence[MarketData], schedule: FeeSchedule) -> str:
    content = {
        "case": case.model_dump(mode="json"),
        "params": strategy.describe(),
        "data": [(market.symbol, market.data_version) for market in markets],
        "fees": schedule.version,
        "engine": ENGINE_VERSION,
    }
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
