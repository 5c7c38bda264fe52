"""The matrix: which strategy runs at which fee tier over which period, with which symbols."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fees import FeeSchedule
from bybit.rules.periods import Period
from tasks.plans import BacktestCase, MatrixPlan, Span, SymbolPlan, table_tier


def plan_cases(plan: MatrixPlan) -> tuple[list[BacktestCase], list[str]]:
    """Return every cell of ``plan`` (strategy x tier x period, in that order), and remarks for the reader.

    The span is what all symbols share, from the day on which every tier's rate is known; it is cut into equal
    periods. Every cell holds the same symbols, so that the cells can be compared.

    Raises
    ------
    InvalidInput
        When the symbols share no span.
    NotEstablished
        When the data ends before the fees of the tiers are known.
    """
    span, remarks = _fee_span(common_span(plan.symbols), plan.tiers, plan.symbols)
    category = plan.symbols[0].category
    schedule = FeeSchedule.builtin()
    uncertain = {w for tier in plan.tiers for w in schedule.uncertain(span, category, table_tier(tier))}
    if uncertain:
        windows = ", ".join(sorted(str(window) for window in uncertain))
        remarks.append(f"Fee rates are uncertain in {windows}: nobody recorded the day on which they changed.")
    return [
        BacktestCase(strategy=strategy, tier=tier, span=Span.of(period), symbols=plan.symbols, terms=plan.terms)
        for strategy in plan.strategies
        for tier in plan.tiers
        for period in span.split(plan.n_periods)
    ], remarks


def common_span(symbols: Sequence[SymbolPlan]) -> Period:
    """Return the span that every series of every symbol covers.

    Raises
    ------
    InvalidInput
        When there is none; names what each symbol covers.
    """
    span = symbols[0].usable
    for symbol in symbols[1:]:
        own = symbol.usable
        span = span.overlap(own) if span is not None and own is not None else None
    if span is None:
        covers = "; ".join(f"{symbol.symbol} {symbol.usable or 'nothing'}" for symbol in symbols)
        raise InvalidInput(f"the symbols share no span of candles, mark prices and funding: {covers}")
    return span


def most_in_common(symbols: Sequence[SymbolPlan], tiers: Sequence[str]) -> list[SymbolPlan]:
    """Return the symbols whose common span, times their number, is the longest: the most that can be compared.

    Only time in which the rates of ``tiers`` are known counts.
    """
    known = {symbol.symbol: _known_from(symbol, tiers) for symbol in symbols}
    usable = [
        (symbol, max(own.start, start), own.end)
        for symbol in symbols
        if (own := symbol.usable) is not None and (start := known[symbol.symbol]) is not None and own.end > start
    ]
    best: list[SymbolPlan] = []
    most = 0.0
    for _, start, _ in usable:
        for _, _, end in usable:
            group = [symbol for symbol, first, last in usable if first <= start and end <= last]
            shared = len(group) * (end - start).total_seconds()
            if shared > most:
                best, most = group, shared
    return best


def _known_from(symbol: SymbolPlan, tiers: Sequence[str]) -> datetime | None:
    """Return the day from which the rates of every tier are known for ``symbol``; None when one never is."""
    schedule = FeeSchedule.builtin()
    try:
        return max(schedule.known_from(symbol.category, table_tier(tier), symbol.symbol) for tier in tiers)
    except NotEstablished:
        return None


def _fee_span(span: Period, tiers: Iterable[str], symbols: Sequence[SymbolPlan]) -> tuple[Period, list[str]]:
    schedule = FeeSchedule.builtin()
    # Pro rates differ by group of symbols, and the groups are known from different days.
    known_from: dict[str, datetime] = {
        tier: max(schedule.known_from(symbol.category, table_tier(tier), symbol.symbol) for symbol in symbols)
        for tier in tiers
    }
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
