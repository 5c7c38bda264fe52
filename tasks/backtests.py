"""Back-tests: one cell of the matrix, its symbols batched inside."""

import hashlib
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
from prefect import task

from bybit.backtest.engine import ENGINE_VERSION, BacktestEngine, BacktestResult, MarketData
from bybit.backtest.slippage import Slippage
from bybit.rules.availability import Closure, is_closed, untraded
from bybit.rules.candles import Interval, PriceType, SeriesKey
from bybit.rules.errors import InvalidInput, PerpflowError
from bybit.rules.fee_tiers import VolumeTiers
from bybit.rules.fees import FeeSchedule
from bybit.store.runs import RunRecord
from bybit.strategies import Strategy, build
from tasks.connections import reader, store
from tasks.fees import schedule_of
from tasks.margin import dated_tiers
from tasks.plans import BacktestCase, SymbolPlan, checked, table_tier
from tasks.settings import settings

Row = dict[str, Any]
_TABLES = ("fills", "trades", "funding", "liquidations")


class RunsFolder(PerpflowError):
    """The folder that keeps the tables of runs cannot be written."""


def load_markets(symbols: Sequence[SymbolPlan], *, allow_gaps: bool) -> None:
    """Read the data of ``symbols`` into this process once, so that a fan-out over threads shares one copy."""
    _market.cache_clear()
    for symbol in symbols:
        _market(symbol, allow_gaps)


def data_version(symbol: SymbolPlan) -> str:
    """Return the hash of everything stored of one symbol that a back-test rests on."""
    database = store()
    version = []
    for price, text, span in (
        (PriceType.LAST, symbol.interval, symbol.candles),
        (PriceType.LAST, symbol.detail_interval, symbol.detail),
        (PriceType.MARK, symbol.mark_interval, symbol.mark),
    ):
        if text is not None and span is not None:
            key = SeriesKey(symbol.category, symbol.symbol, price, Interval.parse(text))
            version.append(database.candles.content_hash(key, span.period))
    if symbol.funding is not None:
        version.append(database.funding.content_hash(symbol.category, symbol.symbol, symbol.funding.period))
    # The day on which the venue told its rules is not part of what they say.
    version.append(repr(replace(database.instruments.get(symbol.category, symbol.symbol), as_of=_NO_DAY)))
    tiers = dated_tiers(symbol.symbol)
    first = tiers[0].as_of
    version += [repr(replace(tier, as_of=_NO_DAY if tier.as_of == first else tier.as_of)) for tier in tiers]
    version += [str(closure.evidence) for closure in database.closures.list(symbol.category, symbol.candles.period)]
    # Spans that nobody asked for are no part of the hashes above.
    version.append(symbol.model_dump_json())
    return hashlib.sha256("\n".join(version).encode()).hexdigest()[:16]


@task(task_run_name="bt-{case.name}")
def run_backtest(case: BacktestCase) -> Row:
    """Run one strategy at one fee tier over one period; return its row of the result table.

    Idempotent: see ``backtest_case``.
    """
    return backtest_case(case)


def backtest_case(case: BacktestCase) -> Row:
    """Run one cell of the matrix, or return its row when the very same run is stored already.

    The row is stored under the hash of everything that it depends on: data, parameters, fees, engine. A refusal of
    the rules (no fee row, no mark price) is a row with its reason, not a failure: the gates then say no.
    """
    strategy = build(case.strategy)
    try:
        schedule, _, _ = schedule_of(case.tier, case.category)
        markets = [_market(symbol, case.terms.allow_gaps) for symbol in case.symbols]
        key = _run_key(case, strategy, markets, schedule)
        known = store().runs.find(key)
        if known is not None and tables_folder(key).is_dir():
            return _row(known)
        result = _simulate(case, strategy, markets, schedule)
    except PerpflowError as refusal:
        return _refused(case, strategy, refusal)
    _keep_tables(key, result)
    record = _record(key, case, strategy, result, _fee_bounds(case, strategy, markets, schedule))
    store().runs.add(record)
    return _row(record)


def keep_matrix(rows: Sequence[Row]) -> None:
    """Record that ``rows`` were made together: gates judge whole matrices only."""
    store().matrices.add([row["run_key"] for row in rows if row["run_key"]], datetime.now(UTC))


