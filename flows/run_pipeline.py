"""The main job: ingest, quality, back-tests, gates, report."""

from typing import Any

from prefect import flow

from flows.ingest_history import fetch
from flows.run_backtests import fan_out
from tasks.connections import connect
from tasks.gates import judge_strategies
from tasks.market import plan_symbols
from tasks.plans import PipelineRequest, Source, one_settle_coin
from tasks.progress import announce
from tasks.quality import check_symbol_data
from tasks.report import assemble, publish, write_report
from tasks.runners import task_runner


@flow(name="run-pipeline", task_runner=task_runner())
def run_pipeline(source: Source, request: PipelineRequest) -> dict[str, Any]:
    """Take strategies from a source of market data to a verdict at every gate; return the run's summary."""
    announce("planning")
    connect(source.origin)
    symbols = plan_symbols(source, request)
    ingest = fetch(source, symbols)
    announce(f"checking the data of {len(symbols)} symbols")
    quality = [check.result() for check in check_symbol_data.map(symbols, allow_gaps=request.terms.allow_gaps)]
    results, remarks = fan_out(request.matrix(symbols))
    announce("gates and report")
    decisions = judge_strategies(request.strategies, request.tiers, results)
    checks = [report for reports in quality for report in reports]
    summary = assemble(source, request, one_settle_coin(symbols), ingest, checks, results, decisions, remarks)
    page = write_report(summary)
    publish(summary, page)
    return summary
