"""Ingestion: the series of some symbols, fetched where something is missing."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from prefect import flow
from prefect.events import emit_event
from prefect.futures import as_completed

from bybit.rules.candles import Category, Interval, check_symbol
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period
from tasks.candles import ingest_candles
from tasks.connections import LIVE_URL, connect
from tasks.fees import ingest_fee_rates
from tasks.funding import ingest_funding
from tasks.instruments import ingest_instruments
from tasks.market import plan_symbols, source_of
from tasks.plans import Contracts, PipelineRequest, Source, Span, SymbolPlan, checked_price, checked_strategies
from tasks.progress import announce
from tasks.runners import task_runner

Progress = Callable[[str], None]


@flow(name="ingest-history", task_runner=task_runner())
def ingest_history(
    symbols: list[str],
    interval: str = "15m",
    days: int = 90,
    base_url: str = LIVE_URL,
    category: Contracts = Category.LINEAR,
) -> dict[str, Any]:
    """Fetch candles, mark prices and funding of ``symbols`` as far as they are missing, then tell the next flow."""
    source = source_of(base_url)
    connect(source.origin)
    request = PipelineRequest(
        category=category,
        symbols=tuple(symbols),
        interval=interval,
        lookback=timedelta(days=days),
        strategies=checked_strategies(()),
    )
    reports = fetch(source, plan_symbols(source, request))
    for symbol in symbols:
        emit_event(
            event="candles.ingested",
            resource={"prefect.resource.id": f"candles.{symbol}"},
            payload={"symbol": symbol, "interval": interval, "days": days, "category": category.value},
        )
    return {"series": reports}


def fetch(source: Source, symbols: Sequence[SymbolPlan]) -> list[dict[str, Any]]:
    """Ingest every series of ``symbols`` at the venue's own pace; return one report a series."""
    url = source.base_url
    ingest_instruments(url, [symbol.symbol for symbol in symbols], symbols[0].category)
    fetches = []
    for symbol in symbols:
        name, category = symbol.symbol, symbol.category
        fetches.append(ingest_candles.submit(url, name, "last", symbol.interval, symbol.candles, category))
        if symbol.detail is not None and symbol.detail_interval is not None:
            fetches.append(ingest_candles.submit(url, name, "last", symbol.detail_interval, symbol.detail, category))
        if symbol.mark is not None and symbol.mark_interval is not None:
            fetches.append(ingest_candles.submit(url, name, "mark", symbol.mark_interval, symbol.mark, category))
        if symbol.funding is not None:
            fetches.append(ingest_funding.submit(url, name, symbol.funding, category))
    for done, _ in enumerate(as_completed(fetches), start=1):
        announce(f"ingest: {done} of {len(fetches)} series")
    return [fetch.result() for fetch in fetches]


def ingest_series(
    base_url: str | None,
    symbols: Sequence[str],
    interval: str,
    period: Period,
    prices: Sequence[str],
    *,
    funding: bool,
    fee_rates: bool,
    progress: Progress,
    category: Category = Category.LINEAR,
) -> list[dict[str, Any]]:
    """Do one ingestion by hand, without a Prefect server; return one report a series.

    ``fee_rates`` also keeps what the account of this machine's key pays for the symbols today.
    """
    if not symbols:
        raise InvalidInput("no symbol is named: give a comma list such as BTCUSDT,ETHUSDT")
    wanted = [(check_symbol(symbol), checked_price(price)) for symbol in symbols for price in prices]
    source, span = source_of(base_url), Span.of(period)
    Interval.parse(interval)
    connect(source.origin)
    url = source.base_url
    if fee_rates:
        progress("the account's fee rates")
        for rates in ingest_fee_rates(url, symbols, category):
            progress(f"{rates['symbol']}: maker {rates['maker']}, taker {rates['taker']}")
    progress("instruments and margin ladders")
    ingest_instruments.fn(url, symbols, category)
    reports = []
    for symbol, price in wanted:
        progress(f"{symbol} {price} {interval}")
        reports.append(ingest_candles.fn(url, symbol, price, interval, span, category))
    for symbol in symbols if funding else ():
        progress(f"{symbol} funding")
        reports.append(ingest_funding.fn(url, symbol, span, category))
    return reports
