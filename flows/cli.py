"""The ``perpflow`` command: every option has its words, every command its ``--json``.

Heavy packages are imported inside the commands: ``--help`` answers at once.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from bybit.rules.errors import InvalidInput, PerpflowError
from bybit.rules.periods import Period, parse_time

app = typer.Typer(
    name="perpflow",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="From Bybit candles to a graduation decision: ingest, quality, back-tests, gates, report.",
)
graduation = typer.Typer(no_args_is_help=True, help="Stages of the strategies: evidence, decisions, reviews.")
app.add_typer(graduation, name="graduation")

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


@app.command()
def run(
    source: Annotated[str, typer.Option(help="auto | live | sandbox | URL of a v5 endpoint")] = "auto",
    tape: Tape = None,
    symbols: Symbols = None,
    days: Annotated[int | None, typer.Option(min=1, help="how far back; a whole tape, else 365 days")] = None,
    interval: IntervalText = "15m",
    strategies: Strategies = None,
    tiers: Tiers = "vip0,vip2,vip5",
    periods: Periods = 4,
    capital: Capital = 10_000.0,
    leverage: Leverage = 5.0,
    slippage: Slippage = 0.0002,
    mark: Mark = "coarser",
    funding: Funding = "recorded",
    allow_gaps: AllowGaps = False,
    database: Database = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Do the main job end to end: ingest, quality, fan-out, gates, report."""
    with _command(verbose, database):
        from flows.console import Console
        from tasks.prefect_server import local_server
        from tasks.settings import settings

        console = Console(as_json=as_json)
        home = settings().home
        with console.waiting("starting the Prefect server"), local_server(home, verbose=verbose) as server:
            # Prefect reads its settings when it is imported: nothing that imports it may come earlier.
            from flows.run_pipeline import run_pipeline
            from tasks.market import open_source
            from tasks.progress import listen

            terms = _terms(capital, leverage, slippage, mark, funding, allow_gaps)
            request = _request(symbols, interval, days, strategies, tiers, periods, terms)
            console.calm("opening the source of market data")
            with open_source(source, tape, home) as opened:
                console.say(f"Source: {opened}")
                console(f"Prefect UI while this runs: {server.ui}")
                listen(console.calm)
                summary = run_pipeline(opened, request)
            console.calm()
        console.show_run(summary)
        raise typer.Exit(0 if summary["results"] else 1)


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one")] = 8900,
    tape: Tape = None,
    now: Annotated[str | None, typer.Option(help="ISO time: the simulated clock starts here")] = None,
    latency_ms: Annotated[int, typer.Option(min=0, max=60_000, help="added to every answer")] = 0,
    seed: Annotated[int, typer.Option(help="of the synthetic market")] = 7,
    verbose: Verbose = False,
) -> None:
    """Serve the local exchange on 127.0.0.1 until Ctrl-C."""
    with _command(verbose, None):
        from bybit.rules.periods import parse_time as instant
        from tasks.market import serve_sandbox

        serve_sandbox(port=port, tape=tape, now=instant(now) if now else None, latency_ms=latency_ms, seed=seed)


