"""The report's pictures, drawn from its plain rows: equity and drawdown, heat map, cost waterfall."""

import base64
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from tasks.amounts import decimals_of

_INK, _MUTED, _GRID = "#1f2933", "#64748b", "#e5e7eb"
_TIER_COLOURS = ["#1d4ed8", "#0d9488", "#b45309", "#7c3aed", "#be123c", "#4d7c0f"]
_GOOD, _BAD, _TOTAL = "#15803d", "#b91c1c", "#334155"
_COSTS = {
    "gross": "gross",
    "maker_fees": "maker fees",
    "taker_fees": "taker fees",
    "funding": "funding",
    "slippage": "slippage",
    "liquidation_loss": "liquidation",
    "net": "net",
}

Row = dict[str, Any]
Chart = alt.VConcatChart | alt.FacetChart | alt.LayerChart


def equity(rows: Sequence[Row]) -> Chart:
    """Return equity and drawdown of one strategy, one line a fee tier.

    ``rows`` are the results of that strategy. Each period starts from fresh capital; its daily equity is drawn as a
    multiple of that capital, so a line that steps back to 1 shows where a period begins.
    """
    frame = pd.concat([_daily(row) for row in rows], ignore_index=True)
    colour = alt.Color(
        "tier:N",
        title=None,
        scale=alt.Scale(range=_TIER_COLOURS),
        sort=_order(rows, "tier"),
        legend=alt.Legend(orient="top", symbolType="stroke", symbolOpacity=1.0, symbolStrokeWidth=2),
    )
    base = alt.Chart(frame).encode(x=alt.X("time:T", title=None, axis=alt.Axis(format="%b %Y", grid=False)))
    line = base.mark_line(strokeWidth=1.4).encode(
        y=alt.Y("equity:Q", title="equity / capital", scale=alt.Scale(zero=False)),
        color=colour,
        detail="period:N",
    )
    start = alt.Chart(pd.DataFrame({"one": [1.0]})).mark_rule(color=_MUTED, strokeDash=[3, 3]).encode(y="one:Q")
    drawdown = base.mark_area(opacity=0.25, line={"strokeWidth": 0.8}).encode(
        y=alt.Y("drawdown:Q", title="drawdown", axis=alt.Axis(format="%"), stack=None), color=colour, detail="period:N"
    )
    top = (start + line).properties(width=520, height=190)
    below = drawdown.properties(width=520, height=80)
    return _styled(alt.vconcat(top, below, spacing=6).resolve_scale(x="shared"))


def heat_map(rows: Sequence[Row]) -> Chart:
    """Return net return by period and fee tier, one block a strategy; a refused run is an empty cell."""
    frame = pd.DataFrame(
        [
            {
                "strategy": row["strategy"],
                "tier": row["tier"],
                "period": row["period"],
                "net_return": row["metrics"].get("net_return"),
            }
            for row in rows
        ]
    )
    base = alt.Chart(frame).encode(
        x=alt.X("period:N", title=None, sort=_order(rows, "period"), axis=alt.Axis(labelAngle=-25)),
        y=alt.Y("tier:N", title=None, sort=_order(rows, "tier")),
    )
    finite = frame["net_return"].dropna().abs()
    extent = float(finite.max()) if len(finite) and finite.max() > 0 else 0.01
    cells = base.mark_rect(stroke="white", strokeWidth=2).encode(
        color=alt.Color(
            "net_return:Q",
            scale=alt.Scale(domain=[-extent, 0, extent], range=["#c2410c", "#f8fafc", "#1d4ed8"], interpolate="rgb"),
            legend=None,
        )
    )
    text = base.mark_text(fontSize=11).encode(
        text=alt.Text("net_return:Q", format="+.1%"),
        color=alt.condition(f"abs(datum.net_return) > {0.6 * extent}", alt.value("white"), alt.value(_INK)),
    )
    n_periods, n_tiers = frame["period"].nunique(), frame["tier"].nunique()
    chart = (cells + text).properties(width=min(max(200 * n_periods, 300), 900), height=28 * n_tiers)
    facet = chart.facet(
        row=alt.Row(
            "strategy:N",
            title=None,
            sort=_order(rows, "strategy"),
            header=alt.Header(labelOrient="top", labelAnchor="start", labelFontWeight="bold", labelFontSize=12),
        ),
        spacing=10,
    )
    return _styled(facet)


