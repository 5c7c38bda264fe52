"""What shown digits allow: a figure shown with few digits stands for every figure that may be shown so."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from bybit.rules.candles import Category
from bybit.rules.positions import notional
from validation.reconcile_bookings import Booking

FEE_SLACK = Decimal("1e-7")
"""A total of several fills, each rounded up at 8 decimals, may lie this far above the product of the totals."""


class Box(NamedTuple):
    """A closed interval of amounts."""

    low: Decimal
    high: Decimal

    @classmethod
    def around(cls, shown: Decimal, half: Decimal) -> "Box":
        """Return all figures within ``half`` of ``shown``."""
        return cls(shown - half, shown + half)

    @classmethod
    def shown_as(cls, shown: Decimal) -> "Box":
        """Return all figures that may be shown as ``shown``: rounded, or cut off behind the last digit.

        Recorded lists do both: averages of 0.386669 and 0.377927 stand there as 0.3866 and 0.3779.
        """
        unit = unit_of(shown)
        return cls(shown - unit, shown + unit / 2) if shown < 0 else cls(shown - unit / 2, shown + unit)

    def __add__(self, other: tuple[object, ...]) -> "Box":
        """Return every sum of a member of each."""
        low, high = other
        assert isinstance(low, Decimal)
        assert isinstance(high, Decimal)
        return Box(self.low + low, self.high + high)

    def times(self, other: "Box") -> "Box":
        """Return every product of a member of each."""
        products = [a * b for a in self for b in other]
        return Box(min(products), max(products))

    def scaled(self, factor: Decimal) -> "Box":
        """Return every member times ``factor``."""
        return self.times(Box(factor, factor))

    def meets(self, other: "Box") -> bool:
        """Return whether both share a member."""
        return self.low <= other.high and other.low <= self.high


def unit_of(shown: Decimal) -> Decimal:
    """Return one of the last shown digit: 0.01 for 1.50."""
    exponent = shown.as_tuple().exponent
    return Decimal(1).scaleb(exponent) if isinstance(exponent, int) else Decimal(0)


def total(boxes: Iterable[Box]) -> Box:
    """Return the sum of all ``boxes``."""
    summed = Box(Decimal(0), Decimal(0))
    for box in boxes:
        summed = summed + box
    return summed


def shown_fee(booking: Booking, open_rate: Decimal, close_rate: Decimal) -> Decimal:
    """Return the fee of both legs at the two rates and the very figures a closed position's row shows."""
    closing, qty = booking.closing, booking.qty
    assert closing is not None
    assert qty is not None
    assert booking.category is not None
    opened, closed = (notional(booking.category, qty, price) for price in (closing.entry_price, closing.exit_price))
    return opened * open_rate + closed * close_rate


class Shown(NamedTuple):
    """The intervals a closed position's row leaves open; values in settle coin, ``pnl`` None when not shown."""

    qty: Box
    entry: Box
    exit: Box
    fee: Box
    pnl: Box | None
    sign: int
    is_inverse: bool

    @property
    def entry_value(self) -> Box:
        """Value at the shown entry price."""
        return self._value(self.entry)

    @property
    def exit_value(self) -> Box:
        """Value at the shown exit price."""
        return self._value(self.exit)

    def _value(self, price: Box) -> Box:
        if self.is_inverse:
            return self.qty.times(Box(1 / price.high, 1 / price.low))
        return self.qty.times(price)

    def allows(self, open_rate: Decimal, close_rate: Decimal) -> bool:
        """Return whether one set of figures, all shown as they are, gives the fee at the two rates and the profit."""
        if not self.fee.meets(self.entry_value.scaled(open_rate) + self.exit_value.scaled(close_rate)):
            return False
        both = open_rate + close_rate
        if self.pnl is None or self.is_inverse or both <= 0:
            return True
        # Two equations in the values of both legs: the fee, and what the profit was before it. The quantity that
        # belongs to each value at the shown prices must be one and the same.
        gross = (self.pnl + self.fee).scaled(Decimal(self.sign))
        entry_value = (self.fee + gross.scaled(-close_rate)).scaled(1 / both)
        exit_value = entry_value + gross
        spans = (self.qty, _over(entry_value, self.entry), _over(exit_value, self.exit))
        return max(span.low for span in spans) <= min(span.high for span in spans)

    @property
    def adds_up(self) -> bool:
        """Whether the profit is the shown price difference less the shown fee."""
        if self.pnl is None:
            return False
        gross = (self.exit_value + self.entry_value.scaled(Decimal(-1))).scaled(Decimal(self.sign))
        return self.pnl.meets(gross + self.fee.scaled(Decimal(-1)))


def _over(value: Box, price: Box) -> Box:
    quotients = [v / p for v in value for p in price]
    return Box(min(quotients), max(quotients))


def shown_of(booking: Booking, *, round_qty: bool = False) -> Shown:
    """Return what a closed position's row leaves open; the quantity as well with ``round_qty``."""
    closing, qty, fee = booking.closing, booking.qty, booking.fee
    assert closing is not None
    assert qty is not None
    assert fee is not None
    entry, exit_ = Box.shown_as(closing.entry_price), Box.shown_as(closing.exit_price)
    sign = -1 if closing.is_long is False else 1
    qty_box = Box.shown_as(qty) if round_qty else Box(qty, qty)
    pnl = None if closing.pnl is None else Box.shown_as(closing.pnl)
    unit = unit_of(fee)
    fee_box = Box.around(fee, unit if unit > FEE_SLACK else FEE_SLACK)
    if not closing.is_fee_shown and pnl is not None:
        # The fee is what the price difference leaves over the profit: as uncertain as both.
        gross = qty_box.times(exit_ + entry._replace(low=-entry.high, high=-entry.low)).scaled(Decimal(sign))
        fee_box, pnl = gross + pnl.scaled(Decimal(-1)), None
    return Shown(qty_box, entry, exit_, fee_box, pnl, sign, booking.category is Category.INVERSE)
