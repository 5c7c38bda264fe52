"""``perpflow reconcile``: what the venue booked, recomputed row by row; or a back-test against what really happened."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bybit.rules.errors import InvalidInput
from flows.options import AsJson, Database, Verbose, command

if TYPE_CHECKING:
    from rich.console import Console as Rich

_MAX_SHOWN = 20
_COSTS = ("fees_paid", "rebates", "funding_paid", "funding_received", "costs", "realized_pnl")
_HEADS = ("fees paid", "rebates", "funding paid", "funding received", "net cost", "realized P&L")


def reconcile(
    files: Annotated[
        list[Path] | None, typer.Argument(help="API pages (JSON), the site's CSV exports, Parquet tables; one account")
    ] = None,
    tier: Annotated[str, typer.Option(help="the account's fee tier")] = "vip0",
    category: Annotated[str, typer.Option(help="linear | inverse | spot, of rows that do not say")] = "linear",
    timezone: Annotated[str, typer.Option(help="of times without a zone: UTC, UTC+1, +05:30, Europe/Berlin")] = "UTC",
    report: Annotated[Path | None, typer.Option(help="write a page a tax adviser can read")] = None,
    table: Annotated[Path | None, typer.Option("--csv", help="write every row as CSV")] = None,
    run: Annotated[
        str | None, typer.Option(help="run key of a stored back-test: compare its fills with these executions")
    ] = None,
    database: Database = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Recompute the fees and funding of account exports; exit 1 when a row is not explained."""
    with command(verbose, database):
        import orjson
        from rich.console import Console as Rich

        from tasks.reconcile import reconcile_files

        out = Rich(stderr=as_json, highlight=False, width=None if Rich().is_terminal else 150)
        if not files:
            raise InvalidInput("perpflow reconcile needs files: API pages (JSON), CSV exports or Parquet tables")
        terms = {"tier": tier, "category": category, "timezone": timezone}
        if run is None:
            told = reconcile_files(files, **terms, report=report, table=table)
            _show(out, told)
        else:
            # Prefect comes with it, and takes its time.
            from tasks.reconcile_runs import reconcile_run

            told = reconcile_run(run, files, **terms, report=report, table=table)
            _show_run(out, told)
        if as_json:
            print(orjson.dumps(told, default=str).decode(), flush=True)  # noqa: T201 - the one line of --json
        raise typer.Exit(0 if told["explained"] else 1)


def _show(out: "Rich", told: dict[str, Any]) -> None:
    colour = "green" if told["explained"] else "red"
    out.print(f"[bold {colour}]{told['verdict']}[/]", soft_wrap=True)
    for problem in told["problems"]:
        out.print(f"[red]{problem['place']}: {problem['text']}[/red]", soft_wrap=True)
    for remark in told["remarks"]:
        out.print(f"[yellow]{remark}[/yellow]", soft_wrap=True)
    if told["duplicates"]:
        out.print(f"{len(told['duplicates'])} duplicates counted once, e.g. {told['duplicates'][0]}", soft_wrap=True)
    _sums(out, "coin", [{"coin": coin, **money} for coin, money in told["by_coin"].items()])
    _sums(out, "year", told["by_year"], "coin")
    _sums(out, "symbol", told["by_symbol"], "coin")
    _reasons(out, told["reasons"])
    _unexplained(out, told["unexplained_rows"])
    _places(out, told)


def _sums(out: "Rich", *columns: Any) -> None:
    from rich.table import Table

    first, money, *more = columns
    shown = Table(first, *more, header_style="bold")
    for name in _HEADS:
        shown.add_column(name, justify="right")
    for row in money[:_MAX_SHOWN]:
        shown.add_row(row[first], *(row[name] for name in more), *(_digits(row[name]) for name in _COSTS))
    if money:
        out.print(shown)
    if len(money) > _MAX_SHOWN:
        out.print(f"… and {len(money) - _MAX_SHOWN} more: give --csv or --report")


def _reasons(out: "Rich", reasons: dict[str, dict[str, int]]) -> None:
    for verdict, counted in reasons.items():
        if counted:
            words = ", ".join(f"{reason}: {n:,}" for reason, n in counted.items())
            out.print(f"[dim]{verdict}: {words}[/dim]", soft_wrap=True)


def _unexplained(out: "Rich", rows: list[dict[str, Any]]) -> None:
    for row in rows[:_MAX_SHOWN]:
        colour = "yellow" if row["unknowable"] else "red"
        when, what = row["time"][:19].replace("T", " "), f"{row['symbol']} {row['side']} {row['qty']}".strip()
        out.print(f"[{colour}]{row['file']} row {row['row']}[/] {when} {what}", soft_wrap=True)
        amounts = f"booked {row['booked'] or '–'}, recomputed {row['recomputed'] or '–'} {row['coin']}"
        out.print(f"  {amounts}: {row['reason']}: {row['detail']}", soft_wrap=True, markup=False)
    if len(rows) > _MAX_SHOWN:
        out.print(f"… and {len(rows) - _MAX_SHOWN} more unexplained rows: give --csv or --report")


def _show_run(out: "Rich", told: dict[str, Any]) -> None:
    from rich.table import Table

    colour = "green" if told["explained"] else "red"
    out.print(f"[bold {colour}]{told['verdict']}[/]", soft_wrap=True)
    for remark in told["remarks"]:
        out.print(f"[yellow]{remark}[/yellow]", soft_wrap=True)
    gap = Table("gap between back-test and reality", header_style="bold")
    gap.add_column("money", justify="right")
    for name, amount in told["gap"].items():
        gap.add_row(name.replace("_", " "), _digits(amount))
    out.print(gap)
    for row in told["unmatched"][:_MAX_SHOWN]:
        out.print(
            f"[red]{row['kind']}[/red] {(row['time'] or row['real_time'])[:19]} {row['symbol']} {row['side']} "
            f"{row['qty'] or row['real_qty']} @ {row['price'] or row['real_price']}",
            soft_wrap=True,
        )
    _places(out, told)


def _places(out: "Rich", told: dict[str, Any]) -> None:
    for name in ("report", "csv"):
        if told[name]:
            out.print(f"{name}: {told[name]}", soft_wrap=True)


def _digits(amount: str) -> str:
    # Screens get eight decimals, files all of them.
    return f"{float(amount):,.8f}".rstrip("0").rstrip(".") if amount else "–"
