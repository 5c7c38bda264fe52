"""The options that several commands share, and what every command does around its work."""

import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

import typer

from bybit.rules.errors import InvalidInput, PerpflowError
from bybit.rules.periods import Period, parse_time

if TYPE_CHECKING:
    from tasks.plans import BacktestTerms, Contracts, PipelineRequest

AsJson = Annotated[bool, typer.Option("--json", help="print exactly one JSON object as the last line of stdout")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="more log lines on stderr")]
Symbols = Annotated[str | None, typer.Option(help="comma list, e.g. BTCUSDT,ETHUSDT")]
IntervalText = Annotated[str, typer.Option(help="candle length: 1m 3m 5m 15m 30m 1h 2h 4h 6h 12h 1d")]
Strategies = Annotated[str | None, typer.Option(help="comma list; all when not given")]
CategoryText = Annotated[str, typer.Option("--category", help="linear (USDT) | inverse (BTCUSD, settles in BTC)")]
Tiers = Annotated[str, typer.Option(help="comma list of fee tiers")]
Periods = Annotated[int, typer.Option(min=1, max=120, help="how many equal periods the span is cut into")]
AllowGaps = Annotated[bool, typer.Option("--allow-gaps", help="trade over recorded holes; the result counts them")]
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


def category_of(text: str) -> "Contracts":
    """Return the category as typed; ``InvalidInput`` for one that is not traded here."""
    from tasks.plans import contracts

    return contracts(text)


def span_of(start: str | None, end: str | None) -> Period | None:
    """Return the period of two ISO times, or None when neither is given."""
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise InvalidInput("give both --start and --end, or neither for everything that is stored")
    return Period(parse_time(start), parse_time(end))


class TermsText(NamedTuple):
    """The terms of a back-test as typed, one option each; ``checked`` makes them terms."""

    capital: Annotated[
        float | None,
        typer.Option(help="settle coin of the one account of all symbols; 10000 (USDT), or 1 of an inverse coin (BTC)"),
    ] = None
    leverage: Annotated[float, typer.Option(help="leverage set on the venue, for every symbol")] = 5.0
    margin: Annotated[str, typer.Option(help="isolated | cross (the account stands for all positions)")] = "isolated"
    slippage: Annotated[
        str, typer.Option(help="what a taker loses: fixed:RATE | spread:HALF_SPREAD | volume_share:IMPACT:RATE")
    ] = "fixed:0.0002"
    participation: Annotated[
        float | None, typer.Option(help="largest share of a candle's volume that fills, e.g. 0.05; none when not given")
    ] = None
    liquidation: Annotated[
        str, typer.Option(help="step_down (tier by tier, as the venue does) | takeover (all at once)")
    ] = "step_down"
    detail: Annotated[
        str | None, typer.Option(help="length of shorter candles that decide what a longer one leaves open, e.g. 1m")
    ] = None
    mark: Annotated[
        str, typer.Option(help="mark price: exact | coarser (longer mark candles, counted) | last (counted)")
    ] = "coarser"
    funding: Annotated[str, typer.Option(help="recorded | zero (by name only; counted)")] = "recorded"
    tier_by_volume: Annotated[
        bool, typer.Option("--tier-by-volume", help="the account earns its tier by its own 30-day volume")
    ] = False
    fee_bounds: Annotated[
        bool, typer.Option("--fee-bounds", help="run both rates where nobody knows the day on which fees changed")
    ] = False
    allow_gaps: AllowGaps = False

    def checked(self) -> "BacktestTerms":
        """Return them as typed terms; ``InvalidInput`` names what is out of range."""
        from tasks.plans import BacktestTerms, checked

        return checked(
            BacktestTerms,
            **({} if self.capital is None else {"initial_capital": self.capital}),
            leverage=self.leverage,
            margin_mode=self.margin,
            slippage=self.slippage,
            participation_rate=self.participation,
            liquidation=self.liquidation,
            detail=self.detail,
            mark_policy=self.mark,
            funding_policy=self.funding,
            tier_by_volume=self.tier_by_volume,
            fee_bounds=self.fee_bounds,
            allow_gaps=self.allow_gaps,
        )


def with_terms(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command every option of ``TermsText`` in place of its one parameter ``terms``.

    Typer reads options off the signature: three commands take the same terms, spelled out once.
    """
    own = inspect.signature(function, eval_str=True).parameters
    hints = get_type_hints(TermsText, include_extras=True)
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name])
        for name, default in TermsText._field_defaults.items()
    ]
    spelled = [part for name, own_part in own.items() for part in (options if name == "terms" else [own_part])]

    @functools.wraps(function)
    def command_with_terms(**given: Any) -> None:
        text = TermsText(**{name: given.pop(name) for name in TermsText._fields})
        function(terms=text, **given)

    signature = inspect.Signature([part.replace(kind=inspect.Parameter.KEYWORD_ONLY) for part in spelled])
    annotations = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    vars(command_with_terms)["__signature__"] = signature
    command_with_terms.__annotations__ = annotations
    return command_with_terms


def request_of(
    symbols: str | None,
    interval: str,
    days: int | None,
    strategies: str | None,
    tiers: str,
    periods: int,
    terms: "BacktestTerms",
    category: str,
) -> "PipelineRequest":
    """Return a run's request as typed; ``InvalidInput`` names what is wrong."""
    from tasks.plans import PipelineRequest, checked, checked_strategies

    return checked(
        PipelineRequest,
        category=category_of(category),
        symbols=names(symbols),
        interval=interval,
        lookback=timedelta(days=days) if days else None,
        strategies=checked_strategies(names(strategies)),
        tiers=names(tiers),
        n_periods=periods,
        terms=terms,
    )
