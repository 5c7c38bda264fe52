"""In which coin a fee is charged, and how much of it."""

from dataclasses import dataclass
from decimal import Decimal

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.fee_rates import FeeRates, Liquidity, Rounding
from bybit.rules.positions import notional

_SIDES = ("Buy", "Sell")


@dataclass(frozen=True, slots=True)
class FeeCharge:
    """A fee: ``amount`` of ``currency``, positive is paid, negative received."""

    amount: Decimal
    currency: str


def fee_currency(category: Category, side: str, liquidity: Liquidity, rates: FeeRates, base: str, quote: str) -> str:
    """Return the coin a fill's fee is charged in.

    Derivatives pay in the coin they settle in: ``quote`` (USDT, USDC) for linear, ``base`` for inverse. Spot pays in
    what is received, a buyer in base and a seller in quote coin; when the account's maker rate is negative, a maker
    is paid the other way round, a taker is not.

    Parameters
    ----------
    category, side, liquidity
        Of the fill; ``side`` is "Buy" or "Sell".
    rates : FeeRates
        The account's rates; only spot makers need them.
    base, quote : str
        The pair's coins, e.g. BTC and USDT; of an inverse contract BTC and USD.

    Raises
    ------
    InvalidInput
        For another side.
    NotEstablished
        For a spot maker whose maker rate is not established: its sign decides.
    """
    if side not in _SIDES:
        raise InvalidInput(f"side {side!r} is not one of {', '.join(_SIDES)}")
    if category is not Category.SPOT:
        return base if category is Category.INVERSE else quote
    in_base = side == "Buy"
    if Liquidity(liquidity) is Liquidity.MAKER and rates.rate(Liquidity.MAKER) < 0:
        in_base = not in_base
    return base if in_base else quote


def fee_charge(
    category: Category,
    side: str,
    liquidity: Liquidity,
    rates: FeeRates,
    qty: Decimal,
    price: Decimal,
    base: str,
    quote: str,
    rounding: Rounding = Rounding.EXACT,
) -> FeeCharge:
    """Return the fee of one fill in the coin it is charged in.

    ``qty`` is base coin (inverse: USD contracts), its sign ignored; ``price`` quote per base. A spot fee in base coin
    is the rate times the quantity. Raises like ``fee_currency`` and ``FeeRates.rate``.
    """
    currency = fee_currency(category, side, liquidity, rates, base, quote)
    in_base = category is Category.SPOT and currency == base
    value = abs(qty) if in_base else notional(category, qty, price)
    return FeeCharge(rounding.book(rates.fee(value, liquidity)), currency)