def reproduce(run_key: str) -> Row:
    """Compute a stored run again from the stored data; return its key and whether every figure is the same.

    Raises
    ------
    InvalidInput
        When no run has that key, or the data it was made of has changed since.
    """
    known = [record for record in store().runs.list() if record.run_key.startswith(run_key)]
    if len(known) != 1:
        raise InvalidInput(f"{len(known)} stored runs have a key that starts with {run_key!r}: give more of it")
    record = known[0]
    case = checked(BacktestCase, **record.provenance["case"])
    (schedule, _, _), strategy = schedule_of(case.tier, case.category), build(case.strategy, record.params)
    markets = [_market(symbol, case.terms.allow_gaps) for symbol in case.symbols]
    key = _run_key(case, strategy, markets, schedule)
    if key != record.run_key:
        raise InvalidInput(
            f"run {record.run_key[:16]} rests on other data, fees or engine than those of today (key {key[:16]}):"
            " it cannot be computed again from this store"
        )
    result = _simulate(case, strategy, markets, schedule)
    again = _record(key, case, strategy, result, _fee_bounds(case, strategy, markets, schedule))
    return {"run_key": key, "same": _figures(again.metrics) == _figures(record.metrics), "row": _row(again)}


def tables_folder(run_key: str) -> Path:
    """Return where the fills, trades, settlements and liquidations of a run lie, as Parquet."""
    return settings().home / "runs" / run_key[:32]


def _simulate(
    case: BacktestCase, strategy: Strategy, markets: Sequence[MarketData], schedule: FeeSchedule
) -> BacktestResult:
    terms = case.terms
    engine = BacktestEngine(
        strategy,
        terms.initial_capital,
        leverage=terms.leverage,
        fee_schedule=schedule,
        tier=table_tier(case.tier),
        slippage=Slippage.parse(terms.slippage),
        margin_mode=terms.margin_mode,
        mark_policy=terms.mark_policy,
        funding_policy=terms.funding_policy,
        category=case.category,
        liquidation=terms.liquidation,
        participation_rate=terms.participation_rate,
        tier_by_volume=VolumeTiers.builtin() if terms.tier_by_volume else None,
    )
    return engine.run(markets, case.span.period)


def _fee_bounds(
    case: BacktestCase, strategy: Strategy, markets: Sequence[MarketData], schedule: FeeSchedule
) -> Row | None:
    """Return the run under either day on which the fees may have changed; None when not asked for, or all is known.

    The table's own day is the latest: the first on which somebody saw the new rate.
    """
    windows = schedule.uncertain(case.span.period, case.category, table_tier(case.tier))
    if not case.terms.fee_bounds or not windows:
        return None
    bounds: Row = {"windows": [str(window) for window in windows]}
    for change in ("earliest", "latest"):
        result = _simulate(case, strategy, markets, schedule.with_change(change))
        fees = result.costs.maker_fees + result.costs.taker_fees
        bounds[change] = {"net_return": result.metrics["net_return"], "fees": fees, "net": result.costs.net}
    return bounds


@lru_cache(maxsize=256)
def _market(symbol: SymbolPlan, allow_gaps: bool) -> MarketData:
    database = store()
    interval = Interval.parse(symbol.interval)
    key = SeriesKey(symbol.category, symbol.symbol, PriceType.LAST, interval)
    period = symbol.candles.period
    mark, mark_interval = None, None
    if symbol.mark is not None and symbol.mark_interval is not None:
        mark_interval = Interval.parse(symbol.mark_interval)
        mark_key = SeriesKey(symbol.category, symbol.symbol, PriceType.MARK, mark_interval)
        mark = reader().candles(mark_key, symbol.mark.period)
    detail, detail_interval = None, None
    if symbol.detail is not None and symbol.detail_interval is not None:
        detail_interval = Interval.parse(symbol.detail_interval)
        detail_key = SeriesKey(symbol.category, symbol.symbol, PriceType.LAST, detail_interval)
        detail = reader().candles(detail_key, symbol.detail.period)
    funding = []
    if symbol.funding is not None:
        funding = database.funding.rates(symbol.category, symbol.symbol, symbol.funding.period)
    # While nobody could trade nothing is missing; any other hole has to be allowed by name.
    holes = database.coverage.holes(key, period)
    closures = database.closures.list(symbol.category, period)
    return MarketData(
        symbol=symbol.symbol,
        interval=interval,
        candles=traded(reader().candles(key, period), interval, closures),
        mark=mark,
        mark_interval=mark_interval,
        funding=funding,
        instrument=database.instruments.get(symbol.category, symbol.symbol),
        risk_tiers=dated_tiers(symbol.symbol),
        gaps=tuple(hole.period for hole in holes if allow_gaps and not is_closed(hole.reason)),
        closed=(
            *(hole.period for hole in holes if is_closed(hole.reason)),
            *(closure.whole_minutes for closure in closures),
        ),
        data_version=data_version(symbol),
        detail=None if detail is None or detail_interval is None else traded(detail, detail_interval, closures),
        detail_interval=detail_interval,
    )


