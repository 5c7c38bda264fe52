"""The report of one run: a page that opens offline, and the same facts as JSON."""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from prefect import runtime, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks import charts
from tasks.amounts import amount
from tasks.plans import PipelineRequest, Source
from tasks.settings import settings

Row = dict[str, Any]


def assemble(
    source: Source,
    request: PipelineRequest,
    settle_coin: str,
    ingest: Sequence[Row],
    quality: Sequence[Row],
    results: Sequence[Row],
    decisions: Sequence[Row],
    remarks: Sequence[str],
) -> Row:
    """Return everything a reader of one run may ask for, as plain values; called inside the flow that ran it."""
    started: datetime = runtime.flow_run.scheduled_start_time
    run_id = f"{started:%Y%m%d-%H%M%S}-{str(runtime.flow_run.id)[:6]}"
    return {
        "run_id": run_id,
        "created_at": started.strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
        "source": source.model_dump(mode="json"),
        "source_words": str(source),
        "category": request.category.value,
        "settle_coin": settle_coin,
        "interval": request.interval,
        "terms": request.terms.model_dump(mode="json"),
        "remarks": list(remarks),
        "ingest": list(ingest),
        "quality": list(quality),
        "results": list(results),
        "decisions": list(decisions),
        "provenance": {
            "source": str(source),
            "data version": _all(f"{name} {version}" for row in results for name, version in _data_versions(row)),
            "engine": _all(row["provenance"].get("engine_version") for row in results),
            "fee schedule": _all(row["provenance"].get("fee_schedule_version") for row in results),
            "perpflow": version("perpflow"),
            "flow run": str(runtime.flow_run.id),
        },
        "report": str(report_folder(run_id) / "report.html"),
    }


@task(task_run_name="report")
def write_report(run: Row) -> Path:
    """Write ``report.html`` and ``summary.json`` of one run; return the page's path.

    Repeating it overwrites both with the same content.
    """
    folder = report_folder(run["run_id"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_bytes(orjson.dumps(run, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
    page = folder / "report.html"
    page.write_text(render(run), encoding="utf-8")
    return page


@task(task_run_name="artifacts")
def publish(run: Row, page: Path) -> None:
    """Show the run in the Prefect UI: the table of results, the verdicts, and the charts inline.

    Artifacts are versioned by key, so repeating adds a version.
    """
    create_table_artifact(
        key="backtests", table=[_table_row(row) for row in run["results"]], description=run["source_words"]
    )
    lines = [f"# Verdicts of run {run['run_id']}", "", f"Data: {run['source_words']}", "", f"Full report: `{page}`", ""]
    for decision in run["decisions"]:
        lines.append(f"## {decision['strategy']}: {decision['verdict']}")
        lines += [
            f"- {'pass' if gate['passed'] else '**no**'} · {gate['name']}: {gate['reason']}"
            for gate in decision["gates"]
        ]
        rows = _computed(run["results"], decision["strategy"])
        if rows:
            lines += ["", charts.png_markdown(charts.equity(rows), f"equity of {decision['strategy']}"), ""]
            dearest = [row for row in rows if row["tier"] == rows[0]["tier"]]
            lines += [charts.png_markdown(charts.waterfall(dearest), f"costs of {decision['strategy']}"), ""]
    create_markdown_artifact(key="verdicts", markdown="\n".join(lines), description="gate by gate, with charts")
    quality = [
        {"series": q["subject"], "passed": q["passed"], "rows": q["n_rows"], "gaps": len(q["gaps"])}
        for q in run["quality"]
    ]
    create_table_artifact(key="data-quality", table=quality, description="one row a series")


def report_folder(run_id: str) -> Path:
    """Return where the report of ``run_id`` lies."""
    return settings().home / "reports" / run_id


def render(run: Row) -> str:
    """Return the report page as HTML that needs nothing from outside."""
    pages = Environment(loader=PackageLoader("tasks"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    pages.filters.update(percent=_percent, share=_share, money=amount, figure=_figure)
    page = pages.get_template("report.html")
    return page.render(run=run, charts=_pictures(run["results"]), by_symbol=_by_symbol(run["results"]))


def _data_versions(row: Row) -> list[tuple[str, str]]:
    found = row["provenance"]
    if "data_versions" in found:
        return list(found["data_versions"].items())
    return [(row["symbols"][0], found["data_version"])] if "data_version" in found else []


def _all(values: Iterable[object]) -> str:
    return ", ".join(sorted({str(value) for value in values if value is not None})) or "none"


def _pictures(results: Sequence[Row]) -> dict[str, Any]:
    strategies = list(dict.fromkeys(row["strategy"] for row in results))
    computed = {name: rows for name in strategies if (rows := _computed(results, name))}
    dearest = results[0]["tier"] if results else "none"
    return {
        "heat_map": charts.svg(charts.heat_map(results)) if computed else "",
        "equity": {name: charts.svg(charts.equity(rows)) for name, rows in computed.items()},
        "waterfall": {
            name: charts.svg(charts.waterfall(at_tier))
            for name, rows in computed.items()
            if (at_tier := [row for row in rows if row["tier"] == dearest])
        },
        "dearest_tier": dearest,
    }


def _by_symbol(results: Sequence[Row]) -> list[Row]:
    """Return the costs of each strategy and symbol at the dearest tier, summed over its periods."""
    totals: dict[tuple[str, str], Row] = {}
    for row in results:
        if row["refused"] or row["tier"] != results[0]["tier"]:
            continue
        for symbol, costs in row["costs_by_symbol"].items():
            head = {"strategy": row["strategy"], "symbol": symbol}
            total = totals.setdefault((row["strategy"], symbol), head | dict.fromkeys(costs, 0.0))
            total.update({name: total[name] + amount for name, amount in costs.items()})
    return list(totals.values())


def _computed(results: Sequence[Row], strategy: str) -> list[Row]:
    return [row for row in results if row["strategy"] == strategy and not row["refused"]]


def _table_row(row: Row) -> Row:
    metrics, costs = row["metrics"], row["costs"]
    head = {"strategy": row["strategy"], "tier": row["tier"], "period": row["period"]}
    if row["refused"]:
        return head | {"net return": f"refused: {row['refused']}"}
    return head | {
        "net return": _percent(metrics["net_return"]),
        "settle coin": row["settle_coin"],
        "fees": amount(costs["maker_fees"] + costs["taker_fees"], row["settle_coin"]),
        "funding": amount(costs["funding"], row["settle_coin"]),
        "max drawdown": _share(metrics["max_drawdown"]),
        "trades": metrics["n_trades"],
    }


def _percent(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:+.2%}"


def _share(value: float | None) -> str:
    return _percent(value).removeprefix("+")


def _figure(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if math.isfinite(value) else "–"
