"""Own cases in the format of the ledger oracles, worked out by hand, for what the recorded ones do not touch."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.oracles.__main__ import main

HOUR = 3_600_000
T0 = 1735693200000
LADDER = [
    {"max_notional": "1000", "mmr": "0.005", "deduction": "0"},
    {"max_notional": None, "mmr": "0.01", "deduction": "5"},
]
FLAT = [{"max_notional": None, "mmr": "0.01", "deduction": "0"}]
NOTHING = {"qty": "0", "entry": None, "margin": "0", "liq_price": None}


def question(events: list[dict[str, Any]], *, mode="cross", cash="100", tiers=FLAT, symbols=("AAAUSDT",)) -> Any:
    numbered = [{"t": T0 + hours * HOUR, **event} for hours, event in events]
    return {
        "id": "own",
        "account": {"margin_mode": mode, "settle": "USDT", "initial_cash": cash},
        "instruments": {name: {"type": "linear", "leverage": "10", "risk_tiers": tiers} for name in symbols},
        "fees": [{"from_ms": 0, "maker": "0.0002", "taker": "0.001"}],
        "events": numbered,
    }


def fill(side: str, qty: str, price: str, symbol="AAAUSDT", liquidity="taker") -> dict[str, Any]:
    return {"type": "fill", "symbol": symbol, "side": side, "qty": qty, "price": price, "liquidity": liquidity}


def mark(price: str, symbol="AAAUSDT") -> dict[str, Any]:
    return {"type": "mark", "symbol": symbol, "price": price}


def run(folder: Path, asked: Any, answer: Any, *flags: str) -> int:
    (folder / "own.in.json").write_text(json.dumps(asked))
    (folder / "own.out.json").write_text(json.dumps(answer))
    return main([*flags, str(folder)])


# Two positions, both lost with the first: see the figures in test_account_cross.
TWO = question(
    [
        (0, fill("buy", "5", "100")),
        (0, fill("sell", "20", "10", "BBBUSDT", "maker")),
        (1, mark("9", "BBBUSDT")),
        (2, mark("78")),
        (3, mark("77")),
    ],
    symbols=("AAAUSDT", "BBBUSDT"),
)
HELD = {"AAAUSDT": NOTHING, "BBBUSDT": NOTHING}
BEFORE = [
    {
        "i": 0,
        "t": T0,
        "kind": "fill",
        "symbol": "AAAUSDT",
        "fee": "0.5",
        "realized": "0",
        "qty": "5",
        "entry": "100",
        "margin": "50",
        "liq_price": None,
        "cash": "99.5",
    },
    {
        "i": 1,
        "t": T0,
        "kind": "fill",
        "symbol": "BBBUSDT",
        "fee": "0.04",
        "realized": "0",
        "qty": "-20",
        "entry": "10",
        "margin": "20",
        "liq_price": None,
        "cash": "99.46",
    },
    # The first contract has had no mark yet: its last fill counts.
    {"i": 2, "t": T0 + HOUR, "kind": "mark", "symbol": "BBBUSDT", "equity": "119.46", "cash": "99.46"},
    {"i": 3, "t": T0 + 2 * HOUR, "kind": "mark", "symbol": "AAAUSDT", "equity": "9.46", "cash": "99.46"},
]
WHEN = {"i": 4, "t": T0 + 3 * HOUR, "kind": "liquidation"}


def answer(totals: dict[str, str], rows: list[dict[str, Any]], cash="3.895") -> dict[str, Any]:
    return {
        "final": {"cash": cash, "equity": cash, "unrealized": "0", "positions": HELD},
        "totals": {"funding": "0", **totals},
        "liquidations": [row for row in rows if row["kind"] == "liquidation"],
        "log": [*BEFORE, *rows],
    }


PER_POSITION = [
    {**WHEN, "symbol": "AAAUSDT", "trigger_mark": "77", "qty": "5", "loss": "115", "fee": "0.385"},
    {**WHEN, "symbol": "BBBUSDT", "trigger_mark": "9", "qty": "-20", "loss": "-20", "fee": "0.18", "cash": "3.895"},
]
WHOLE = [{**WHEN, "symbol": None, "loss": "95.565", "cash": "3.895"}]
MARKED = [{**WHEN, "kind": "mark", "symbol": "AAAUSDT", "equity": "3.895", "cash": "3.895"}]
# 100 of cash, fees of 0.54 to open and 0.565 to close, a result of -95.
SPLITS = [
    {"fees": "1.105", "realized": "0", "liquidation_loss": "95"},
    {"fees": "0.54", "realized": "0", "liquidation_loss": "95.565"},
    {"fees": "1.105", "realized": "-95", "liquidation_loss": "0"},
    {"fees": "0.54", "realized": "-95", "liquidation_loss": "0.565"},
]


@pytest.mark.parametrize("totals", SPLITS)
def test_a_cross_liquidation_passes_however_its_result_is_split(tmp_path: Path, totals: dict[str, str]) -> None:
    assert run(tmp_path, TWO, answer(totals, PER_POSITION)) == 0


@pytest.mark.parametrize(
    "rows",
    [
        PER_POSITION,
        WHOLE,
        [{**WHOLE[0], "symbol": "*"}],
        [{key: value for key, value in WHOLE[0].items() if key != "symbol"}],
        [*MARKED, *PER_POSITION],
        [*PER_POSITION, *MARKED],
    ],
)
def test_a_cross_liquidation_passes_however_its_rows_are_laid_out(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    assert run(tmp_path, TWO, answer(SPLITS[0], rows)) == 0


def wrong(change) -> dict[str, Any]:
    document = copy.deepcopy(answer(SPLITS[0], PER_POSITION))
    change(document)
    return document


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["final"].update(cash="3.9"),
        lambda d: d["final"].update(equity="3.9"),
        lambda d: d["totals"].update(liquidation_loss="95.00001"),
        lambda d: d["totals"].update(fees="1.10501"),
        lambda d: d["totals"].update(funding="0.1"),
        lambda d: d["totals"].update(fees="0.54"),
        lambda d: d["log"][4].update(loss="114"),
        lambda d: d["log"][4].update(fee="0.4"),
        lambda d: d["log"][4].update(trigger_mark="78"),
        lambda d: d["log"][4].update(qty="4"),
        lambda d: d["log"][4].update(t=T0),
        lambda d: d["log"][5].update(cash="3.8"),
        lambda d: d["log"][4].update(symbol="CCCUSDT"),
        lambda d: d["liquidations"][0].update(loss="1"),
        lambda d: d["liquidations"].clear(),
        lambda d: d["log"][3].update(equity="9.5"),
        lambda d: d["log"][0].update(margin="51"),
        lambda d: d["log"].pop(3),
        lambda d: d["log"][3].update(paid="1"),
        lambda d: d["final"]["positions"]["AAAUSDT"].update(qty="1"),
    ],
)
def test_a_wrong_figure_of_a_cross_liquidation_is_noticed(tmp_path: Path, change) -> None:
    assert run(tmp_path, TWO, wrong(change)) == 1


def test_what_the_conventions_leave_open_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = answer(SPLITS[3], PER_POSITION)
    document["liquidations"][0]["rank"] = 1
    document["log"][0]["liq_price"] = "90.9"
    assert run(tmp_path, TWO, document, "--explain") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 passed, 0 failed"
    explained = [line for line in lines if line.startswith("EXPLAINED")]
    assert len(explained) == 4
    assert any("also states rank" in line for line in explained)
    assert any("totals.fees: ours 1.105" in line and "theirs 0.54" in line for line in explained)


def test_cash_that_would_fall_below_zero_floors_there(tmp_path: Path) -> None:
    asked = question([(0, fill("buy", "5", "100")), (1, mark("70"))])
    # 99.5 - 150 - 0.35 = -50.85: the loss is what was there less the fee.
    row = {"i": 1, "t": T0 + HOUR, "kind": "liquidation", "symbol": "AAAUSDT", "cash": "0"}
    document = {
        "final": {"cash": "0", "equity": "0", "unrealized": "0", "positions": {"AAAUSDT": NOTHING}},
        "totals": {"fees": "0.85", "funding": "0", "realized": "0", "liquidation_loss": "99.15"},
        "liquidations": [{**row, "loss": "99.15"}],
        "log": [{**BEFORE[0]}, {**row, "loss": "99.15"}],
    }
    assert run(tmp_path, asked, document) == 0
    # Some write the loss at the marks and leave the rest to the fund.
    document["log"][1]["loss"] = document["liquidations"][0]["loss"] = "150"
    assert run(tmp_path, asked, document) == 0


def test_an_unrealized_loss_rejects_in_cross_and_not_in_isolated(tmp_path: Path) -> None:
    # 99.5 less 50 locked: 49.5. The loss of 30 leaves 19.5 in cross; the second fill needs 20.2.
    events = [(0, fill("buy", "5", "100")), (1, mark("94")), (2, fill("buy", "2", "100"))]
    for mode, rejected in (("cross", True), ("isolated", False)):
        cash = "99.5" if rejected else "99.3"
        held = ("5", "50") if rejected else ("7", "70")
        liq = None if rejected else str(100 * 0.9 / 0.99)
        position = {"qty": held[0], "entry": "100", "margin": held[1], "liq_price": liq}
        last = {"i": 2, "t": T0 + 2 * HOUR, "symbol": "AAAUSDT"}
        last |= (
            {"kind": "rejected", "cash": cash, "reason": "margin"}
            if rejected
            else {"kind": "fill", "fee": "0.2", "realized": "0", **position, "cash": cash}
        )
        loss = {"5": "-30", "7": "-42"}[held[0]]
        document = {
            "final": {
                "cash": cash,
                "equity": str(float(cash) + float(loss)),
                "unrealized": loss,
                "positions": {"AAAUSDT": position},
            },
            "totals": {"fees": "0.5" if rejected else "0.7", "funding": "0", "realized": "0", "liquidation_loss": "0"},
            "liquidations": [],
            "log": [
                {**BEFORE[0], "liq_price": liq},
                {"i": 1, "t": T0 + HOUR, "kind": "mark", "symbol": "AAAUSDT", "equity": "69.5", "cash": "99.5"},
                last,
            ],
        }
        document["log"][0]["liq_price"] = None if rejected else "90.909090909090909091"
        if not rejected:
            document["final"]["positions"]["AAAUSDT"]["liq_price"] = "90.909090909090909091"
            document["log"][2]["liq_price"] = "90.909090909090909091"
        assert run(tmp_path, question(events, mode=mode), document) == 0, mode


def test_at_one_instant_funding_comes_first_then_fills_then_prices(tmp_path: Path) -> None:
    # Given the wrong way round: the position of before pays, then it closes, and the ruinous mark finds nothing.
    events = [
        (0, fill("buy", "5", "100")),
        (8, mark("10")),
        (8, fill("sell", "5", "100")),
        (8, {"type": "funding", "symbol": "AAAUSDT", "rate": "0.01", "mark": "100"}),
    ]
    time = T0 + 8 * HOUR
    document = {
        "final": {"cash": "94", "equity": "94", "unrealized": "0", "positions": {"AAAUSDT": NOTHING}},
        "totals": {"fees": "1", "funding": "5", "realized": "0", "liquidation_loss": "0"},
        "liquidations": [],
        "log": [
            BEFORE[0],
            {"i": 3, "t": time, "kind": "funding", "symbol": "AAAUSDT", "paid": "5", "qty": "5", "cash": "94.5"},
            {
                "i": 2,
                "t": time,
                "kind": "fill",
                "symbol": "AAAUSDT",
                "fee": "0.5",
                "realized": "0",
                **NOTHING,
                "cash": "94",
            },
            {"i": 1, "t": time, "kind": "mark", "symbol": "AAAUSDT", "equity": "94", "cash": "94"},
        ],
    }
    assert run(tmp_path, question(events), document) == 0


def test_a_gap_through_two_tiers_costs_the_margin(tmp_path: Path) -> None:
    bar = {"type": "bar", "symbol": "AAAUSDT", "open": "130", "high": "131", "low": "129", "close": "130"}
    # A short of 12: value 1,200 in the second tier, margin 120; 1320 + 5 = 12.12 p at 109.3234...
    events = [(0, fill("sell", "12", "100")), (1, bar)]
    row = {
        "i": 1,
        "t": T0 + HOUR,
        "kind": "liquidation",
        "symbol": "AAAUSDT",
        "trigger_mark": "130",
        "liq_price": "109.323432343234323432",
        "bankruptcy_price": "110",
        "qty": "-12",
        "loss": "120",
        "gap": True,
        "cash": "878.8",
    }
    document = {
        "final": {"cash": "878.8", "equity": "878.8", "unrealized": "0", "positions": {"AAAUSDT": NOTHING}},
        "totals": {"fees": "1.2", "funding": "0", "realized": "0", "liquidation_loss": "120"},
        "liquidations": [row],
        "log": [
            {
                "i": 0,
                "t": T0,
                "kind": "fill",
                "symbol": "AAAUSDT",
                "fee": "1.2",
                "realized": "0",
                "qty": "-12",
                "entry": "100",
                "margin": "120",
                "liq_price": "109.323432343234323432",
                "cash": "998.8",
            },
            row,
        ],
    }
    assert run(tmp_path, question(events, mode="isolated", cash="1000", tiers=LADDER), document) == 0


def example(**changes) -> dict[str, Any]:
    return {
        "id": "own",
        "kind": "unrealised_pnl_inverse",
        "inputs": {"side": "Buy", "qty_usd": "1000", "entry_price": "5000", "price": "5500"},
        "expected": {"unrealised_pnl": "0.01819"},
        "recomputed": {"unrealised_pnl": "0.01818182"},
        "rounding": "8 decimals half-up",
        "doc_status": "document rounds early",
        "note": "The article prints 0.01819 because it rounds early.",
        **changes,
    }


def check(folder: Path, *examples: dict[str, Any]) -> int:
    (folder / "own.json").write_text(json.dumps({"examples": list(examples)}))
    return main(["--explain", str(folder / "own.json")])


def test_an_inconsistent_document_is_answered_with_our_figure_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(tmp_path, example()) == 0
    line, last = capsys.readouterr().out.splitlines()
    assert "unrealised_pnl ours 0.018181818182, the document's 0.01819 (document rounds early)" in line
    assert "we round once, at the end" in line
    assert last == "1 passed, 0 failed"


def test_a_document_that_should_match_is_held_to_its_own_figure(tmp_path: Path) -> None:
    assert check(tmp_path, example(doc_status="matches")) == 1
    assert check(tmp_path, example(recomputed={"unrealised_pnl": "0.01818183"})) == 1


def test_a_document_that_turns_the_sign_around_agrees_in_the_amount(tmp_path: Path) -> None:
    turned = example(
        expected={"unrealised_pnl": "-0.01818182"}, recomputed={}, doc_status="amount matches; sign convention differs"
    )
    assert check(tmp_path, turned) == 0
    assert check(tmp_path, {**turned, "doc_status": "derived"}) == 1


def test_a_plain_match_needs_no_explanation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path, example(expected={"unrealised_pnl": "0.01818182"}, doc_status="matches")) == 0
    assert capsys.readouterr().out.splitlines() == ["1 passed, 0 failed"]
