"""Quality: the checks that decide whether stored data may be used."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.events import emit_event

from bybit.rules.candles import Category
from bybit.rules.periods import Period
from tasks.plans import Contracts
from tasks.quality import check_parquet, check_symbol_data
from tasks.stored import stored_symbols


@flow(name="check-quality")
def check_quality(symbol: str, interval: str = "15m", category: Contracts = Category.LINEAR) -> bool:
    """Check everything that is stored of one symbol, and tell the next flow when it may be used."""
    plans = stored_symbols([symbol], interval, None, category=category)
    reports = [report for plan in plans for report in check_symbol_data(plan)]
    passed = all(report["passed"] for report in reports)
    if passed:
        emit_event(
            event="quality.passed",
            resource={"prefect.resource.id": f"quality.{symbol}"},
            payload={"symbol": symbol, "interval": interval, "category": category.value},
        )
    return passed


def check_stored(
    symbols: Sequence[str],
    interval: str,
    period: Period | None,
    *,
    allow_gaps: bool,
    category: Category = Category.LINEAR,
) -> list[dict[str, Any]]:
    """Check stored series by hand, without a Prefect server; all stored ones of the category when none is named."""
    plans = stored_symbols(symbols, interval, period, category=category)
    return [report for plan in plans for report in check_symbol_data.fn(plan, allow_gaps)]


def check_files(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Check Parquet files of candles or funding."""
    return [check_parquet(file) for file in files]
