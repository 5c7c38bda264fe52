"""Sets a stored back-test beside what really happened, fill by fill."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.store.runs import RunRecord
from tasks.backtests import tables_folder
from tasks.connections import store
from tasks.reconcile import judged, render, write_table
from validation.reconcile import Reconciliation
from validation.reconcile_comparison import PAIR_COLUMNS, comparison, decimal, simulated_trades

Row = dict[str, Any]


def reconcile_run(
    run_key: str,
    files: Sequence[Path],
    *,
    tier: str = "vip0",
    category: str = "linear",
    timezone: str = "UTC",
    report: Path | None = None,
    table: Path | None = None,
) -> Row:
    """Compare the fills of a stored back-test with the executions in ``files``, fill by fill.

    ``table`` gets a row a fill, ``report`` the page on the files themselves. Repeating it changes nothing.

    Raises
    ------
    InvalidInput
        When no run has that key or its tables are gone, and as ``reconcile_files`` does.
    """
    record = find_run(run_key)
    found = judged(files, tier=tier, category=category, timezone=timezone)
    told = compare_run(record, found)
    if table is not None:
        write_table(table, PAIR_COLUMNS, told["fills"])
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(render(told["reality"], told), encoding="utf-8")
    return told | {"report": report and str(report), "csv": table and str(table)}


def find_run(run_key: str) -> RunRecord:
    """Return the stored run whose key starts with ``run_key``."""
    known = [record for record in store().runs.list() if record.run_key.startswith(run_key)]
    if len(known) != 1:
        raise InvalidInput(f"{len(known)} stored runs have a key that starts with {run_key!r}: give more of it")
    if not (tables_folder(known[0].run_key) / "fills.parquet").is_file():
        raise InvalidInput(f"run {known[0].run_key[:16]} has no stored fills: perpflow backtest writes them again")
    return known[0]


def compare_run(record: RunRecord, found: Reconciliation) -> Row:
    """Return the gap between a run and what was really booked, as plain values."""
    folder = tables_folder(record.run_key)
    fills, liquidations = (pd.read_parquet(folder / f"{name}.parquet") for name in ("fills", "liquidations"))
    # Runs of the first engine do not say: it knew linear contracts only.
    category = Category(record.provenance.get("category", Category.LINEAR))
    expected = simulated_trades(fills, liquidations, category)
    payments = pd.read_parquet(folder / "funding.parquet")["payment"]
    return comparison(
        expected, sum((decimal(payment) for payment in payments), Decimal(0)), found, record.period, record.symbols
    ) | {"run_key": record.run_key, "strategy": record.strategy}
