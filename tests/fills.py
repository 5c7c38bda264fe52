"""Recomputes the fee of recorded fills: ``python -m tests.fills FILE.parquet...``.

Prints a line per row that is not explained and, last, one JSON object (any export that ``perpflow reconcile`` reads
works as well):

- rows = exact + within_5e-8 + unexplained, and under ``reasons`` how many of each there are by reason: era (the rate
  our schedule gives for the time), neighbouring era (the other rate of an uncertain window), symbol rate (recorded for
  the symbol, or named by the row itself), regional terms, account snapshot, group, funding, fills of the same account;
- within_5e-8 holds what is off the product by at most 5e-8 and what is shown rounded: among the figures that may be
  shown as the row shows them are some that give the booked amount to 5e-8. ``by_display`` are of that kind;
- ``rate_unknowable`` of the unexplained do not show what the fee depends on (neither role nor rate, or an average price
  instead of their own), so that nobody can tell; the others contradict every known rate;
- accuracy_rows, accuracy_money: explained rows, and booked money recomputed, as shares of rows with a knowable rate.
"""

import json
import sys
from datetime import UTC
from pathlib import Path

from bybit.rules.periods import utc
from validation.reconcile import AccountTerms, Reconciliation, reconcile
from validation.reconcile_rows import TOLERANCE, Judgement, Verdict
from validation.reconcile_totals import totals_of

_KEYS = {Verdict.EXACT: "exact", Verdict.WITHIN_ROUNDING: "within_5e-8", Verdict.UNEXPLAINED: "unexplained"}


def check(paths: list[Path], tier: str = "vip0") -> Reconciliation:
    """Return every row of some files of one account with its judgement."""
    return reconcile([(path.name, path.read_bytes()) for path in paths], AccountTerms(tier=tier, zone=UTC))


def summary(found: Reconciliation) -> dict[str, object]:
    """Return the one JSON object that the last line holds."""
    totals = totals_of(found)
    shown = [judgement for judgement in found.judgements if judgement.verdict is Verdict.WITHIN_ROUNDING]
    return {
        "rows": len(found.judgements),
        **{key: totals.rows[verdict] for verdict, key in _KEYS.items()},
        "by_display": sum(abs(judgement.difference or 0) > TOLERANCE for judgement in shown),
        "rate_unknowable": totals.unknowable,
        "accuracy_rows": totals.row_accuracy,
        "accuracy_money": totals.money_accuracy,
        "reasons": {key: totals.reasons[verdict] for verdict, key in _KEYS.items()},
        "remarks": list(found.remarks),
    }


def line(judgement: Judgement) -> str:
    """Return what is printed of a row that is not explained."""
    booking = judgement.booking
    when = "" if booking.time_ms is None else utc(booking.time_ms).isoformat()
    return f"UNEXPLAINED {booking.place} {booking.symbol} {when}: {judgement.reason}: {judgement.detail}"


def main(paths: list[str]) -> int:
    if not paths:
        print("usage: python -m tests.fills FILE.parquet...", file=sys.stderr)
        return 2
    found = check([Path(path) for path in paths])
    for judgement in found.judgements:
        if judgement.verdict is Verdict.UNEXPLAINED:
            print(line(judgement))
    for problem in found.problems:
        print(f"PROBLEM {problem.place}: {problem.text}")
    print(json.dumps(summary(found)))
    return 0 if found.is_explained else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
