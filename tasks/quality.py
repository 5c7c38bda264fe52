"""Quality: may the stored data of one symbol be used?"""

from typing import Any

from prefect import task

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from tasks.connections import store
from tasks.plans import SymbolPlan
from validation.data import QualityReport, check_candles, check_funding


@task(task_run_name="quality-{symbol.symbol}")
def check_symbol_data(symbol: SymbolPlan, allow_gaps: bool = False) -> list[dict[str, Any]]:
    """Check every stored series of one symbol; return one report a series, all of them stored.

    Reads and appends only, so repeating adds a second, equal record and changes nothing else. Failing is the
    caller's decision: a report says ``passed``, it does not raise.
    """
    reports = _reports(symbol, allow_gaps=allow_gaps)
    kept = [report.to_dict() for report in reports]
    for report in kept:
        store().quality.add(report)
    return kept


def _reports(symbol: SymbolPlan, *, allow_gaps: bool) -> list[QualityReport]:
    database = store()
    key = SeriesKey(Category.LINEAR, symbol.symbol, PriceType.LAST, Interval.parse(symbol.interval))
    period = symbol.candles.period
    candles = database.candles.read(key, period)
    reports: list[QualityReport] = []
    mark = None
    if symbol.mark is not None and symbol.mark_interval is not None:
        mark_key = SeriesKey(Category.LINEAR, symbol.symbol, PriceType.MARK, Interval.parse(symbol.mark_interval))
        mark = database.candles.read(mark_key, symbol.mark.period)
        reports.append(
            check_candles(
                mark,
                mark_key,
                symbol.mark.period,
                holes=database.coverage.holes(mark_key),
                conflicts=len(database.conflicts.list(mark_key)),
                allow_gaps=allow_gaps,
            )
        )
    reports.insert(
        0,
        check_candles(
            candles,
            key,
            period,
            holes=database.coverage.holes(key),
            conflicts=len(database.conflicts.list(key)),
            allow_gaps=allow_gaps,
            mark=mark if symbol.mark_interval == symbol.interval else None,
        ),
    )
    if symbol.funding is not None:
        rates = database.funding.read(Category.LINEAR, symbol.symbol, symbol.funding.period)
        reports.append(check_funding(rates, symbol.symbol, symbol.funding.period))
    return reports
