"""Back-tests on what is stored: the whole matrix through Prefect, or one by hand."""

from collections.abc import Sequence
from typing import Any

from prefect import flow
from prefect.events import emit_event
from prefect.futures import as_completed

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period
from tasks.backtests import backtest_case, keep_matrix, load_markets, reproduce, run_backtest
from tasks.matrix import common_span, plan_cases
from tasks.plans import (
    BacktestCase,
    BacktestTerms,
    Contracts,
    MatrixPlan,
    PipelineRequest,
    Span,
    checked_strategies,
    one_settle_coin,
)
from tasks.progress import announce
from tasks.quality import usable_symbols
from tasks.runners import task_runner
from tasks.stored import stored_symbols


@flow(name="run-backtests", task_runner=task_runner())
def run_backtests(request: PipelineRequest, span: Span | None = None) -> dict[str, Any]:
    """Fan out strategy x fee tier x period over the stored data, then tell the next flow.

    Returns one row for each cell, and remarks: what was left out and why.
    """
    period = span.period if span else None
    detail = request.terms.detail_of(request.interval)
    plans = stored_symbols(request.symbols, request.interval, period, detail, request.category)
    rows, remarks = fan_out(request.matrix(plans))
    _announce(len(rows))
    return {"results": rows, "remarks": remarks}


@flow(name="run-stored", task_runner=task_runner())
def run_stored(
    interval: str = "15m", category: Contracts = Category.LINEAR, symbols: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Fan out every strategy over fee tiers and periods on stored data of one length, then tell the next flow.

    Without ``symbols`` on all that is stored of the category; contracts of several settle coins have to be named.
    """
    request = PipelineRequest(category=category, symbols=symbols, interval=interval, strategies=checked_strategies(()))
    rows, remarks = fan_out(request.matrix(stored_symbols(symbols, interval, None, category=category)))
    _announce(len(rows))
    return {"results": rows, "remarks": remarks}


def _announce(n_rows: int) -> None:
    emit_event(
        event="backtests.finished", resource={"prefect.resource.id": "backtests.matrix"}, payload={"rows": n_rows}
    )


def fan_out(plan: MatrixPlan) -> tuple[list[dict[str, Any]], list[str]]:
    """Run one task per strategy x fee tier x period; return their rows and what a reader should know of the plan.

    Symbols whose data does not pass its checks are left out and named.

    Raises
    ------
    InvalidInput
        When the symbols settle in several coins.
    """
    one_settle_coin(plan.symbols)
    usable, left_out = usable_symbols(plan.symbols, allow_gaps=plan.terms.allow_gaps)
    if not usable:
        return [], [*left_out, "No symbol's data may be used: nothing is back-tested."]
    cases, remarks = plan_cases(plan.model_copy(update={"symbols": tuple(usable)}))
    remarks += left_out
    load_markets(usable, allow_gaps=plan.terms.allow_gaps)
    announce(f"back-tests: {len(cases)} to do (the first on a machine compile the simulation: half a minute, once)")
    futures = run_backtest.map(cases)
    for done, _ in enumerate(as_completed(futures), start=1):
        announce(f"back-tests: {done} of {len(futures)}")
    rows = [future.result() for future in futures]
    keep_matrix(rows)
    return rows, remarks


def backtest_stored(
    strategy: str,
    tier: str,
    symbols: Sequence[str],
    interval: str,
    period: Period | None,
    terms: BacktestTerms,
    category: Category = Category.LINEAR,
) -> dict[str, Any]:
    """Run one back-test by hand, without a Prefect server; return its row."""
    checked_strategies([strategy])
    terms = terms.in_coin_of(category)
    plans = stored_symbols(symbols, interval, period, terms.detail_of(interval), category)
    one_settle_coin(plans)
    _, refused = usable_symbols(plans, allow_gaps=terms.allow_gaps)
    if refused:
        raise InvalidInput("; ".join(refused))
    span = Span.of(period or common_span(plans))
    load_markets(plans, allow_gaps=terms.allow_gaps)
    return backtest_case(BacktestCase(strategy=strategy, tier=tier, span=span, symbols=tuple(plans), terms=terms))


def reproduce_stored(run_key: str) -> dict[str, Any]:
    """Compute a stored result again; return both rows and whether they are the same."""
    return reproduce(run_key)
