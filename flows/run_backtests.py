"""Back-tests on what is stored: the whole matrix through Prefect, or one by hand."""

from collections.abc import Sequence
from typing import Any

from prefect import flow
from prefect.events import emit_event
from prefect.futures import as_completed

from bybit.rules.periods import Period
from tasks.backtests import backtest_case, load_markets, reproduce, run_backtest
from tasks.matrix import common_span, plan_cases
from tasks.plans import BacktestCase, BacktestTerms, MatrixPlan, PipelineRequest, Span, checked_strategies
from tasks.progress import announce
from tasks.runners import task_runner
from tasks.stored import stored_symbols


@flow(name="run-backtests", task_runner=task_runner())
def run_backtests(request: PipelineRequest, span: Span | None = None) -> list[dict[str, Any]]:
    """Fan out strategy x fee tier x period over the stored data; return one row each, then tell the next flow."""
    rows, _ = fan_out(request.matrix(stored_symbols(request.symbols, request.interval, span.period if span else None)))
    _announce(len(rows))
    return rows


@flow(name="run-symbol", task_runner=task_runner())
def run_symbol(symbol: str, interval: str = "15m") -> list[dict[str, Any]]:
    """Fan out every strategy over fee tiers and periods on the stored data of one symbol, then tell the next flow."""
    request = PipelineRequest(symbols=(symbol,), interval=interval, strategies=checked_strategies(()))
    rows, _ = fan_out(request.matrix(stored_symbols([symbol], interval, None)))
    _announce(len(rows))
    return rows


def _announce(n_rows: int) -> None:
    emit_event(
        event="backtests.finished", resource={"prefect.resource.id": "backtests.matrix"}, payload={"rows": n_rows}
    )


def fan_out(plan: MatrixPlan) -> tuple[list[dict[str, Any]], list[str]]:
    """Run one task per strategy x fee tier x period; return their rows and what a reader should know of the plan."""
    if not plan.symbols:
        return [], ["No symbol's data may be used: nothing is back-tested."]
    cases, remarks = plan_cases(plan)
    load_markets(plan.symbols, allow_gaps=plan.terms.allow_gaps)
    futures = run_backtest.map(cases)
    for done, _ in enumerate(as_completed(futures), start=1):
        announce(f"back-tests: {done} of {len(futures)}")
    return [future.result() for future in futures], remarks


def backtest_stored(
    strategy: str, tier: str, symbols: Sequence[str], interval: str, period: Period | None, terms: BacktestTerms
) -> dict[str, Any]:
    """Run one back-test by hand, without a Prefect server; return its row."""
    plans = stored_symbols(symbols, interval, period)
    checked_strategies([strategy])
    span = Span.of(period or common_span(plans))
    load_markets(plans, allow_gaps=terms.allow_gaps)
    return backtest_case(BacktestCase(strategy=strategy, tier=tier, span=span, symbols=tuple(plans), terms=terms))


def reproduce_stored(run_key: str) -> dict[str, Any]:
    """Compute a stored result again; return both rows and whether they are the same."""
    return reproduce(run_key)
