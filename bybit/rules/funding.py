"""Funding: who pays whom, how much, and when."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True, order=True)
class FundingRate:
    """One settlement as the venue published it. A positive rate: longs pay shorts.

    ``funding_rate`` is a fraction of the position's notional at the mark price, for the interval that ends at
    ``funding_time``; the interval is not part of the reply and is never assumed.
    """

    symbol: str
    funding_time: datetime
    funding_rate: Decimal
