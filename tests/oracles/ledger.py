"""Ledger cases (NAME.in.json, NAME.out.json) and the published liquidation prices."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from bybit.rules.account import Account
from bybit.rules.candles import Category
from bybit.rules.fees import FeeRates, Liquidity
from bybit.rules.ledger import BarEvent, Contract, Event, FillEvent, FundingEvent, MarkEvent, Unmarked
from bybit.rules.liquidation import entry_based_liquidation_price, liquidation_price
from bybit.rules.margin import MaintenanceTier, initial_margin
from tests.oracles import cross
from tests.oracles.case import Case, differences, is_same

_PUBLISHED = "matches_ledger_convention"
# Every figure that the conventions define is written under one of these names.
_NAMED = {
    *("i", "t", "kind", "symbol", "fee", "realized", "qty", "entry", "margin", "cash", "equity", "paid", "loss", "gap"),
    *("final", "totals", "unrealized", "positions", "fees", "funding", "liquidation_loss", "trigger_mark"),
}


def recognises(path: Path, document: Any) -> bool:
    return path.name.endswith(".in.json") or _PUBLISHED in document


def cases(path: Path, document: dict[str, Any]) -> Iterator[Case]:
    if path.name.endswith(".in.json"):
        yield Case(str(path), lambda: _ledger(path, document), lambda: _open_questions(path, document))
        return
    published = document
    rate = Decimal(published["maintenance_rate"])
    for group, is_mark_based in ((_PUBLISHED, True), ("other_convention_not_ours", False)):
        for i, row in enumerate(published[group]["cases"]):
            yield Case(
                f"{path} {group}[{i}]",
                lambda row=row, mark=is_mark_based: _published(row, rate, mark),
                lambda row=row, mark=is_mark_based: [] if mark else [_other_convention(row, rate)],
            )


def _other_convention(row: dict[str, Any], rate: Decimal) -> str:
    """Say what today's rule gives where a project follows the one before 2025-09-02."""
    entry, leverage = Decimal(str(row["entry"])), Decimal(str(row["leverage"]))
    size = Decimal(str(row["qty"])) * (1 if row["side"] == "long" else -1)
    margin = initial_margin(abs(size) * entry, leverage)
    price = liquidation_price(Category.LINEAR, entry, size, margin, [MaintenanceTier(None, rate, Decimal(0))])
    shown = "none" if price is None else f"{price:.8f}"
    return (
        f"ours {shown}, theirs {row['expected']}: they reckon maintenance on the entry value, as the venue did before "
        "2025-09-02; since then it follows the mark price. Asked for the old rule we give their figure"
    )


def _published(row: dict[str, Any], rate: Decimal, is_mark_based: bool) -> list[str]:
    entry, leverage = Decimal(str(row["entry"])), Decimal(str(row["leverage"]))
    size = Decimal(str(row["qty"])) * (1 if row["side"] == "long" else -1)
    # The rows that are not the ledger's convention are the rule in force before 2025-09-02, without a deduction.
    if is_mark_based:
        margin = initial_margin(abs(size) * entry, leverage)
        price = liquidation_price(Category.LINEAR, entry, size, margin, [MaintenanceTier(None, rate, Decimal("0.01"))])
        tolerance = 1e-9
    else:
        tiers = [MaintenanceTier(None, rate, Decimal(0))]
        price = entry_based_liquidation_price(Category.LINEAR, entry, size, leverage, tiers)
        tolerance = 1e-6
    if price is None or abs(float(price) - row["expected"]) > tolerance * max(1, row["expected"]):
        return [f"expected {row['expected']}, found {price}"]
    return []


def _ledger(path: Path, question: dict[str, Any]) -> list[str]:
    expected, actual = _expected(path), answer(question)
    if question["account"]["margin_mode"] == "cross":
        return _cross_differences(expected, actual)
    lines = differences("final", expected["final"], actual["final"])
    lines += differences("totals", expected["totals"], actual["totals"])
    lines += differences("liquidations", expected["liquidations"], actual["liquidations"])
    if len(expected["log"]) != len(actual["log"]):
        return [*lines, f"log: expected {len(expected['log'])} rows, found {len(actual['log'])}"]
    for row, ours in zip(expected["log"], actual["log"], strict=True):
        lines += differences(f"log i={row.get('i')}", _comparable(row), _comparable(ours))
    return lines


def _expected(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Path(str(path).removesuffix(".in.json") + ".out.json").read_text())
    return document


