"""The terms of a back-test as a person asks for them, over a made-up market of 2023."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bybit.sandbox import SandboxConfig
from tests.flows.conftest import Outcome, Perpflow
from tests.sandbox import running

pytestmark = pytest.mark.slow

SYMBOLS = "BTCUSDT,ETHUSDT"
SPAN = ("--start", "2023-08-20", "--end", "2023-09-29")
ASK = ("backtest", "--strategy", "breakout", "--symbols", SYMBOLS, "--interval", "1h", "--json")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def stored(perpflow: Perpflow, home: Path) -> Path:
    """Hourly and quarter-hourly candles of two symbols in an uncertain window of the fees."""
    if not list(home.glob("*.db")):
        with running(SandboxConfig(now=datetime(2023, 9, 30, tzinfo=UTC))) as url:
            fetch = ("ingest", "--symbols", SYMBOLS, *SPAN, "--base-url", url, "--json")
            hours = perpflow(*fetch, "--interval", "1h", "--price", "last,mark", "--funding", home=home)
            quarters = perpflow(*fetch, "--interval", "15m", "--price", "last,mark", home=home)
        assert (hours.code, quarters.code) == (0, 0), hours.stderr + quarters.stderr
    return home


def test_both_days_on_which_fees_may_have_changed_are_run_when_asked(perpflow: Perpflow, stored: Path) -> None:
    plain = perpflow(*ASK, home=stored).json
    asked = perpflow(*ASK, "--fee-bounds", home=stored).json
    assert (plain["refused"], plain["fee_bounds"]) == (None, None)
    assert asked["costs"] == plain["costs"]
    bounds = asked["fee_bounds"]
    assert bounds["windows"] == ["2023-08-20..2023-09-18"]
    assert bounds["latest"]["net"] == asked["costs"]["net"]
    # The new taker rate is the lower one: the sooner it came, the less was paid.
    assert bounds["earliest"]["fees"] < bounds["latest"]["fees"]


def test_one_account_trades_all_symbols_and_every_symbol_shows_its_costs(perpflow: Perpflow, stored: Path) -> None:
    slippage = "volume_share:0.1:0.0002"
    fine = ("--detail", "15m", "--participation", "0.00001", "--slippage", slippage)
    row = perpflow(*ASK, "--margin", "cross", *fine, home=stored).json
    assert row["refused"] is None
    by_symbol = row["costs_by_symbol"]
    assert set(by_symbol) == set(SYMBOLS.split(","))
    for name, total in row["costs"].items():
        assert sum(costs[name] for costs in by_symbol.values()) == pytest.approx(total, rel=1e-9, abs=1e-6)
    told = row["provenance"]
    assert (told["margin_mode"], told["slippage"], told["detail_interval"]) == ("cross", slippage, "15m")
    assert row["metrics"]["n_partial_fills"] > 0
    again = perpflow("backtest", "--reproduce", row["run_key"], "--json", home=stored).json
    assert again["same"] is True


def test_terms_that_cannot_be_are_wrong_use(perpflow: Perpflow, stored: Path) -> None:
    def refused(*terms: str) -> Outcome:
        outcome = perpflow(*ASK, *terms, home=stored)
        assert outcome.code == 2, outcome.stderr
        return outcome

    assert "not shorter than the candles" in refused("--detail", "1h").stderr
    assert "no 1h and 5m candles of BTCUSDT, ETHUSDT are stored" in refused("--detail", "5m").stderr
    assert "margin_mode" in refused("--margin", "portfolio").stderr
    assert "hopeful" in refused("--slippage", "hopeful").stderr
