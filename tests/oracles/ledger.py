"""Ledger cases (NAME.in.json, NAME.out.json) and the published liquidation prices."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from bybit.rules.account import Account
from bybit.rules.candles import Category
from bybit.rules.fees import FeeRates, Liquidity
from bybit.rules.ledger import BarEvent, Contract, Event, FillEvent, FundingEvent, MarkEvent
from bybit.rules.liquidation import entry_based_liquidation_price, liquidation_price
from bybit.rules.margin import MaintenanceTier, initial_margin
from bybit.rules.positions import unrealized_pnl
from tests.oracles.case import Case, differences

_PUBLISHED = "matches_ledger_convention"


def recognises(path: Path, document: Any) -> bool:
    return path.name.endswith(".in.json") or _PUBLISHED in document


def cases(path: Path, document: dict[str, Any]) -> Iterator[Case]:
    if path.name.endswith(".in.json"):
        yield Case(str(path), lambda: _ledger(path, document))
        return
    published = document
    rate = Decimal(published["maintenance_rate"])
    for group, is_mark_based in ((_PUBLISHED, True), ("other_convention_not_ours", False)):
        for i, row in enumerate(published[group]["cases"]):
            yield Case(f"{path} {group}[{i}]", lambda row=row, mark=is_mark_based: _published(row, rate, mark))


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
    expected = json.loads(Path(str(path).removesuffix(".in.json") + ".out.json").read_text())
    actual = answer(question)
    lines = differences("final", expected["final"], actual["final"])
    lines += differences("totals", expected["totals"], actual["totals"])
    lines += differences("liquidations", expected["liquidations"], actual["liquidations"])
    if len(expected["log"]) != len(actual["log"]):
        return [*lines, f"log: expected {len(expected['log'])} rows, found {len(actual['log'])}"]
    for row, ours in zip(expected["log"], actual["log"], strict=True):
        lines += differences(f"log i={row.get('i')}", _comparable(row), _comparable(ours))
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
    )
    events = [_event(event) for event in question["events"]]
    account.replay(events)
    unrealized = _unrealized(account, {contract.symbol: contract.category for contract in contracts}, events)
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
            "equity": account.cash + unrealized,
            "unrealized": unrealized,
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


def _unrealized(account: Account, categories: dict[str, Category], events: list[Event]) -> Decimal:
    """Value what is held at its mark; the format also allows a position that never saw one: its last fill counts."""
    marked = {event.symbol for event in events if not isinstance(event, FillEvent)}
    if all(symbol in marked for symbol, position in account.positions.items() if position.size):
        return account.unrealized
    total = Decimal(0)
    for symbol, position in account.positions.items():
        prices = [event.price for event in events if event.symbol == symbol and isinstance(event, FillEvent)]
        if position.entry_price is not None:
            total += unrealized_pnl(categories[symbol], position.entry_price, position.size, prices[-1])
    return total