def _cross_differences(expected: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """Compare strictly what the conventions fix: they say nothing of a cross position's own liquidation price."""
    lost = actual["liquidations"]
    lines = differences("final", _known(expected["final"], actual["final"]), actual["final"])
    totals = _known(expected["totals"], actual["totals"])
    if lost:
        lines += cross.totals_differences(totals, actual["totals"], lost)
    else:
        lines += differences("totals", totals, actual["totals"])
    for name in ("liquidations", "log"):
        theirs, ours = cross.by_event(expected[name]), cross.by_event(actual[name])
        if list(theirs) != list(ours):
            lines.append(f"{name}: expected events {list(theirs)}, found {list(ours)}")
            continue
        for number, rows in theirs.items():
            where = f"{name} i={number}"
            if any(map(cross.is_liquidation, [*rows, *ours[number]])):
                lines += cross.liquidation_differences(where, rows, ours[number])
                continue
            if len(rows) != len(ours[number]):
                lines.append(f"{where}: expected {len(rows)} rows, found {len(ours[number])}")
            for row, mine in zip(rows, ours[number], strict=False):
                lines += differences(where, _comparable(_known(row, mine)), _comparable(mine))
    return lines


def _known(theirs: Any, ours: Any) -> Any:
    """Leave out of a cross case what no convention gives: a position's own liquidation price, figures of other names.

    What the conventions name must be there: every key of the isolated cases, which are compared whole.
    """
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return theirs
    left_open = {"liq_price"} | (theirs.keys() - ours.keys() - _NAMED)
    return {key: _known(item, ours.get(key)) for key, item in theirs.items() if key not in left_open}


def _open_questions(path: Path, question: dict[str, Any]) -> list[str]:
    """Say what a cross case states beyond the conventions, and what we state there."""
    if question["account"]["margin_mode"] != "cross":
        return []
    expected, actual = _expected(path), answer(question)
    lines = []
    for symbol, position in expected["final"]["positions"].items():
        if position.get("liq_price") is not None:
            lines.append(
                f"{symbol} liq_price: ours none, theirs {position['liq_price']}: a cross account is lost as a whole, "
                "no convention gives one of its positions a price of its own"
            )
    ours = {row["i"]: row for row in actual["log"]}
    pairs = [(expected["totals"], actual["totals"]), (expected["final"], actual["final"])]
    pairs += [(row, ours[row["i"]]) for row in expected["log"] if row.get("i") in ours]
    unknown = {key for theirs, mine in pairs for key in theirs.keys() - mine.keys() - _NAMED}
    unknown |= set(cross.uncompared_keys(expected["liquidations"]))
    if unknown:
        names = ", ".join(sorted(unknown))
        lines.append(f"also states {names}: no convention says what these are in cross margin, not compared")
    if actual["liquidations"]:
        lines += [
            f"totals.{key}: ours {actual['totals'][key]}, theirs {text}: L16 holds for both, no convention says "
            "whether a cross liquidation's result and fee are realized, fee or loss"
            for key, text in expected["totals"].items()
            if not is_same(text, actual["totals"][key])
        ]
    return lines


def _comparable(row: dict[str, Any]) -> dict[str, Any]:
    """Reduce a rejection to what every way of writing one down must say."""
    if "reject" not in str(row.get("kind")) and not row.get("rejected"):
        return row
    return {"rejected": True, **{key: row[key] for key in ("i", "t", "symbol", "cash") if key in row}}


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Return our out-document, numbers as ``Decimal``, for an in-document of the ledger format."""
    contracts = [_contract(symbol, terms) for symbol, terms in question["instruments"].items()]
    account = Account(
        Decimal(question["account"]["initial_cash"]),
        contracts=contracts,
        fees=[(step["from_ms"], FeeRates(Decimal(step["maker"]), Decimal(step["taker"]))) for step in question["fees"]],
        margin_mode=question["account"]["margin_mode"],
        # The format also allows a position that never saw a mark: its last fill counts.
        unmarked=Unmarked.LAST_FILL,
    )
    account.replay([_event(event) for event in question["events"]])
    positions = {
        symbol: {
            "qty": position.size,
            "entry": position.entry_price,
            "margin": position.margin,
            "liq_price": position.liquidation_price,
        }
        for symbol, position in account.positions.items()
    }
    totals = account.totals
    return {
        "final": {
            "cash": account.cash,
            "equity": account.equity,
            "unrealized": account.unrealized,
            "positions": positions,
        },
        "totals": {
            "fees": totals.fees,
            "funding": totals.funding,
            "realized": totals.realized,
            "liquidation_loss": totals.liquidation_loss,
        },
        "liquidations": account.liquidations,
        "log": account.log,
    }


def _contract(symbol: str, terms: dict[str, Any]) -> Contract:
    tiers = [
        MaintenanceTier(
            None if tier["max_notional"] is None else Decimal(tier["max_notional"]),
            Decimal(tier["mmr"]),
            Decimal(tier["deduction"]),
        )
        for tier in terms["risk_tiers"]
    ]
    return Contract(symbol, Category(terms["type"]), Decimal(terms["leverage"]), tiers)


def _event(event: dict[str, Any]) -> Event:
    time_ms, symbol = event["t"], event["symbol"]
    number = {
        key: Decimal(text) for key, text in event.items() if key not in ("t", "type", "symbol", "side", "liquidity")
    }
    match event["type"]:
        case "fill":
            qty = number["qty"] if event["side"] == "buy" else -number["qty"]
            return FillEvent(time_ms, symbol, qty, number["price"], Liquidity(event["liquidity"]))
        case "funding":
            return FundingEvent(time_ms, symbol, number["rate"], number["mark"])
        case "bar":
            return BarEvent(time_ms, symbol, number["open"], number["high"], number["low"], number["close"])
        case "mark":
            return MarkEvent(time_ms, symbol, number["price"])
    raise KeyError(f"event type {event['type']!r}")
