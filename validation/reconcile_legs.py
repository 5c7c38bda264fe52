"""Closed P&L of the API, leg by leg: values to the last digit, each leg the sum of fills that were rounded up."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from bybit.rules.candles import Category
from bybit.rules.fees import Rounding
from bybit.rules.positions import notional
from validation.reconcile_bookings import Booking, Kind, Source
from validation.reconcile_rates import KnownRate, RateBook
from validation.reconcile_rows import TOLERANCE, Judgement, Verdict, unknown

_ONE_FILL = Decimal("1e-8")
# What an opening leg consists of the row does not say; this many fills are taken for possible.
_OPENING_FILLS = 20
_SAME_VALUE = Decimal("1e-7")
_ZERO = Decimal(0)


@dataclass(slots=True)
class _Replayed:
    """What one closing order's executions released: values and fees of both legs, by average cost."""

    qty: Decimal = _ZERO
    entry_value: Decimal = _ZERO
    exit_value: Decimal = _ZERO
    open_fee: Decimal = _ZERO
    close_fee: Decimal = _ZERO


def judge_legs(closed: Sequence[Booking], fills: Sequence[Booking], rates: RateBook) -> list[Judgement]:
    """Return the judgement of each closed-pnl row of the API, in the order given.

    ``fills`` are executions of the same account: where a leg was filled partly as maker, partly as taker, they are
    gone through again, each close taking its share of what the opening fills paid.
    """
    by_symbol: dict[str, list[Booking]] = {}
    for fill in fills:
        if fill.source is Source.EXECUTIONS and fill.kind is Kind.TRADE and fill.symbol is not None:
            by_symbol.setdefault(fill.symbol, []).append(fill)
    replayed = {order: found for rows in by_symbol.values() for order, found in _replay(rows).items()}
    return [_judge(booking, replayed.get(booking.order_id or ""), rates) for booking in closed]


def _replay(fills: Sequence[Booking]) -> dict[str, _Replayed]:
    # Lists run newest first: reversed, fills of one instant stand in their order.
    size, value, fee = _ZERO, _ZERO, _ZERO
    found: dict[str, _Replayed] = {}
    for fill in sorted(reversed(fills), key=lambda row: row.time_ms or 0):
        if fill.qty is None or fill.price is None or fill.fee is None or fill.category is None or not fill.qty:
            continue
        signed = fill.qty if fill.side == "Buy" else -fill.qty
        worth = notional(fill.category, fill.qty, fill.price)
        held = abs(size) if size * signed < 0 else _ZERO
        closing = min(fill.qty, held) if fill.closed_qty is None else min(fill.qty, fill.closed_qty)
        share = closing / fill.qty
        if closing > held:
            # Opened before the first execution there is: what is left of it now nobody can tell, taken for nothing.
            size, value, fee = -signed * share, _ZERO, _ZERO
        elif closing:
            part = closing / held
            order = found.setdefault(fill.order_id or "", _Replayed())
            order.qty += closing
            order.entry_value += value * part
            order.exit_value += worth * share
            order.open_fee += fee * part
            order.close_fee += fill.fee * share
            value, fee = value * (1 - part), fee * (1 - part)
        size += signed
        value, fee = value + worth * (1 - share), fee + fill.fee * (1 - share)
    return found


def _judge(booking: Booking, replayed: _Replayed | None, rates: RateBook) -> Judgement:
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
    if opened is not None and closed is not None:
        due = opened[1] + closed[1]
        is_exact = opened[2] and closed[2]
        reason = opened[0].reason if opened[0].reason == closed[0].reason else f"{opened[0].reason} and mixed roles"
        return Judgement(
            booking,
            Verdict.EXACT if is_exact else Verdict.WITHIN_ROUNDING,
            reason if is_exact else f"{reason}, rounding",
            f"opened as {opened[0]}, closed as {closed[0]}: totals of fills rounded up one by one",
            fee if is_exact else due,
            opened[0].rate,
            opened[0].source,
        )
    by_fills = _by_fills(booking, fee, closing.entry_value, replayed)
    if by_fills is not None:
        return by_fills
    span = sorted(rate.rate for rate in known)
    value = closing.entry_value + closing.exit_value
    is_mixed = span[0] * value <= fee <= span[-1] * value + TOLERANCE * n_fills
    return Judgement(
        booking,
        Verdict.UNEXPLAINED,
        "fills of both roles" if is_mixed else "no known rate",
        f"fees of {fee:f} on values of {closing.entry_value:f} and {closing.exit_value:f}; known are "
        f"{', '.join(map(str, known))}; the executions of both orders would tell",
        None if is_mixed else Rounding.VENUE.book(value * span[-1]),
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


def _by_fills(booking: Booking, fee: Decimal, entry_value: Decimal, own: _Replayed | None) -> Judgement | None:
    # The same quantity at the same average entry: the executions reach back to the opening.
    if own is None or own.qty != booking.qty or abs(own.entry_value - entry_value) > _SAME_VALUE * entry_value:
        return None
    due = own.open_fee + own.close_fee
    if abs(fee - due) > TOLERANCE:
        return None
    is_exact = abs(fee - due) < _ONE_FILL
    return Judgement(
        booking,
        Verdict.EXACT if is_exact else Verdict.WITHIN_ROUNDING,
        "fills of the same account" if is_exact else "fills of the same account, rounding",
        f"the executions paid {own.open_fee:.8f} for what was closed and {own.close_fee:.8f} to close it",
        fee if is_exact else due,
    )


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
                    f"opened as {opening}, closed as {closing}",
                    fee if is_exact else due,
                    opening.rate,
                    opening.source,
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
        None if is_mixed else due,
        nearest.rate,
        is_unknowable=is_mixed,
    )
