"""``perpflow reconcile`` as a person runs it."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from bybit.rules.periods import Period, parse_time
from bybit.store.engine import open_store
from bybit.store.runs import RunRecord
from tests.flows.conftest import Perpflow
from tests.validation.exports import execution, page


@pytest.fixture
def explained(tmp_path: Path) -> Path:
    path = tmp_path / "executions.json"
    path.write_bytes(page(execution()))
    return path


def test_explained_is_0_unexplained_1_and_wrong_use_2(perpflow: Perpflow, explained: Path, tmp_path: Path) -> None:
    done = perpflow("reconcile", str(explained), "--json")
    assert (done.code, done.json["explained"], done.json["exact"]) == (0, True, 1)
    odd = tmp_path / "odd.json"
    odd.write_bytes(page(execution(execFee="3.4")))
    done = perpflow("reconcile", str(odd))
    assert done.code == 1
    assert done.stdout.splitlines()[0].startswith("1 of 1 rows are unexplained (3.40 USDT booked)")
    assert "odd.json row 1" in done.stdout
    done = perpflow("reconcile", str(tmp_path / "absent.json"))
    assert (done.code, "cannot be read" in done.stderr) == (2, True)


def test_a_stored_run_is_set_beside_the_executions(perpflow: Perpflow, explained: Path, tmp_path: Path) -> None:
    home, database = tmp_path / "home", f"sqlite:///{tmp_path / 'runs.db'}"
    period = Period(parse_time("2025-01-01"), parse_time("2025-02-01"))
    made = datetime(2025, 3, 1, tzinfo=UTC)
    open_store(database).runs.add(RunRecord("abc123", made, "trend", {}, "vip0", period, ("BTCUSDT",), {}, {}))
    folder = home / "runs" / "abc123"
    folder.mkdir(parents=True)
    time = pd.Timestamp("2025-01-01 01:00", tz="UTC")
    fill = {"symbol": "BTCUSDT", "fill_time": time, "qty": 0.1, "price": 59990.0, "fee": 3.29945}
    pd.DataFrame([fill]).to_parquet(folder / "fills.parquet")
    none = {
        "symbol": [],
        "liquidation_time": [],
        "size": [],
        "entry_price": [],
        "loss": [],
        "realized_pnl": [],
        "fee": [],
    }
    pd.DataFrame(none).to_parquet(folder / "liquidations.parquet")
    pd.DataFrame({"payment": [-0.5]}).to_parquet(folder / "funding.parquet")
    table = tmp_path / "fills.csv"
    more = ("--csv", str(table), "--report", str(tmp_path / "run.html"), "--database", database, "--json")
    done = perpflow("reconcile", "--run", "abc", str(explained), *more)
    told = done.json
    assert (done.code, told["matched"], told["missed"], told["extra"]) == (0, 1, 0, 0)
    assert (told["gap"]["price_and_slippage"], told["gap"]["fees"], told["gap"]["funding"]) == ("-1", "-0.00055", "0.5")
    with table.open(newline="") as file:
        assert [row["kind"] for row in csv.DictReader(file)] == ["matched"]
    assert "The back-test beside it" in (tmp_path / "run.html").read_text()
