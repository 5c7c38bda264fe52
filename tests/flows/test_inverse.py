"""Inverse contracts from the tape to the report: amounts are in the coin that they settle in."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from bybit.sandbox import SandboxConfig
from tests.flows.conftest import InTurn, Perpflow
from tests.sandbox import running
from tests.tapes import ninety_days, write_inverse_tape

pytestmark = pytest.mark.slow

START = datetime(2025, 3, 1, tzinfo=UTC)
SPAN = ("--start", "2025-03-01", "--end", "2025-05-30")
INVERSE = ("--category", "inverse", "--json")


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inverse_tape(tmp_path_factory.mktemp("tape"), ["BTCUSD", "ETHUSD"], ninety_days(START))


def test_an_inverse_contract_is_ingested_checked_and_back_tested_in_its_coin(
    perpflow: Perpflow, perpflow_in_turn: InTurn, tape: Path, tmp_path: Path
) -> None:
    both = ("--symbols", "BTCUSD,ETHUSD")
    with running(SandboxConfig(tape=tape)) as url:
        fetch = ("ingest", *both, "--interval", "15m", *SPAN, "--price", "last,mark", "--funding", "--base-url", url)
        report = perpflow(*fetch, *INVERSE).json
    assert {series["series"] for series in report["series"]} >= {"inverse/BTCUSD/last/15m", "inverse/ETHUSD/funding"}
    assert (report["rows"], report["missing"]) == (2 * (2 * 90 * 96 + 90 * 3), {})

    ask = ("backtest", "--strategy", "trend", "--symbols", "BTCUSD")
    checked, made, shown, mixed, linear, spot = perpflow_in_turn(
        [
            ("quality", *both, *INVERSE),
            (*ask, *INVERSE),
            (*ask, "--category", "inverse", "--capital", "2"),
            ("backtest", "--strategy", "trend", *both, *INVERSE),
            (*ask, "--json"),
            (*ask, "--category", "spot"),
        ]
    )
    assert (checked.code, checked.json["passed"]) == (0, True)
    row = made.json
    assert (row["refused"], row["settle_coin"], row["initial_capital"]) == (None, "BTC", 1.0)
    assert row["provenance"]["category"] == "inverse"
    costs = row["costs"]
    fills, settled = (
        pd.read_parquet(tmp_path / "home" / "runs" / row["run_key"][:32] / f"{name}.parquet")
        for name in ("fills", "funding")
    )
    assert len(fills) > 10
    # Contracts are USD: a fee and a settlement are a fraction of USD / price, coin.
    taken = fills[fills["liquidity"] == "taker"]
    assert costs["taker_fees"] == pytest.approx((0.00055 * taken["qty"].abs() / taken["price"]).sum(), rel=1e-9)
    paid = (settled["size"] / settled["mark_price"] * settled["funding_rate"]).sum()
    assert costs["funding"] == pytest.approx(paid, rel=1e-9)
    assert row["metrics"]["net_return"] == pytest.approx(costs["net"], rel=1e-9)
    assert "fees, BTC" in shown.stdout
    assert "each period starts with 2.000000 BTC" in shown.stdout
    assert "BTC (costs: positive is paid)" in shown.stdout
    for wrong, words in (
        (mixed, "BTCUSD in BTC; ETHUSD in ETH"),
        (linear, "no 15m candles of BTCUSD are stored for that time"),
        (linear, "stored of linear contracts: none"),
        (spot, "use linear or inverse"),
    ):
        assert (wrong.code, words in wrong.stderr) == (2, True), wrong.stderr


def test_a_run_over_an_inverse_tape_reports_in_the_coin(perpflow: Perpflow, tape: Path) -> None:
    run = ("run", "--source", "sandbox", "--tape", str(tape), "--periods", "3", "--tiers", "vip0", *INVERSE)
    summary = perpflow(*run, "--symbols", "ETHUSD", "--strategies", "trend,breakout").json
    assert [row["refused"] for row in summary["results"]] == [None] * 6
    assert (summary["category"], summary["settle_coin"]) == ("inverse", "ETH")
    assert any("risk ladder of BTCUSD stands in for ETHUSD" in text for text in summary["source"]["assumptions"])
    page = Path(summary["report"]).read_text()
    assert "fresh capital of 1.000000 ETH" in page
    assert "Fees and funding in ETH" in page
    assert "USDT" not in page
