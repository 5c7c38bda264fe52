"""What is already stored, as a plan: which series of a symbol there are and over which span."""

from collections.abc import Sequence
from dataclasses import replace

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period, merge_spans, subtract_spans
from bybit.store.coverage import AFTER_DELISTING, BEFORE_LISTING
from bybit.store.series import AnyKey, FundingKey
from tasks.connections import store
from tasks.plans import Span, SymbolPlan


def stored_symbols(
    symbols: Sequence[str],
    interval: str,
    period: Period | None,
    detail: Interval | None = None,
    category: Category = Category.LINEAR,
) -> list[SymbolPlan]:
    """Return the plans of ``symbols`` (all stored ones of ``category`` when empty), each over what is stored.

    They are cut to ``period``.

    With ``detail`` only symbols that have candles of that length as well.

    Raises
    ------
    InvalidInput
        When a symbol has no stored candles of ``interval`` there.
    """
    length = Interval.parse(interval)
    known = {
        key.symbol: key
        for key in store().series.list()
        if isinstance(key, SeriesKey) and (key.category, key.price, key.interval) == (category, PriceType.LAST, length)
    }
    found = [_plan(known[symbol], period, detail) for symbol in symbols or known if symbol in known]
    plans = [plan for plan in found if plan is not None]
    planned = {plan.symbol for plan in plans}
    if absent := [symbol for symbol in symbols if symbol not in planned]:
        both = length.value if detail is None else f"{length.value} and {detail.value}"
        raise InvalidInput(
            f"no {both} candles of {', '.join(absent)} are stored for that time: run perpflow ingest first;"
            f" stored of {category} contracts: {', '.join(sorted(known)) or 'none'}"
        )
    if not plans:
        raise InvalidInput(
            f"no {length.value} candles of {category} contracts are stored: run perpflow ingest or perpflow run first"
        )
    return plans


def _plan(key: SeriesKey, period: Period | None, detail: Interval | None) -> SymbolPlan | None:
    def candles(price: PriceType, length: Interval) -> Span | None:
        return _stored_span(replace(key, price=price, interval=length), period)

    funding = _stored_span(FundingKey(key.category, key.symbol), period)
    return SymbolPlan.of(store().instruments.get(key.category, key.symbol), key.interval, candles, funding, detail)


def _stored_span(key: AnyKey, period: Period | None) -> Span | None:
    # Before its listing and after its end a contract has no data to speak of; every other hole lies inside the span.
    coverage = store().coverage
    lifeless = [h.period.span_ms for h in coverage.holes(key) if h.reason in (BEFORE_LISTING, AFTER_DELISTING)]
    spans = merge_spans(subtract_spans(coverage.known(key, period), lifeless))
    return Span.of(Period.from_ms(spans[0][0], spans[-1][1])) if spans else None
