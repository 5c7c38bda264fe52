"""Where an isolated position is taken over, and where its margin is used up.

Since 2025-09-02 maintenance margin follows the mark price, before that it followed the entry. ``size`` is signed
everywhere (long +): linear in base coin, inverse in USD contracts; margins are amounts in settle coin.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.margin import MaintenanceTerms, initial_margin, maintenance_margin
from bybit.rules.periods import to_ms
from bybit.rules.positions import check_price, notional, unrealized_pnl

MARK_BASED_FROM = datetime(2025, 9, 2, tzinfo=UTC)
"""From here on maintenance margin is reckoned on the mark price, isolated and cross."""
_MARK_BASED_FROM_MS = to_ms(MARK_BASED_FROM)
_LAST_DIGITS = Decimal("1e-24")


class MarginBasis(StrEnum):
    """Which price maintenance margin is reckoned on; BY_DATE follows the venue's change of 2025-09-02."""

    MARK = "mark"
    ENTRY = "entry"
    BY_DATE = "by_date"

    def at(self, time_ms: int) -> "MarginBasis":
        """Return MARK or ENTRY, whichever holds at an instant (ms UTC)."""
        if self is not MarginBasis.BY_DATE:
            return self
        return MarginBasis.MARK if time_ms >= _MARK_BASED_FROM_MS else MarginBasis.ENTRY


class LiquidationMode(StrEnum):
    """What happens to an isolated position that is lost: all of it at once, or tier by tier as the venue does."""

    TAKEOVER = "takeover"
    STEP_DOWN = "step_down"


def bankruptcy_price(category: Category, entry_price: Decimal, size: Decimal, margin: Decimal) -> Decimal | None:
    """Return the price at which an isolated position has lost exactly ``margin``; None when no price does.

    A linear long at 1x or an inverse short at 1x, for example, cannot lose more than it put in.
    """
    _check_position(entry_price, size)
    # A short's negative size turns the sign around, so one line serves both sides.
    if category is Category.INVERSE:
        inverse = 1 / entry_price + margin / size
        return 1 / inverse if inverse > 0 else None
    price = entry_price - margin / size
    return price if price > 0 else None


def is_liquidated(
    category: Category,
    entry_price: Decimal,
    size: Decimal,
    margin: Decimal,
    mark_price: Decimal,
    tiers: Sequence[MaintenanceTerms],
) -> bool:
    """Return whether margin plus unrealized P&L at ``mark_price`` no longer exceeds maintenance; equality liquidates.

    Above the top of the ladder its last tier goes on.
    """
    maintenance = maintenance_margin(notional(category, size, mark_price), tiers, beyond_top=True)
    return margin + unrealized_pnl(category, entry_price, size, mark_price) <= maintenance


def liquidation_price(
    category: Category, entry_price: Decimal, size: Decimal, margin: Decimal, tiers: Sequence[MaintenanceTerms]
) -> Decimal | None:
    """Return the mark price at which an isolated position is taken over, mark-based (since 2025-09-02).

    Solves margin + unrealized P&L = value * rate - deduction in the tier that holds at the solution. When the
    position moves against its holder, the first such price counts. Not rounded to the tick.

    Parameters
    ----------
    category : Category
        LINEAR or INVERSE.
    entry_price, size : Decimal
        Average entry; signed size.
    margin : Decimal
        Margin locked for the position, fee to close left out (it is part of both margins and cancels); margin
        added later enters through ``effective_extra_margin``.
    tiers : sequence of MaintenanceTerms
        The ladder, lowest tier first; beyond its top the last tier goes on.

    Returns
    -------
    Decimal or None
        None when no positive price reaches it.
    """
    _check_position(entry_price, size)
    lower = Decimal(0)
    sections = []
    for i, tier in enumerate(tiers):
        upper = None if i == len(tiers) - 1 else tier.max_notional
        sections.append((lower, upper, _solve(category, entry_price, size, margin, tier)))
        lower = upper if upper is not None else lower
    # Against the holder the value falls for a linear long and an inverse short, and rises for the other two.
    if (size > 0) == (category is not Category.INVERSE):
        sections.reverse()
    for low, high, price in sections:
        found = _first_in_section(category, size, low, high, price)
        if found is not None:
            return found
    return None


def _solve(
    category: Category, entry_price: Decimal, size: Decimal, margin: Decimal, tier: MaintenanceTerms
) -> Decimal | None:
    side = 1 if size > 0 else -1
    qty, rate = abs(size), tier.maintenance_margin_rate
    cushion = side * (margin + tier.mm_deduction)
    if category is Category.INVERSE:
        divisor = qty / entry_price + cushion
        return qty * (1 + side * rate) / divisor if divisor > 0 else None
    price = (qty * entry_price - cushion) / (qty * (1 - side * rate))
    return price if price > 0 else None


