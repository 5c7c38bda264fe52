"""The page: what was measured, in few words and tables."""

from collections.abc import Iterable
from typing import Any

from tests.fidelity import peers_page
from tests.fidelity.commands import Oracle, Said
from tests.fidelity.measure import Measured, Size
from tests.fidelity.recorded import HALF_YEAR
from tests.fidelity.resolution import CAPITAL, LEVERAGE, MARKS, TOLERANCE, largest_difference
from tests.fidelity.tables import amount, plural, small, table
from tests.fidelity.verdict import Verdict

FILLS_ASKED = 0.999


def render(measured: Measured, size: Size, date: str) -> tuple[str, list[Verdict]]:
    """Return the page and its verdicts."""
    verdicts = [
        _oracles_verdict(measured.oracles),
        _fills_verdict(measured.fills),
        *(_scenarios_verdict(said) for said in measured.scenarios),
        _booked_verdict(measured),
        peers_page.verdict(measured.comparisons),
        _resolution_verdict(measured),
    ]
    lines = [(one.asked, one.found, "yes" if one.holds else "**no**") for one in verdicts]
    parts = [
        "# Fidelity: how near a back-test comes to what Bybit books",
        f"Written by `make fidelity` on {date}, engine version {measured.engine_version}; every figure is measured "
        f"by a "
        "command of this repository, none is typed in. It reads the recorded data and the reference cases in "
        "`../shared`; the other back-testers live in `.venv-peers` (`requirements/peers.lock`). Random scenarios use "
        f"seeds {size.seed} and {size.seed_longer}; everything else draws nothing. Money is USDT.",
        table(["question", "figure", "holds"], lines),
        *_oracles(measured.oracles),
        *_fills(measured.fills),
        *_scenarios(measured.scenarios),
        *_booked(measured),
        *peers_page.sections(measured),
        *_resolution(measured),
        *peers_page.assumptions(measured),
    ]
    return "\n\n".join(parts) + "\n", verdicts


def _oracles_verdict(found: Iterable[Oracle]) -> Verdict:
    n_passed, n_failed = sum(one.n_passed for one in found), sum(one.n_failed for one in found)
    return Verdict("cases computed elsewhere", f"{n_passed} passed, {n_failed} failed", n_failed == 0 and n_passed > 0)


def _oracles(found: list[Oracle]) -> list[str]:
    rows = [(one.name, str(one.n_passed), str(one.n_failed), str(len(one.explained))) for one in found]
    parts = [
        "## 1 Cases computed elsewhere",
        "`python -m tests.oracles --explain ../shared/oracles/FOLDER`: cases of programs written outside this project, "
        "and the worked examples of the venue's documents. *Explained* counts figures at which the source is "
        "inconsistent, follows another convention or leaves the answer open: ours, theirs and the reason are below.",
        table(["cases", "passed", "failed", "explained"], rows, numbers=(1, 2, 3)),
    ]
    if failed := [line for one in found for line in one.failed]:
        parts.append("\n".join(f"- failed: {line}" for line in failed))
    if explained := _explanations(found):
        parts.append(table(["case", "ours and theirs", "why"], explained))
    return parts


def _explanations(found: list[Oracle]) -> list[tuple[str, str, str]]:
    # One row for all the cases of a file that differ for the same reason.
    rows: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for line in (line for one in found for line in one.explained):
        name, _, words = line.partition(": ")
        figures, _, why = words.partition(": ")
        file, _, case = name.rsplit("/", 1)[-1].partition(" ")
        rows.setdefault((file, why or words), []).append((case, figures))
    return [
        (f"{file}: " + ", ".join(case for case, _ in cases), "; ".join(figures for _, figures in cases), why)
        for (file, why), cases in rows.items()
    ]


def _fills_verdict(said: Said) -> Verdict:
    found = said.result()
    asked = f"recorded fills: {FILLS_ASKED:.1%} of rows and of money whose rate can be known"
    shares = [found.get(key) for key in ("accuracy_rows", "accuracy_money")]
    if not all(isinstance(share, int | float) for share in shares):
        return Verdict(asked, f"not measured: {said.last}", False)
    counts = ", ".join(f"{found.get(key)} {key}" for key in ("rows", "exact", "within_5e-8", "unexplained"))
    figure = f"{counts}; {shares[0]:.4%} of rows, {shares[1]:.4%} of money"
    return Verdict(asked, figure, min(shares) >= FILLS_ASKED)


def _fills(said: Said) -> list[str]:
    found = said.result()
    counts = [(key, _cell(value)) for key, value in found.items() if not isinstance(value, dict | list)]
    return [
        "## 2 Recorded fills",
        "`python -m tests.fills ../shared/data/fills/*.parquet` recomputes the fee of every fill whose price, quantity "
        "and fee somebody recorded. *exact*: to the last digit booked; *within_5e-8*: off by at most that, or equal "
        "to it "
        "for some figures that may be shown as the row shows them (*by_display*); *rate_unknowable*: unexplained, and "
        "nobody can tell, because the row shows neither role nor rate. The accuracies leave those out. A *symbol "
        "rate* is "
        "one that the row itself or another fill of that symbol names: there price, quantity and rounding are held, "
        "not "
        "the schedule's knowledge of the rate.",
        table(["", ""], counts, numbers=(1,)) if counts else f"Not measured: {said.last}",
        *(part for key, value in found.items() if isinstance(value, dict) for part in _nested(key, value)),
        *(f"- {line}" for value in found.values() if isinstance(value, list) for line in value),
    ]


