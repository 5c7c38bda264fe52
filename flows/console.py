"""What a person sees in the terminal: tables on stdout, progress on stderr, or one JSON line."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from rich.console import Console as Rich
from rich.table import Table

from tasks.amounts import amount

Row = dict[str, Any]


class Console:
    """Shows results; with ``as_json`` everything but one JSON object goes to stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._out = Rich(stderr=as_json, highlight=False, width=None if Rich().is_terminal else 150)
        self._err = Rich(stderr=True, highlight=False)

    def __call__(self, step: str) -> None:
        """Say which step has begun, on stderr."""
        self._err.print(f"[dim]{step}[/dim]")

    def say(self, text: str) -> None:
        """Print one line that belongs to the result."""
        self._out.print(text, soft_wrap=True)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show that something takes a moment, until ``calm`` or the end of the block."""
        self._status = self._err.status(what)
        self._status.start()
        try:
            yield
        finally:
            self._status.stop()

    def calm(self, text: str | None = None) -> None:
        """Stop the spinner of ``waiting``, or show another text beside it."""
        if text is None:
            self._status.stop()
        else:
            self._status.update(text)

    def show_run(self, run: Row) -> None:
        """Show the result of the main job: the table, the verdicts, the report's place."""
        for remark in run["remarks"]:
            self.say(f"[yellow]{remark}[/yellow]")
        self._quality_failures(run["quality"])
        verdicts = {decision["strategy"]: decision["verdict"] for decision in run["decisions"]}
        if run["results"]:
            self._out.print(_matrix(run["results"], verdicts))
        for decision in run["decisions"]:
            self._verdict(decision)
        self.say(f"\nReport: {run['report']}  ({run['seconds']:.0f} s)")
        self._json(run)

    def show_matrix(self, made: Row) -> None:
        """Show the rows of a fan-out and what was left out of it."""
        for remark in made["remarks"]:
            self.say(f"[yellow]{remark}[/yellow]")
        if made["results"]:
            self._out.print(_matrix(made["results"], {}))
        self._json(made)

    def show_backtest(self, row: Row) -> None:
        """Show one back-test."""
        self._out.print(_matrix([row], {}))
        if not row["refused"]:
            self._out.print(_costs(row))
            self._fee_bounds(row)
            self._out.print(_pairs("metrics", row["metrics"]))
            if row["assumptions"]:
                self._out.print(_pairs("assumptions, counted", row["assumptions"]))
            self.say(f"[dim]run key {row['run_key']}[/dim]")
        self._json(row)

    def show_reproduction(self, outcome: Row) -> None:
        """Show whether a stored result came out the same again."""
        same = outcome["same"]
        self.say(f"{outcome['run_key']}: " + ("[green]the same bytes[/green]" if same else "[red]DIFFERENT[/red]"))
        self._json(outcome)

    def show_ingest(self, reports: Sequence[Row]) -> None:
        """Show what was fetched, series by series."""
        table = Table(*("series", "rows", "written", "requests", "seconds", "holes", "still missing"))
        for r in reports:
            missing = ", ".join(r["missing"][:3]) + (
                f" and {len(r['missing']) - 3} more" if len(r["missing"]) > 3 else ""
            )
            cells = (r["series"], r["rows"], r["rows_written"], r["requests"], r["seconds"], r["n_holes"], missing)
            table.add_row(*map(str, cells))
        self._out.print(table)
        self._json(
            {
                "rows": sum(r["rows"] for r in reports),
                "requests": sum(r["requests"] for r in reports),
                "seconds": round(sum(r["seconds"] for r in reports), 3),
                "missing": {r["series"]: r["missing"] for r in reports if r["missing"]},
                "series": reports,
            }
        )

    def show_quality(self, reports: Sequence[Row]) -> None:
        """Show every checked table and what failed."""
        table = Table("data", "", "rows", "gaps", "what failed or warned")
        for r in reports:
            verdict = "[green]pass[/green]" if r["passed"] else "[red]refused[/red]"
            table.add_row(r["subject"], verdict, f"{r['n_rows']:,}", str(len(r["gaps"])), _failures(r))
        self._out.print(table)
        self._json({"passed": all(r["passed"] for r in reports), "reports": reports})

    def show_stages(self, rows: Sequence[Row]) -> None:
        """Show every strategy's stage."""
        table = Table("strategy", "stage", "newest decision", "decided by", "when")
        for r in rows:
            table.add_row(
                r["strategy"], r["stage"], r["verdict"] or "none", r["decided_by"] or "", _minute(r["decided_at"])
            )
        self._out.print(table)
        self._json({"strategies": rows})

    def show_decision(self, decision: Row) -> None:
        """Show one decision gate by gate."""
        self._verdict(decision, every_gate=True)
        self.say(f"[dim]evidence {decision['evidence_hash']}[/dim]")
        self._json(decision)

    def show_decisions(self, decisions: Sequence[Row]) -> None:
        """Show several decisions."""
        for decision in decisions:
            self._verdict(decision)
        self._json({"decisions": decisions})

    def show_history(self, decisions: Sequence[Row]) -> None:
        """Show the decisions on one strategy, oldest first."""
        table = Table("when", "verdict", "from", "to", "decided by", "why")
        for d in decisions:
            table.add_row(
                _minute(d["decided_at"]), d["verdict"], d["from_stage"], d["to_stage"], d["decided_by"], _why(d)
            )
        self._out.print(table)
        self._json({"decisions": decisions})

    def show_api(self, report: Row) -> None:
        """Show the check of an endpoint, area by area."""
        colours = {"passed": "green", "warning": "yellow", "failed": "red"}
        table = Table("area", "check", "", "evidence", "advice")
        for check in report["checks"]:
            colour = colours.get(check["status"], "dim")
            status = f"[{colour}]{check['status'].replace('_', ' ')}[/{colour}]"
            table.add_row(check["area"], check["name"], status, check["evidence"], check["advice"])
        self._out.print(table)
        read = "read only" if report["read_only"] else "with one order"
        self.say(f"{', '.join(report['base_urls'])} ({report['environment']}, {read}): {report['n_requests']} requests")
        self._json(report)

    def show_desk(self, state: Row) -> None:
        """Show what ``up`` keeps running."""
        self.say(state["words"])
        self._json(state)

    def _fee_bounds(self, row: Row) -> None:
        if row["fee_bounds"]:
            early, late = (f"{row['fee_bounds'][end]['net_return']:+.2%}" for end in ("earliest", "latest"))
            windows = ", ".join(row["fee_bounds"]["windows"])
            self.say(f"[yellow]Nobody recorded the day on which fees changed in {windows}:[/yellow] net return is")
            self.say(f"  {early} if it was the first possible day, {late} if the last")

    def _verdict(self, decision: Row, *, every_gate: bool = False) -> None:
        good = decision["verdict"] == "PROMOTE"
        stages = decision["from_stage"] + (f" -> {decision['to_stage']}" if good else "")
        colour = "green" if good else "red"
        self.say(f"\n[bold]{decision['strategy']}[/bold]  [{colour}]{decision['verdict']}[/{colour}]  {stages}")
        if not every_gate and all(gate["measured"] is None for gate in decision["gates"]):
            self.say(f"  [red]no[/red]   {decision['gates'][0]['reason']}")
            return
        for gate in decision["gates"]:
            if every_gate or not gate["passed"]:
                mark = "[green]pass[/green]" if gate["passed"] else "[red]no[/red]  "
                self.say(f"  {mark} {gate['name']}: {gate['reason']}")
        if good and not every_gate:
            self.say("  every gate passed")

    def _quality_failures(self, reports: Sequence[Row]) -> None:
        for report in reports:
            if not report["passed"]:
                self.say(f"[red]Data refused:[/red] {report['subject']}: {_failures(report)}")
                for check in report["checks"]:
                    for row in check["failing_rows"][:3] if not check["passed"] else ():
                        self.say(f"  [dim]{check['name']}: {row}[/dim]")

    def _json(self, value: Row) -> None:
        if self._as_json:
            print(orjson.dumps(value, default=str).decode(), flush=True)  # noqa: T201 - the one line of --json


