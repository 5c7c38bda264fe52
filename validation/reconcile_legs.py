"""Closed P&L of the API, leg by leg: values to the last digit, each leg the sum of fills that were rounded up."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from bybit.rules.candles import Category
from bybit.rules.fees import Rounding
from validation.reconcile_bookings import Booking, Kind, Source
from validation.reconcile_rates import KnownRate, RateBook
from validation.reconcile_rows import TOLERANCE, Judgement, Verdict, unknown

_ONE_FILL = Decimal("1e-8")
# What an opening leg consists of the row does not say; this many fills are taken for possible.
_OPENING_FILLS = 20


def judge_legs(closed: Sequence[Booking], fills: Sequence[Booking], rates: RateBook) -> list[Judgement]:
    """Return the judgement of each closed-pnl row of the API, in the order given.

    ``fills`` are executions of the same account: where a leg was filled partly as maker, partly as taker, the closing
    order's own fills decide.
    """
    by_order: dict[str, list[Booking]] = {}
    for fill in fills:
        if fill.source is Source.EXECUTIONS and fill.kind is Kind.TRADE and fill.order_id is not None:
            by_order.setdefault(fill.order_id, []).append(fill)
    return [_judge(booking, by_order, rates) for booking in closed]


def _judge(booking: Booking, by_order: Mapping[str, list[Booking]], rates: RateBook) -> Judgement:
    closing, fee = booking.closing, booking.fee
    assert closing is not None
    if fee is None or closing.entry_value is None or closing.exit_value is None or closing.pnl is None:
        return unknown(booking, "figures missing", "the row shows no values of both legs")
    gross = closing.exit_value - closing.entry_value
    if (closing.is_long is False) != (booking.category is Category.INVERSE):
        gross = -gross
    known = rates.candidates(booking)
    if not known:
        return unknown(booking, "no rate known", "no rate is established for that market, tier and day")
    if closing.open_fee is None or closing.close_fee is None:
        return _total(booking, fee, closing.entry_value, closing.exit_value, known)
    if abs(gross - fee - closing.pnl) > TOLERANCE:
        return Judgement(
            booking,
            Verdict.UNEXPLAINED,
            "profit does not add up",
            f"{gross:f} less the fees {fee:f} is {gross - fee:f}, booked {closing.pnl:f}",
            gross - closing.pnl,
        )
    n_fills = closing.n_fills or 1
    opened = _leg(closing.open_fee, closing.entry_value, known, _OPENING_FILLS)
    closed = _leg(closing.close_fee, closing.exit_value, known, n_fills)
    if closed is None:
        closed = _own_fills(booking, closing.close_fee, closing.exit_value, by_order.get(booking.order_id or "", []))
    if opened is not None and closed is not None:
        due = opened[1] + closed[1]
        is_exact = opened[2] and closed[2]
        reason = opened[0].reason if opened[0].reason == closed[0].reason else f"{opened[0].reason} and mixed roles"
        return Judgement(
            booking,
            Verdict.EXACT if is_exact else Verdict.WITHIN_ROUNDING,
            reason if is_exact else f"{reason}, rounding",
            f"opened as {opened[0]}, closed as {closed[0]}: totals of fills rounded up one by one ({opened[0].source})",
            fee if is_exact else due,
            opened[0].rate,
        )
    span = sorted(rate.rate for rate in known)
    value = closing.entry_value + closing.exit_value
    is_mixed = span[0] * value <= fee <= span[-1] * value + TOLERANCE * n_fills
    return Judgement(
        booking,
        Verdict.UNEXPLAINED,
        "fills of both roles" if is_mixed else "no known rate",
        f"fees of {fee:f} on values of {closing.entry_value:f} and {closing.exit_value:f}; known are "
        f"{', '.join(map(str, known))}; the executions of both orders would tell",
        Rounding.VENUE.book(value * span[-1]),
        is_unknowable=is_mixed,
    )


def _leg(
    fee: Decimal, value: Decimal, known: Sequence[KnownRate], n_fills: int
) -> tuple[KnownRate, Decimal, bool] | None:
    """Return the rate that explains one leg's fee, what it gives, and whether to the last digit."""
    for rate in known:
        due = value * rate.rate
        if fee in (due, Rounding.VENUE.book(due)):
            return rate, due, True
    for rate in known:
        due = value * rate.rate
        if -TOLERANCE <= fee - due <= TOLERANCE + _ONE_FILL * n_fills:
            return rate, due, False
    return None


def _own_fills(
    booking: Booking, fee: Decimal, value: Decimal, fills: Sequence[Booking]
) -> tuple[KnownRate, Decimal, bool] | None:
    paid = sum((fill.fee or Decimal(0) for fill in fills), Decimal(0))
    if not fills or sum(fill.qty or Decimal(0) for fill in fills) != booking.qty:
        return None
    if abs(paid - fee) > TOLERANCE or not value:
        return None
    average = KnownRate(
        paid / value, None, "fills of the same account", f"{len(fills)} executions of the closing order"
    )
    return average, paid, paid == fee


def _total(
    booking: Booking, fee: Decimal, entry_value: Decimal, exit_value: Decimal, known: Sequence[KnownRate]
) -> Judgement:
    # Old replies show the profit only: the fees are what the price difference leaves over it.
    for opening in known:
        for closing in known:
            due = entry_value * opening.rate + exit_value * closing.rate
            if fee in (due, Rounding.VENUE.book(due)) or abs(fee - due) <= TOLERANCE + _ONE_FILL * _OPENING_FILLS:
                is_exact = fee in (due, Rounding.VENUE.book(due))
                return Judgement(
                    booking,
                    Verdict.EXACT if is_exact else Verdict.WITHIN_ROUNDING,
                    opening.reason if is_exact else f"{opening.reason}, rounding",
                    f"opened as {opening}, closed as {closing} ({opening.source})",
                    fee if is_exact else due,
                    opening.rate,
                )
    nearest = min(known, key=lambda rate: abs(fee - (entry_value + exit_value) * rate.rate))
    due = (entry_value + exit_value) * nearest.rate
    low, high = (bound(rate.rate for rate in known) * (entry_value + exit_value) for bound in (min, max))
    is_mixed = low <= fee <= high
    return Judgement(
        booking,
        Verdict.UNEXPLAINED,
        "fills of both roles" if is_mixed else "no known rate",
        f"profit leaves {fee:f} for fees on values of {entry_value:f} and {exit_value:f}; known are "
        f"{', '.join(map(str, known))}",
        due,
        nearest.rate,
        is_unknowable=is_mixed,
    )
