"""What every way of writing down a liquidation in cross margin must say (conventions L14 and L16).

L14 fixes when and at which marks everything is closed, the fee, and the cash that is left. It does not say how the
result is spread over rows, nor whether it counts as realized or as liquidation loss and the fee as fee or as loss: L16
holds for each of these. So rows are compared event by event on what L14 fixes, and sums against the four splits.
"""

from decimal import Decimal
from itertools import groupby, product
from typing import Any

from tests.oracles.case import differences, is_same

Row = dict[str, Any]
_ZERO = Decimal(0)
_SPLIT = ("fees", "realized", "liquidation_loss")
# One row may call the mark price of the closing one of these.
_MARKS = ("trigger_mark", "mark", "price")
# What a row for the whole account may name instead of a contract.
_WHOLE_ACCOUNT = (None, "", "*", "all", "ALL", "account", "ACCOUNT")
_COMPARED = {"i", "t", "kind", "symbol", "qty", "loss", "fee", "cash", *_MARKS}


def is_liquidation(row: Row) -> bool:
    return "liquid" in str(row.get("kind"))


def by_event(rows: list[Row]) -> dict[Any, list[Row]]:
    """Return the rows of each event number, in the order of the log."""
    return {number: list(group) for number, group in groupby(rows, key=lambda row: row.get("i"))}


def liquidation_differences(where: str, expected: list[Row], ours: list[Row]) -> list[str]:
    """Compare the rows of one event that liquidated a cross account."""
    theirs, mine = ([row for row in rows if is_liquidation(row)] for rows in (expected, ours))
    if not theirs or not mine:
        return [f"{where}: expected {len(theirs)} rows of liquidation, found {len(mine)}"]
    lines = []
    for row in expected:
        lines += differences(f"{where}.t", row.get("t"), ours[0]["t"])
    cash = [row["cash"] for row in expected if "cash" in row]
    if cash:
        lines += differences(f"{where}.cash", cash[-1], ours[-1]["cash"])
    lines += [line for row in theirs if row.get("symbol") not in _WHOLE_ACCOUNT for line in _position(where, row, mine)]
    for key, answers in _sums(mine).items():
        stated = [Decimal(row[key]) for row in theirs if row.get(key) is not None]
        if stated and not any(is_same(str(sum(stated, _ZERO)), answer) for answer in answers):
            lines.append(f"{where}.{key}: expected {sum(stated, _ZERO)} in all, found {answers[0]}")
    return lines


def uncompared_keys(expected: list[Row]) -> list[str]:
    """Return what rows of liquidation say beyond the conventions."""
    return sorted({key for row in expected if is_liquidation(row) for key in row} - _COMPARED)


def _position(where: str, row: Row, mine: list[Row]) -> list[str]:
    found = next((ours for ours in mine if ours["symbol"] == row["symbol"]), None)
    if found is None:
        return [f"{where}: {row['symbol']} is liquidated there and not here"]
    lines = [
        line
        for key in _MARKS
        if row.get(key) is not None
        for line in differences(f"{where}.{row['symbol']}.{key}", row[key], found["trigger_mark"])
    ]
    if row.get("qty") is not None:
        size = str(abs(Decimal(row["qty"]))) if Decimal(row["qty"]) > 0 else row["qty"]
        same = is_same(size, found["qty"]) or is_same(size, abs(found["qty"]))
        lines += [] if same else [f"{where}.{row['symbol']}.qty: expected {row['qty']}, found {found['qty']}"]
    return lines


def _sums(mine: list[Row]) -> dict[str, list[Decimal]]:
    loss, fee = (sum((row[key] for row in mine), _ZERO) for key in ("loss", "fee"))
    paid = -sum((row["fund"] for row in mine), _ZERO)
    # With or without the fee, and before or after what the insurance fund bears.
    return {"loss": [loss, loss + fee, loss + paid, loss + fee + paid], "fee": [fee]}


def totals_differences(expected: Row, ours: Row, liquidations: list[Row]) -> list[str]:
    """Compare the sums of an account that was liquidated: funding exactly, the rest as one of the four splits."""
    lines = differences("totals", {key: expected[key] for key in expected if key not in _SPLIT}, ours)
    fee = sum((row["fee"] for row in liquidations), _ZERO)
    gained = -sum((row["loss"] - row["fund"] for row in liquidations), _ZERO)
    splits = []
    for fee_is_loss, result_is_realized in product((False, True), repeat=2):
        moved = (fee if fee_is_loss else _ZERO), (gained if result_is_realized else _ZERO)
        splits.append(
            {
                "fees": ours["fees"] - moved[0],
                "realized": ours["realized"] + moved[1],
                "liquidation_loss": ours["liquidation_loss"] + moved[0] + moved[1],
            }
        )
    stated = {key: expected[key] for key in _SPLIT if key in expected}
    found = [differences("totals", stated, split) for split in splits]
    return lines + (found[0] if all(found) else [])
