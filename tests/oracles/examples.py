"""Worked examples of the venue's documents (``worked-examples.json``): one function per kind."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from bybit.rules.candles import Category, Interval
from bybit.rules.collateral import borrow_interest, collateral_value
from bybit.rules.fees import FeeRates, Liquidity
from bybit.rules.funding import funding_payment, funding_rate_from_premium, interest_rate
from bybit.rules.liquidation import (
    bankruptcy_price,
    cross_inverse_prices_2020,
    effective_extra_margin,
    entry_based_liquidation_price,
    liquidation_price,
    round_to_tick_against_holder,
)
from bybit.rules.margin import (
    MaintenanceTier,
    initial_margin,
    maintenance_margin,
    max_leverage_from_rate,
    mm_deductions,
    order_cost,
)
from bybit.rules.positions import average_entry_price, break_even_price, closed_pnl, notional, unrealized_pnl
from tests.oracles.case import Case, agrees_as_printed

Inputs = dict[str, Any]
Answer = dict[str, Any]


def recognises(path: Path, document: Any) -> bool:
    return "examples" in document


def cases(path: Path, document: dict[str, Any]) -> Iterator[Case]:
    for example in document["examples"]:
        yield Case(
            f"{path} {example['id']}",
            lambda example=example: _check(example),
            lambda example=example: _explain(example),
        )


def _check(example: Inputs) -> list[str]:
    solve = KINDS.get(example["kind"])
    if solve is None:
        return [f"no rule of ours answers kind {example['kind']!r}"]
    actual = solve(example["inputs"])
    lines = []
    for key, printed in example["expected"].items():
        # A document flagged as inconsistent is answered with what its inputs give.
        accepted = [printed] if _is_plain(example) else [printed, example.get("recomputed", {}).get(key, printed)]
        if key not in actual:
            lines.append(f"we have no {key!r}")
        elif not any(_agrees(example, text, actual[key]) for text in accepted):
            lines.append(f"{key}: expected {' or '.join(map(str, accepted))}, found {actual[key]}")
    return lines


def _is_plain(example: Inputs) -> bool:
    return str(example["doc_status"]) == "matches"


def _agrees(example: Inputs, printed: Any, actual: Any) -> bool:
    if isinstance(printed, list):
        return [str(item) for item in actual] == printed
    if not isinstance(actual, Decimal):
        return bool(printed == actual)
    status = f"{example['rounding']} {example['doc_status']}"
    if agrees_as_printed(printed, actual, truncated="trunc" in status):
        return True
    return "sign" in example["doc_status"] and agrees_as_printed(printed, -actual, truncated="trunc" in status)


# Why our figure stands, by what the reference says of the document.
_REASONS = {
    "sign convention": "the amount is the same; ours is positive when it enters the wallet, as in the transaction log",
    "rounds early": "we round once, at the end, the document before it multiplies",
    "truncates": "the document cuts decimals off, we round",
    "tax": "the fee follows from price, quantity and rate, the tax line from none of them; taxes are not modelled",
    "margins do not": "the figure follows from the inputs by the formula of the time, the margins beside it do not",
    "wording": "we follow the formula and the recorded replies, the sentence around them says something else",
    "recorded parameters": "the document prints no result; ours is its formula on recorded parameters",
    "documented parameters": "the document prints no result; ours is its formula on its own parameters",
    "documented formula": "the document prints no result; ours is its formula on chosen numbers",
    "derived": "no document prints formula or result; ours follows from the documented definitions by algebra",
    "result computed": "the document's result could not be read; ours is computed from the inputs that could",
}


def _explain(example: Inputs) -> list[str]:
    """Say, for an example that is no plain match, our figure, the document's and the reason."""
    if _is_plain(example):
        return []
    actual = KINDS[example["kind"]](example["inputs"])
    status, note = str(example["doc_status"]), str(example["note"]).strip()
    reason = next((text for word, text in _REASONS.items() if word in status), "the reference flags the document")
    stated = _STATED.search(note) if "rounds early" in status else None
    figures = []
    for key, printed in example["expected"].items():
        document = stated["figure"] if stated else "none" if _prints_nothing(status) else str(printed)
        figures.append(f"{key} ours {_shown(actual.get(key), printed)}, the document's {document}")
    return [f"{'; '.join(figures)} ({status}): {reason}. {note}".strip()]


_STATED = re.compile(r"(?:prints?|printed|shows?|gives?|states?|says) (?P<figure>-?[0-9][0-9,]*(?:\.[0-9]+)?)")


def _prints_nothing(status: str) -> bool:
    return status.startswith(("computed", "derived", "inputs read"))


def _shown(ours: Any, printed: Any) -> str:
    """Return our figure with at least 8 decimals, so that a document's rounding can be seen."""
    if not isinstance(ours, Decimal):
        return str(ours)
    text = f"{ours:.12f}".rstrip("0")
    return text.rstrip(".") if len(text) < len(str(printed)) + 12 else str(ours)


