"""The options that several commands share, and what every command does around its work."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from bybit.rules.errors import InvalidInput, PerpflowError
from bybit.rules.periods import Period, parse_time

if TYPE_CHECKING:
    from tasks.plans import BacktestTerms, PipelineRequest

AsJson = Annotated[bool, typer.Option("--json", help="print exactly one JSON object as the last line of stdout")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="more log lines on stderr")]
Symbols = Annotated[str | None, typer.Option(help="comma list, e.g. BTCUSDT,ETHUSDT")]
IntervalText = Annotated[str, typer.Option(help="candle length: 1m 3m 5m 15m 30m 1h 2h 4h 6h 12h 1d")]
Strategies = Annotated[str | None, typer.Option(help="comma list; all when not given")]
Tiers = Annotated[str, typer.Option(help="comma list of fee tiers")]
Periods = Annotated[int, typer.Option(min=1, max=120, help="how many equal periods the span is cut into")]
Capital = Annotated[float, typer.Option(help="USDT, split evenly over the symbols")]
Leverage = Annotated[float, typer.Option(help="isolated margin leverage set on the venue")]
Slippage = Annotated[float, typer.Option(help="fraction of price that a taker loses, e.g. 0.0002")]
AllowGaps = Annotated[bool, typer.Option("--allow-gaps", help="trade over recorded holes; the result counts them")]
Mark = Annotated[str, typer.Option(help="mark price: exact | coarser (longer mark candles, counted) | last (counted)")]
Funding = Annotated[str, typer.Option(help="funding: recorded | zero (by name only; counted)")]
Start = Annotated[str | None, typer.Option(help="ISO time, UTC, inclusive")]
End = Annotated[str | None, typer.Option(help="ISO time, UTC, exclusive")]
BaseUrl = Annotated[str | None, typer.Option(help="v5 endpoint; Bybit's main hosts when not given")]
Database = Annotated[str | None, typer.Option(help="overrides PERPFLOW_DATABASE_URL")]
Tape = Annotated[str | None, typer.Option(envvar="PERPFLOW_TAPE", help="folder to replay, or 'synthetic'")]


@contextmanager
def command(verbose: bool, database: str | None) -> Iterator[None]:
    """Surround one command: logs to stderr, errors to words and exit codes."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO if verbose else logging.WARNING, format="%(message)s")
    if database is not None:
        os.environ["PERPFLOW_DATABASE_URL"] = database
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo("perpflow: stopped; the same command goes on from what is stored", err=True)
        raise typer.Exit(130) from error
    except InvalidInput as error:
        typer.echo(f"perpflow: {error}", err=True)
        raise typer.Exit(2) from error
    except PerpflowError as error:
        typer.echo(f"perpflow: {error}", err=True)
        raise typer.Exit(1) from error


def names(text: str | None) -> tuple[str, ...]:
    """Return the parts of a comma list."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def span_of(start: str | None, end: str | None) -> Period | None:
    """Return the period of two ISO times, or None when neither is given."""
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise InvalidInput("give both --start and --end, or neither for everything that is stored")
    return Period(parse_time(start), parse_time(end))


def terms_of(
    capital: float, leverage: float, slippage: float, mark: str, funding: str, allow_gaps: bool
) -> "BacktestTerms":
    """Return the terms of a back-test as typed; ``InvalidInput`` names what is out of range."""
    from tasks.plans import BacktestTerms, checked

    return checked(
        BacktestTerms,
        initial_capital=capital,
        leverage=leverage,
        slippage_rate=slippage,
        mark_policy=mark,
        funding_policy=funding,
        allow_gaps=allow_gaps,
    )


def request_of(
    symbols: str | None,
    interval: str,
    days: int | None,
    strategies: str | None,
    tiers: str,
    periods: int,
    terms: "BacktestTerms",
) -> "PipelineRequest":
    """Return a run's request as typed; ``InvalidInput`` names what is wrong."""
    from tasks.plans import PipelineRequest, checked, checked_strategies

    return checked(
        PipelineRequest,
        symbols=names(symbols),
        interval=interval,
        lookback=timedelta(days=days) if days else None,
        strategies=checked_strategies(names(strategies)),
        tiers=names(tiers),
        n_periods=periods,
        terms=terms,
    )