def _matrix(rows: Sequence[Row], verdicts: dict[str, str]) -> Table:
    coin = rows[0]["settle_coin"]
    capital = f"each period starts with {amount(rows[0]['initial_capital'], coin)} {coin}"
    table = Table(
        *("strategy", "tier", "period", "symbols"), header_style="bold", caption=capital, caption_justify="left"
    )
    for name in ("net return", f"fees, {coin}", f"funding, {coin}", "max drawdown", "trades"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    before: tuple[str, str] | None = None
    for row in rows:
        group = (row["strategy"], row["tier"])
        first = before is None or before[0] != row["strategy"]
        if before is not None and first:
            table.add_section()
        verdict = verdicts.get(row["strategy"], "")
        colour = "green" if verdict == "PROMOTE" else "red"
        head = (
            f"[bold]{row['strategy']}[/bold]" if first else "",
            row["tier"] if group != before else "",
            row["period"],
            " ".join(symbol.removesuffix("USDT") for symbol in row["symbols"]),
        )
        last = f"[{colour}]{verdict}[/{colour}]" if first and verdict else ""
        table.add_row(*head, *_figures(row), last)
        before = group
    return table


def _figures(row: Row) -> tuple[str, ...]:
    if row["refused"]:
        return ("[red]refused[/red]", "", "", "", "")
    metrics, costs = row["metrics"], row["costs"]
    net = metrics["net_return"]
    return (
        "–" if net is None else f"[{'green' if net > 0 else 'red'}]{net:+.2%}[/]",
        amount(costs["maker_fees"] + costs["taker_fees"], row["settle_coin"]),
        amount(costs["funding"], row["settle_coin"]),
        "–" if metrics["max_drawdown"] is None else f"{metrics['max_drawdown']:.2%}",
        str(metrics["n_trades"]),
    )


def _failures(report: Row) -> str:
    failed = [check for check in report["checks"] if not check["passed"]]
    return "; ".join(f"{c['name']} ({c['severity']}): {c['observed']}" for c in failed)


def _minute(time: str | None) -> str:
    return time[:16].replace("T", " ") if time else ""


def _why(decision: Row) -> str:
    failed = [gate["reason"] for gate in decision["gates"] if not gate["passed"]]
    return decision.get("reason") or "; ".join(failed) or "every gate passed"


def _costs(row: Row) -> Table:
    """Return what each symbol of a run earned and paid, and the account in the last line."""
    names, coin = list(row["costs"]), row["settle_coin"]
    table = Table(f"{coin} (costs: positive is paid)", header_style="bold")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for symbol, costs in row["costs_by_symbol"].items():
        table.add_row(symbol, *(amount(costs[name], coin) for name in names))
    if len(row["costs_by_symbol"]) > 1:
        table.add_section()
        table.add_row("account", *(amount(row["costs"][name], coin) for name in names))
    return table


def _pairs(title: str, values: Row) -> Table:
    table = Table(title, "", show_header=True, header_style="bold")
    for name, value in values.items():
        table.add_row(name, f"{value:,.6g}" if isinstance(value, float) else str(value))
    return table
