"""One step each: ingest, quality, back-test, graduation, by hand and without a Prefect server."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bybit.rules.periods import utc
from bybit.sandbox import SandboxConfig
from bybit.sandbox.config import DEFAULT_KEY, DEFAULT_SECRET
from bybit.sandbox.market import Gap
from tests.flows.conftest import InTurn, Perpflow
from tests.sandbox import running
from tests.tapes import ninety_days, write_tape

pytestmark = pytest.mark.slow

START = datetime(2025, 3, 1, tzinfo=UTC)
SPAN = ("--start", "2025-03-01", "--end", "2025-05-30")


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tape(tmp_path_factory.mktemp("tape"), ["BTCUSDT"], ninety_days(START))


def test_ingest_then_quality_then_back_test_then_the_same_again(perpflow: Perpflow, tape: Path) -> None:
    with running(SandboxConfig(tape=tape)) as url:
        fetch = ("ingest", "--symbols", "BTCUSDT", "--interval", "15m", *SPAN, "--price", "last,mark", "--funding")
        first = perpflow(*fetch, "--base-url", url, "--json").json
        assert first["rows"] == 2 * 90 * 96 + 90 * 3
        assert first["missing"] == {}
        assert {report["rows_written"] for report in first["series"]} == {90 * 96, 90 * 3}
        keys = {"BYBIT_API_KEY": DEFAULT_KEY, "BYBIT_API_SECRET": DEFAULT_SECRET}
        again = perpflow(*fetch, "--fee-rates", "--base-url", url, "--json", **keys).json
        assert {report["rows_written"] for report in again["series"]} == {0}
    checked = perpflow("quality", "--symbols", "BTCUSDT", "--interval", "15m", "--json")
    assert (checked.code, checked.json["passed"]) == (0, True)
    ask = ("backtest", "--strategy", "trend", "--symbols", "BTCUSDT", "--interval", "15m", "--json")
    row = perpflow(*ask).json
    assert row["refused"] is None
    assert row["metrics"]["n_trades"] > 0
    assert perpflow(*ask).json == row
    own = perpflow(*ask, "--tier", "account").json
    assert own["costs"] == row["costs"]
    assert own["assumptions"]["fees_before_the_account_told_its_own"].startswith("vip0 before")
    assert perpflow("backtest", "--reproduce", row["run_key"][:12], "--json").json["same"] is True


def test_a_hole_blocks_until_it_is_allowed_by_name_and_then_it_is_counted(perpflow: Perpflow, tape: Path) -> None:
    hole = Gap(ninety_days(utc(1_741_000_000_000)).split(90)[0])
    with running(SandboxConfig(tape=tape, gaps=(hole,))) as url:
        fetch = ("ingest", "--symbols", "BTCUSDT", "--interval", "15m", *SPAN, "--price", "last,mark", "--funding")
        report = perpflow(*fetch, "--base-url", url, "--json").json
    assert [series["n_holes"] for series in report["series"]] == [1, 1, 0]
    refused = perpflow("quality", "--symbols", "BTCUSDT", "--interval", "15m", "--json")
    assert refused.code == 1
    failed = [c["name"] for r in refused.json["reports"] for c in r["checks"] if not c["passed"]]
    assert "no_empty_holes" in failed
    assert perpflow("quality", "--symbols", "BTCUSDT", "--interval", "15m", "--allow-gaps").code == 0
    ask = ("backtest", "--strategy", "trend", "--symbols", "BTCUSDT", "--interval", "15m", "--json")
    blocked = perpflow(*ask)
    assert blocked.code == 2
    assert "its data was refused" in blocked.stderr
    matrix = perpflow("matrix", "--symbols", "BTCUSDT", "--periods", "3", "--tiers", "vip0", "--json")
    assert (matrix.code, matrix.json["results"]) == (1, [])
    assert "BTCUSDT is left out, its data was refused" in matrix.json["remarks"][0]
    assert perpflow("graduation", "evaluate").code == 2
    allowed = perpflow(*ask, "--allow-gaps", "--mark", "last").json
    assert allowed["refused"] is None
    assert allowed["assumptions"]["absent_candles_in_allowed_gaps"] == 96


def test_wrong_use_is_told_apart_from_failure(perpflow_in_turn: InTurn) -> None:
    wrong = (
        (("backtest", "--strategy", "martingale", "--symbols", "BTCUSDT"), "no strategy is called martingale"),
        (("backtest", "--strategy", "trend", "--symbols", "BTCUSDT"), "no 15m candles of BTCUSDT"),
        (("ingest", "--symbols", "", "--start", "2025-01-01", "--end", "2025-02-01"), "no symbol is named"),
        (
            ("ingest", "--symbols", "BTCUSDT", "--price", "foo", "--start", "2025-01-01", "--end", "2025-02-01"),
            "price 'foo' is unknown",
        ),
        (("quality", "nowhere.parquet"), "nowhere.parquet is not there"),
        (("quality", "README.md"), "README.md is no Parquet file"),
        (("ingest", "--symbols", "BTCUSDT", "--start", "2025-02-01", "--end", "2025-01-01"), "not after its start"),
        (("ingest", "--symbols", "../etc", "--start", "2025-01-01", "--end", "2025-02-01"), "expected upper-case"),
        (("sandbox", "--tape", "nowhere"), "tape nowhere is not there"),
        (("graduation", "show", "trend"), "no decision on 'trend'"),
    )
    outcomes = perpflow_in_turn([arguments for arguments, _ in wrong])
    for outcome, (_, words) in zip(outcomes, wrong, strict=True):
        assert outcome.code == 2, outcome.stderr
        assert words in outcome.stderr
        assert "Traceback" not in outcome.stderr


def test_a_venue_that_does_not_answer_is_a_failure_in_words(perpflow: Perpflow) -> None:
    outcome = perpflow("api-check", "--base-url", "http://127.0.0.1:9", "--json")
    assert outcome.code == 1
    failed = [check for check in outcome.json["checks"] if check["status"] == "failed"]
    assert [check["name"] for check in failed] == ["hosts"]
    assert "127.0.0.1:9" in failed[0]["evidence"]
    assert "Traceback" not in outcome.stderr


def test_the_dirty_recording_is_refused_with_its_reasons(perpflow: Perpflow, shared: Path) -> None:
    file = next((shared / "data" / "dirty").glob("*.parquet"))
    outcome = perpflow("quality", str(file), "--json")
    assert outcome.code == 1
    failed = {c["name"]: c for c in outcome.json["reports"][0]["checks"] if not c["passed"]}
    assert failed
    assert any(check["failing_rows"] for check in failed.values())


def test_an_endpoint_is_checked_with_and_without_keys_and_no_secret_is_shown(perpflow: Perpflow) -> None:
    with running() as url:
        bare = perpflow("api-check", "--base-url", url, "--json")
        keys = {"BYBIT_API_KEY": DEFAULT_KEY, "BYBIT_API_SECRET": DEFAULT_SECRET}
        full = perpflow("api-check", "--base-url", url, "--trade", "--json", **keys)
        wrong = perpflow("api-check", "--base-url", url, "--json", **keys | {"BYBIT_API_SECRET": "canary-Xq3"})
    assert (bare.code, bare.json["passed"], bare.json["has_key"]) == (0, True, False)
    assert bare.json["counts"]["not checked"] > 0
    assert (full.code, full.json["counts"]["failed"], full.json["counts"]["not checked"]) == (0, 0, 0)
    assert wrong.code == 1
    for outcome in (full, wrong):
        assert DEFAULT_SECRET not in outcome.stdout + outcome.stderr
        assert "canary-Xq3" not in outcome.stdout + outcome.stderr


def test_a_key_of_the_test_network_is_not_sent_to_the_main_venue(perpflow: Perpflow) -> None:
    keys = {"BYBIT_API_KEY": "a-key", "BYBIT_API_SECRET": "a-secret"}
    span = ("--start", "2025-03-01", "--end", "2025-03-02")
    outcome = perpflow("ingest", "--symbols", "BTCUSDT", *span, "--fee-rates", **keys)
    assert outcome.code == 2
    assert "BYBIT_ENVIRONMENT is testnet" in outcome.stderr


def test_real_money_has_to_be_said_twice(perpflow: Perpflow) -> None:
    outcome = perpflow("api-check", "--base-url", "https://api.bybit.com", "--trade")
    assert outcome.code == 2
    assert "BYBIT_ENVIRONMENT is testnet" in outcome.stderr
