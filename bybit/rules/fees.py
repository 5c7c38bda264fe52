"""What a fill costs: fee rates by category, tier and date, and how the venue rounds what it books."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fee_table import FEE_ROWS, GROUP_FROM, GROUP_SYMBOLS, UNCERTAIN_WINDOWS
from bybit.rules.funding import funding_payment
from bybit.rules.liquidation import bankruptcy_price, is_liquidated, liquidation_price
from bybit.rules.margin import MaintenanceTerms, initial_margin, maintenance_margin
from bybit.rules.periods import Period, parse_time, to_ms, utc
from bybit.rules.positions import notional, unrealized_pnl

_MARKETS = {
    Category.SPOT: "spot",
    Category.LINEAR: "linear_perpetual",
    Category.INVERSE: "inverse_perpetual",
}
_EIGHT_DECIMALS = Decimal("1e-8")


class Liquidity(StrEnum):
    """Who provided the liquidity of a fill: a post-only limit is MAKER, everything that takes is TAKER."""

    MAKER = "maker"
    TAKER = "taker"


class Rounding(StrEnum):
    """How amounts are booked. EXACT rounds nothing; VENUE rounds up at 8 decimals, as recorded fills show.

    Up is toward what costs the account more. That is recorded for fees and funding that were paid; for rebates and
    funding received the direction is presumed, not established.
    """

    EXACT = "exact"
    VENUE = "venue"

    def book(self, paid: Decimal) -> Decimal:
        """Return the amount booked for ``paid`` (settle coin; positive is paid, negative received)."""
        if self is Rounding.EXACT:
            return paid
        return paid.quantize(_EIGHT_DECIMALS, rounding=ROUND_CEILING)


@dataclass(frozen=True, slots=True)
class FeeRates:
    """One tier's fee per unit of notional. Negative means a rebate."""

    maker: Decimal
    taker: Decimal

    def rate(self, liquidity: Liquidity) -> Decimal:
        """Return the fraction that applies to ``liquidity``."""
        return self.maker if Liquidity(liquidity) is Liquidity.MAKER else self.taker

    def fee(self, notional: Decimal, liquidity: Liquidity) -> Decimal:
        """Return the fee in settle coin, unrounded: positive is paid, negative received."""
        return notional * self.rate(liquidity)


@dataclass(frozen=True, slots=True)
class FeeEra:
    """Rates of one market and tier over [valid_from, valid_to); ``valid_to`` None is still in force.

    ``confidence`` is high, medium or low. ``symbols`` names the contracts the rates are limited to; empty is all.
    """

    market: str
    tier: str
    rates: FeeRates
    valid_from: datetime
    valid_to: datetime | None
    source: str
    confidence: str
    symbols: tuple[str, ...] = ()

    def covers(self, time: datetime) -> bool:
        """Return whether ``time`` lies in the era."""
        return self.valid_from <= time and (self.valid_to is None or time < self.valid_to)

    def __str__(self) -> str:
        """Return e.g. ``2022-04-13..2023-09-18``."""
        end = "now" if self.valid_to is None else f"{self.valid_to:%Y-%m-%d}"
        return f"{self.valid_from:%Y-%m-%d}..{end}"


