"""Quality: the checks that decide whether the stored data of one symbol may be used."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import task

from bybit.rules.candles import Interval, PriceType, SeriesKey
from bybit.rules.errors import InvalidInput
from bybit.store.quality import QualityRecord
from bybit.store.series import FundingKey
from tasks.backtests import data_version
from tasks.connections import reader, store
from tasks.plans import Span, SymbolPlan
from validation.data import QualityReport, check_candles, check_file, check_funding

Row = dict[str, Any]


@task(task_run_name="quality-{symbol.symbol}")
def check_symbol_data(symbol: SymbolPlan, allow_gaps: bool = False) -> list[Row]:
    """Check every stored series of one symbol; return one report a series, all of them stored.

    Idempotent: a verdict holds for the bytes it was given on, so unchanged data is not checked again. Failing is the
    caller's decision: a report says ``passed``, it does not raise.
    """
    return data_verdicts(symbol, allow_gaps)


def data_verdicts(symbol: SymbolPlan, allow_gaps: bool) -> list[Row]:
    """Return the reports on every series of one symbol: the stored ones on the same bytes, else new ones."""
    last = _key(symbol, PriceType.LAST, symbol.interval)
    mark = _key(symbol, PriceType.MARK, symbol.mark_interval) if symbol.mark_interval else None
    version = data_version(symbol)
    verdicts = [_verdict(f"{last}", version, allow_gaps, lambda: _check(last, symbol.candles, allow_gaps, mark))]
    if (inside := symbol.detail) is not None and symbol.detail_interval is not None:
        detail = _key(symbol, PriceType.LAST, symbol.detail_interval)
        verdicts.append(_verdict(f"{detail}", version, allow_gaps, lambda: _check(detail, inside, allow_gaps)))
    if (span := symbol.mark) is not None and (key := mark) is not None:
        verdicts.append(_verdict(f"{key}", version, allow_gaps, lambda: _check(key, span, allow_gaps)))
    if (settled := symbol.funding) is not None:
        paid = FundingKey(symbol.category, symbol.symbol)
        verdicts.append(_verdict(f"{paid}", version, allow_gaps, lambda: _check_funding(paid, settled, allow_gaps)))
    return verdicts


def _verdict(series: str, version: str, allow_gaps: bool, check: Callable[[], QualityReport]) -> Row:
    subject = f"{series} {version}{' gaps allowed' if allow_gaps else ''}"
    if known := store().quality.list(subject):
        return known[-1].report
    report = check()
    store().quality.add(QualityRecord(subject, report.passed, report.to_dict(), datetime.now(UTC)))
    return report.to_dict()


def usable_symbols(symbols: Sequence[SymbolPlan], *, allow_gaps: bool) -> tuple[list[SymbolPlan], list[str]]:
    """Return the symbols whose data passes its checks, and a remark for each one that does not, with the reason."""
    usable, remarks = [], []
    for symbol in symbols:
        failed = [report for report in data_verdicts(symbol, allow_gaps) if not report["passed"]]
        if not failed:
            usable.append(symbol)
        for report in failed:
            reasons = [c for c in report["checks"] if not c["passed"] and c["severity"] == "block"]
            words = "; ".join(f"{check['name']}: {check['observed']}" for check in reasons)
            remarks.append(f"{symbol.symbol} is left out, its data was refused: {report['subject']}: {words}")
    return usable, remarks


def check_parquet(file: Path) -> Row:
    """Check a Parquet file of candles or funding whose name says what it holds.

    Raises
    ------
    InvalidInput
        When it is not there, or no Parquet file.
    """
    if not file.is_file():
        raise InvalidInput(f"{file} is not there: give Parquet files of candles or funding")
    if file.read_bytes()[:4] != b"PAR1":
        raise InvalidInput(f"{file} is no Parquet file: expected candles or funding in that format")
    return check_file(file).to_dict()


def _key(symbol: SymbolPlan, price: PriceType, interval: str) -> SeriesKey:
    return SeriesKey(symbol.category, symbol.symbol, price, Interval.parse(interval))


def _check(key: SeriesKey, span: Span, allow_gaps: bool, mark: SeriesKey | None = None) -> QualityReport:
    database = store()
    return check_candles(
        reader().candles(key, span.period),
        key,
        span.period,
        holes=database.coverage.holes(key, span.period),
        conflicts=len(database.conflicts.list(key)),
        allow_gaps=allow_gaps,
        mark=None if mark is None else reader().candles(mark, span.period),
    )


def _check_funding(key: FundingKey, span: Span, allow_gaps: bool) -> QualityReport:
    database = store()
    return check_funding(
        database.funding.read(key.category, key.symbol, span.period),
        key.category,
        key.symbol,
        span.period,
        holes=database.coverage.holes(key, span.period),
        conflicts=len(database.conflicts.list(key)),
        allow_gaps=allow_gaps,
        funding_interval=database.instruments.get(key.category, key.symbol).funding_interval,
    )
