"""Funding: fetch the settlements missing of one symbol."""

from typing import Any

from prefect import task

from bybit.rules.candles import Category
from tasks.candles import summary
from tasks.connections import history, is_retryable
from tasks.plans import Span


@task(
    retries=3,
    retry_delay_seconds=[2, 10, 60],
    retry_condition_fn=is_retryable,
    task_run_name="funding-{symbol}",
)
def ingest_funding(base_url: str, symbol: str, span: Span, category: Category = Category.LINEAR) -> dict[str, Any]:
    """Store the settlements missing in ``span``; return the ingest report as plain values.

    Idempotent: rows are upserted on (instrument, settlement time), so a retry or a second run changes nothing.
    """
    report = history(base_url).ingest_funding(category, symbol, span.period)
    return summary(report, f"{category}/{symbol}/funding")
