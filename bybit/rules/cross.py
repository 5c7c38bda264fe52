"""The unified account in cross margin: what its coins count, what positions and orders bind, and when it is lost.

Account figures are in USD; positions and orders are given in their own settle coin, with its USD index. The texts of
the venue define the figures; where they are cut off, ``ASSUMPTIONS`` says what is reckoned instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from bybit.rules.candles import Category
from bybit.rules.collateral import collateral_value
from bybit.rules.errors import InvalidInput
from bybit.rules.liquidation import MarginBasis
from bybit.rules.margin import MaintenanceTerms, fee_to_close, initial_margin, maintenance_margin, order_cost
from bybit.rules.positions import check_price, notional, unrealized_pnl

_ZERO = Decimal(0)

ASSUMPTIONS = (
    "the fee to close of a cross position is reserved at the price its margin is reckoned on: the venue's term was cut "
    "off in every copy read",
    "long and short of one contract in hedge mode do not offset each other's margin: both are added",
    "the part of an order that only closes a position binds nothing; the rest of both sides is added up",
    "orders need maintenance of their own: what they would add to the position's, in the tier of position plus orders",
    "order loss is what derivative orders priced worse than the mark would lose at once; haircut loss is what the "
    "collateral value would fall by if all spot orders filled, never less than 0",
    "a negative balance counts in full and binds no further margin unless rates of borrowing are given",
    "unrealized P&L counts in full at the coin's index, without a collateral ratio",
    "the account is lost at a maintenance rate of 100 %, the fee to close included; the ledger of back-tests leaves "
    "that fee out, and closes everything at once where the venue reduces step by step",
)
"""What the texts of the venue do not say about the account's figures, and what is reckoned instead."""


@dataclass(frozen=True, slots=True)
class Balance:
    """One coin's wallet.

    ``qty`` in coin, negative is borrowed; ``usd_index`` USD per coin; ``ratios`` the collateral table as in
    ``collateral_value``, empty for a coin that is none. ``borrow_rates`` are the fractions of a borrowed value that are
    bound as (initial, maintenance) margin.
    """

    coin: str
    qty: Decimal
    usd_index: Decimal
    ratios: Sequence[tuple[Decimal | None, Decimal]] = ()
    borrow_rates: tuple[Decimal, Decimal] = (_ZERO, _ZERO)

    def __post_init__(self) -> None:
        """Refuse an index that is no price and a balance that is no number."""
        check_price(self.usd_index)
        if not self.qty.is_finite():
            raise InvalidInput(f"a balance of {self.qty} {self.coin} is not a number")

    @property
    def value(self) -> Decimal:
        """Worth in USD, no ratio applied."""
        return self.qty * self.usd_index

    @property
    def collateral(self) -> Decimal:
        """What counts as collateral, USD; a negative balance counts in full."""
        if self.qty > 0 and not self.ratios:
            return _ZERO
        return collateral_value(self.qty, self.usd_index, self.ratios)


@dataclass(frozen=True, slots=True)
class Holding:
    """One position, not flat. ``size`` signed (long +); ``settle_index`` is USD per settle coin."""

    symbol: str
    category: Category
    size: Decimal
    entry_price: Decimal
    mark_price: Decimal
    leverage: Decimal
    tiers: Sequence[MaintenanceTerms]
    taker_rate: Decimal
    settle_index: Decimal

    def __post_init__(self) -> None:
        """Refuse a flat position and prices that are none."""
        for price in (self.entry_price, self.mark_price, self.settle_index):
            check_price(price)
        if not self.size.is_finite() or not self.size:
            raise InvalidInput(f"{self.symbol} of size {self.size} is no position: leave flat ones out")


@dataclass(frozen=True, slots=True)
class Resting:
    """One open derivative order; fields as in ``Holding``.

    ``qty`` is signed (buy +) and is what is still open. In hedge mode an order names the leg that it opens or closes by
    ``is_long_leg``; None is one-way.
    """

    symbol: str
    category: Category
    qty: Decimal
    price: Decimal
    mark_price: Decimal
    leverage: Decimal
    tiers: Sequence[MaintenanceTerms]
    taker_rate: Decimal
    settle_index: Decimal
    reduce_only: bool = False
    is_long_leg: bool | None = None


@dataclass(frozen=True, slots=True)
class SpotOrder:
    """One open spot order: gives ``qty_out`` of one coin for ``qty_in`` of another, both > 0."""

    coin_out: str
    qty_out: Decimal
    coin_in: str
    qty_in: Decimal