class FeeSchedule:
    """Fee rates by category, tier and date; what is not in it is refused, never extrapolated.

    Parameters
    ----------
    eras : sequence of FeeEra
        In any order; eras of one market and tier must not overlap.
    uncertain_windows : sequence of Period
        Spans in which the date of a change is not established, so that either neighbour's rates may have applied.

    Raises
    ------
    InvalidInput
        When eras overlap or end before they begin.
    """

    def __init__(self, eras: Iterable[FeeEra], uncertain_windows: Sequence[Period] = ()) -> None:
        self._eras: dict[tuple[str, str], tuple[FeeEra, ...]] = {}
        for era in sorted(eras, key=lambda era: (era.market, era.tier, era.valid_from)):
            if era.valid_to is not None and era.valid_to <= era.valid_from:
                raise InvalidInput(f"fee era {era} of {era.market} {era.tier} ends before it begins")
            earlier = self._eras.get((era.market, era.tier), ())
            if earlier and (earlier[-1].valid_to is None or earlier[-1].valid_to > era.valid_from):
                raise InvalidInput(f"fee eras of {era.market} {era.tier} overlap: {earlier[-1]} and {era}")
            self._eras[era.market, era.tier] = (*earlier, era)
        self._windows = tuple(uncertain_windows)
        self._version = self._digest()

    @classmethod
    def builtin(cls) -> "FeeSchedule":
        """Return the project's own dated table (``fee_table``): spot, linear and inverse, regular rates."""
        return _BUILTIN

    @property
    def version(self) -> str:
        """First 12 hex digits of the SHA-256 of the content: equal content, equal version."""
        return self._version

    @property
    def table(self) -> tuple[FeeEra, ...]:
        """Every era, by market, tier and start."""
        return tuple(era for eras in self._eras.values() for era in eras)

    def tiers(self, category: Category) -> tuple[str, ...]:
        """Return the names of the tiers known for ``category``, sorted."""
        return tuple(sorted(tier for market, tier in self._eras if market == _MARKETS[category]))

    def rates(self, category: Category, tier: str, time: datetime | int, symbol: str | None = None) -> FeeRates:
        """Return the rates in force at ``time`` (aware datetime or ms UTC).

        Parameters
        ----------
        category, tier : Category, str
            E.g. LINEAR, "vip0".
        time : datetime or int
            Instant the order was placed; an era's start belongs to it, its end to the next.
        symbol : str or None
            With it, rates limited to a group of symbols are refused for any other; without it they are returned as
            they stand (Pro tiers since 2025-09-25: group G1).

        Raises
        ------
        NotEstablished
            For an unknown tier, date or symbol; names what is known.
        """
        moment = utc(to_ms(time))
        for era in self._known(category, tier):
            if era.covers(moment):
                _check_symbol(era, symbol)
                return era.rates
        raise self._not_established(category, tier, f"at {moment.isoformat()}")

    def eras(self, category: Category, tier: str, period: Period) -> tuple[FeeEra, ...]:
        """Return the eras that cover ``period`` without a gap, oldest first.

        Raises
        ------
        NotEstablished
            When part of the period is not covered, or the tier is unknown; names what is known.
        """
        known = self._known(category, tier)
        found = []
        reached: datetime | None = period.start
        for era in known:
            if reached is not None and reached < period.end and era.covers(reached):
                found.append(era)
                reached = era.valid_to
        if reached is None or reached >= period.end:
            return tuple(found)
        raise self._not_established(category, tier, f"for all of {period}")

    def known_from(self, category: Category, tier: str) -> datetime:
        """Return the time from which the tier's rates are known without a gap until its last era ends.

        Raises
        ------
        NotEstablished
            For an unknown tier.
        """
        known = self._known(category, tier)
        start = known[-1].valid_from
        for era in reversed(known):
            if era.valid_to is None or era.valid_to >= start:
                start = era.valid_from
        return start

    def uncertain(self, period: Period) -> tuple[Period, ...]:
        """Return the parts of ``period`` in which the non-VIP perpetual rate is not established to the day.

        A result that depends on fees inside them should be computed with both neighbouring rates.
        """
        overlaps = (window.overlap(period) for window in self._windows)
        return tuple(part for part in overlaps if part is not None)

    def _known(self, category: Category, tier: str) -> tuple[FeeEra, ...]:
        eras = self._eras.get((_MARKETS[category], tier))
        if eras is None:
            tiers = ", ".join(self.tiers(category)) or "none"
            raise NotEstablished(f"no fee rates of tier {tier!r} are known for {category}: known tiers are {tiers}")
        return eras

    def _not_established(self, category: Category, tier: str, when: str) -> NotEstablished:
        spans = ", ".join(str(era) for era in self._known(category, tier))
        return NotEstablished(
            f"fee rates of {category} {tier} {when} are not established: known for {spans}; choose another period or "
            "tier, or give a schedule of your own"
        )

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for eras in self._eras.values():
            for era in eras:
                # Numbers in plain notation, so that a table read back from a database has the same version.
                numbers = [format(rate.normalize(), "f") for rate in (era.rates.maker, era.rates.taker)]
                bounds = [to_ms(era.valid_from), era.valid_to and to_ms(era.valid_to)]
                row = (era.market, era.tier, numbers, bounds, era.source, era.confidence, era.symbols)
                digest.update(repr(row).encode())
        digest.update(repr([window.span_ms for window in self._windows]).encode())
        return digest.hexdigest()[:12]


def _check_symbol(era: FeeEra, symbol: str | None) -> None:
    if symbol is not None and era.symbols and symbol not in era.symbols:
        raise NotEstablished(
            f"fee rates of tier {era.tier} differ by symbol group and are known for {', '.join(era.symbols)} only, "
            f"not for {symbol}: choose a vip tier or give a schedule of your own"
        )


def _era(
    market: str, tier: str, maker: str, taker: str, valid_from: str, valid_to: str, source: str, confidence: str
) -> FeeEra:
    return FeeEra(
        market,
        tier,
        FeeRates(Decimal(maker), Decimal(taker)),
        parse_time(valid_from),
        parse_time(valid_to) if valid_to else None,
        source,
        confidence,
        GROUP_SYMBOLS if tier.startswith("pro") and valid_from >= GROUP_FROM else (),
    )


_BUILTIN = FeeSchedule(
    [_era(*row) for row in FEE_ROWS], [Period(parse_time(start), parse_time(end)) for start, end in UNCERTAIN_WINDOWS]
)


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
