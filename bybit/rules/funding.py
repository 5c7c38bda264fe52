"""Funding: who pays whom, how much, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.positions import notional

_DAY = timedelta(days=1)
# Interest of the quote coin less interest of the base coin: 0.03 % a day on every perpetual of the venue.
_INTEREST_QUOTE_DAILY, _INTEREST_BASE_DAILY = Decimal("0.0006"), Decimal("0.0003")
_DAMPENER = Decimal("0.0005")


@dataclass(frozen=True, slots=True, order=True)
class FundingRate:
    """One settlement as the venue published it. A positive rate: longs pay shorts.

    ``funding_rate`` is a fraction of the position's notional at the mark price, for the interval that ends at
    ``funding_time``; the interval is not part of the reply and is never assumed.
    """

    symbol: str
    funding_time: datetime
    funding_rate: Decimal


def funding_payment(
    size: Decimal, mark_price: Decimal, funding_rate: Decimal, category: Category = Category.LINEAR
) -> Decimal:
    """Return what a settlement adds to the wallet, settle coin: positive is received, negative is paid.

    Parameters
    ----------
    size : Decimal
        Signed position held just before the settlement (long +), base coin; inverse: USD contracts. 0 pays nothing.
    mark_price : Decimal
        Mark price at the settlement instant, never the last price.
    funding_rate : Decimal
        Published fraction; positive means longs pay shorts.
    category : Category
        LINEAR pays in quote coin, INVERSE in base coin.

    Raises
    ------
    InvalidInput
        For spot, which has no funding, or a mark price that is not one.
    """
    if category is Category.SPOT:
        raise InvalidInput("spot has no funding: category must be linear or inverse")
    paid_by_long = notional(category, size, mark_price) * funding_rate
    return -paid_by_long if size > 0 else paid_by_long


def interest_rate(
    interval: timedelta, quote_daily: Decimal = _INTEREST_QUOTE_DAILY, base_daily: Decimal = _INTEREST_BASE_DAILY
) -> Decimal:
    """Return the interest part of the funding rate for one interval: 0.01 % at 8 h, 0.00125 % at 1 h.

    ``quote_daily`` and ``base_daily`` are fractions per day.
    """
    if interval <= timedelta(0):
        raise InvalidInput(f"a funding interval is longer than nothing, not {interval}")
    return (quote_daily - base_daily) * (interval // timedelta(seconds=1)) / (_DAY // timedelta(seconds=1))


def average_premium(premiums: Sequence[Decimal]) -> Decimal:
    """Return the mean of minute premium indices, oldest first, weighted 1, 2, ..., n: later minutes weigh more.

    Raises
    ------
    InvalidInput
        Without a premium: an interval that was never observed has no average.
    """
    if not premiums:
        raise InvalidInput("an average premium needs at least one minute")
    n_minutes = len(premiums)
    weighted = sum((weight * premium for weight, premium in enumerate(premiums, 1)), Decimal(0))
    return weighted / (n_minutes * (n_minutes + 1) // 2)


def funding_rate_from_premium(
    average_premium: Decimal, interest: Decimal, lower_limit: Decimal, upper_limit: Decimal
) -> Decimal:
    """Return the rate the venue settles: premium plus damped interest, within the symbol's limits.

    All four are fractions per interval. When interest and premium differ by at most 0.05 % the rate is the interest.

    Raises
    ------
    InvalidInput
        When the limits are reversed.
    """
    if lower_limit > upper_limit:
        raise InvalidInput(f"funding limits are reversed: lower {lower_limit} lies above upper {upper_limit}")
    damped = min(max(interest - average_premium, -_DAMPENER), _DAMPENER)
    return min(max(average_premium + damped, lower_limit), upper_limit)
