"""The main job as a person starts it: real processes, a real Prefect server, a real exchange over HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from bybit.rules.fees import FeeSchedule
from tests.flows.conftest import ROOT, Outcome, environment
from tests.tapes import ninety_days, write_tape

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SYMBOLS = ["BTCUSDT", "SOLUSDT"]
STRATEGIES = {"breakout", "funding_carry", "mean_reversion", "trend"}
RUN = ("run", "--source", "sandbox", "--periods", "3", "--tiers", "vip0,vip2", "--json")


def run(home: Path, tape: Path, *more: str, **env: str) -> Outcome:
    command = [sys.executable, "-m", "flows.cli", *RUN, "--tape", str(tape), *more]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(home, **env), capture_output=True, text=True, timeout=280, check=False
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def left_behind(home: Path) -> list[list[str]]:
    """Return the command lines of live processes that work in ``home``."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PERPFLOW_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def all_gone(home: Path, within_s: float = 30.0) -> bool:
    deadline = time.monotonic() + within_s
    while left := left_behind(home):
        if time.monotonic() > deadline:
            raise AssertionError(left)
        time.sleep(0.1)
    return True


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tape(tmp_path_factory.mktemp("tape"), SYMBOLS, ninety_days(datetime(2025, 3, 1, tzinfo=UTC)))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def summary(home: Path, tape: Path) -> dict[str, Any]:
    """The run after one that was killed in the middle of its work."""
    command = [sys.executable, "-m", "flows.cli", *RUN, "--tape", str(tape)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as killed:
        while not list(home.glob("perpflow-tape-*.db")) and killed.poll() is None:
            time.sleep(0.05)
        os.kill(killed.pid, signal.SIGKILL)
    assert all_gone(home)
    outcome = run(home, tape)
    assert outcome.code == 0, outcome.stderr[-3000:]
    assert "Source: local sandbox with the recorded tape" in outcome.stderr
    assert all_gone(home)
    return outcome.json


def test_a_killed_run_leaves_no_process_and_the_next_one_ends_well(summary: dict[str, Any]) -> None:
    assert {row["strategy"] for row in summary["results"]} == STRATEGIES
    assert len(summary["results"]) == 4 * 2 * 3
    assert [row["refused"] for row in summary["results"]] == [None] * 24


def test_every_row_of_the_tape_is_stored(summary: dict[str, Any], tape: Path) -> None:
    on_tape = {
        f"linear/{symbol}/last/15m": len(pd.read_parquet(tape / "klines" / f"bybit_linear_{symbol}_15m.parquet"))
        for symbol in SYMBOLS
    }
    on_tape |= {
        f"linear/{symbol}/funding": len(pd.read_parquet(tape / "funding" / f"bybit_linear_{symbol}.parquet"))
        for symbol in SYMBOLS
    }
    stored = {report["series"]: report["rows"] for report in summary["ingest"]}
    assert {name: stored[name] for name in on_tape} == on_tape
    assert all(report["missing"] == [] for report in summary["ingest"])


def test_every_strategy_gets_a_verdict_with_a_reason_for_every_gate(summary: dict[str, Any]) -> None:
    assert {decision["strategy"] for decision in summary["decisions"]} == STRATEGIES
    for decision in summary["decisions"]:
        assert decision["verdict"] in ("PROMOTE", "HOLD")
        assert all(gate["reason"] for gate in decision["gates"])
        assert (decision["verdict"] == "PROMOTE") == all(gate["passed"] for gate in decision["gates"])


def test_the_costs_of_every_row_explain_its_net_return(summary: dict[str, Any]) -> None:
    for row in summary["results"]:
        costs = row["costs"]
        paid = sum(costs[n] for n in ("maker_fees", "taker_fees", "funding", "slippage", "liquidation_loss"))
        assert costs["net"] == pytest.approx(costs["gross"] - paid, rel=1e-9, abs=1e-6)
        assert row["metrics"]["net_return"] == pytest.approx(costs["net"] / row["initial_capital"], rel=1e-9, abs=1e-12)


def test_funding_is_the_sum_over_settlements_of_size_times_mark_times_rate(summary: dict[str, Any], home: Path) -> None:
    row = max(summary["results"], key=lambda r: abs(r["costs"]["funding"]))
    settled = pd.read_parquet(home / "runs" / row["run_key"][:32] / "funding.parquet")
    assert len(settled) > 10
    exact = (settled["size"] * settled["mark_price"] * settled["funding_rate"]).sum()
    assert row["costs"]["funding"] == pytest.approx(exact, abs=1e-8)


def test_the_report_opens_offline_and_names_what_it_rests_on(summary: dict[str, Any]) -> None:
    page = Path(summary["report"]).read_text()
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//|@import|url\(\s*["']?http""", page)
    assert "<script" not in page
    assert set(SYMBOLS) <= set(summary["provenance"]["data version"].replace(",", "").split())
    for text in [
        *STRATEGIES,
        "not the live exchange",
        FeeSchedule.builtin().version,
        summary["provenance"]["data version"],
    ]:
        assert text in page
    assert json.loads(Path(summary["report"]).with_name("summary.json").read_text())["run_id"] == summary["run_id"]


def test_a_repeated_run_fetches_nothing_computes_nothing_and_says_the_same(
    summary: dict[str, Any], home: Path, tape: Path
) -> None:
    again = run(home, tape).json
    assert sum(report["rows_written"] for report in again["ingest"]) == 0
    assert again["results"] == summary["results"]
    assert again["run_id"] != summary["run_id"]


def test_postgresql_gives_the_same_result_as_sqlite(
    summary: dict[str, Any], tape: Path, tmp_path: Path, postgres_url: str
) -> None:
    there = run(tmp_path / "home", tape, PERPFLOW_DATABASE_URL=postgres_url).json
    # A run's key holds the hash of the stored tables, so equal keys mean equal tables.
    assert [row["run_key"] for row in there["results"]] == [row["run_key"] for row in summary["results"]]
    assert there["results"] == summary["results"]


def test_ctrl_c_ends_a_run_and_everything_it_started(tmp_path: Path, tape: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-m", "flows.cli", *RUN, "--tape", str(tape)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as stopped:
        while not (home / "logs" / "sandbox.log").exists() and stopped.poll() is None:
            time.sleep(0.05)
        stopped.send_signal(signal.SIGINT)
        assert stopped.wait(timeout=60) == 130
    assert all_gone(home)


def test_made_up_prices_are_no_evidence_and_never_mix_with_recorded_ones(tape: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    synthetic = run(home, Path("synthetic"), "--symbols", "BTCUSDT", "--days", "40", "--interval", "1h").json
    for decision in synthetic["decisions"]:
        failed = {gate["name"] for gate in decision["gates"] if not gate["passed"]}
        assert "real_market" in failed
        assert decision["verdict"] == "HOLD"
    recorded = run(home, tape, "--symbols", "BTCUSDT").json
    rows = len(pd.read_parquet(tape / "klines" / "bybit_linear_BTCUSDT_15m.parquet"))
    assert [(r["rows"], r["rows_written"]) for r in recorded["ingest"] if r["series"].endswith("last/15m")] == [
        (rows, rows)
    ]


def test_two_runs_at_once_in_one_home_end_with_the_same_result(tape: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-m", "flows.cli", *RUN, "--tape", str(tape), "--symbols", "BTCUSDT"]
    both = [
        subprocess.Popen(
            command, cwd=ROOT, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outcomes = []
    for process in both:
        stdout, stderr = process.communicate(timeout=280)
        outcomes.append(Outcome(process.returncode, stdout, stderr))
    assert [outcome.code for outcome in outcomes] == [0, 0], [outcome.stderr[-1500:] for outcome in outcomes]
    assert outcomes[0].json["results"] == outcomes[1].json["results"]