def waterfall(rows: Sequence[Row]) -> Chart:
    """Return where the money of one strategy at one tier went, from gross to net, summed over ``rows``, settle coin."""
    coin = str(rows[0]["settle_coin"])
    totals = {name: sum(float(row["costs"][name]) for row in rows) for name in _COSTS}
    steps: list[Row] = []
    level = 0.0
    for name, label in _COSTS.items():
        if name in ("gross", "net"):
            low, high, kind = 0.0, totals[name], "total"
            level = totals[name]
        else:
            # A cost is positive when paid: it takes the level down; a rebate or received funding lifts it.
            low, high = level, level - totals[name]
            kind = "lost" if totals[name] > 0 else "gained"
            level = high
        steps.append({"step": label, "low": low, "high": high, "amount": high - low, "kind": kind})
    frame = pd.DataFrame(steps)
    order = list(_COSTS.values())
    base = alt.Chart(frame).encode(x=alt.X("step:N", title=None, sort=order, axis=alt.Axis(labelAngle=-25)))
    colours = alt.Scale(domain=["total", "lost", "gained"], range=[_TOTAL, _BAD, _GOOD])
    bars = base.mark_bar(size=34).encode(
        y=alt.Y("low:Q", title=coin), y2="high:Q", color=alt.Color("kind:N", scale=colours, legend=None)
    )
    frame["above"] = frame[["low", "high"]].max(axis=1)
    labels = base.mark_text(dy=-7, fontSize=11, color=_INK).encode(
        y="above:Q", text=alt.Text("amount:Q", format=f"+,.{decimals_of(coin) - 2}f")
    )
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=_MUTED).encode(y="zero:Q")
    return _styled((bars + labels + zero).properties(width=420, height=270))


def svg(chart: Chart) -> str:
    """Return ``chart`` as SVG text that stands in a page by itself."""
    return str(vl_convert.vegalite_to_svg(chart.to_dict()))


def png(chart: Chart) -> bytes:
    """Return ``chart`` as a PNG picture at twice its size, sharp on a dense screen."""
    return bytes(vl_convert.vegalite_to_png(chart.to_dict(), scale=2))


def png_markdown(chart: Chart, title: str) -> str:
    """Return ``chart`` as a markdown image with its data inline, as Prefect artifacts show it."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png(chart)).decode()})"


def _daily(row: Row) -> pd.DataFrame:
    daily = row["equity_daily"]
    frame = pd.DataFrame({"time": pd.to_datetime(daily["time"], utc=True), "equity": daily["equity"]})
    frame["equity"] = frame["equity"] / row["initial_capital"]
    peak = frame["equity"].cummax().clip(lower=1.0)
    frame["drawdown"] = frame["equity"] / peak - 1.0
    frame["tier"], frame["period"] = row["tier"], row["period"]
    return frame


def _order(rows: Sequence[Row], name: str) -> list[str]:
    return list(dict.fromkeys(str(row[name]) for row in rows))


def _styled(chart: Any) -> Chart:
    styled: Chart = (
        # Text is measured while the picture is drawn, without the reader's fonts: the padding takes up the difference.
        chart.configure(font="Helvetica, Arial, sans-serif", background="white", padding=14)
        .configure_view(stroke=None)
        .configure_axis(gridColor=_GRID, domainColor=_GRID, tickColor=_GRID, labelColor=_MUTED, titleColor=_MUTED)
        .configure_legend(labelColor=_MUTED, titleColor=_MUTED)
        .configure_header(labelColor=_INK)
    )
    return styled
