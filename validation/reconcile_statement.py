"""A reconciliation in words and plain values: what the terminal, the report and the JSON object are made of."""

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from bybit.rules.periods import utc
from validation.reconcile import Reconciliation
from validation.reconcile_rows import TOLERANCE, Judgement, Verdict
from validation.reconcile_totals import Money, Totals, coin_of, totals_of

Row = dict[str, Any]

ROW_COLUMNS = (
    "file", "row", "source", "kind", "time", "symbol", "side", "qty", "price", "coin", "booked", "recomputed",
    "difference", "verdict", "reason", "rate", "role", "unknowable", "counted_in", "detail", "rate_source",
)  # fmt: skip

METHOD = (
    "Every fee is recomputed as quantity x price x rate (inverse contracts: quantity / price x rate) and every funding "
    "payment as position x mark price x funding rate, in exact decimal arithmetic, rounded up at 8 decimals as Bybit's "
    "recorded fills show.",
    f"A row is exact when the booked amount equals that to its last digit, and within rounding when it differs by at "
    f"most {TOLERANCE} of the coin, or when its price, quantity or amount is shown rounded and figures that may be "
    "shown so give the booked amount; then its reason says which.",
    "Rates come, in this order, from the account's own fee-rate replies among the files, from recorded fills of the "
    "symbol on that day, from the terms of its group, and from the dated general schedule; a rate that only the row "
    "itself names is called a symbol rate and checked for its arithmetic alone.",
    "An event that several files hold counts once, in the file that says most about it. Fees and rebates, funding paid "
    "and received are kept apart; realized P&L is the price difference before both.",
    "Amounts stay in the coin they were booked in: nothing is converted.",
)

NOT_COVERED = (
    "discounts for fees paid in MNT or by coupon, taxes added to fees, and options are not modelled: such rows are "
    "listed as unexplained, or among the other movements",
    "the direction of rounding is recorded for amounts paid; for rebates and funding received it is presumed",
)


def statement(found: Reconciliation) -> Row:
    """Return everything a reader may ask for, as plain values: money as decimal text, times as ISO text."""
    totals = totals_of(found)
    judgements = found.judgements
    times = [j.booking.time_ms for j in judgements if j.booking.time_ms is not None]
    unexplained = [row_of(j) for j in judgements if j.verdict is Verdict.UNEXPLAINED]
    return {
        "explained": found.is_explained,
        "verdict": _sentence(found, totals),
        "rows": len(judgements),
        "exact": totals.rows[Verdict.EXACT],
        "within_rounding": totals.rows[Verdict.WITHIN_ROUNDING],
        "unexplained": totals.rows[Verdict.UNEXPLAINED],
        "rate_unknowable": totals.unknowable,
        "row_accuracy": totals.row_accuracy,
        "money_accuracy": totals.money_accuracy,
        "reasons": totals.reasons,
        "other_rows": len(found.others),
        "duplicates": [f"{row.place} repeats {kept.place}" for row, kept in found.duplicates],
        "period": [utc(min(times)).isoformat(), utc(max(times)).isoformat()] if times else None,
        "accounts": sorted({export.account for export in found.exports if export.account}),
        "tier": found.terms.tier,
        "fee_schedule": found.terms.schedule.version,
        "files": _files(found),
        "by_coin": {coin: _money(money) for coin, money in sorted(totals.by_coin.items())},
        "by_year": _keyed(totals.by_year, "year"),
        "by_month": _keyed(totals.by_month, "month"),
        "by_symbol": _keyed(totals.by_symbol, "symbol"),
        "others": [
            {"type": kind, "coin": coin, "rows": n_rows, "change": plain(change)}
            for (kind, coin), (n_rows, change) in sorted(totals.others.items())
        ],
        "unexplained_rows": unexplained,
        "problems": [{"place": p.place, "text": p.text, "error": p.is_error} for p in found.problems],
        "remarks": list(found.remarks),
        "rate_sources": _rate_sources(judgements),
        "method": list(METHOD),
        "not_covered": list(NOT_COVERED),
    }


