"""The matrix: which strategy runs at which fee tier over which period, with which symbols."""

from collections.abc import Iterable
from datetime import datetime

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fees import FeeSchedule
from bybit.rules.periods import Period
from tasks.plans import BacktestCase, MatrixPlan, Span


def plan_cases(plan: MatrixPlan) -> tuple[list[BacktestCase], list[str]]:
    """Return every cell of ``plan`` (strategy x tier x period, in that order), and remarks for the reader.

    The span is what any symbol covers, from the day on which every tier's rate is known; it is cut into equal
    periods, and a symbol takes part in the periods that it covers whole.

    Raises
    ------
    InvalidInput
        When no symbol covers any period.
    NotEstablished
        When the data ends before the fees of the tiers are known.
    """
    usable = {symbol.symbol: symbol.usable for symbol in plan.symbols}
    spans = [period for period in usable.values() if period is not None]
    if not spans:
        raise InvalidInput(f"none of {sorted(usable)} has candles, mark prices and funding over a common span")
    span, remarks = _fee_span(Period(min(p.start for p in spans), max(p.end for p in spans)), plan.tiers)
    members = [
        (period, tuple(s for s in plan.symbols if (own := usable[s.symbol]) is not None and own.contains(period)))
        for period in span.split(plan.n_periods)
    ]
    if not any(symbols for _, symbols in members):
        raise InvalidInput(f"no symbol covers one of the {plan.n_periods} periods whole: ask for more periods")
    empty = [str(period) for period, symbols in members if not symbols]
    if empty:
        remarks.append(f"No symbol covers {', '.join(empty)} whole: no back-test there.")
    uncertain = FeeSchedule.builtin().uncertain(span)
    if uncertain:
        remarks.append(
            f"Fee rates are uncertain in {', '.join(str(p) for p in uncertain)} (see the fee table's source)."
        )
    return [
        BacktestCase(strategy=strategy, tier=tier, span=Span.of(period), symbols=symbols, terms=plan.terms)
        for strategy in plan.strategies
        for tier in plan.tiers
        for period, symbols in members
        if symbols
    ], remarks


def _fee_span(span: Period, tiers: Iterable[str]) -> tuple[Period, list[str]]:
    schedule = FeeSchedule.builtin()
    known_from: dict[str, datetime] = {tier: schedule.known_from(Category.LINEAR, tier) for tier in tiers}
    latest = max(known_from, key=lambda tier: known_from[tier])
    start = known_from[latest]
    if start <= span.start:
        return span, []
    if start >= span.end:
        raise NotEstablished(
            f"the data ends {span.end:%Y-%m-%d}, before the rate of {latest} is known ({start:%Y-%m-%d}):"
            " ask for tiers with older rates, such as vip0"
        )
    known = f"the rate of {latest} is not established before (data starts {span.start:%Y-%m-%d})"
    return Period(start, span.end), [f"Back-tests start {start:%Y-%m-%d}: {known}."]