@dataclass(frozen=True, slots=True)
class Margins:
    """One position's or one contract's orders' figures in settle coin; the fee to close is part of both margins."""

    symbol: str
    value: Decimal
    initial: Decimal
    maintenance: Decimal
    unrealized: Decimal = _ZERO
    settle_index: Decimal = Decimal(1)


def position_margins(holding: Holding, basis: MarginBasis) -> Margins:
    """Return a position's figures; ``basis`` is MARK since 2025-09-02, ENTRY before (``MarginBasis.at``)."""
    price = holding.entry_price if basis is MarginBasis.ENTRY else holding.mark_price
    value = notional(holding.category, holding.size, price)
    reserve = fee_to_close(holding.category, price, holding.size, holding.leverage, holding.taker_rate)
    return Margins(
        holding.symbol,
        value,
        initial_margin(value, holding.leverage) + reserve,
        maintenance_margin(value, holding.tiers, beyond_top=True) + reserve,
        unrealized_pnl(holding.category, holding.entry_price, holding.size, holding.mark_price),
        holding.settle_index,
    )


def order_margins(orders: Sequence[Resting], holdings: Sequence[Holding], basis: MarginBasis) -> Margins:
    """Return what the orders of one contract bind beside its positions: cost to open, maintenance they would add.

    Raises
    ------
    InvalidInput
        Without an order, or for orders of several contracts.
    """
    symbols = {order.symbol for order in orders} | {holding.symbol for holding in holdings}
    if not orders or len(symbols) != 1:
        raise InvalidInput(f"orders are reckoned contract by contract, at least one: got {sorted(symbols)}")
    first = orders[0]
    held = sum((position_margins(holding, basis).value for holding in holdings), _ZERO)
    initial = value = _ZERO
    for order, opening in _openings(orders, holdings):
        initial += order_cost(order.category, order.price, opening, order.leverage, order.taker_rate).total
        value += notional(order.category, opening, order.price)
    added = maintenance_margin(held + value, first.tiers, beyond_top=True)
    added -= maintenance_margin(held, first.tiers, beyond_top=True)
    return Margins(first.symbol, value, initial, added, settle_index=first.settle_index)


def _openings(orders: Iterable[Resting], holdings: Iterable[Holding]) -> list[tuple[Resting, Decimal]]:
    """Return (order, signed part that opens) for every order of one contract that opens something."""
    legs = list(holdings)
    spare: dict[tuple[bool | None, int], Decimal] = {}
    found = []
    for order in orders:
        sign = 1 if order.qty > 0 else -1
        key = (order.is_long_leg, sign)
        if key not in spare:
            against = [leg for leg in legs if order.is_long_leg is None or (leg.size > 0) == order.is_long_leg]
            spare[key] = max(-sign * sum((leg.size for leg in against), _ZERO), _ZERO)
        closing = min(abs(order.qty), spare[key])
        spare[key] -= closing
        opening = abs(order.qty) - closing
        if opening and not order.reduce_only:
            found.append((order, sign * opening))
    return found


def order_loss(orders: Iterable[Resting]) -> Decimal:
    """Return what orders priced worse than the mark would lose at once, USD, >= 0."""
    total = _ZERO
    for order in orders:
        gained = unrealized_pnl(order.category, order.price, order.qty, order.mark_price)
        total += max(-gained, _ZERO) * order.settle_index
    return total


def haircut_loss(balances: Iterable[Balance], orders: Iterable[SpotOrder]) -> Decimal:
    """Return what collateral value would fall by if all spot orders filled, USD, >= 0.

    Raises
    ------
    InvalidInput
        For an order in a coin without a balance row: its index and ratio are not known; give one of 0.
    """
    before = {balance.coin: balance for balance in balances}
    after = dict(before)
    for order in orders:
        for coin, change in ((order.coin_out, -order.qty_out), (order.coin_in, order.qty_in)):
            if coin not in after:
                raise InvalidInput(
                    f"a spot order moves {coin}, of which no index is known: give its balance, if only 0"
                )
            after[coin] = replace(after[coin], qty=after[coin].qty + change)
    worth = [sum((balance.collateral for balance in rows.values()), _ZERO) for rows in (before, after)]
    return max(worth[0] - worth[1], _ZERO)


