"""The ``perpflow`` command: every option has its words, every command its ``--json``.

Heavy packages are imported inside the commands: ``--help`` answers at once, and Prefect reads its settings when it is
imported, so nothing that imports it may come before the environment stands.
"""

from pathlib import Path
from typing import Annotated

import typer

from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period, parse_time
from flows.cli_graduation import graduation
from flows.cli_reconcile import reconcile
from flows.options import (
    AllowGaps,
    AsJson,
    BaseUrl,
    CategoryText,
    Database,
    End,
    IntervalText,
    Periods,
    Start,
    Strategies,
    Symbols,
    Tape,
    TermsText,
    Tiers,
    Verbose,
    category_of,
    command,
    names,
    request_of,
    span_of,
    with_terms,
)

app = typer.Typer(
    name="perpflow",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="From Bybit candles to a graduation decision: ingest, quality, back-tests, gates, report.",
)
app.add_typer(graduation, name="graduation")
app.command()(reconcile)


@app.command()
@with_terms
def run(
    source: Annotated[str, typer.Option(help="auto | live | sandbox | URL of a v5 endpoint")] = "auto",
    tape: Tape = None,
    symbols: Symbols = None,
    category: CategoryText = "linear",
    days: Annotated[int | None, typer.Option(min=1, help="how far back; a whole tape, else 365 days")] = None,
    interval: IntervalText = "15m",
    strategies: Strategies = None,
    tiers: Tiers = "vip0,vip2,vip5",
    periods: Periods = 4,
    terms: TermsText = TermsText(),
    database: Database = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Do the main job end to end: ingest, quality, fan-out, gates, report."""
    with command(verbose, database):
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

            request = request_of(symbols, interval, days, strategies, tiers, periods, terms.checked(), category)
            console.calm("opening the source of market data")
            with open_source(source, tape, home) as opened:
                console.say(f"Source: {opened}")
                console(f"Prefect UI while this runs: {server.ui}")
                listen(console.calm)
                summary = run_pipeline(opened, request)
            console.calm()
        console.show_run(summary)
        raise typer.Exit(0 if any(not row["refused"] for row in summary["results"]) else 1)


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one")] = 8900,
    tape: Tape = None,
    now: Annotated[str | None, typer.Option(help="ISO time: the simulated clock starts here")] = None,
    speed: Annotated[float, typer.Option(min=0, help="simulated seconds per second; 0 stands still")] = 1.0,
    latency_ms: Annotated[int, typer.Option(min=0, max=60_000, help="added to every answer")] = 0,
    faults: Annotated[
        list[str] | None, typer.Option(help="what goes wrong: NAME, NAME=RATE or a schedule file")
    ] = None,
    maintenance: Annotated[
        list[str] | None, typer.Option(help="when the venue is closed: START..END, ISO times in UTC")
    ] = None,
    seed: Annotated[int, typer.Option(help="of the synthetic market and of the faults")] = 7,
    api_key: Annotated[str | None, typer.Option(help="the one key that is accepted")] = None,
    api_secret: Annotated[str | None, typer.Option(help="its secret")] = None,
    balance: Annotated[str, typer.Option(help="USDT that the account opens with")] = "10000",
    tier: Annotated[str, typer.Option(help="whose dated fees the account pays")] = "vip0",
    margin_mode: Annotated[str, typer.Option(help="REGULAR_MARGIN (cross) | ISOLATED_MARGIN")] = "REGULAR_MARGIN",
    symbols: Symbols = None,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    allow_open: Annotated[
        bool, typer.Option("--allow-open", help="listen beyond this machine; nothing protects it")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Serve the local exchange on 127.0.0.1 until Ctrl-C."""
    with command(verbose, None):
        from tasks.market import serve_sandbox

        if (api_key is None) != (api_secret is None):
            raise InvalidInput("--api-key and --api-secret belong together: give both or neither")
        # Without a pair the sandbox accepts its documented one.
        credentials = {"api_key": api_key, "api_secret": api_secret} if api_key else {}
        clock = {"now": parse_time(now) if now else None, "speed": speed}
        trouble = {"latency_ms": latency_ms, "faults": tuple(faults or ()), "seed": seed, "fault_seed": seed}
        spans = [text.partition("..") for text in maintenance or ()]
        closed = [Period(parse_time(begin), parse_time(end)) for begin, _, end in spans]
        account = {"balance": balance, "tier": tier, "margin_mode": margin_mode, **credentials}
        place = {"port": port, "host": host, "allow_open": allow_open, "symbols": names(symbols) or None}
        serve_sandbox(tape, closed, {**clock, **trouble, **account, **place})


@app.command()
def ingest(
    symbols: Annotated[str, typer.Option(help="comma list, e.g. BTCUSDT,ETHUSDT")],
    start: Annotated[str, typer.Option(help="ISO time, UTC, inclusive")],
    end: Annotated[str, typer.Option(help="ISO time, UTC, exclusive")],
    category: CategoryText = "linear",
    interval: IntervalText = "1m",
    price: Annotated[str, typer.Option(help="comma list of last, mark, index, premium")] = "last",
    funding: Annotated[bool, typer.Option("--funding", help="fetch the funding settlements too")] = False,
    fee_rates: Annotated[
        bool,
        typer.Option("--fee-rates", help="keep what the account itself pays today, for --tier account (needs a key)"),
    ] = False,
    base_url: BaseUrl = None,
    database: Database = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Fetch what is missing of some series and store it."""
    with command(verbose, database):
        from flows.console import Console
        from flows.ingest_history import ingest_series

        span = Period(parse_time(start), parse_time(end))
        console = Console(as_json=as_json)
        console.show_ingest(
            ingest_series(
                base_url,
                names(symbols),
                interval,
                span,
                names(price),
                funding=funding,
                fee_rates=fee_rates,
                progress=console,
                category=category_of(category),
            )
        )


@app.command()
def quality(
    files: Annotated[list[Path] | None, typer.Argument(help="Parquet files to check instead of stored series")] = None,
    symbols: Symbols = None,
    category: CategoryText = "linear",
    interval: IntervalText = "15m",
    start: Start = None,
    end: End = None,
    allow_gaps: AllowGaps = False,
    database: Database = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Check stored series, or Parquet files; exit 1 when one is refused."""
    with command(verbose, database):
        from flows.check_quality import check_files, check_stored
        from flows.console import Console

        if files:
            reports = check_files(files)
        else:
            span, kind = span_of(start, end), category_of(category)
            reports = check_stored(names(symbols), interval, span, allow_gaps=allow_gaps, category=kind)
        Console(as_json=as_json).show_quality(reports)
        raise typer.Exit(0 if all(report["passed"] for report in reports) else 1)


@app.command()
@with_terms
def backtest(
    strategy: Annotated[str | None, typer.Option(help="one strategy")] = None,
    symbols: Symbols = None,
    category: CategoryText = "linear",
    interval: IntervalText = "15m",
    start: Start = None,
    end: End = None,
    tier: Annotated[str, typer.Option(help="fee tier; account: its own stored rates")] = "vip0",
    terms: TermsText = TermsText(),
    reproduce: Annotated[str | None, typer.Option(help="run key of a stored result: compute it again, compare")] = None,
    database: Database = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Back-test one strategy on what is stored."""
    with command(verbose, database):
        from flows.console import Console
        from flows.run_backtests import backtest_stored, reproduce_stored

        console = Console(as_json=as_json)
        if reproduce is not None:
            console.show_reproduction(reproduce_stored(reproduce))
            return
        if strategy is None or symbols is None:
            raise InvalidInput("perpflow backtest needs --strategy and --symbols (or --reproduce RUN_KEY)")
        span, kind = span_of(start, end), category_of(category)
        row = backtest_stored(strategy, tier, names(symbols), interval, span, terms.checked(), kind)
        console.show_backtest(row)
        raise typer.Exit(1 if row["refused"] else 0)


@app.command()
@with_terms
def matrix(
    symbols: Annotated[str, typer.Option(help="comma list, e.g. BTCUSDT,ETHUSDT")],
    category: CategoryText = "linear",
    interval: IntervalText = "15m",
    start: Start = None,
    end: End = None,
    strategies: Strategies = None,
    tiers: Tiers = "vip0,vip2,vip5",
    periods: Periods = 4,
    terms: TermsText = TermsText(),
    database: Database = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Fan out strategy x fee tier x period over what is stored, through Prefect."""
    with command(verbose, database):
        from flows.console import Console
        from tasks.prefect_server import local_server
        from tasks.settings import settings

        console = Console(as_json=as_json)
        with console.waiting("starting the Prefect server"), local_server(settings().home, verbose=verbose):
            from flows.run_backtests import run_backtests
            from tasks.plans import Span
            from tasks.progress import listen

            request = request_of(symbols, interval, None, strategies, tiers, periods, terms.checked(), category)

            listen(console.calm)
            span = span_of(start, end)
            made = run_backtests(request, Span.of(span) if span else None)
        console.show_matrix(made)
        raise typer.Exit(0 if any(not row["refused"] for row in made["results"]) else 1)


@app.command("api-check")
def api_check(
    base_url: Annotated[str | None, typer.Option(help="v5 endpoint; that of BYBIT_ENVIRONMENT when not given")] = None,
    symbol: Annotated[str, typer.Option(help="the linear contract to ask about")] = "BTCUSDT",
    trade: Annotated[
        bool, typer.Option("--trade", help="also place one order far from the market, and cancel it")
    ] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Check a v5 endpoint and the keys for it: evidence and advice; exit 1 when something failed."""
    with command(verbose, None):
        from flows.console import Console
        from tasks.api import check_api

        report = check_api(base_url, symbol, trade=trade)
        Console(as_json=as_json).show_api(report)
        raise typer.Exit(0 if report["passed"] else 1)


@app.command()
def up(
    port: Annotated[int, typer.Option(min=0, max=65535, help="of the Prefect UI; 0 picks a free one")] = 4200,
    as_json: AsJson = False,
) -> None:
    """Start a Prefect server and a worker in the background and register the deployments of prefect.yaml."""
    with command(False, None):
        from flows.console import Console
        from tasks.desk import start

        console = Console(as_json=as_json)
        with console.waiting("starting server and worker, registering deployments"):
            state = start(port)
        console.show_desk(state)


@app.command()
def down(as_json: AsJson = False) -> None:
    """Stop what ``perpflow up`` started."""
    with command(False, None):
        from flows.console import Console
        from tasks.desk import stop

        Console(as_json=as_json).show_desk(stop())


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show whether server and worker run, and the UI's address."""
    with command(False, None):
        from flows.console import Console
        from tasks.desk import current

        Console(as_json=as_json).show_desk(current())


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
