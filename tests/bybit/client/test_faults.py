"""The table of faults names tests that exist, and every fault the sandbox has."""

import re
from pathlib import Path

from bybit.sandbox.faults import KINDS

ROOT = Path(__file__).resolve().parents[3]
TABLE = (ROOT / "docs" / "faults.md").read_text()


def test_every_test_the_table_names_exists():
    named = set(re.findall(r"`(test_\w+)`", TABLE))
    known = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(named) > 40
    assert named - known == set()


def test_every_row_of_the_table_is_bounded_and_tested():
    rows = [line.strip("|").split("|") for line in TABLE.splitlines() if line.startswith("| ") and "---" not in line]
    rows = [row for row in rows if row[0].strip() != "fault"]
    assert len(rows) > 30
    for fault, _, action, bound, test in rows:
        assert all(cell.strip() for cell in (fault, action, bound)), fault
        assert "`test_" in test, fault


def test_every_fault_of_the_sandbox_is_in_the_table():
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", TABLE))
    assert set(KINDS) <= named
    assert "storm" in named
