"""Reconciles account exports: files in, a statement out, as page, table and plain values."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from validation.reconcile import AccountTerms, Reconciliation, reconcile
from validation.reconcile_bookings import zone_of
from validation.reconcile_statement import ROW_COLUMNS, rows, statement

Row = dict[str, Any]
# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "@", "\t", "\r")


def reconcile_files(
    files: Sequence[Path],
    *,
    tier: str = "vip0",
    category: str = "linear",
    timezone: str = "UTC",
    report: Path | None = None,
    table: Path | None = None,
) -> Row:
    """Judge every row of ``files``; write the page to ``report`` and all rows to ``table`` where asked.

    Repeating it overwrites both with the same content.

    Raises
    ------
    InvalidInput
        For a file that is not there or none of the formats, an unknown tier, category or time zone.
    """
    found = judged(files, tier=tier, category=category, timezone=timezone)
    told = statement(found) | {"report": None, "csv": None}
    if table is not None:
        write_rows(found, table)
        told["csv"] = str(table)
    if report is not None:
        told["report"] = str(report)
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(render(told), encoding="utf-8")
    return told


def judged(files: Sequence[Path], *, tier: str, category: str, timezone: str) -> Reconciliation:
    """Return every row of ``files`` with its judgement. Raises as ``reconcile_files``."""
    if not files:
        raise InvalidInput("perpflow reconcile needs files: API pages (JSON), CSV exports or Parquet tables")
    try:
        of_category = Category(category)
    except ValueError:
        raise InvalidInput(f"category {category!r} is not one of {', '.join(Category)}") from None
    named = [(_name(path, files), _content(path)) for path in files]
    return reconcile(named, AccountTerms(tier=tier, category=of_category, zone=zone_of(timezone)))


def write_rows(found: Reconciliation, path: Path) -> None:
    """Write every row of every file as CSV, nothing left out."""
    write_table(path, ROW_COLUMNS, rows(found))


def write_table(path: Path, columns: Sequence[str], table: Iterable[Row]) -> None:
    """Write ``table`` as CSV that a spreadsheet takes for text and numbers, never for formulas."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in table:
            writer.writerow({name: _cell(row[name]) for name in columns})


def render(told: Row, run: Row | None = None) -> str:
    """Return the statement as a page that needs nothing from outside, with the comparison to a ``run`` if any."""
    pages = Environment(loader=PackageLoader("tasks"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    pages.filters.update(money=_money, share=_share)
    return pages.get_template("reconcile.html").render(s=told, run=run)


def _name(path: Path, files: Sequence[Path]) -> str:
    return path.name if sum(other.name == path.name for other in files) == 1 else str(path)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error.strerror}): give an existing file") from None


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _money(amount: str) -> str:
    """Return a decimal text with thousands separators and every digit."""
    whole, _, rest = amount.lstrip("-").partition(".")
    sign = "-" if amount.startswith("-") else ""
    return f"{sign}{int(whole or 0):,}{'.' if rest else ''}{rest}" if amount else "–"


def _share(value: float | None) -> str:
    # Cut, not rounded: 100 % means every one.
    return "–" if value is None else f"{int(value * 1_000_000) / 10_000:.4f} %"
