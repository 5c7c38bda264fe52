"""Several positions judged together: what a cross account holds, needs, and at which marks it is lost.

Between two sets of marks all contracts move at once, linear prices in proportion, inverse ones so that their value in
coin does: then unrealized P&L is a straight line and maintenance one per tier, and the first loss has a closed form.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from bybit.rules.candles import Category
from bybit.rules.holdings import Terms
from bybit.rules.ledger import Position
from bybit.rules.liquidation import MarginBasis
from bybit.rules.positions import notional

_ZERO, _ONE = Decimal(0), Decimal(1)


@dataclass(frozen=True, slots=True)
class Leg:
    """One position, not flat, on its way from ``start`` to ``end`` (mark prices)."""

    terms: Terms
    position: Position
    start: Decimal
    end: Decimal

    def price(self, fraction: Decimal) -> Decimal:
        """Return the mark price after a fraction of the way."""
        if not fraction or self.start == self.end:
            return self.start
        if fraction == 1:
            return self.end
        if self.terms.category is Category.INVERSE:
            return 1 / (1 / self.start + fraction * (1 / self.end - 1 / self.start))
        return self.start + fraction * (self.end - self.start)

    def cushion(self, fraction: Decimal) -> Decimal:
        """Return unrealized P&L less maintenance after a fraction of the way."""
        mark = self.price(fraction)
        return self.terms.unrealized(self.position, mark) - self.terms.maintenance(self.position, mark)

    def tier_changes(self) -> list[Decimal]:
        """Return the fractions inside (0, 1) at which the value stands on a tier's bound."""
        if self.terms.basis is MarginBasis.ENTRY:
            return []
        first, last = (notional(self.terms.category, self.position.size, price) for price in (self.start, self.end))
        bounds = [tier.max_notional for tier in self.terms.tiers[:-1]]
        found = [(bound - first) / (last - first) for bound in bounds if bound is not None and first != last]
        return [fraction for fraction in found if 0 < fraction < 1]


def is_lost(balance: Decimal, legs: Sequence[Leg], fraction: Decimal = _ZERO) -> bool:
    """Return whether ``balance`` (cash and backing) plus unrealized P&L no longer exceeds maintenance of all legs."""
    return bool(legs) and balance + sum((leg.cushion(fraction) for leg in legs), _ZERO) <= 0


def first_loss(balance: Decimal, legs: Sequence[Leg]) -> Decimal | None:
    """Return the first fraction of the way, in [0, 1], at which the account is lost; None when it survives."""
    if not legs:
        return None
    if is_lost(balance, legs):
        return _ZERO
    turns = sorted({_ZERO, _ONE, *(fraction for leg in legs for fraction in leg.tier_changes())})
    for left, right in itertools.pairwise(turns):
        # Inside a section everything is straight: two points fix the line, and no bound of a tier is touched.
        third = (right - left) / 3
        low, high = (balance + sum((leg.cushion(left + share * third) for leg in legs), _ZERO) for share in (1, 2))
        slope = (high - low) / third
        at_left, at_right = low - slope * third, high + slope * third
        # A ladder whose deductions do not chain jumps at a bound: lost from there on.
        if at_left <= 0:
            return left
        if at_right <= 0:
            return min(left - at_left / slope, right)
        if is_lost(balance, legs, right):
            return right
    return None