@dataclass(frozen=True, slots=True)
class Standing:
    """The account's figures in USD, and what each coin, position and contract's orders add to them."""

    wallet: Decimal
    collateral: Mapping[str, Decimal]
    positions: tuple[Margins, ...]
    orders: tuple[Margins, ...]
    borrow_initial: Decimal
    borrow_maintenance: Decimal
    haircut_loss: Decimal
    order_loss: Decimal

    @property
    def unrealized(self) -> Decimal:
        """Unrealized P&L of all positions at their marks."""
        return sum((row.unrealized * row.settle_index for row in self.positions), _ZERO)

    @property
    def equity(self) -> Decimal:
        """Wallet at full value plus unrealized P&L."""
        return self.wallet + self.unrealized

    @property
    def margin_balance(self) -> Decimal:
        """Collateral value plus unrealized P&L."""
        return sum(self.collateral.values(), _ZERO) + self.unrealized

    @property
    def initial(self) -> Decimal:
        """Initial margin of positions, orders and borrowed coins."""
        return self.borrow_initial + sum(
            (row.initial * row.settle_index for row in (*self.positions, *self.orders)), _ZERO
        )

    @property
    def maintenance(self) -> Decimal:
        """Maintenance margin of positions, orders and borrowed coins."""
        return self.borrow_maintenance + sum(
            (row.maintenance * row.settle_index for row in (*self.positions, *self.orders)), _ZERO
        )

    @property
    def initial_margin_rate(self) -> Decimal:
        """Initial margin as a fraction of what stands behind it; at 1 no order may open. Infinity when nothing does."""
        return self._rate(self.initial)

    @property
    def maintenance_margin_rate(self) -> Decimal:
        """Maintenance margin as a fraction of what stands behind it; Infinity when nothing does."""
        return self._rate(self.maintenance)

    @property
    def available(self) -> Decimal:
        """What a new order may bind; below 0 when more is bound than there is."""
        return self.margin_balance - self.haircut_loss - self.initial

    @property
    def is_lost(self) -> bool:
        """Whether the account is liquidated: its maintenance margin rate has reached 100 %."""
        return self.maintenance_margin_rate >= 1

    def may_open(self) -> bool:
        """Return whether the orders counted here may stand: the initial margin rate stays below 100 %."""
        return self.initial_margin_rate < 1

    def _rate(self, margin: Decimal) -> Decimal:
        # The venue writes order loss as a negative number and adds it.
        behind = self.margin_balance - self.haircut_loss - self.order_loss
        if not margin:
            return _ZERO
        return margin / behind if behind > 0 else Decimal("Infinity")


def standing(
    time_ms: int,
    balances: Iterable[Balance],
    holdings: Iterable[Holding],
    orders: Iterable[Resting] = (),
    spot_orders: Iterable[SpotOrder] = (),
    *,
    basis: MarginBasis = MarginBasis.BY_DATE,
) -> Standing:
    """Return the account as it stands at an instant (ms UTC), which decides on what margin is reckoned.

    Raises
    ------
    InvalidInput
        For a coin given twice, or two positions of one contract on the same side.
    """
    wallets, legs, resting = list(balances), list(holdings), list(orders)
    for kind, names in (
        ("balance of", [wallet.coin for wallet in wallets]),
        ("position in", [f"{leg.symbol} {'long' if leg.size > 0 else 'short'}" for leg in legs]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InvalidInput(f"more than one {kind} {', '.join(twice)}: give the sum")
    base = basis.at(time_ms)
    ordered = {order.symbol: [row for row in resting if row.symbol == order.symbol] for order in resting}
    borrowed = [(wallet, -wallet.value) for wallet in wallets if wallet.qty < 0]
    return Standing(
        wallet=sum((wallet.value for wallet in wallets), _ZERO),
        collateral={wallet.coin: wallet.collateral for wallet in wallets},
        positions=tuple(position_margins(leg, base) for leg in legs),
        orders=tuple(
            order_margins(rows, [leg for leg in legs if leg.symbol == symbol], base) for symbol, rows in ordered.items()
        ),
        borrow_initial=sum((value * wallet.borrow_rates[0] for wallet, value in borrowed), _ZERO),
        borrow_maintenance=sum((value * wallet.borrow_rates[1] for wallet, value in borrowed), _ZERO),
        haircut_loss=haircut_loss(wallets, spot_orders),
        order_loss=order_loss(order for order in resting if not order.reduce_only),
    )


def backing(balances: Iterable[Balance], settle_coin: str) -> Decimal:
    """Return what all other coins count as collateral, in settle coin: what ``Account.back`` takes.

    Raises
    ------
    InvalidInput
        Without a balance row of the settle coin, whose index is needed; give one of 0.
    """
    rows = list(balances)
    index = next((row.usd_index for row in rows if row.coin == settle_coin), None)
    if index is None:
        raise InvalidInput(
            f"no balance of the settle coin {settle_coin} is given, so its index is unknown: give one of 0"
        )
    return sum((row.collateral for row in rows if row.coin != settle_coin), _ZERO) / index
