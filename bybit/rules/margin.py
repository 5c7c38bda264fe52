"""The margin ladder, maintenance margin, liquidation and bankruptcy prices."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class RiskTier:
    """One step of a symbol's margin ladder, valid as of a day.

    Covers position notionals (lower tier's ``max_notional``, ``max_notional``], settle coin (inverse: base coin);
    None means no upper bound. Rates are fractions; ``mm_deduction`` an amount in the same coin.
    """

    symbol: str
    tier: int
    max_notional: Decimal | None
    initial_margin_rate: Decimal
    maintenance_margin_rate: Decimal
    mm_deduction: Decimal
    max_leverage: Decimal
    as_of: datetime