def _number(inputs: Inputs, *names: str) -> Decimal:
    """Return the first of ``names`` that is given."""
    given = [name for name in names if name in inputs]
    return Decimal(inputs[given[0]])


def _size(inputs: Inputs) -> Decimal:
    """Return the size, signed by the side when there is one."""
    size = _number(inputs, "size", "qty", "size_usd", "qty_usd")
    return -size if inputs.get("side") == "Sell" else size


def _terms(inputs: Inputs) -> list[MaintenanceTier]:
    return [MaintenanceTier(None, Decimal(inputs["mmr"]), Decimal(inputs.get("mm_deduction") or 0))]


def _position(inputs: Inputs, category: Category) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Return entry, size, leverage and initial margin."""
    entry, leverage = Decimal(inputs["entry_price"]), Decimal(inputs["leverage"])
    # A bankruptcy price does not depend on the size, so that examples may leave it out.
    size = _size({"size": "1", **inputs} if not {"qty", "size_usd", "qty_usd"} & inputs.keys() else inputs)
    return entry, size, leverage, initial_margin(notional(category, size, entry), leverage)


def _entry_based(inputs: Inputs, category: Category) -> Answer:
    entry, size, leverage, margin = _position(inputs, category)
    extra = Decimal(inputs.get("extra_margin", "0"))
    return {
        "initial_margin": margin,
        "maintenance_margin": maintenance_margin(notional(category, size, entry), _terms(inputs)),
        "liq_price": entry_based_liquidation_price(category, entry, size, leverage, _terms(inputs), extra),
    }


def _mark_based(inputs: Inputs, category: Category) -> Answer:
    entry, size, _, margin = _position(inputs, category)
    extra = Decimal(inputs.get("extra_margin", "0"))
    effective = effective_extra_margin(category, size, extra, Decimal(inputs["taker_fee"]))
    return {"liq_price": liquidation_price(category, entry, size, margin + effective, _terms(inputs))}


def _cross_inverse_2020(inputs: Inputs) -> Answer:
    size = _size(inputs)
    free = Decimal(inputs["account_balance"]) - Decimal(inputs["order_margin"])
    rates = Decimal(inputs["mmr"]), Decimal(inputs["taker_fee"])
    bankruptcy, price = cross_inverse_prices_2020(Decimal(inputs["entry_price"]), size, free, *rates)
    tick = Decimal(inputs["tick_size"])
    return {"bankruptcy_price": bankruptcy, "liq_price": round_to_tick_against_holder(price, size, tick)}


def _bankruptcy(inputs: Inputs, category: Category) -> Answer:
    entry, size, _, margin = _position(inputs, category)
    raw = bankruptcy_price(category, entry, size, margin + Decimal(inputs.get("extra_margin", "0")))
    if raw is None or "tick_size" not in inputs:
        return {"bankruptcy_price_raw": raw, "bankruptcy_price": raw}
    tick = Decimal(inputs["tick_size"])
    return {"bankruptcy_price_raw": raw, "bankruptcy_price": round_to_tick_against_holder(raw, size, tick)}


def _order_cost(inputs: Inputs, category: Category) -> Answer:
    cost = order_cost(
        category, Decimal(inputs["price"]), _size(inputs), Decimal(inputs["leverage"]), Decimal(inputs["taker_fee"])
    )
    return {
        "initial_margin": cost.initial_margin,
        "fee_to_open": cost.fee_to_open,
        "fee_to_close": cost.fee_to_close,
        "order_cost": cost.total,
    }


def _initial_margin(inputs: Inputs, category: Category) -> Answer:
    value = notional(category, _size(inputs), _number(inputs, "price", "entry_price"))
    return {"initial_margin": initial_margin(value, Decimal(inputs["leverage"]))}


def _trading_fee(inputs: Inputs, category: Category) -> Answer:
    value = notional(category, _size(inputs), Decimal(inputs["price"]))
    rate = Decimal(inputs["fee_rate"])
    return {"value": value, "fee": FeeRates(maker=rate, taker=rate).fee(value, Liquidity.TAKER)}


def _funding_fee(inputs: Inputs, category: Category) -> Answer:
    payment = funding_payment(_size(inputs), Decimal(inputs["mark_price"]), Decimal(inputs["funding_rate"]), category)
    answer = {"funding": payment, "change": payment}
    if "cash_balance_before" in inputs:
        answer["cash_balance"] = Decimal(inputs["cash_balance_before"]) + payment
    return answer


def _funding_record(inputs: Inputs, category: Category) -> Answer:
    size, mark, rate = _size(inputs), Decimal(inputs["mark_price"]), Decimal(inputs["funding_rate"])
    return {
        "exec_value": notional(category, size, mark),
        # The fills list turns the wallet's sign around: positive is paid.
        "exec_fee": -funding_payment(size, mark, rate, category),
        "record_fee_rate": rate if size > 0 else -rate,
    }


def _interest(inputs: Inputs) -> Answer:
    hours = timedelta(hours=float(inputs["interval_hours"]))
    rate = interest_rate(hours, Decimal(inputs["interest_quote_daily"]), Decimal(inputs["interest_base_daily"]))
    return {"interest_rate": rate}


def _clamp(inputs: Inputs) -> Answer:
    names = ("avg_premium_index", "interest_rate", "lower_limit", "upper_limit")
    return {"funding_rate": funding_rate_from_premium(*(Decimal(inputs[name]) for name in names))}


def _maintenance(inputs: Inputs) -> Answer:
    return {"maintenance_margin": maintenance_margin(Decimal(inputs["position_value"]), _terms(inputs))}


def _deductions(inputs: Inputs) -> Answer:
    tiers = inputs["tiers"]
    bounds = [Decimal(tier["upper"]) if tier["upper"] else None for tier in tiers]
    amounts = mm_deductions(bounds, [Decimal(tier["mmr"]) for tier in tiers])
    return {"mm_deductions": [format(amount.normalize(), "f") for amount in amounts]}


def _closed_pnl(inputs: Inputs, category: Category) -> Answer:
    closed = closed_pnl(
        category,
        Decimal(inputs["entry_price"]),
        Decimal(inputs["exit_price"]),
        _size(inputs),
        _number(inputs, "open_fee_rate", "fee_rate"),
        _number(inputs, "close_fee_rate", "fee_rate"),
        Decimal(inputs.get("funding_paid", "0")),
    )
    return {
        "gross_pnl": closed.gross_pnl,
        "open_fee": closed.open_fee,
        "close_fee": closed.close_fee,
        "closed_pnl": closed.net,
    }


def _average_entry(inputs: Inputs, category: Category) -> Answer:
    fills = [(abs(_size(fill)), Decimal(fill["price"])) for fill in inputs["fills"]]
    return {"avg_entry_price": average_entry_price(category, fills, round_values_up=True)}


def _unrealised(inputs: Inputs, category: Category) -> Answer:
    price = _number(inputs, "mark_price", "price")
    return {"unrealised_pnl": unrealized_pnl(category, Decimal(inputs["entry_price"]), _size(inputs), price)}


def _max_leverage(inputs: Inputs) -> Answer:
    return {"max_leverage": max_leverage_from_rate(Decimal(inputs["initial_margin_rate"]))}


def _collateral(inputs: Inputs) -> Answer:
    tiers = [(Decimal(tier["upper"]) if tier["upper"] else None, Decimal(tier["ratio"])) for tier in inputs["tiers"]]
    return {"collateral_usd": collateral_value(Decimal(inputs["qty"]), Decimal(inputs["usd_index"]), tiers)}


def _borrow_interest(inputs: Inputs) -> Answer:
    principal, rate = Decimal(inputs["principal"]), Decimal(inputs["daily_rate"])
    return {"interest": borrow_interest(principal, rate, int(inputs["hours_started"]))}


def _break_even(inputs: Inputs) -> Answer:
    names = ("entry_price", "qty", "realised_pnl", "taker_fee")
    return {"break_even_price": break_even_price(*(Decimal(inputs[name]) for name in names))}


def _kline_window(inputs: Inputs) -> Answer:
    # The venue's end is inclusive, ours is not.
    times = Interval.parse(inputs["interval"]).open_times(int(inputs["start"]), int(inputs["end"]) + 1)
    return {"starts_newest_first": [str(time) for time in reversed(times.tolist())]}


def _by_category(kind: str, solve: Callable[[Inputs, Category], Answer]) -> dict[str, Callable[[Inputs], Answer]]:
    categories = {"linear": Category.LINEAR, "inverse": Category.INVERSE}
    return {
        kind.replace("*", name): lambda inputs, category=category: solve(inputs, category)
        for name, category in categories.items()
    }


KINDS: dict[str, Callable[[Inputs], Answer]] = {
    **_by_category("liquidation_price_isolated_*_entry_based", _entry_based),
    **_by_category("liquidation_price_isolated_*_mark_based", _mark_based),
    "liquidation_price_cross_inverse_2020": _cross_inverse_2020,
    **_by_category("bankruptcy_price_isolated_*", _bankruptcy),
    **_by_category("order_cost_*", _order_cost),
    **_by_category("initial_margin_*", _initial_margin),
    **_by_category("trading_fee_*", _trading_fee),
    **_by_category("funding_fee_*", _funding_fee),
    **_by_category("funding_fee_*_execution_record", _funding_record),
    "funding_interest_rate": _interest,
    "funding_rate_clamp": _clamp,
    "maintenance_margin_tiered": _maintenance,
    "mm_deduction_recurrence": _deductions,
    **_by_category("closed_pnl_*", _closed_pnl),
    **_by_category("closed_pnl_*_with_funding", _closed_pnl),
    **_by_category("average_entry_price_*", _average_entry),
    **_by_category("unrealised_pnl_*", _unrealised),
    "max_leverage_from_imr": _max_leverage,
    "collateral_value_tiered": _collateral,
    "spot_margin_interest": _borrow_interest,
    "break_even_price": _break_even,
    "kline_pagination": _kline_window,
}
