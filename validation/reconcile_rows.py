"""One booked fee or funding payment, judged: exact, within rounding, or unexplained, with the reason and the money."""

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from enum import StrEnum

from bybit.rules.candles import Category
from bybit.rules.fees import Rounding
from bybit.rules.funding import funding_payment
from bybit.rules.positions import notional
from validation.reconcile_bookings import BadBooking, Booking, Source
from validation.reconcile_rates import KnownRate, RateBook

TOLERANCE = Decimal("5e-8")
"""How far a booked amount may lie from the exact product and still be called rounding (fees shared out over orders)."""

_OPTION = re.compile(r"-[0-9.]+-[CP](-|$)")
# The site's own lists may show fewer digits than were booked; the API sends every digit.
_MAY_SHOW_LESS = (Source.ASSET_CHANGES, Source.TRADE_HISTORY)
_FULL_DIGITS = -8
# A figure shown with fewer digits still tells one rate from the next when its last digit is at most this share of it.
_TELLING_SHARE = Decimal("0.01")
# The venue's rates have at most six decimals: 0.000375, say.
_PLAIN_PLACES = 6
DISPLAY = "displayed figures rounded"


class Verdict(StrEnum):
    """EXACT: to the last digit. WITHIN_ROUNDING: off by no more than the rounding that the row's reason states."""

    EXACT = "exact"
    WITHIN_ROUNDING = "within rounding"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found out about one row.

    Attributes
    ----------
    reason : str
        A word to count by, e.g. "era" or "symbol rate, rounding".
    detail : str
        A sentence to read: the rate, its source, or what is wrong.
    recomputed : Decimal or None
        What the rules give, in the row's coin; None where nobody can tell.
    is_unknowable : bool
        Unexplained because the file does not show what the amount depends on, not because it contradicts a rule.
    source : str
        Where the rate is known from.
    same_as : str or None
        The row that already counts this event's money: exports overlap.
    """

    booking: Booking
    verdict: Verdict
    reason: str
    detail: str
    recomputed: Decimal | None = None
    rate: Decimal | None = None
    source: str = ""
    is_unknowable: bool = False
    same_as: str | None = None

    @property
    def difference(self) -> Decimal | None:
        """Booked less recomputed: positive is paid in excess."""
        if self.recomputed is None or self.booking.fee is None:
            return None
        return self.booking.fee - self.recomputed


def value_of(booking: Booking) -> Decimal:
    """Return the value a fill's fee is a fraction of, in the coin the fee was charged in.

    Raises
    ------
    BadBooking
        When the row shows no price or quantity, or charges a coin that is not the contract's.
    """
    symbol, coin, category = booking.symbol or "", booking.coin, booking.category
    is_spot = category is Category.SPOT
    if is_spot and booking.source in (Source.TRANSACTION_LOG, Source.ASSET_CHANGES) and booking.cash_flow:
        # A log has one line a coin: its cash flow is the amount of that coin, whichever it is.
        return abs(booking.cash_flow)
    if booking.qty is None or booking.price is None or booking.price <= 0:
        raise BadBooking(f"the row shows quantity {booking.qty} at price {booking.price}: a fee needs both")
    if is_spot:
        in_base = booking.side == "Buy" if coin is None else symbol.startswith(coin)
        if coin is not None and not in_base and not symbol.endswith(coin):
            raise BadBooking(_other_coin(coin, f"the coins of {symbol}"))
        return booking.qty if in_base else booking.qty * booking.price
    assert category is not None
    settles = symbol.startswith if category is Category.INVERSE else symbol.split("-")[0].endswith
    of_usdc = coin == "USDC" and symbol.split("-")[0].endswith("PERP")
    dated_usdc = coin == "USDC" and "-" in symbol and not symbol.endswith("USDT")
    if coin is not None and not settles(coin) and not of_usdc and not dated_usdc:
        raise BadBooking(_other_coin(coin, f"the coin {symbol} settles in"))
    return notional(category, booking.qty, booking.price)


def _other_coin(coin: str, expected: str) -> str:
    return (
        f"the fee was charged in {coin}, expected {expected}: fees paid in another coin (MNT, say) or by coupon are "
        "not modelled; fetch /v5/execution/list, whose execFee is in the contract's coin"
    )


def judge_fill(booking: Booking, rates: RateBook) -> Judgement:
    """Return the judgement of a fill's fee."""
    if _OPTION.search(booking.symbol or ""):
        return unknown(booking, "options not modelled", "the fee of an option depends on its underlying's price")
    if booking.fee is not None and (not booking.symbol or booking.category is None):
        said = f"a fee on a row of kind {booking.kind_text!r}: only trades and settlements of a contract are recomputed"
        return unknown(booking, "fee of another kind", said)
    if booking.fee is None or not booking.symbol or booking.category is None or booking.time_ms is None:
        missing = [n for n in ("fee", "symbol", "category", "time_ms") if getattr(booking, n) in (None, "")]
        return unknown(booking, "figures missing", f"the row shows no {', '.join(missing)}")
    try:
        value = value_of(booking)
    except BadBooking as error:
        return unknown(booking, "figures missing" if booking.price is None else "other coin", str(error))
    candidates = rates.candidates(booking)
    best: Judgement | None = None
    for known in candidates:
        found = compare(booking, value * known.rate, known)
        if found is not None and (best is None or found.verdict is Verdict.EXACT):
            best = found
            if found.verdict is Verdict.EXACT:
                break
    if best is not None:
        return best
    return _unexplained_fill(booking, value, candidates, rates)


