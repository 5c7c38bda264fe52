"""What an account's positions and orders bind, what is left, and when it is lost, by the rules of the venue.

Regular margin (cross) is reckoned by ``bybit.rules.cross``, whose assumptions hold here. Isolated: each position holds
the margin of its entry value, and orders bind their cost beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from bybit.rules import cross, holdings
from bybit.rules.candles import Category
from bybit.rules.fees import FeeRates
from bybit.rules.liquidation import MarginBasis, liquidation_price, liquidation_price_from_entry
from bybit.rules.margin import MaintenanceTier, RiskTier, fee_to_close, tier_of
from bybit.rules.positions import notional
from bybit.sandbox.accounts import Position, TradingAccount

_ZERO, _ONE = Decimal(0), Decimal(1)
_COIN = "USDT"
# One dollar each, and counting in full.
_RATIOS = ((None, _ONE),)


@dataclass(frozen=True, slots=True)
class Terms:
    """What margin depends on besides the account: a contract's mark price, ladder and fees at an instant."""

    mark_price: Decimal
    tiers: Sequence[RiskTier]
    rates: FeeRates
    held: holdings.Terms

    @property
    def basis(self) -> MarginBasis:
        """Which price maintenance is reckoned on at that instant, MARK or ENTRY."""
        return self.held.basis


TermsOf = Callable[[str], Terms]
"""Terms of a symbol; works for every contract the account holds or has ordered."""


@dataclass(frozen=True, slots=True)
class PositionMargin:
    """One position's figures, settle coin; the fee to close is part of both margins, as the venue lists them."""

    initial: Decimal
    maintenance: Decimal
    unrealized: Decimal
    tier: RiskTier


@dataclass(frozen=True, slots=True)
class Standing:
    """An account's figures, settle coin; ``across`` are those of the whole account, None in isolated mode."""

    wallet: Decimal
    unrealized: Decimal
    position_initial: Decimal
    position_maintenance: Decimal
    order_initial: Decimal
    across: cross.Standing | None

    @property
    def equity(self) -> Decimal:
        """Wallet plus unrealized P&L."""
        return self.wallet + self.unrealized

    @property
    def available(self) -> Decimal:
        """What a new order may bind; below 0 when more is bound than there is."""
        if self.across is not None:
            return self.across.available
        return self.wallet - self.position_initial - self.order_initial

    @property
    def may_open(self) -> bool:
        """Whether the orders counted here may stand: in cross margin the initial margin rate stays below 100 %."""
        return self.available >= 0 if self.across is None else self.across.may_open()


def position_margin(account: TradingAccount, position: Position, terms: Terms) -> PositionMargin:
    """Return the figures of a position that is not flat."""
    assert position.entry_price is not None
    entry = terms.basis is MarginBasis.ENTRY
    value = notional(Category.LINEAR, position.size, position.entry_price if entry else terms.mark_price)
    tier = tier_of(terms.tiers, value, beyond_top=True)
    unrealized = position.unrealized(terms.mark_price)
    if not account.is_isolated:
        found = cross.position_margins(_holding(position, terms), terms.basis)
        return PositionMargin(found.initial, found.maintenance, unrealized, tier)
    taker = terms.rates.taker
    reserve = fee_to_close(Category.LINEAR, position.entry_price, position.size, position.leverage, taker)
    maintenance = terms.held.maintenance(position.held, terms.mark_price)
    return PositionMargin(position.margin + reserve, maintenance + reserve, unrealized, tier)


def standing(account: TradingAccount, terms_of: TermsOf) -> Standing:
    """Return the account as it stands."""
    found = _standing(account, terms_of)
    if not account.is_isolated:
        bound = [sum((row.initial for row in rows), _ZERO) for rows in (found.positions, found.orders)]
        kept = sum((row.maintenance for row in found.positions), _ZERO)
        return Standing(account.wallet, found.unrealized, bound[0], kept, bound[1], found)
    figures = [
        position_margin(account, held, terms_of(held.symbol)) for held in account.positions.values() if held.size
    ]
    return Standing(
        account.wallet,
        sum((row.unrealized for row in figures), _ZERO),
        sum((row.initial for row in figures), _ZERO),
        sum((row.maintenance for row in figures), _ZERO),
        sum((row.initial for row in found.orders), _ZERO),
        None,
    )


def is_lost(account: TradingAccount, terms_of: TermsOf) -> bool:
    """Return whether a cross account is liquidated: its maintenance margin rate has reached 100 %."""
    return _standing(account, terms_of).is_lost


def cross_liquidation_price(account: TradingAccount, position: Position, terms_of: TermsOf) -> Decimal | None:
    """Return the mark price at which a cross account is lost if only this contract moves; None when none does.

    An estimate where orders stand in the contract: what they bind moves with its price as well.
    """
    assert position.entry_price is not None
    now, terms = _standing(account, terms_of), terms_of(position.symbol)
    others = [row for row in now.positions if row.symbol != position.symbol]
    margin = account.wallet - now.haircut_loss - now.order_loss
    margin += sum((row.unrealized - row.maintenance for row in others), _ZERO)
    margin -= sum((row.maintenance for row in now.orders), _ZERO)
    place = Category.LINEAR, position.entry_price, position.size, margin
    # The fee to close is so much of the value, and part of what has to be kept.
    unit = fee_to_close(Category.LINEAR, _ONE, position.size, position.leverage, terms.rates.taker)
    fee_rate = unit / abs(position.size)
    tiers = [
        MaintenanceTier(tier.max_notional, tier.maintenance_margin_rate + fee_rate, tier.mm_deduction)
        for tier in terms.tiers
    ]
    solve = liquidation_price_from_entry if terms.basis is MarginBasis.ENTRY else liquidation_price
    return solve(*place, tiers)


def _standing(account: TradingAccount, terms_of: TermsOf) -> cross.Standing:
    positions, orders, basis = [], [], MarginBasis.MARK
    for symbol, position in account.positions.items():
        waiting = account.orders_of(symbol)
        if not position.size and not waiting:
            continue
        terms = terms_of(symbol)
        basis = terms.basis
        if position.size:
            positions.append(_holding(position, terms))
        # Conditional orders bind nothing until they are triggered, and what only reduces binds nothing at all.
        orders += [
            cross.Resting(
                symbol,
                Category.LINEAR,
                order.sign * order.leaves,
                order.price,
                terms.mark_price,
                position.leverage,
                terms.tiers,
                terms.rates.taker,
                _ONE,
            )
            for order in waiting
            if order.is_working and not order.reduce_only and order.price is not None and order.leaves
        ]
    # The basis is that of the instant of the terms; an account without any has nothing to reckon on it.
    return cross.standing(0, [cross.Balance(_COIN, account.wallet, _ONE, _RATIOS)], positions, orders, basis=basis)


def _holding(position: Position, terms: Terms) -> cross.Holding:
    assert position.entry_price is not None
    return cross.Holding(
        position.symbol,
        Category.LINEAR,
        position.size,
        position.entry_price,
        terms.mark_price,
        position.leverage,
        terms.tiers,
        terms.rates.taker,
        _ONE,
    )