def traded(candles: pd.DataFrame, interval: Interval, closures: Sequence[Closure]) -> pd.DataFrame:
    """Leave out the candles with which the venue fills the time in which it was closed."""
    if not closures or candles.empty:
        return candles
    opened = pd.DatetimeIndex(candles.index).as_unit("ms").asi8
    return candles[~untraded(closures, interval, opened, candles["volume"].to_numpy())]


_NO_DAY = datetime(1970, 1, 1, tzinfo=UTC)


def _run_key(case: BacktestCase, strategy: Strategy, markets: Sequence[MarketData], schedule: FeeSchedule) -> str:
    content = {
        "case": case.model_dump(mode="json"),
        "params": asdict(strategy.params),
        "data": [(market.symbol, market.data_version) for market in markets],
        "fees": schedule.version,
        "engine": ENGINE_VERSION,
    }
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _record(key: str, case: BacktestCase, strategy: Strategy, result: BacktestResult, bounds: Row | None) -> RunRecord:
    return RunRecord(
        run_key=key,
        created_at=datetime.now(UTC),
        strategy=case.strategy,
        params=asdict(strategy.params),
        tier=case.tier,
        period=case.span.period,
        symbols=tuple(symbol.symbol for symbol in case.symbols),
        metrics=dict(result.metrics)
        | {
            "refused": None,
            "costs": asdict(result.costs),
            "costs_by_symbol": {symbol: asdict(costs) for symbol, costs in result.costs_by_symbol.items()},
            "fee_bounds": bounds,
            "assumptions": result.assumptions | schedule_of(case.tier, case.category)[2],
            "rejected_orders": result.rejected_orders,
            "settle_coin": case.settle_coin,
            "initial_capital": case.terms.initial_capital,
            "equity_daily": _daily(result),
        },
        provenance=result.provenance | {"origin": store().origin.get(), "case": case.model_dump(mode="json")},
    )


def _refused(case: BacktestCase, strategy: Strategy, refusal: PerpflowError) -> Row:
    row = _row(
        RunRecord(
            run_key="",
            created_at=datetime.now(UTC),
            strategy=case.strategy,
            params=asdict(strategy.params),
            tier=case.tier,
            period=case.span.period,
            symbols=tuple(symbol.symbol for symbol in case.symbols),
            metrics={
                "refused": str(refusal),
                "settle_coin": case.settle_coin,
                "initial_capital": case.terms.initial_capital,
            },
            provenance={},
        )
    )
    return row | {"metrics": {}}


def _row(record: RunRecord) -> Row:
    apart = (
        "refused",
        "costs",
        "costs_by_symbol",
        "fee_bounds",
        "assumptions",
        "rejected_orders",
        "settle_coin",
        "initial_capital",
        "equity_daily",
    )
    return {
        "run_key": record.run_key,
        "strategy": record.strategy,
        "params": record.params,
        "tier": record.tier,
        "period": str(record.period),
        "symbols": list(record.symbols),
        "metrics": _figures(record.metrics, apart),
        **{name: record.metrics.get(name) for name in apart},
        "provenance": {name: value for name, value in record.provenance.items() if name != "case"},
    }


def _figures(metrics: Row, apart: Sequence[str] = ()) -> Row:
    return {name: value for name, value in metrics.items() if name not in apart}


def _daily(result: BacktestResult) -> Row:
    # The last close of each UTC day; a candle that closes at midnight belongs to the day that ends there.
    days = (result.equity_time_ms - 1) // 86_400_000
    last = np.flatnonzero(np.append(days[1:] != days[:-1], True))
    times = pd.to_datetime(result.equity_time_ms[last], unit="ms", utc=True)
    return {"time": [time.isoformat() for time in times], "equity": [float(value) for value in result.equity[last]]}


def _keep_tables(key: str, result: BacktestResult) -> None:
    folder = tables_folder(key)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not there at all, and one of two writers at once wins: a reader never sees half of a run.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="part-", ignore_cleanup_errors=True) as fresh:
        for name in _TABLES:
            getattr(result, name).to_parquet(Path(fresh) / f"{name}.parquet")
        if not folder.exists():
            with suppress(FileExistsError, OSError):
                Path(fresh).rename(folder)
    if not folder.is_dir():
        raise RunsFolder(f"the tables of run {key[:16]} could not be kept in {folder}: is the disk full or read-only?")