@app.command()
def ingest(
    symbols: Annotated[str, typer.Option(help="comma list, e.g. BTCUSDT,ETHUSDT")],
    start: Annotated[str, typer.Option(help="ISO time, UTC, inclusive")],
    end: Annotated[str, typer.Option(help="ISO time, UTC, exclusive")],
    interval: IntervalText = "1m",
    price: Annotated[str, typer.Option(help="comma list of last, mark, index, premium")] = "last",
    funding: Annotated[bool, typer.Option("--funding", help="fetch the funding settlements too")] = False,
    base_url: BaseUrl = None,
    database: Database = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Fetch what is missing of some series and store it."""
    with _command(verbose, database):
        from flows.console import Console
        from flows.ingest_history import ingest_series

        span = Period(parse_time(start), parse_time(end))
        console = Console(as_json=as_json)
        console.show_ingest(
            ingest_series(base_url, _list(symbols), interval, span, _list(price), funding=funding, progress=console)
        )


@app.command()
def quality(
    files: Annotated[list[Path] | None, typer.Argument(help="Parquet files to check instead of stored series")] = None,
    symbols: Symbols = None,
    interval: IntervalText = "15m",
    start: Start = None,
    end: End = None,
    allow_gaps: AllowGaps = False,
    database: Database = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Check stored series, or Parquet files; exit 1 when one is refused."""
    with _command(verbose, database):
        from flows.check_quality import check_files, check_stored
        from flows.console import Console

        if files:
            reports = check_files(files)
        else:
            reports = check_stored(_list(symbols), interval, _span(start, end), allow_gaps=allow_gaps)
        Console(as_json=as_json).show_quality(reports)
        raise typer.Exit(0 if all(report["passed"] for report in reports) else 1)


@app.command()
def backtest(
    strategy: Annotated[str | None, typer.Option(help="one strategy")] = None,
    symbols: Symbols = None,
    interval: IntervalText = "15m",
    start: Start = None,
    end: End = None,
    tier: Annotated[str, typer.Option(help="fee tier")] = "vip0",
    capital: Capital = 10_000.0,
    leverage: Leverage = 5.0,
    slippage: Slippage = 0.0002,
    mark: Mark = "coarser",
    funding: Funding = "recorded",
    allow_gaps: AllowGaps = False,
    reproduce: Annotated[str | None, typer.Option(help="run key of a stored result: compute it again, compare")] = None,
    database: Database = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Back-test one strategy on what is stored."""
    with _command(verbose, database):
        from flows.console import Console
        from flows.run_backtests import backtest_stored, reproduce_stored

        console = Console(as_json=as_json)
        if reproduce is not None:
            console.show_reproduction(reproduce_stored(reproduce))
            return
        if strategy is None or symbols is None:
            raise InvalidInput("perpflow backtest needs --strategy and --symbols (or --reproduce RUN_KEY)")
        terms = _terms(capital, leverage, slippage, mark, funding, allow_gaps)
        row = backtest_stored(strategy, tier, _list(symbols), interval, _span(start, end), terms)
        console.show_backtest(row)
        raise typer.Exit(1 if row["refused"] else 0)


@app.command()
def matrix(
    symbols: Annotated[str, typer.Option(help="comma list, e.g. BTCUSDT,ETHUSDT")],
    interval: IntervalText = "15m",
    start: Start = None,
    end: End = None,
    strategies: Strategies = None,
    tiers: Tiers = "vip0,vip2,vip5",
    periods: Periods = 4,
    capital: Capital = 10_000.0,
    leverage: Leverage = 5.0,
    slippage: Slippage = 0.0002,
    mark: Mark = "coarser",
    funding: Funding = "recorded",
    allow_gaps: AllowGaps = False,
    database: Database = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Fan out strategy x fee tier x period over what is stored, through Prefect."""
    with _command(verbose, database):
        from flows.console import Console
        from tasks.prefect_server import local_server
        from tasks.settings import settings

        console = Console(as_json=as_json)
        with console.waiting("starting the Prefect server"), local_server(settings().home, verbose=verbose):
            from flows.run_backtests import run_backtests
            from tasks.plans import Span
            from tasks.progress import listen

            terms = _terms(capital, leverage, slippage, mark, funding, allow_gaps)
            request = _request(symbols, interval, None, strategies, tiers, periods, terms)

            listen(console.calm)
            span = _span(start, end)
            rows = run_backtests(request, Span.of(span) if span else None)
        console.show_matrix(rows)


@graduation.command("list")
def graduation_list(database: Database = None, as_json: AsJson = False) -> None:
    """Show every strategy's stage and its newest decision."""
    with _command(False, database):
        from flows.console import Console
        from tasks.gates import list_stages

        Console(as_json=as_json).show_stages(list_stages())


@graduation.command()
def show(strategy: str, database: Database = None, as_json: AsJson = False) -> None:
    """Show the newest decision on one strategy, gate by gate."""
    with _command(False, database):
        from flows.console import Console
        from tasks.gates import newest_decision

        Console(as_json=as_json).show_decision(newest_decision(strategy))


@graduation.command()
def history(strategy: str, database: Database = None, as_json: AsJson = False) -> None:
    """Show every decision on one strategy, oldest first."""
    with _command(False, database):
        from flows.console import Console
        from tasks.gates import decisions

        Console(as_json=as_json).show_history(decisions(strategy))


@graduation.command()
def evaluate(tiers: Tiers = "vip0", database: Database = None, as_json: AsJson = False) -> None:
    """Judge every strategy again on the newest stored matrix."""
    with _command(False, database):
        from flows.console import Console
        from tasks.gates import judge_stored

        Console(as_json=as_json).show_decisions(judge_stored(_list(tiers)))


@graduation.command()
def approve(
    strategy: str,
    reviewer: Annotated[str, typer.Option(help="who decides; kept with the decision")],
    reason: Annotated[str, typer.Option(help="why; kept with the decision")],
    evidence: Annotated[str, typer.Option(help="evidence hash that was reviewed, from 'graduation show'")],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Record a person's yes to the next stage, bound to the evidence that was reviewed."""
    with _command(False, database):
        from flows.console import Console
        from tasks.gates import review

        Console(as_json=as_json).show_decision(review(strategy, "approve", reviewer, reason, evidence))


@graduation.command()
def reject(
    strategy: str,
    reviewer: Annotated[str, typer.Option(help="who decides; kept with the decision")],
    reason: Annotated[str, typer.Option(help="why; kept with the decision")],
    evidence: Annotated[str, typer.Option(help="evidence hash that was reviewed, from 'graduation show'")],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Record a person's no, bound to the evidence that was reviewed."""
    with _command(False, database):
        from flows.console import Console
        from tasks.gates import review

        Console(as_json=as_json).show_decision(review(strategy, "reject", reviewer, reason, evidence))


@app.command()
def up(
    port: Annotated[int, typer.Option(min=0, max=65535, help="of the Prefect UI; 0 picks a free one")] = 4200,
    as_json: AsJson = False,
) -> None:
    """Start a Prefect server and a worker in the background and register the deployments of prefect.yaml."""
    with _command(False, None):
        from flows.console import Console
        from tasks.desk import start

        console = Console(as_json=as_json)
        with console.waiting("starting server and worker, registering deployments"):
            state = start(port)
        console.show_desk(state)


@app.command()
def down(as_json: AsJson = False) -> None:
    """Stop what ``perpflow up`` started."""
    with _command(False, None):
        from flows.console import Console
        from tasks.desk import stop

        Console(as_json=as_json).show_desk(stop())


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show whether server and worker run, and the UI's address."""
    with _command(False, None):
        from flows.console import Console
        from tasks.desk import current

        Console(as_json=as_json).show_desk(current())


@contextmanager
def _command(verbose: bool, database: str | None) -> Iterator[None]:
    """Set up one command: logs to stderr, errors to words and exit codes."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO if verbose else logging.WARNING, format="%(message)s")
    if database is not None:
        os.environ["PERPFLOW_DATABASE_URL"] = database
    try:
        yield
    except InvalidInput as error:
        typer.echo(f"perpflow: {error}", err=True)
        raise typer.Exit(2) from error
    except PerpflowError as error:
        typer.echo(f"perpflow: {error}", err=True)
        raise typer.Exit(1) from error


def _list(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _span(start: str | None, end: str | None) -> Period | None:
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise InvalidInput("give both --start and --end, or neither for everything that is stored")
    return Period(parse_time(start), parse_time(end))


def _terms(capital: float, leverage: float, slippage: float, mark: str, funding: str, allow_gaps: bool) -> Any:
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


def _request(
    symbols: str | None,
    interval: str,
    days: int | None,
    strategies: str | None,
    tiers: str,
    periods: int,
    terms: Any,
) -> Any:
    from tasks.plans import PipelineRequest, checked, checked_strategies

    return checked(
        PipelineRequest,
        symbols=_list(symbols),
        interval=interval,
        lookback=timedelta(days=days) if days else None,
        strategies=checked_strategies(_list(strategies)),
        tiers=_list(tiers),
        n_periods=periods,
        terms=terms,
    )


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
