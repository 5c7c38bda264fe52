"""Step-down liquidation: how much of a lost isolated position is closed to bring it one margin tier lower.

The venue sends a fill-or-kill order for the part of the value above the next lower tier; its price is not published.
"""

from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple

from bybit.rules.candles import Category
from bybit.rules.holdings import Terms
from bybit.rules.ledger import Position
from bybit.rules.liquidation import MarginBasis
from bybit.rules.positions import notional

ASSUMPTIONS = (
    "a step-down closes at the mark price that triggered it, as taker, the part of the value above the next lower tier",
    "what a step-down realizes comes out of cash, and margin is released in proportion, as with any close",
    "within one candle a position steps down to each tier at most once; lost again there, it goes a tier further",
    "a position at or beyond its bankruptcy price is taken over whole: the venue's order would not fill there",
)
"""What no text of the venue says about step-downs, and what is reckoned instead."""

# A value that a step-down left on a bound is a rounded product: so close above the bound it still stands on it.
_ON_BOUND = Decimal("1e-12")
_LAST_DIGITS = Decimal("1e-24")
# Likewise 1 / price at the bankruptcy price of an inverse contract leaves a digit far behind the last: that is nothing.
_NOTHING = Decimal("1e-30")


class Step(NamedTuple):
    """``qty`` to close, signed like the position, so that its value falls to ``bound`` (settle coin)."""

    qty: Decimal
    bound: Decimal


def step_down(
    terms: Terms, position: Position, mark: Decimal, qty_step: Decimal | None = None, below: Decimal | None = None
) -> Step | None:
    """Return the part to close; None when the whole position is taken over.

    Parameters
    ----------
    terms : Terms
        Ladder and basis in force; the tier is that of the value at the mark, or at the entry before 2025-09-02.
    position : Position
        Isolated and lost at ``mark``.
    mark : Decimal
        Mark price of the trigger.
    qty_step : Decimal, optional
        What stays is rounded down to it.
    below : Decimal, optional
        Only bounds lower than this one: the bound of the step before, within one candle.
    """
    if position.entry_price is None:
        return None
    if position.margin + terms.unrealized(position, mark) <= position.margin * _NOTHING:
        return None
    basis = position.entry_price if terms.basis is MarginBasis.ENTRY else mark
    value = notional(terms.category, position.size, basis)
    limit = value if below is None else min(value, below)
    bounds = [tier.max_notional for tier in terms.tiers[:-1]]
    lower = [bound for bound in bounds if bound is not None and bound * (1 + _ON_BOUND) < limit]
    if not lower:
        return None
    # One operation: a quotient rounded twice may fall below a whole number of steps that it is.
    kept = lower[-1] * basis if terms.category is Category.INVERSE else lower[-1] / basis
    if qty_step is not None:
        # A whole number of steps may come out of the division a last digit short of it.
        kept = (kept / qty_step * (1 + _LAST_DIGITS)).to_integral_value(ROUND_DOWN) * qty_step
    if not kept:
        return None
    return Step(position.size - kept.copy_sign(position.size), lower[-1])
