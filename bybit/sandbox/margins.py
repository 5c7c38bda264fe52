"""What an account's positions and orders bind, what is left, and when it is lost.

Regular margin (cross): initial margin at the mark price, the fee to close reserved with it; available is wallet plus
unrealized P&L less all initial margin. Isolated: each position holds the margin of its entry value. How the venue nets
orders of both sides is not established: here the part of each side that only closes the position binds nothing, and
the rest of both sides is added up.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from bybit.rules.candles import Category
from bybit.rules.fees import FeeRates
from bybit.rules.liquidation import liquidation_price
from bybit.rules.margin import RiskTier, fee_to_close, initial_margin, maintenance_margin, order_cost, tier_of
from bybit.rules.positions import notional
from bybit.sandbox.accounts import Position, TradingAccount
from bybit.sandbox.orders import Order

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Terms:
    """What margin depends on besides the account: a contract's mark price, ladder and fees at an instant."""

    mark_price: Decimal
    tiers: Sequence[RiskTier]
    rates: FeeRates


TermsOf = Callable[[str], Terms]
"""Terms of a symbol; works for every contract the account holds or has ordered."""


@dataclass(frozen=True, slots=True)
class PositionMargin:
    """One position's figures, settle coin; the fee to close is part of both margins, as the venue lists them."""

    value: Decimal
    initial: Decimal
    maintenance: Decimal
    unrealized: Decimal
    tier: RiskTier


@dataclass(frozen=True, slots=True)
class Standing:
    """An account's figures, settle coin."""

    wallet: Decimal
    unrealized: Decimal
    position_initial: Decimal
    position_maintenance: Decimal
    order_initial: Decimal
    is_isolated: bool

    @property
    def margin_balance(self) -> Decimal:
        """Wallet plus unrealized P&L."""
        return self.wallet + self.unrealized

    @property
    def available(self) -> Decimal:
        """What a new order may bind; below 0 when more is bound than there is."""
        backing = self.wallet if self.is_isolated else self.margin_balance
        return backing - self.position_initial - self.order_initial


def position_margin(account: TradingAccount, position: Position, terms: Terms) -> PositionMargin:
    """Return the figures of a position that is not flat."""
    assert position.entry_price is not None
    value = notional(Category.LINEAR, position.size, terms.mark_price)
    basis = position.entry_price if account.is_isolated else terms.mark_price
    reserve = fee_to_close(Category.LINEAR, basis, position.size, position.leverage, terms.rates.taker)
    bound = position.margin if account.is_isolated else initial_margin(value, position.leverage)
    return PositionMargin(
        value,
        bound + reserve,
        maintenance_margin(value, terms.tiers, beyond_top=True) + reserve,
        position.unrealized(terms.mark_price),
        tier_of(terms.tiers, value, beyond_top=True),
    )


def order_margin(position: Position, orders: Iterable[Order], taker_rate: Decimal) -> Decimal:
    """Return what the orders of one contract bind: the cost of what they would open, a fee to open and to close."""
    total = _ZERO
    spare = {"Buy": max(-position.size, _ZERO), "Sell": max(position.size, _ZERO)}
    for order in orders:
        # Conditional orders bind nothing until they are triggered.
        if not order.is_working or order.reduce_only or order.price is None:
            continue
        closing = min(order.leaves, spare[order.side])
        spare[order.side] -= closing
        opening = order.sign * (order.leaves - closing)
        if opening:
            total += order_cost(Category.LINEAR, order.price, opening, position.leverage, taker_rate).total
    return total


def standing(account: TradingAccount, terms_of: TermsOf) -> Standing:
    """Return the account as it stands."""
    unrealized = initial = maintenance = ordered = _ZERO
    for symbol, position in account.positions.items():
        orders = account.orders_of(symbol)
        if not position.size and not orders:
            continue
        terms = terms_of(symbol)
        if position.size:
            figures = position_margin(account, position, terms)
            unrealized += figures.unrealized
            initial += figures.initial
            maintenance += figures.maintenance
        ordered += order_margin(position, orders, terms.rates.taker)
    return Standing(account.wallet, unrealized, initial, maintenance, ordered, account.is_isolated)


def is_lost(account: TradingAccount, terms_of: TermsOf) -> bool:
    """Return whether a cross account is liquidated: wallet plus unrealized P&L no longer exceeds maintenance.

    Maintenance without the fee to close, all positions at their marks.
    """
    balance, maintenance = account.wallet, _ZERO
    for symbol, position in account.positions.items():
        if position.size:
            terms = terms_of(symbol)
            balance += position.unrealized(terms.mark_price)
            value = notional(Category.LINEAR, position.size, terms.mark_price)
            maintenance += maintenance_margin(value, terms.tiers, beyond_top=True)
    return balance <= maintenance


def cross_liquidation_price(account: TradingAccount, position: Position, terms_of: TermsOf) -> Decimal | None:
    """Return the mark price at which a cross account is lost if only this contract moves; None when none does."""
    assert position.entry_price is not None
    margin = account.wallet
    for symbol, other in account.positions.items():
        if other is not position and other.size:
            terms = terms_of(symbol)
            value = notional(Category.LINEAR, other.size, terms.mark_price)
            margin += other.unrealized(terms.mark_price) - maintenance_margin(value, terms.tiers, beyond_top=True)
    tiers = terms_of(position.symbol).tiers
    return liquidation_price(Category.LINEAR, position.entry_price, position.size, margin, tiers)