def _nested(key: str, value: dict[str, Any]) -> list[str]:
    rows = []
    for name, inner in value.items():
        if isinstance(inner, dict):
            rows += [(f"{name}: {reason}", _cell(count)) for reason, count in inner.items()]
        else:
            rows.append((name, _cell(inner)))
    return [table([key, ""], rows, numbers=(1,))] if rows else []


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _scenarios_verdict(said: Said) -> Verdict:
    found = said.result()
    asked = f"kernel against ledger, `{said.command}`"
    worst = found.get("worst_relative_difference")
    if not isinstance(worst, int | float):
        return Verdict(asked, f"not measured: {said.last}", False)
    figure = f"{found['n']:,} scenarios, {found['failed']} failed, largest relative difference {small(worst)}"
    return Verdict(asked, figure, said.code == 0 and not found["failed"] and worst <= TOLERANCE)


def _scenarios(said: list[Said]) -> list[str]:
    runs = [one.result() for one in said]
    kinds = sorted({kind for found in runs for kind in found.get("events", {})})
    rows = [
        (kind.replace("_", " "), *(_cell(found.get("events", {}).get(kind, 0)) for found in runs)) for kind in kinds
    ]
    commands = [f"`{one.command}`" for one in said]
    return [
        "## 3 Kernel against the Decimal ledger",
        "Random accounts of one to three contracts: adds, cuts, flips, both margin modes, linear and inverse, "
        "funding at "
        "the boundary, tier crossings and gaps through liquidation. The float64 kernel simulates, the `Decimal` ledger "
        "books the same, and every figure of it is compared; 1e-9 is asked for. What was compared:",
        table(["", *commands], rows, numbers=tuple(range(1, 1 + len(said)))) if rows else "Not measured.",
        *(f"- failed: {line}" for one in said for line in one.lines[:-1]),
    ]


def _booked_verdict(measured: Measured) -> Verdict:
    found = [booked for year in measured.years for booked in year.booked.values()]
    worst = max(booked.largest for booked in found)
    n_closes = sum(booked.n_closes for booked in found)
    figure = f"{n_closes:,} closes, largest difference per capital {small(worst)}"
    return Verdict("kernel against ledger, the complete year of section 5", figure, worst <= TOLERANCE)


def _booked(measured: Measured) -> list[str]:
    rows = [
        (
            year.symbol,
            margin,
            f"{booked.n_closes:,}",
            str(booked.n_fills),
            str(booked.n_settlements),
            str(booked.n_liquidations),
            small(booked.largest),
        )
        for year in measured.years
        for margin, booked in year.booked.items()
    ]
    head = ["contract", "margin", "closes", "fills", "settlements", "liquidations", "largest difference per capital"]
    return [
        "And on recorded prices: the complete year of section 5, booked again in the ledger from the same orders, "
        "rates and "
        "mark candles. Compared are equity at every close, and fees, funding and liquidation losses in total; the "
        "ledger "
        "liquidates on its own.",
        table(head, rows, numbers=(2, 3, 4, 5, 6)),
    ]


def _differences(measured: Measured) -> dict[tuple[str, str], float]:
    return {
        (symbol, marks): largest_difference(found)
        for symbol, by_marks in measured.resolutions.items()
        for marks, found in by_marks.items()
    }


def _resolution_verdict(measured: Measured) -> Verdict:
    worst = max(_differences(measured).values())
    asked = "funding and liquidations equal at 1 h, 15 m and 5 m"
    return Verdict(asked, f"largest relative difference {small(worst)}", worst <= TOLERANCE)


def _resolution(measured: Measured) -> list[str]:
    rows = [
        (
            symbol,
            marks,
            one.interval,
            str(len(one.result.fills)),
            str(len(one.result.funding)),
            f"{one.funding:.8f}",
            str(len(one.result.liquidations)),
            f"{one.liquidation_loss:.8f}",
        )
        for symbol, by_marks in measured.resolutions.items()
        for marks in MARKS
        for one in by_marks[marks]
    ]
    head = ["contract", "mark", "candles", "fills", "settlements", "funding paid", "liquidations", "lost by them"]
    return [
        "## 6 Resolution",
        f"The plan of section 4, decided hourly, traded on hourly, 15-minute and 5-minute candles of {HALF_YEAR} at "
        f"{LEVERAGE:g}x with {amount(CAPITAL)}. The fills are the same ones (time, quantity, price: else nothing is "
        "compared). Recorded mark candles are hourly; in shorter candles their extremes hold for the whole hour. With "
        "the last price as mark every candle has its own.",
        table(head, rows, numbers=(3, 4, 5, 6, 7)),
        f"{plural(sum(len(o.result.liquidations) for o in _hourly(measured)), 'liquidation')} on hourly candles, as "
        f"many "
        "and as dear on shorter ones.",
    ]


def _hourly(measured: Measured) -> list[Any]:
    return [one[0] for by_marks in measured.resolutions.values() for one in by_marks.values()]
