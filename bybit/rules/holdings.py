"""One contract's position in the ledger: what a fill does to it, what keeps it, and when an isolated one is lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from bybit.rules.candles import Category
from bybit.rules.ledger import Contract, Position
from bybit.rules.liquidation import (
    MarginBasis,
    bankruptcy_price,
    is_liquidated,
    liquidation_price,
    liquidation_price_from_entry,
    round_to_tick_against_holder,
)
from bybit.rules.margin import MaintenanceTerms, initial_margin, maintenance_margin
from bybit.rules.positions import notional, unrealized_pnl

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a fill closes and opens; amounts in settle coin.

    ``closing`` is signed like the position, ``opening`` like the fill. ``released`` is margin set free, ``needed``
    margin to lock, ``realized`` the result of the closing part before the fee.
    """

    closing: Decimal
    opening: Decimal
    released: Decimal
    realized: Decimal
    needed: Decimal


def split(contract: Contract, position: Position, qty: Decimal, price: Decimal) -> Parts:
    """Return the parts of a fill of signed ``qty``: it closes first, the rest opens the other way."""
    closing = -_clip(qty, -position.size)
    opening = qty + closing
    released = realized = needed = _ZERO
    if closing and position.entry_price is not None:
        released = position.margin * closing / position.size
        realized = unrealized_pnl(contract.category, position.entry_price, closing, price)
    if opening:
        needed = initial_margin(notional(contract.category, opening, price), contract.leverage)
    return Parts(closing, opening, released, realized, needed)


def after_fill(category: Category, position: Position, parts: Parts, price: Decimal) -> Position:
    """Return the position that a fill leaves, not yet priced. Reducing leaves the average entry where it was."""
    kept = position.size - parts.closing
    size = kept + parts.opening
    if not size:
        return Position()
    if not kept or position.entry_price is None:
        return Position(size, price, parts.needed)
    entry = position.entry_price
    if parts.opening:
        entry = _average(category, kept, entry, parts.opening, price)
    return Position(size, entry, position.margin - parts.released + parts.needed)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a contract's position is judged by at an instant. ``basis`` is MARK or ENTRY."""

    category: Category
    tiers: Sequence[MaintenanceTerms]
    basis: MarginBasis
    tick_size: Decimal | None

    def maintenance(self, position: Position, mark: Decimal) -> Decimal:
        """Return what a position that is not flat needs to stay open; above the ladder its last tier goes on."""
        price = position.entry_price if self.basis is MarginBasis.ENTRY else mark
        assert price is not None
        return maintenance_margin(notional(self.category, position.size, price), self.tiers, beyond_top=True)

    def unrealized(self, position: Position, mark: Decimal) -> Decimal:
        """Return what the position has gained; 0 when flat."""
        if position.entry_price is None:
            return _ZERO
        return unrealized_pnl(self.category, position.entry_price, position.size, mark)

    def priced(self, position: Position) -> Position:
        """Return an isolated position with its liquidation and bankruptcy price."""
        if position.entry_price is None:
            return position
        place = (self.category, position.entry_price, position.size, position.margin)
        solve = liquidation_price_from_entry if self.basis is MarginBasis.ENTRY else liquidation_price
        return Position(
            position.size,
            position.entry_price,
            position.margin,
            self._on_tick(solve(*place, self.tiers), position.size),
            self._on_tick(bankruptcy_price(*place), position.size),
        )

    def is_lost(self, position: Position, mark: Decimal) -> bool:
        """Return whether an isolated, priced position is taken over at a mark price; equality is enough."""
        if position.entry_price is None:
            return False
        if self.tick_size is not None:
            # The rounded price is the trigger, a little before margin and maintenance meet.
            limit = position.liquidation_price
            return limit is not None and (mark <= limit if position.size > 0 else mark >= limit)
        if self.basis is MarginBasis.ENTRY:
            return position.margin + self.unrealized(position, mark) <= self.maintenance(position, mark)
        return is_liquidated(self.category, position.entry_price, position.size, position.margin, mark, self.tiers)

    def _on_tick(self, price: Decimal | None, size: Decimal) -> Decimal | None:
        if price is None or self.tick_size is None:
            return price
        # A short's price below one tick would round to 0, which is no price.
        return max(round_to_tick_against_holder(price, size, self.tick_size), self.tick_size)


def _clip(qty: Decimal, against: Decimal) -> Decimal:
    """Return the part of ``qty`` that goes the way of ``against``, no larger than it; 0 when they disagree."""
    if not against or (qty > 0) != (against > 0):
        return _ZERO
    return qty if abs(qty) <= abs(against) else against


def _average(category: Category, kept: Decimal, entry_price: Decimal, opening: Decimal, price: Decimal) -> Decimal:
    if category is Category.INVERSE:
        return (kept + opening) / (kept / entry_price + opening / price)
    return (kept * entry_price + opening * price) / (kept + opening)
