import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.fills import check, main, summary

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
BASES = ("era", "neighbouring era", "symbol rate", "regional terms", "fills of the same account")


def table(path: Path, *rows: dict[str, Any]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, ("exact", "era")),
        ({"fee_text": "0.01000010", "is_maker": True}, ("exact", "era")),
        ({"fee_text": "0.01000010", "is_maker": None}, ("exact", "era")),
        ({"fee_text": "0.0275003"}, ("within rounding", "era, rounding")),
        ({"fee_text": "0.05500055", "fee_rate_text": "0.0011"}, ("exact", "symbol rate")),
        ({"fee_text": "0.02750028", "exec_time": 1689685728571}, ("exact", "neighbouring era")),
        ({"fee_text": "0.000001", "market": "spot", "fee_currency": "BTC", "fee_rate_text": "0.001"}, ("exact", "era")),
        ({"fee_text": "0.00500005", "fee_rate_text": "0.0001", "kind": "Funding"}, ("exact", "funding")),
    ],
)
def test_a_fee_is_explained_by_what_made_it(tmp_path: Path, changes: dict[str, Any], verdict: tuple[str, str]) -> None:
    (row,) = check([table(tmp_path / "fills.parquet", FILL | changes)]).judgements
    assert (row.verdict, row.reason) == verdict


def test_a_fee_that_no_rate_gives_stays_unexplained(tmp_path: Path) -> None:
    (row,) = check([table(tmp_path / "fills.parquet", FILL | {"fee_text": "0.04"})]).judgements
    assert row.verdict == "unexplained"
    assert "0.000800" in row.detail


def test_a_rebate_taken_for_a_fee_is_noticed(tmp_path: Path) -> None:
    (row,) = check([table(tmp_path / "fills.parquet", FILL | {"fee_text": "-0.02750028"})]).judgements
    assert row.verdict == "unexplained"


def test_the_last_line_is_one_object_that_adds_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path / "fills.parquet", FILL, FILL | {"fee_text": "0.04"})
    assert main([str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("UNEXPLAINED")
    counts = json.loads(lines[-1])
    assert (counts["rows"], counts["exact"], counts["within_5e-8"], counts["unexplained"]) == (2, 1, 0, 1)
    assert sum(n for reasons in counts["reasons"].values() for n in reasons.values()) == 2


def test_every_recorded_fill_and_position_is_explained(shared: Path) -> None:
    counts: dict[str, Any] = summary(check(sorted((shared / "data" / "fills").glob("*.parquet"))))
    assert (counts["rows"], counts["exact"], counts["within_5e-8"], counts["unexplained"]) == (112, 88, 24, 0)
    assert counts["rate_unknowable"] == 0
    assert min(counts["accuracy_rows"], counts["accuracy_money"]) >= 0.999
    assert all(reason.startswith(BASES) for reason in (*counts["reasons"]["exact"], *counts["reasons"]["within_5e-8"]))


def test_closed_positions_are_explained_without_their_fills_too(shared: Path) -> None:
    path = shared / "data" / "fills" / "bybit_linear_closed_positions_2026-03.parquet"
    counts = summary(check([path]))
    assert (counts["rows"], counts["unexplained"]) == (25, 0)


def test_a_lot_whose_siblings_are_elsewhere_is_counted_as_unknowable(shared: Path, tmp_path: Path) -> None:
    rows = pq.read_table(shared / "data" / "fills" / "bybit_linear_closed_positions_2026-03.parquet").to_pylist()
    # Opened at about 1.30 by its fee, in a position that averaged 1.16.
    lone = next(row for row in rows if row["fees_text"] == "0.27107488")
    counts = summary(check([table(tmp_path / "lone.parquet", lone)]))
    assert (counts["unexplained"], counts["rate_unknowable"], counts["accuracy_rows"]) == (1, 1, None)


@pytest.mark.parametrize("factor", ["0.5", "2"])
def test_a_position_that_paid_half_or_double_is_never_explained(shared: Path, tmp_path: Path, factor: str) -> None:
    rows = pq.read_table(shared / "data" / "fills" / "bybit_linear_closed_positions_2026-03.parquet").to_pylist()
    for number, row in enumerate(rows):
        wrong = row | {"fees_text": f"{float(row['fees_text']) * float(factor):.8f}", "closed_pnl_text": None}
        changed = [*rows[:number], wrong, *rows[number + 1 :]]
        found = check([table(tmp_path / f"{number}.parquet", *changed)])
        (judged,) = [j for j in found.judgements if j.booking.number == number + 1]
        # Half of 0.0011 is the ordinary rate: only the schedule's own general rate may explain it.
        assert judged.verdict == "unexplained" or "0.00055" in judged.detail


def test_a_position_by_a_plain_rate_that_nobody_recorded_is_unknowable(shared: Path, tmp_path: Path) -> None:
    rows = pq.read_table(shared / "data" / "fills" / "bybit_linear_closed_positions_2026-03.parquet").to_pylist()
    other = next(row for row in rows if row["symbol"] == "DUSKUSDT") | {"symbol": "NOBODYUSDT"}
    (judged,) = check([table(tmp_path / "other.parquet", other)]).judgements
    assert (judged.verdict, judged.reason, judged.rate) == (
        "unexplained",
        "rate not recorded anywhere",
        Decimal("0.0011"),
    )
    assert judged.is_unknowable