def rows(found: Reconciliation) -> Iterator[Row]:
    """Yield every row of every file, by ``ROW_COLUMNS``: judged ones, then movements without fee or funding."""
    for judgement in found.judgements:
        yield row_of(judgement)
    for booking in found.others:
        other = Judgement(booking, Verdict.EXACT, "", "")
        yield row_of(other) | {"verdict": "no fee or funding", "booked": "", "recomputed": "", "difference": ""}
    for row, kept in found.duplicates:
        other = Judgement(row, Verdict.EXACT, "", "", same_as=kept.place)
        yield row_of(other) | {"verdict": "duplicate", "recomputed": "", "difference": ""}


def row_of(judgement: Judgement) -> Row:
    """Return one row as plain values."""
    booking = judgement.booking
    return {
        "file": booking.file,
        "row": booking.number,
        "source": booking.source.value,
        "kind": booking.kind_text,
        "time": "" if booking.time_ms is None else utc(booking.time_ms).isoformat(),
        "symbol": booking.symbol or "",
        "side": booking.side or "",
        "qty": plain(booking.qty),
        "price": plain(booking.price),
        "coin": coin_of(booking),
        "booked": plain(booking.fee),
        "recomputed": plain(judgement.recomputed),
        "difference": plain(judgement.difference),
        "verdict": judgement.verdict.value,
        "reason": judgement.reason,
        "rate": plain(judgement.rate),
        "role": booking.liquidity.value if booking.liquidity else "",
        "unknowable": judgement.is_unknowable,
        "counted_in": judgement.same_as or "",
        "detail": judgement.detail,
        "rate_source": judgement.source,
    }


def _sentence(found: Reconciliation, totals: Totals) -> str:
    n_rows, n_open = len(found.judgements), totals.rows[Verdict.UNEXPLAINED]
    errors = sum(problem.is_error for problem in found.problems)
    missing = f"; {errors} sign(s) that rows or pages are missing or do not add up" if errors else ""
    if not n_rows:
        return f"No fee and no funding payment in these files{missing}"
    exact, close = totals.rows[Verdict.EXACT], totals.rows[Verdict.WITHIN_ROUNDING]
    parts = f"{exact:,} exact, {close:,} within rounding"
    if not n_open:
        return f"All {n_rows:,} rows are explained: {parts}{missing}"
    amounts = ", ".join(
        f"{_short(money.unexplained)} {coin}" for coin, money in sorted(totals.by_coin.items()) if money.unexplained
    )
    of_money = f" ({amounts} booked)" if amounts else ""
    nobody = f", of which {totals.unknowable:,} show too little for anybody to tell" if totals.unknowable else ""
    return f"{n_open:,} of {n_rows:,} rows are unexplained{of_money}{nobody}; {parts}{missing}"


def _files(found: Reconciliation) -> list[Row]:
    return [
        {
            "name": export.name,
            "source": export.source.value,
            "rows": len(export.bookings) + len(export.unreadable),
            "unreadable": len(export.unreadable),
        }
        for export in found.exports
    ]


def _rate_sources(judgements: tuple[Judgement, ...]) -> list[Row]:
    counted: Counter[tuple[str, str]] = Counter()
    for judgement in judgements:
        if judgement.source and judgement.reason != "funding":
            basis = judgement.reason.partition(", ")[0]
            source = "the rows themselves name it" if "names" in judgement.source else judgement.source
            counted[basis, source] += 1
    return [{"basis": basis, "source": source, "rows": n} for (basis, source), n in counted.most_common()]


def _keyed(sums: Mapping[tuple[str, str], Money], name: str) -> list[Row]:
    return [{name: key, "coin": coin} | _money(money) for (key, coin), money in sorted(sums.items())]


def _money(money: Money) -> Row:
    names = (
        "fees_paid", "rebates", "funding_paid", "funding_received", "costs", "realized_pnl", "net", "difference",
        "unexplained",
    )  # fmt: skip
    return {name: plain(getattr(money, name)) for name in names} | {"rows": money.n_rows}


def plain(number: Decimal | None) -> str:
    """Return ``number`` without exponent or trailing zeros, at most 12 decimals; "" for None."""
    if number is None:
        return ""
    exponent = number.as_tuple().exponent
    shown = round(number, 12) if isinstance(exponent, int) and exponent < -12 else number
    text = format(shown, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _short(number: Decimal) -> str:
    return f"{number:,.2f}" if abs(number) >= 1 else f"{number:.6g}"
