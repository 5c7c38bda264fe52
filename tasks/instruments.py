"""Instruments: contract rules and margin ladders as the venue states them today, kept as dated rows."""

from collections.abc import Sequence

from prefect import task

from bybit.rules.candles import Category
from bybit.rules.fees import FeeSchedule
from tasks.connections import history, is_retryable, store


@task(retries=3, retry_delay_seconds=[2, 10, 60], retry_condition_fn=is_retryable, task_run_name="instruments")
def ingest_instruments(base_url: str, symbols: Sequence[str], category: Category = Category.LINEAR) -> None:
    """Store contract rules and margin ladders of ``symbols``, and the fee schedule that back-tests will charge.

    Idempotent: a row is keyed by what it names and its day; an unchanged rule is not written twice.
    """
    door = history(base_url)
    door.ingest_instruments(category, symbols)
    door.ingest_risk_tiers(symbols, category=category)
    store().fees.write(FeeSchedule.builtin().table)
