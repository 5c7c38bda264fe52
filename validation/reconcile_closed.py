"""Closed positions: whether both legs' fees are what a known rate gives, as far as the shown digits can tell.

A list shows the average entry of a position, each lot of it its own fees: a lot that was opened at another price than
the average can only be judged by its own fills, or together with the other lots of the position.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from bybit.rules.candles import Category
from validation.reconcile_bookings import Booking, Kind
from validation.reconcile_intervals import FEE_SLACK, Box, Shown, shown_fee, shown_of, total
from validation.reconcile_rates import KnownRate, RateBook
from validation.reconcile_rows import DISPLAY, TOLERANCE, Judgement, Verdict, unknown

OF_FILLS = "fills of the same account"
OF_LOTS = "lots of one position"
_QTY_TOO = "displayed figures and quantity rounded"
_HOUR_MS = 3_600_000
_MAX_SUMS = 100_000
# How far a lot's own opening price may lie from the position's average and still be taken for one.
_PLAUSIBLE = Decimal("0.25")
# Rates of single contracts were 0.0011, 0.00085, 0.001: at most five decimals, told apart by a hundredth of themselves.
_PLAIN_PLACES = (3, 4, 5)
_TELLING_SHARE = Decimal("0.01")
Pair = tuple[KnownRate, KnownRate]


def judge_closed(closed: Sequence[Booking], fills: Sequence[Booking], rates: RateBook) -> list[Judgement]:
    """Return the judgement of each closed position of the site's lists, in the order given.

    Parameters
    ----------
    closed : sequence of Booking
        With ``closing``; prices, quantity and profit shown rounded.
    fills : sequence of Booking
        Of the same account, as far as there are any; times of both in UTC.
    rates : RateBook
        What is known of the account's rates.
    """
    by_symbol: dict[str, list[Booking]] = {}
    for fill in fills:
        if fill.kind is Kind.TRADE and fill.symbol and fill.fee is not None and fill.qty is not None:
            by_symbol.setdefault(fill.symbol, []).append(fill)
    found: dict[int, Judgement] = {}
    for at, booking in enumerate(closed):
        of_symbol = by_symbol.get(booking.symbol or "", [])
        judgement = _by_fills(booking, of_symbol, rates) or _by_digits(booking, rates, round_qty=False)
        if judgement is not None:
            found[at] = judgement
    for lots in _positions(closed):
        if len(lots) > 1 and any(at not in found for at in lots):
            for at, judgement in zip(lots, _by_lots([closed[at] for at in lots], rates), strict=False):
                found.setdefault(at, judgement)
    for at, booking in enumerate(closed):
        if at not in found:
            found[at] = _by_digits(booking, rates, round_qty=True) or _left_over(booking, rates)
    return [found[at] for at in range(len(closed))]


def hours_ahead(closed: Sequence[Booking], fills: Sequence[Booking]) -> int:
    """Return by how many whole hours the times of ``closed`` stand ahead of those of ``fills``; 0 when nothing tells.

    The list of closed positions is shown in the reader's own zone. Two openings or closings that fall on fills of the
    same symbol and second, and on more of them than at any other shift, tell the zone.
    """
    seconds = {(fill.symbol, (fill.time_ms or 0) // 1_000) for fill in fills if fill.kind is Kind.TRADE}
    moments = {
        (booking.symbol, ms // 1_000)
        for booking in closed
        for ms in (booking.time_ms, booking.closing.opened_ms if booking.closing else None)
        if ms is not None
    }

    def n_met(hours: int) -> int:
        return sum((symbol, second - hours * 3_600) in seconds for symbol, second in moments)

    best = max(range(-12, 15), key=lambda hours: (n_met(hours), -abs(hours)))
    return best if n_met(best) >= 2 and n_met(best) > n_met(0) else 0


def pairs_of(booking: Booking, rates: RateBook) -> Iterator[Pair]:
    """Yield the rates that opening and closing may have paid, both of one basis, takers first."""
    by_reason: dict[str, list[KnownRate]] = {}
    for known in rates.candidates(booking):
        by_reason.setdefault(known.reason, []).append(known)
    for sides in by_reason.values():
        yield from itertools.product(sides, sides)


def _by_digits(booking: Booking, rates: RateBook, *, round_qty: bool) -> Judgement | None:
    shown = shown_of(booking, round_qty=round_qty)
    figures = "quantity, prices and profit" if round_qty else "prices and profit"
    for opening, closing in pairs_of(booking, rates):
        if shown.allows(opening.rate, closing.rate):
            return Judgement(
                booking,
                Verdict.WITHIN_ROUNDING,
                f"{opening.reason}, {_QTY_TOO if round_qty else DISPLAY}",
                f"opened as {opening}, closed as {closing}: {figures} that are all shown as they are give this fee",
                shown_fee(booking, opening.rate, closing.rate),
                opening.rate,
                opening.source,
            )
    return None


def _by_fills(booking: Booking, fills: Sequence[Booking], rates: RateBook) -> Judgement | None:
    closing, fee = booking.closing, booking.fee
    assert closing is not None
    assert fee is not None
    if not fills or closing.is_long is None or not closing.is_fee_shown:
        return None
    opened = _sums(booking, fills, closing.opened_ms, is_opening=True)
    closed = _sums(booking, fills, booking.time_ms, is_opening=False)
    for first, second in itertools.product(opened, closed):
        if abs(fee - first - second) <= TOLERANCE:
            is_exact = fee == first + second
            return Judgement(
                booking,
                Verdict.EXACT if is_exact else Verdict.WITHIN_ROUNDING,
                OF_FILLS if is_exact else f"{OF_FILLS}, rounding",
                f"the account's own fills of both seconds paid {first:f} to open and {second:f} to close",
                first + second,
            )
    shown = shown_of(booking)
    zero = Decimal(0)
    for sums, value, words in (
        (opened, shown.exit_value, ("opening", "closing")),
        (closed, shown.entry_value, ("closing", "opening")),
    ):
        for paid, known in itertools.product(sums, rates.candidates(booking)):
            legs = (zero, known.rate) if sums is opened else (known.rate, zero)
            if Box.around(fee - paid, FEE_SLACK).meets(value.scaled(known.rate)):
                return Judgement(
                    booking,
                    Verdict.WITHIN_ROUNDING,
                    f"{known.reason}, {OF_FILLS}",
                    f"{words[0]}: the account's own fills of that second paid {paid:f}; {words[1]}: {known} on a value "
                    "whose price is shown rounded",
                    paid + shown_fee(booking, *legs),
                    known.rate,
                    known.source,
                )
    return None


def _sums(booking: Booking, fills: Sequence[Booking], time_ms: int | None, *, is_opening: bool) -> list[Decimal]:
    """Return what fills of that second that make up the quantity paid together: one sum for each choice of them."""
    closing, qty = booking.closing, booking.qty
    assert closing is not None
    assert qty is not None
    if time_ms is None:
        return []
    side = "Buy" if closing.is_long == is_opening else "Sell"
    word = "open" if is_opening else "close"
    chosen: dict[Decimal, set[Decimal]] = {Decimal(0): {Decimal(0)}}
    for fill in fills:
        assert fill.qty is not None
        assert fill.fee is not None
        grain = max(booking.precision_ms, fill.precision_ms, 1_000)
        effect = (fill.effect or "").lower()
        if (fill.time_ms or 0) // grain != time_ms // grain or fill.side != side:
            continue
        if effect.startswith(("open", "close")) and not effect.startswith(word):
            continue
        added = [
            (held + fill.qty, paid + fill.fee)
            for held, sums in chosen.items()
            if held + fill.qty <= qty
            for paid in sums
        ]
        for held, paid in added:
            chosen.setdefault(held, set()).add(paid)
        if sum(map(len, chosen.values())) > _MAX_SUMS:
            return []
    return sorted(chosen.get(qty, ()))


def _positions(closed: Sequence[Booking]) -> Iterable[list[int]]:
    """Return the rows that were open together, by symbol and direction: the lots of one position."""
    groups: dict[tuple[str, str | None, bool | None], list[int]] = {}
    for at, booking in enumerate(closed):
        assert booking.closing is not None
        if booking.closing.opened_ms is not None:
            groups.setdefault((booking.file, booking.symbol, booking.closing.is_long), []).append(at)
    for members in groups.values():
        lots: list[int] = []
        until = 0
        for at in sorted(members, key=lambda at: _opened(closed[at])):
            if lots and _opened(closed[at]) > until:
                yield lots
                lots, until = [], 0
            lots.append(at)
            until = max(until, closed[at].time_ms or 0)
        yield lots


def _opened(booking: Booking) -> int:
    assert booking.closing is not None
    return booking.closing.opened_ms or 0


def _by_lots(lots: Sequence[Booking], rates: RateBook) -> list[Judgement]:
    """Judge lots together: whatever each was opened at, their average entries add up to the whole opening value."""
    shown = [shown_of(lot) for lot in lots]
    fee = total(one.fee for one in shown)
    booked = sum((lot.fee or Decimal(0) for lot in lots), Decimal(0))
    if not booked:
        return []
    entry, exit_ = total(one.entry_value for one in shown), total(one.exit_value for one in shown)
    for opening, closing in pairs_of(lots[0], rates):
        due = entry.scaled(opening.rate) + exit_.scaled(closing.rate)
        if fee.meets(due):
            together = sum((shown_fee(lot, opening.rate, closing.rate) for lot in lots), Decimal(0))
            share = together / booked
            return [
                Judgement(
                    lot,
                    Verdict.WITHIN_ROUNDING,
                    f"{opening.reason}, {OF_LOTS}",
                    f"one of {len(lots)} lots that show their average entry, not their own: together they paid "
                    f"{booked:f}, opened as {opening} and closed as {closing} {together:.8f}",
                    (lot.fee or Decimal(0)) * share,
                    opening.rate,
                    opening.source,
                )
                for lot in lots
            ]
    return []


def _left_over(booking: Booking, rates: RateBook) -> Judgement:
    shown, fee, closing = shown_of(booking), booking.fee, booking.closing
    assert fee is not None
    assert closing is not None
    value = shown_fee(booking, Decimal(1), Decimal(1))
    said = f"booked {fee:f} on shown values of {value:f}, a rate of about {fee / value:.6f}"
    pairs = list(pairs_of(booking, rates))
    if not pairs:
        return unknown(booking, "no rate known", f"{said}: no rate is established for that market, tier and day")
    nearest = min(pairs, key=lambda pair: abs(fee - shown_fee(booking, pair[0].rate, pair[1].rate)))
    due = shown_fee(booking, nearest[0].rate, nearest[1].rate)
    own = _own_entry(booking, nearest)
    if closing.is_fee_shown and shown.adds_up and own is not None:
        return Judgement(
            booking,
            Verdict.UNEXPLAINED,
            "own opening price not shown",
            f"{said}: the profit bears it out, and {nearest[0]} explains it if this lot was opened at {own:.6g} rather "
            "than at the position's average; its fills or the position's other lots are not among the files",
            rate=nearest[0].rate,
            is_unknowable=True,
        )
    known = ", ".join(dict.fromkeys(str(side) for pair in pairs for side in pair))
    plain = _plain_rate(shown) if shown.adds_up and closing.is_fee_shown else None
    if plain is not None:
        detail = f"{said}: {plain:f} on both legs fits the shown digits; known here are {known}"
        reason = "rate not recorded anywhere"
        return Judgement(booking, Verdict.UNEXPLAINED, reason, detail, rate=plain, is_unknowable=True)
    return Judgement(
        booking, Verdict.UNEXPLAINED, "no known rate", f"{said}; known here are {known}", due, nearest[0].rate
    )


def _plain_rate(shown: Shown) -> Decimal | None:
    """Return the shortest rate that the shown digits allow on both legs, None when they allow too many or none."""
    value = shown.entry_value + shown.exit_value
    low, high = shown.fee.low / value.high, shown.fee.high / value.low
    if low <= 0 or high - low > low * _TELLING_SHARE:
        return None
    for places in _PLAIN_PLACES:
        rate = ((low + high) / 2).quantize(Decimal(1).scaleb(-places))
        if low <= rate <= high:
            return rate.normalize()
    return None


def _own_entry(booking: Booking, pair: Pair) -> Decimal | None:
    """Return the opening price that the fee implies, None when it is too far from the shown average to be one."""
    closing, fee, qty = booking.closing, booking.fee, booking.qty
    opening_rate, closing_rate = pair[0].rate, pair[1].rate
    if closing is None or fee is None or not qty or not opening_rate or booking.category is not Category.LINEAR:
        return None
    price = (fee - qty * closing.exit_price * closing_rate) / opening_rate / qty
    return price if abs(price - closing.entry_price) <= closing.entry_price * _PLAUSIBLE else None