def _first_in_section(
    category: Category, size: Decimal, low: Decimal, high: Decimal | None, price: Decimal | None
) -> Decimal | None:
    """Return the first price of the notionals (low, high] at which the position is lost, None when it survives them.

    ``price`` solves the tier without its bounds. A ladder whose deductions do not chain jumps at a bound, so that
    the position can already be lost where the section begins: then the bound itself is the price.
    """
    if price is None:
        return None
    value = notional(category, size, price)
    if low < value and (high is None or value <= high):
        return price
    value_falls = (size > 0) == (category is not Category.INVERSE)
    start = high if value_falls else low
    if start is None or start == 0:
        return None
    lost_at_start = value > start if value_falls else value <= start
    if not lost_at_start:
        return None
    return abs(size) / start if category is Category.INVERSE else start / abs(size)


def entry_based_liquidation_price(
    category: Category,
    entry_price: Decimal,
    size: Decimal,
    leverage: Decimal,
    tiers: Sequence[MaintenanceTerms],
    extra_margin: Decimal = Decimal(0),
) -> Decimal | None:
    """Return the isolated liquidation price as reckoned before 2025-09-02: maintenance on the entry value.

    The fee to close is left out, as in the venue's own examples. The inverse form is derived from the same
    definitions; only the linear one was read in a text of the venue.
    """
    _check_position(entry_price, size)
    value = notional(category, size, entry_price)
    # A position that no order could have opened has no figure in this rule of the venue.
    maintenance_margin(value, tiers)
    margin = initial_margin(value, leverage) + extra_margin
    return liquidation_price_from_entry(category, entry_price, size, margin, tiers)


def liquidation_price_from_entry(
    category: Category, entry_price: Decimal, size: Decimal, margin: Decimal, tiers: Sequence[MaintenanceTerms]
) -> Decimal | None:
    """Return the mark price at which ``margin`` plus unrealized P&L equals maintenance on the entry value.

    Above the top of the ladder its last tier goes on; None when no positive price reaches it.
    """
    _check_position(entry_price, size)
    cushion = margin - maintenance_margin(notional(category, size, entry_price), tiers, beyond_top=True)
    # The price that has lost all of a margin is the bankruptcy price of that margin.
    return bankruptcy_price(category, entry_price, size, cushion)


def effective_extra_margin(category: Category, size: Decimal, extra_margin: Decimal, taker_rate: Decimal) -> Decimal:
    """Return how much of margin added by hand works against liquidation, settle coin.

    Added margin moves the bankruptcy price and with it the fee reserved to close, hence not all of it counts.
    """
    lowers_value = (size > 0) == (category is not Category.INVERSE)
    return extra_margin / (1 - taker_rate) if lowers_value else extra_margin / (1 + taker_rate)


def isolated_liquidation_price(
    time: datetime,
    category: Category,
    entry_price: Decimal,
    size: Decimal,
    leverage: Decimal,
    tiers: Sequence[MaintenanceTerms],
    *,
    extra_margin: Decimal = Decimal(0),
    taker_rate: Decimal | None = None,
) -> Decimal | None:
    """Return the isolated liquidation price by the rule in force at ``time`` (aware datetime).

    Raises
    ------
    InvalidInput
        When margin was added and, under the mark-based rule, no taker fee rate is given.
    """
    if time < MARK_BASED_FROM:
        return entry_based_liquidation_price(category, entry_price, size, leverage, tiers, extra_margin)
    margin = initial_margin(notional(category, size, entry_price), leverage)
    if extra_margin:
        if taker_rate is None:
            raise InvalidInput("added margin counts less the fee it moves: give taker_rate as well")
        margin += effective_extra_margin(category, size, extra_margin, taker_rate)
    return liquidation_price(category, entry_price, size, margin, tiers)


def round_to_tick_against_holder(price: Decimal, size: Decimal, tick_size: Decimal) -> Decimal:
    """Return a liquidation or bankruptcy price on the tick: up for a long.

    Two recorded examples show the long side; that a short is rounded down is presumed, not established.
    """
    check_price(tick_size)
    rounding, least = (ROUND_CEILING, 1 - _LAST_DIGITS) if size > 0 else (ROUND_FLOOR, 1 + _LAST_DIGITS)
    # A solved price that is a whole number of ticks may come out of the division a last digit off it.
    return (price / tick_size * least).to_integral_value(rounding) * tick_size


def cross_inverse_prices_2020(
    entry_price: Decimal, size: Decimal, free_balance: Decimal, maintenance_rate: Decimal, taker_rate: Decimal
) -> tuple[Decimal, Decimal]:
    """Return (bankruptcy, liquidation) price of a cross inverse long in the classic account of 2020, unrounded.

    Kept to check published figures; today's cross margin is account-wide. ``free_balance`` is coin: account balance
    less the margin of orders.

    Raises
    ------
    NotEstablished
        For a short: only the long form was published.
    """
    _check_position(entry_price, size)
    if size < 0:
        raise NotEstablished("the 2020 cross formula is known for an inverse long only")
    value = size / entry_price
    bankruptcy = size * (1 + taker_rate) / (value + free_balance)
    close_fee = size / bankruptcy * taker_rate
    return bankruptcy, size / (value + free_balance - value * maintenance_rate - close_fee)


def _check_position(entry_price: Decimal, size: Decimal) -> None:
    check_price(entry_price)
    if not size.is_finite() or not size:
        raise InvalidInput(f"a position of size {size} has no liquidation price: give a signed size other than 0")