def compare(booking: Booking, due: Decimal, known: KnownRate, what: str = "fee") -> Judgement | None:
    """Return the judgement when the booked amount is ``due``, or off it by no more than rounding; else None."""
    fee = booking.fee
    assert fee is not None
    booked = Rounding.VENUE.book(due)
    contradicts = booking.rate is not None and known.rate != booking.rate
    remark = f"; the row names another rate, {booking.rate:f}" if contradicts else ""
    detail = f"{what} at {known}{remark}"
    if fee in (due, booked):
        return Judgement(booking, Verdict.EXACT, known.reason, detail, fee, known.rate, known.source)
    if abs(fee - due) <= TOLERANCE:
        reason = f"{known.reason}, rounding"
        detail = f"{detail}, rounded otherwise"
        return Judgement(booking, Verdict.WITHIN_ROUNDING, reason, detail, booked, known.rate, known.source)
    if booking.source in _MAY_SHOW_LESS and _shows_less(fee, due):
        reason = f"{known.reason}, {DISPLAY}"
        detail = f"{detail}, shown as {fee}"
        return Judgement(booking, Verdict.WITHIN_ROUNDING, reason, detail, booked, known.rate, known.source)
    return None


def _shows_less(fee: Decimal, due: Decimal) -> bool:
    exponent = fee.as_tuple().exponent
    if not isinstance(exponent, int) or exponent <= _FULL_DIGITS or not fee:
        return False
    unit = Decimal(1).scaleb(exponent)
    directions = (ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_CEILING, ROUND_FLOOR)
    return unit <= abs(fee) * _TELLING_SHARE and fee in {due.quantize(unit, rounding=way) for way in directions}


def _unexplained_fill(booking: Booking, value: Decimal, candidates: list[KnownRate], rates: RateBook) -> Judgement:
    fee = booking.fee
    assert fee is not None
    implied = fee / value if value else Decimal(0)
    said = f"booked {fee:f} on a value of {value:f}, a rate of about {implied:.6f}"
    if not candidates:
        return unknown(booking, "no rate known", f"{said}: no rate is established for that market, tier and day")
    # Rounded at 8 decimals the implied rate is one of a narrow span: the shortest number in it is the rate.
    shortest = _shortest(fee, value) if value else None
    hints = rates.other_tiers(booking, shortest) if shortest is not None else []
    likely = f"; it is that of {', '.join(hints[:4])}: give --tier" if hints else ""
    nearest = min(candidates, key=lambda known: abs(fee - value * known.rate))
    tried = ", ".join(dict.fromkeys(str(known) for known in candidates))
    # A row that names neither role nor rate, charged by a plain rate that nobody recorded: a symbol's own, perhaps.
    is_unrecorded = booking.rate is None and booking.liquidity is None and not hints and shortest is not None
    return Judgement(
        booking,
        Verdict.UNEXPLAINED,
        "rate not recorded anywhere" if is_unrecorded else "no known rate",
        f"{said}; known here are {tried}{likely}",
        None if is_unrecorded else Rounding.VENUE.book(value * nearest.rate),
        nearest.rate,
        is_unknowable=is_unrecorded,
    )


def _shortest(fee: Decimal, value: Decimal) -> Decimal | None:
    """Return the plain rate that gives ``fee``, None when there is none or the fee is too small to tell."""
    low, high = sorted(((fee - TOLERANCE) / value, (fee + TOLERANCE) / value))
    if high - low > abs(fee / value) * _TELLING_SHARE:
        return None
    for places in range(2, _PLAIN_PLACES + 1):
        rounded = (fee / value).quantize(Decimal(1).scaleb(-places))
        if low <= rounded <= high:
            return rounded.normalize()
    return None


def judge_funding(booking: Booking) -> Judgement:
    """Return the judgement of a funding payment from the rate, size and mark price that the row shows.

    A log shows the rate as it meets the position (flipped for a short), the fills list the published one.
    """
    if booking.fee is None:
        return unknown(booking, "figures missing", "the row shows no amount")
    if not booking.fee and not booking.qty:
        return Judgement(booking, Verdict.EXACT, "funding", "nothing was held and nothing was paid", booking.fee)
    price, qty, rate, category = booking.price, booking.qty, booking.rate, booking.category
    if price is None or qty is None or rate is None or category in (None, Category.SPOT):
        figures = {"mark price": price, "position": qty, "funding rate": rate, "category": category}
        shown = " and ".join(name for name, figure in figures.items() if figure is None) or "derivative"
        return unknown(
            booking,
            "funding: no rate or mark price shown",
            f"the row shows no {shown}: give the executions or the API's transaction log of the same time as well",
        )
    assert category is not None
    as_met = -funding_payment(qty, price, rate, category)
    by_side = -as_met if booking.side == "Sell" else as_met
    dues = [(as_met, "the rate as it met the position")]
    if booking.source is not Source.TRANSACTION_LOG:
        # Recorded fills lists are scarce: the published rate is the rule, the other sign has been seen documented.
        dues.insert(0, (by_side, "the published rate"))
    for due, meaning in dues:
        known = KnownRate(rate, None, "funding", meaning)
        found = compare(booking, due, known, "funding")
        if found is not None:
            return found
    due = dues[0][0]
    return Judgement(
        booking,
        Verdict.UNEXPLAINED,
        "funding",
        f"booked {booking.fee:f}, expected {due:f}: {qty:f} x {price:f} x {rate:f}",
        Rounding.VENUE.book(due),
        rate,
    )


def unknown(booking: Booking, reason: str, detail: str) -> Judgement:
    """Return the judgement of a row that does not show what its amount depends on."""
    return Judgement(booking, Verdict.UNEXPLAINED, reason, detail, is_unknowable=True)
