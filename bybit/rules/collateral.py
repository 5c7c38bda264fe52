"""What a coin counts as collateral in the Unified account, and what borrowing one costs."""

from collections.abc import Sequence
from decimal import Decimal

from bybit.rules.errors import InvalidInput
from bybit.rules.positions import check_price

_HOURS_PER_DAY = 24


def collateral_value(qty: Decimal, usd_index: Decimal, tiers: Sequence[tuple[Decimal | None, Decimal]]) -> Decimal:
    """Return the USD value that ``qty`` of a coin counts as collateral.

    Parameters
    ----------
    qty : Decimal
        Balance in coin; a negative one always counts in full.
    usd_index : Decimal
        USD per coin.
    tiers : sequence of (Decimal or None, Decimal)
        (upper bound in coin, ratio 0 to 1), lowest first; None is unbounded. Each slice counts at its own ratio.

    Raises
    ------
    InvalidInput
        When a quantity lies above the last bound.
    """
    check_price(usd_index)
    if qty <= 0:
        return qty * usd_index
    counted = lower = Decimal(0)
    for upper, ratio in tiers:
        slice_end = qty if upper is None else min(qty, upper)
        counted += (slice_end - lower) * ratio
        lower = slice_end
        if lower == qty:
            return counted * usd_index
    raise InvalidInput(f"a balance of {qty} lies above the collateral table, which ends at {lower}")


def borrow_interest(principal: Decimal, daily_rate: Decimal, n_hours_started: int) -> Decimal:
    """Return the interest on ``principal`` in its own coin; every started hour counts as a full one."""
    if n_hours_started < 0:
        raise InvalidInput(f"{n_hours_started} started hours cannot be charged")
    return principal * daily_rate * n_hours_started / _HOURS_PER_DAY
