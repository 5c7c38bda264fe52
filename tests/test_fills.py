import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.fills import check, judge, main

FILL = {
    "market": "linear",
    "symbol": "BTCUSDT",
    "side": "Buy",
    "exec_time": 1735693200000,
    "price_text": "50000.5",
    "qty_text": "0.001",
    "fee_text": "0.02750028",
    "fee_rate_text": "0.00055",
    "is_maker": False,
    "fee_currency": "USDT",
    "kind": "trade",
}


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, ("exact", "era")),
        ({"fee_text": "0.01000010", "is_maker": True}, ("exact", "era")),
        ({"fee_text": "0.01000010", "is_maker": None}, ("exact", "era")),
        ({"fee_text": "0.0275003"}, ("within_5e-8", "era, rounding")),
        ({"fee_text": "0.05500055", "fee_rate_text": "0.0011"}, ("exact", "symbol rate")),
        ({"fee_text": "0.02750028", "exec_time": 1689685728571}, ("exact", "neighbouring era")),
        ({"fee_text": "0.00000055", "market": "spot", "fee_currency": "BTC"}, ("exact", "symbol rate")),
        ({"fee_text": "0.00500005", "fee_rate_text": "0.0001", "kind": "Funding"}, ("exact", "funding")),
    ],
)
def test_a_fee_is_explained_by_what_made_it(changes: dict[str, object], verdict: tuple[str, str]) -> None:
    assert judge(FILL | changes) == verdict


def test_a_fee_that_no_rate_gives_stays_unexplained() -> None:
    outcome, reason = judge(FILL | {"fee_text": "0.04"})
    assert outcome == "unexplained"
    assert "0.000800" in reason


def test_a_rebate_taken_for_a_fee_is_noticed() -> None:
    assert judge(FILL | {"fee_text": "-0.02750028"})[0] == "unexplained"


def test_the_last_line_is_one_object_that_adds_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fills.parquet"
    pq.write_table(pa.Table.from_pylist([FILL, FILL | {"fee_text": "0.04"}]), path)
    assert main([str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("UNEXPLAINED")
    counts = json.loads(lines[-1])
    assert (counts["rows"], counts["exact"], counts["within_5e-8"], counts["unexplained"]) == (2, 1, 0, 1)


def test_recorded_fills_are_explained(shared: Path) -> None:
    folder = shared / "data" / "fills"
    outcomes = [
        verdict[0]
        for name in ("bybit_single_fills_2023_2026", "bybit_linear_copytrading_2026-03")
        for _, verdict in check(folder / f"{name}.parquet")
    ]
    assert outcomes.count("exact") == 84
    assert "unexplained" not in outcomes
