"""Quality: the checks that decide whether the stored data of one symbol may be used."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import task

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.store.quality import QualityRecord
from bybit.store.series import FundingKey
from tasks.connections import store
from tasks.plans import Span, SymbolPlan
from validation.data import QualityReport, check_candles, check_file, check_funding


@task(task_run_name="quality-{symbol.symbol}")
def check_symbol_data(symbol: SymbolPlan, allow_gaps: bool = False) -> list[dict[str, Any]]:
    """Check every stored series of one symbol; return one report a series, all of them stored.

    Reads and appends only, so repeating adds a second, equal record and changes nothing else. Failing is the
    caller's decision: a report says ``passed``, it does not raise.
    """
    last = _key(symbol, PriceType.LAST, symbol.interval)
    mark = _key(symbol, PriceType.MARK, symbol.mark_interval) if symbol.mark_interval else None
    reports = [_check(last, symbol.candles, allow_gaps, mark)]
    if symbol.mark is not None and mark is not None:
        reports.append(_check(mark, symbol.mark, allow_gaps))
    if symbol.funding is not None:
        reports.append(_check_funding(symbol.symbol, symbol.funding, allow_gaps))
    now = datetime.now(UTC)
    for report in reports:
        store().quality.add(QualityRecord(report.subject, report.passed, report.to_dict(), now))
    return [report.to_dict() for report in reports]


def check_parquet(file: Path) -> dict[str, Any]:
    """Check a Parquet file of candles or funding whose name says what it holds."""
    return check_file(file).to_dict()


def _key(symbol: SymbolPlan, price: PriceType, interval: str) -> SeriesKey:
    return SeriesKey(Category.LINEAR, symbol.symbol, price, Interval.parse(interval))


def _check(key: SeriesKey, span: Span, allow_gaps: bool, mark: SeriesKey | None = None) -> QualityReport:
    database = store()
    return check_candles(
        database.candles.read(key, span.period),
        key,
        span.period,
        holes=database.coverage.holes(key, span.period),
        conflicts=len(database.conflicts.list(key)),
        allow_gaps=allow_gaps,
        mark=None if mark is None else database.candles.read(mark, span.period),
    )


def _check_funding(symbol: str, span: Span, allow_gaps: bool) -> QualityReport:
    database = store()
    key = FundingKey(Category.LINEAR, symbol)
    return check_funding(
        database.funding.read(Category.LINEAR, symbol, span.period),
        Category.LINEAR,
        symbol,
        span.period,
        holes=database.coverage.holes(key, span.period),
        conflicts=len(database.conflicts.list(key)),
        allow_gaps=allow_gaps,
        funding_interval=database.instruments.get(Category.LINEAR, symbol).funding_interval,
    )
