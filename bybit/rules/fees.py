"""What a fill costs: the door to the fee rules, and the charges of one category and tier in one place.

Rates and their records stand in ``fee_rates``, the dated schedule in ``fee_schedule``, the coin of a fee in
``fee_currency``, tiers by volume in ``fee_tiers``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bybit.rules.candles import Category
from bybit.rules.fee_currency import FeeCharge, fee_charge, fee_currency
from bybit.rules.fee_rates import (
    UNKNOWN,
    Basis,
    FeeEra,
    FeeQuote,
    FeeRates,
    FeeSighting,
    FeeSnapshot,
    Liquidity,
    Rounding,
    UncertainWindow,
)
from bybit.rules.fee_schedule import FeeSchedule
from bybit.rules.fee_table import NOT_MODELLED
from bybit.rules.funding import funding_payment
from bybit.rules.liquidation import bankruptcy_price, is_liquidated, liquidation_price
from bybit.rules.margin import MaintenanceTerms, initial_margin, maintenance_margin
from bybit.rules.positions import notional, unrealized_pnl

__all__ = [
    "NOT_MODELLED",
    "UNKNOWN",
    "Basis",
    "BybitFeeSimulator",
    "FeeCharge",
    "FeeEra",
    "FeeQuote",
    "FeeRates",
    "FeeSchedule",
    "FeeSighting",
    "FeeSnapshot",
    "LiquidationRisk",
    "Liquidity",
    "Rounding",
    "UncertainWindow",
    "fee_charge",
    "fee_currency",
]


@dataclass(frozen=True, slots=True)
class LiquidationRisk:
    """How far an isolated position stands from being taken over; amounts in settle coin.

    ``distance`` is the adverse move of the mark price that is left, as a fraction of it; None when no price
    liquidates the position, 0 when it is already lost.
    """

    initial_margin: Decimal
    maintenance_margin: Decimal
    unrealized_pnl: Decimal
    liquidation_price: Decimal | None
    bankruptcy_price: Decimal | None
    distance: Decimal | None
    is_liquidated: bool


class BybitFeeSimulator:
    """The venue's charges for one category and tier: a door onto the rules for notebooks and checks.

    Parameters
    ----------
    schedule : FeeSchedule or None
        None is the built-in one.
    category, tier : Category, str
        Whose rates apply.
    rounding : Rounding
        EXACT, or VENUE to book as recorded fills show.
    """

    def __init__(
        self,
        schedule: FeeSchedule | None = None,
        category: Category = Category.LINEAR,
        tier: str = "vip0",
        rounding: Rounding = Rounding.EXACT,
    ) -> None:
        self.schedule = FeeSchedule.builtin() if schedule is None else schedule
        self.category = category
        self.tier = tier
        self.rounding = rounding

    def calculate_trading_fees(
        self, qty: Decimal, price: Decimal, liquidity: Liquidity, time: datetime | int, symbol: str | None = None
    ) -> Decimal:
        """Return the fee of a fill in settle coin: positive is paid, negative received; the sign of ``qty`` is ignored.

        Of a spot fill it is the worth in quote coin; in which coin it is charged, and rounded, ``fee_charge`` tells.

        Raises
        ------
        NotEstablished
            When no rate is known for the time; see ``FeeSchedule.rates``.
        """
        rates = self.schedule.rates(self.category, self.tier, time, symbol)
        return self.rounding.book(rates.fee(notional(self.category, qty, price), liquidity))

    def calculate_funding_costs(self, size: Decimal, settlements: Iterable[tuple[Decimal, Decimal]]) -> Decimal:
        """Return what a constant signed ``size`` pays over ``settlements`` of (mark price, funding rate).

        A cost: positive is paid, the opposite sign of ``funding_payment``.
        """
        payments = (funding_payment(size, mark, rate, self.category) for mark, rate in settlements)
        return sum((self.rounding.book(-payment) for payment in payments), Decimal(0))

    def simulate_liquidation_risk(
        self,
        size: Decimal,
        entry_price: Decimal,
        leverage: Decimal,
        mark_price: Decimal,
        tiers: Sequence[MaintenanceTerms],
    ) -> LiquidationRisk:
        """Return the state of an isolated position of signed ``size`` at ``mark_price``, by the rule since 2025-09-02.

        ``tiers`` is the ladder as of the day, e.g. from ``recorded_risk_tiers``.
        """
        margin = initial_margin(notional(self.category, size, entry_price), leverage)
        price = liquidation_price(self.category, entry_price, size, margin, tiers)
        lost = is_liquidated(self.category, entry_price, size, margin, mark_price, tiers)
        left = None if price is None else abs(mark_price - price) / mark_price
        return LiquidationRisk(
            initial_margin=margin,
            maintenance_margin=maintenance_margin(notional(self.category, size, mark_price), tiers, beyond_top=True),
            unrealized_pnl=unrealized_pnl(self.category, entry_price, size, mark_price),
            liquidation_price=price,
            bankruptcy_price=bankruptcy_price(self.category, entry_price, size, margin),
            distance=Decimal(0) if lost else left,
            is_liquidated=lost,
        )
