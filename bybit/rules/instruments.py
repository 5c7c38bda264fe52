"""What the venue says of a contract: steps, limits and dates, valid as of a day."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from bybit.rules.candles import Category


@dataclass(frozen=True, slots=True)
class Instrument:
    """Contract rules as of one day. Prices in quote coin, quantities in base coin (inverse: USD contracts).

    ``funding_interval`` is the interval in force on ``as_of`` only: it changes without notice, so a settlement's
    time always comes from the funding history. None where the venue gave no figure; missing is never zero.
    """

    category: Category
    symbol: str
    contract_type: str
    base_coin: str
    quote_coin: str
    settle_coin: str
    status: str
    tick_size: Decimal
    qty_step: Decimal
    min_order_qty: Decimal
    max_order_qty: Decimal | None
    max_market_order_qty: Decimal | None
    min_notional: Decimal | None
    max_leverage: Decimal | None
    leverage_step: Decimal | None
    funding_interval: timedelta | None
    upper_funding_rate: Decimal | None
    lower_funding_rate: Decimal | None
    launch_time: datetime | None
    delivery_time: datetime | None
    as_of: datetime
