"""What a position is worth: notional, profit and loss, average entry, break-even.

Linear: quantities in base coin, amounts in quote coin. Inverse: quantities in USD contracts, amounts in base coin.
Sizes are signed (long +), quantities are not.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput

# The venue's own break-even formula never assumes less than this to close.
_BREAK_EVEN_TAKER_FLOOR = Decimal("0.00055")
_EIGHT_DECIMALS = Decimal("1e-8")


def notional(category: Category, qty: Decimal, price: Decimal) -> Decimal:
    """Return the value of ``qty`` (sign ignored) at ``price`` in settle coin, >= 0.

    Raises
    ------
    InvalidInput
        When ``price`` is not a positive number.
    """
    check_price(price)
    return abs(qty) / price if category is Category.INVERSE else abs(qty) * price


def unrealized_pnl(category: Category, entry_price: Decimal, size: Decimal, price: Decimal) -> Decimal:
    """Return what a position of signed ``size`` has gained at ``price``, settle coin, before fees and funding."""
    check_price(entry_price)
    check_price(price)
    if category is Category.INVERSE:
        return size / entry_price - size / price
    return size * (price - entry_price)


def average_entry_price(
    category: Category, fills: Iterable[tuple[Decimal, Decimal]], *, round_values_up: bool = False
) -> Decimal:
    """Return the average entry of opening fills on one side, given as (qty, price) pairs.

    Linear is weighted by quantity; inverse is total contracts over total coin value, a harmonic mean.
    ``round_values_up`` rounds each inverse fill's coin value up to 8 decimals as the venue's article does.

    Raises
    ------
    InvalidInput
        Without fills, or when a quantity is not positive.
    """
    total_qty = total_value = Decimal(0)
    for qty, price in fills:
        if not qty > 0:
            raise InvalidInput(f"an opening fill has a positive quantity, not {qty}: give the quantity without a sign")
        value = notional(category, qty, price)
        if round_values_up and category is Category.INVERSE:
            value = value.quantize(_EIGHT_DECIMALS, rounding=ROUND_UP)
        total_qty += qty
        total_value += value
    if not total_qty:
        raise InvalidInput("an average entry needs at least one fill")
    return total_qty / total_value if category is Category.INVERSE else total_value / total_qty


@dataclass(frozen=True, slots=True)
class ClosedPnl:
    """Outcome of one round trip in settle coin. Fees: positive is paid. ``funding_paid``: positive is paid."""

    gross_pnl: Decimal
    open_fee: Decimal
    close_fee: Decimal
    funding_paid: Decimal

    @property
    def net(self) -> Decimal:
        """Gross less fees less funding. The API field ``closedPnl`` leaves funding out: pass 0 to compare with it."""
        return self.gross_pnl - self.open_fee - self.close_fee - self.funding_paid


def closed_pnl(
    category: Category,
    entry_price: Decimal,
    exit_price: Decimal,
    size: Decimal,
    open_fee_rate: Decimal,
    close_fee_rate: Decimal,
    funding_paid: Decimal = Decimal(0),
) -> ClosedPnl:
    """Return the outcome of a round trip of signed ``size`` whose legs paid the two fee rates."""
    return ClosedPnl(
        gross_pnl=unrealized_pnl(category, entry_price, size, exit_price),
        open_fee=notional(category, size, entry_price) * open_fee_rate,
        close_fee=notional(category, size, exit_price) * close_fee_rate,
        funding_paid=funding_paid,
    )


def break_even_price(entry_price: Decimal, size: Decimal, realized_pnl: Decimal, taker_rate: Decimal) -> Decimal:
    """Return the venue's break-even price of a linear position of signed ``size``.

    ``realized_pnl`` is what the position has booked so far, fees and funding included (negative: a cost). The venue
    reckons the closing fee at no less than 0.055 %, whatever the account pays.

    Raises
    ------
    InvalidInput
        For a flat position, which has none.
    """
    check_price(entry_price)
    if not size:
        raise InvalidInput("a flat position has no break-even price: give its signed size")
    return (entry_price * size - realized_pnl) / (size - abs(size) * max(taker_rate, _BREAK_EVEN_TAKER_FLOOR))


def check_price(price: Decimal) -> None:
    """Refuse a price that is not a finite positive number.

    Raises
    ------
    InvalidInput
        Naming the price.
    """
    if not price.is_finite() or price <= 0:
        raise InvalidInput(f"price {price} is not one: expected a finite number above 0")
