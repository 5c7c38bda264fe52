"""Files in, a page, a table and plain values out."""

import csv
from pathlib import Path

import pytest

from bybit.rules.errors import InvalidInput
from tasks.reconcile import reconcile_files
from tests.validation.exports import UTA_HEADER, execution, line, page, sheet


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    executions, log = tmp_path / "executions.json", tmp_path / "log.json"
    executions.write_bytes(page(execution(), execution(execId="e-2", execFee="9.9", orderId="o-2")))
    log.write_bytes(page(line(), line(id="t-0", type="TRANSFER_IN", tradeId="", cashFlow="1000", fee="", change="1000",
                                      symbol="=HYPERLINK()", cashBalance="1000", transactionTime="1735693100000",
                                      category="", side="None", qty="", tradePrice="", feeRate="")))  # fmt: skip
    return [executions, log]


def test_every_row_stands_in_the_table_and_none_is_a_formula(files: list[Path], tmp_path: Path) -> None:
    told = reconcile_files(files, table=tmp_path / "out" / "rows.csv")
    assert (told["rows"], told["unexplained"], told["other_rows"]) == (3, 1, 1)
    with (tmp_path / "out" / "rows.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["verdict"] for row in table].count("unexplained") == 1
    assert len(table) == 4
    assert not any(cell.startswith(("=", "+", "@")) for row in table for cell in row.values())


def test_the_page_says_period_account_totals_method_and_what_is_unexplained(files: list[Path], tmp_path: Path) -> None:
    changes = tmp_path / "changes.csv"
    row = "4711,USDT,<b>X,TRADE,BUY,1,1,100,0,-0.3,0,-0.3,5,OPEN,2025-02-01 01:00:00"
    changes.write_bytes(sheet("UID: 4711,Company Name: ,Country: ", UTA_HEADER, row))
    reconcile_files([*files, changes], report=tmp_path / "page.html")
    page_text = (tmp_path / "page.html").read_text()
    for words in ("4711", "2025-01-01 01:00:00", "By month", "unexplained", "rounded up at 8 decimals", "&lt;b&gt;X"):
        assert words in page_text
    assert "<b>X" not in page_text
    assert "http" not in page_text.replace("http-equiv", "")


def test_the_same_files_give_the_same_page(files: list[Path], tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        reconcile_files(files, report=tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize("wrong", [{"category": "option"}, {"timezone": "Nowhere/At_All"}, {"tier": "vip42"}])
def test_wrong_use_names_what_is_known(files: list[Path], wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match=r"not known|not one of"):
        reconcile_files(files, **wrong)


def test_a_file_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        reconcile_files([tmp_path / "no.json"])
