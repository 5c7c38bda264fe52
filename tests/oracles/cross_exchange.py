"""Two order books and their trades, with every figure of ``bybit.features.spreads``."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from bybit.features.spreads import (
    Book,
    Level,
    arbitrage,
    depth_ratio,
    deviation_pct,
    difference,
    difference_pct,
    fill_price,
    price_difference,
    vwap,
)
from tests.oracles.case import Case
from tests.oracles.floats import close


def recognises(path: Path, document: Any) -> bool:
    first = document[0] if isinstance(document, list) and document else None
    return isinstance(first, dict) and "book_a" in first.get("inputs", {})


def cases(path: Path, document: list[dict[str, Any]]) -> Iterator[Case]:
    for case in document:
        yield Case(
            f"{path} {case['id']}",
            lambda case=case: close(case["id"], case["expected"], _answer(case["inputs"])),
        )


def _answer(inputs: dict[str, Any]) -> dict[str, Any]:
    a, b = (_book(inputs[name]) for name in ("book_a", "book_b"))
    fees = {"a": Decimal(inputs["taker_fee_a"]), "b": Decimal(inputs["taker_fee_b"])}
    band = Decimal(inputs["band"])
    answer: dict[str, Any] = {
        "cross_spread_a_minus_b": price_difference(a, b),
        "pct_deviation_of_a_from_b": deviation_pct(a, b),
        "depth_ratio_a_over_b": depth_ratio(a, b, band),
        "arbitrage_buy_a_sell_b": _arbitrage(a, b, fees["a"], fees["b"]),
        "arbitrage_buy_b_sell_a": _arbitrage(b, a, fees["b"], fees["a"]),
    }
    for name, book in (("a", a), ("b", b)):
        depth = book.depth(band)
        answer |= {
            f"mid_{name}": book.mid,
            f"spread_{name}": book.spread,
            f"spread_bps_{name}": book.spread_bps,
            f"bid_depth_{name}": depth and depth.bid,
            f"ask_depth_{name}": depth and depth.ask,
            f"imbalance_{name}": depth and depth.imbalance,
            f"liquidity_score_{name}": book.liquidity_score(band),
        }
        if inputs.get("qty") is not None:
            for side, levels in (("asks", book.asks), ("bids", book.bids)):
                answer[f"fill_price_{side}_{name}_for_{inputs['qty']}"] = fill_price(levels, Decimal(inputs["qty"]))
    average = {name: vwap(_levels(inputs.get(f"trades_{name}") or [])) for name in ("a", "b")}
    return answer | {
        "vwap_a": average["a"],
        "vwap_b": average["b"],
        "vwap_difference": difference(average["a"], average["b"]),
        "vwap_difference_pct_of_b": difference_pct(average["a"], average["b"]),
    }


def _arbitrage(buy: Book, sell: Book, buy_fee_rate: Decimal, sell_fee_rate: Decimal) -> dict[str, Any] | None:
    ours = arbitrage(buy, sell, buy_fee_rate=buy_fee_rate, sell_fee_rate=sell_fee_rate)
    return ours and {
        "top_of_book_net_per_unit": ours.net_per_unit,
        "top_of_book_net_bps_of_buy_cost": ours.net_bps,
        "is_opportunity": ours.is_opportunity,
        "executable_qty": ours.qty,
        "net_profit": ours.net_profit,
        "gross_profit": ours.gross_profit,
    }


def _book(sides: dict[str, Any]) -> Book:
    return Book(bids=_levels(sides["bids"]), asks=_levels(sides["asks"]))


def _levels(rows: list[list[str]]) -> tuple[Level, ...]:
    return tuple((Decimal(price), Decimal(qty)) for price, qty in rows)
