"""Candles: fetch what is missing of one series."""

from typing import Any

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext

from bybit.history.manager import IngestReport
from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from tasks.connections import history, is_retryable
from tasks.plans import Span


@task(
    retries=3,
    retry_delay_seconds=[2, 10, 60],
    retry_condition_fn=is_retryable,
    task_run_name="candles-{symbol}-{price}-{interval}",
)
def ingest_candles(
    base_url: str, symbol: str, price: str, interval: str, span: Span, category: Category = Category.LINEAR
) -> dict[str, Any]:
    """Store the candles missing in ``span``; return the ingest report as plain values.

    Idempotent: rows are upserted on (series, open time) and coverage moves in the same transaction, so a retry or a
    second run of the same span changes nothing.
    """
    key = SeriesKey(category, symbol, PriceType(price), Interval.parse(interval))
    progress = _Progress(f"{symbol} {price} {interval}")
    return summary(history(base_url).ingest_candles(key, span.period, on_progress=progress), str(key))


def summary(report: IngestReport, series: str) -> dict[str, Any]:
    """Return an ingest report as plain values for JSON, tables and artifacts."""
    return {
        "series": series,
        "rows": report.rows_total,
        "rows_written": report.rows_written,
        "requests": report.requests,
        "seconds": round(report.seconds, 3),
        "missing": [str(period) for period in report.missing],
        "n_holes": len(report.holes),
        "conflicts": report.conflicts,
        "rejected": report.rejected,
    }


class _Progress:
    """Shows a long fetch as a progress bar in the Prefect UI; silent outside a task run."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._artifact: Any = None
        self._shown = -1
        self._in_run = TaskRunContext.get() is not None

    def __call__(self, done: int, total: int) -> None:
        if not self._in_run or total < 20:
            return
        # Whole twentieths only: each update is a request to the server.
        step = done * 20 // total
        if step == self._shown:
            return
        self._shown = step
        if self._artifact is None:
            self._artifact = create_progress_artifact(progress=step * 5.0, description=f"{self._what}: pages fetched")
        else:
            update_progress_artifact(self._artifact, progress=step * 5.0)
