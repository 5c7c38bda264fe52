import json
from pathlib import Path

import pytest

from tests.oracles import collect, failures
from tests.oracles.__main__ import main


def test_the_ledger_agrees_with_every_case_computed_elsewhere(shared: Path) -> None:
    cases = list(collect(shared / "oracles" / "ledger"))
    assert len(cases) == 26
    assert [line for case in cases for line in failures(case)] == []


def test_every_worked_example_of_the_venue_comes_out(shared: Path) -> None:
    cases = list(collect(shared / "reference" / "worked-examples.json"))
    assert len(cases) >= 27
    assert [line for case in cases for line in failures(case)] == []


def test_the_metrics_agree_with_every_case_computed_elsewhere(shared: Path) -> None:
    cases = list(collect(shared / "oracles" / "metrics"))
    assert len(cases) == 5
    assert [line for case in cases for line in failures(case)] == []


def write_example(path: Path, fee: str, kind: str = "trading_fee_linear") -> Path:
    example = {
        "id": "own",
        "kind": kind,
        "inputs": {"price": "100", "qty": "2", "fee_rate": "0.0005"},
        "expected": {"fee": fee},
        "rounding": "none",
        "doc_status": "matches",
    }
    path.write_text(json.dumps({"examples": [example]}))
    return path


def test_a_wrong_figure_fails_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(write_example(tmp_path / "a.json", "0.1"))]) == 0
    assert main([str(write_example(tmp_path / "b.json", "0.2"))]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 passed, 0 failed"
    assert "expected 0.2, found 0.1000" in lines[1]
    assert lines[-1] == "0 passed, 1 failed"


@pytest.mark.parametrize("text", ['{"surprise": 1}', "[]", "[1]", "5", "no json"])
def test_an_unknown_format_counts_as_failed(tmp_path: Path, text: str) -> None:
    (tmp_path / "case.json").write_text(text)
    assert main([str(tmp_path)]) == 1


def test_an_unknown_kind_counts_as_failed(tmp_path: Path) -> None:
    assert main([str(write_example(tmp_path / "a.json", "0.1", kind="option_fee"))]) == 1


def test_nothing_to_check_is_not_a_success(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1
    assert main([str(tmp_path / "nowhere")]) == 1
    assert main([]) == 2


def ledger_case(folder: Path, cash: str, mode: str = "isolated") -> Path:
    question = {
        "id": "own",
        "account": {"margin_mode": mode, "settle": "USDT", "initial_cash": "100"},
        "instruments": {
            "BTCUSDT": {
                "type": "linear",
                "leverage": "10",
                "risk_tiers": [{"max_notional": None, "mmr": "0.01", "deduction": "0"}],
            }
        },
        "fees": [{"from_ms": 0, "maker": "0", "taker": "0.001"}],
        "events": [
            {
                "t": 1735693200000,
                "type": "fill",
                "symbol": "BTCUSDT",
                "side": "buy",
                "qty": "100",
                "price": "100",
                "liquidity": "taker",
            }
        ],
    }
    answer = {
        "final": {"cash": cash, "equity": cash, "unrealized": "0", "positions": {}},
        "totals": {"fees": "0"},
        "liquidations": [],
        "log": [{"i": 0, "t": 1735693200000, "kind": "rejected", "symbol": "BTCUSDT", "cash": cash}],
    }
    (folder / "own.in.json").write_text(json.dumps(question))
    (folder / "own.out.json").write_text(json.dumps(answer))
    return folder


def test_a_ledger_case_is_compared_after_rounding_to_eight_decimals(tmp_path: Path) -> None:
    assert main([str(ledger_case(tmp_path, "100.000000004"))]) == 0
    assert main([str(ledger_case(tmp_path, "100.00000001"))]) == 1


def test_a_case_of_cross_margin_is_answered(tmp_path: Path) -> None:
    assert main([str(ledger_case(tmp_path, "100", mode="cross"))]) == 0


def test_a_case_of_portfolio_margin_fails_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(ledger_case(tmp_path, "100", mode="portfolio"))]) == 1
    assert "UnsupportedMarginMode" in capsys.readouterr().out


def test_an_expected_half_that_is_missing_fails(tmp_path: Path) -> None:
    (ledger_case(tmp_path, "100") / "own.out.json").unlink()
    assert main([str(tmp_path)]) == 1
