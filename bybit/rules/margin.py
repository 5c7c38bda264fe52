"""The margin ladder, and the margin it asks for to open and to keep a position.

Liquidation and bankruptcy prices stand in ``bybit.rules.liquidation``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Protocol, TypeVar

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.periods import parse_time, to_ms, utc
from bybit.rules.positions import notional
from bybit.rules.risk_table import LADDERS

_ONE = Decimal(1)
_TWO_DECIMALS = Decimal("0.01")
# Initial margin rate times max leverage is close to 1; a rate given in percent makes it about 100.
_PERCENT_PRODUCT = Decimal(10)


class MaintenanceTerms(Protocol):
    """The part of a tier that maintenance margin depends on; ``RiskTier`` has it."""

    @property
    def max_notional(self) -> Decimal | None:
        """Inclusive upper bound in settle coin (inverse: base coin); None is unbounded."""

    @property
    def maintenance_margin_rate(self) -> Decimal:
        """Fraction of the notional."""

    @property
    def mm_deduction(self) -> Decimal:
        """Amount taken off, same coin."""


_Tier = TypeVar("_Tier", bound=MaintenanceTerms)


@dataclass(frozen=True, slots=True)
class MaintenanceTier:
    """A tier reduced to what maintenance margin needs, for ladders whose leverage limits are not known."""

    max_notional: Decimal | None
    maintenance_margin_rate: Decimal
    mm_deduction: Decimal


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

    @classmethod
    def from_text(
        cls,
        symbol: str,
        tier: int,
        max_notional: str,
        initial_margin: str,
        maintenance_margin: str,
        mm_deduction: str,
        max_leverage: str,
        as_of: datetime,
    ) -> "RiskTier":
        """Return the tier of the venue's texts (``riskLimitValue``, ``initialMargin``, ...).

        Raises
        ------
        InvalidInput
            For margins in percent ("0.5" for 0.5 %, as the venue's documents show them) instead of fractions, for
            an empty ``mmDeduction`` above the lowest tier, and for text that is no number.
        """
        if mm_deduction == "" and tier != 1:
            raise InvalidInput(f"{symbol} tier {tier} has no mmDeduction: only the lowest tier leaves it empty")
        try:
            numbers = [Decimal(text) for text in (max_notional, initial_margin, maintenance_margin, max_leverage)]
            deduction = Decimal(mm_deduction or "0")
        except InvalidOperation as error:
            raise InvalidInput(f"{symbol} tier {tier} holds text that is no number: expected decimals") from error
        bound, initial, maintenance, leverage = numbers
        _check_margin_fractions(f"{symbol} tier {tier}", initial, maintenance, leverage)
        return cls(symbol, tier, bound, initial, maintenance, deduction, leverage, as_of)


def _check_margin_fractions(where: str, initial: Decimal, maintenance: Decimal, max_leverage: Decimal) -> None:
    if not (initial.is_finite() and maintenance.is_finite() and 0 < maintenance <= initial and max_leverage >= 1):
        raise InvalidInput(
            f"{where}: initial margin {initial}, maintenance margin {maintenance} and max leverage {max_leverage} do "
            "not fit each other: expected 0 < maintenance <= initial and leverage of 1 or more"
        )
    if initial > 1 or initial * max_leverage > _PERCENT_PRODUCT:
        raise InvalidInput(
            f"{where}: initial margin {initial} at max leverage {max_leverage} is a percentage: expected a fraction "
            "such as 0.01; divide margins by 100 only if the source says percent"
        )


@dataclass(frozen=True, slots=True)
class RiskLadder:
    """All recorded tiers of a symbol on one day, lowest first, and where they were read."""

    symbol: str
    as_of: date
    complete: bool
    source: str
    tiers: tuple[RiskTier, ...]


def recorded_ladders(symbol: str) -> tuple[RiskLadder, ...]:
    """Return every ladder of ``symbol`` in the project's own dated table, oldest first, incomplete ones too.

    Raises
    ------
    NotEstablished
        When the table has none for the symbol.
    """
    found = [row for row in LADDERS if row[0] == symbol]
    if not found:
        known = ", ".join(sorted({row[0] for row in LADDERS}))
        raise NotEstablished(f"no margin ladder of {symbol} is recorded: known are {known}; fetch it from the venue")
    return tuple(sorted((_ladder(*row) for row in found), key=lambda ladder: ladder.as_of))


def _ladder(symbol: str, day: str, complete: bool, source: str, text: str) -> RiskLadder:
    as_of = parse_time(day)
    tiers = []
    for number, cells in enumerate(text.split("; "), 1):
        bound, initial, maintenance, deduction, leverage = cells.split()
        tiers.append(
            RiskTier.from_text(symbol, number, bound, initial, maintenance, deduction.replace("-", ""), leverage, as_of)
        )
    return RiskLadder(symbol, as_of.date(), complete, source, tuple(tiers))


def recorded_risk_tiers(
    symbol: str, as_of: date, *, allow_later: bool = False, allow_incomplete: bool = False
) -> tuple[RiskTier, ...]:
    """Return the latest complete recorded ladder of ``symbol`` that was seen on or before the day ``as_of``.

    Parameters
    ----------
    symbol : str
        Contract, e.g. ``BTCUSDT``.
    as_of : date
        UTC day; a datetime is read as its UTC day.
    allow_later : bool
        Fall back on the earliest later ladder when none is that old; the tiers' own ``as_of`` says which day it is,
        and the caller counts the fallback.
    allow_incomplete : bool
        Serve a ladder of which only the lowest tiers are known.

    Raises
    ------
    NotEstablished
        When no such ladder is recorded; names the days that are.
    """
    ladders = recorded_ladders(symbol)
    usable = [ladder for ladder in ladders if ladder.complete or allow_incomplete]
    day = utc(to_ms(as_of)).date() if isinstance(as_of, datetime) else as_of
    past = [ladder for ladder in usable if ladder.as_of <= day]
    if past:
        return past[-1].tiers
    if usable and allow_later:
        return usable[0].tiers
    known = ", ".join(f"{ladder.as_of}{'' if ladder.complete else ' (incomplete)'}" for ladder in ladders)
    raise NotEstablished(
        f"no complete margin ladder of {symbol} as of {day} or before is recorded: known are {known}; ask for a later "
        "or an incomplete one by name, or fetch it from the venue"
    )


def tier_of(tiers: Sequence[_Tier], value: Decimal, *, beyond_top: bool = False) -> _Tier:
    """Return the tier a notional of ``value`` belongs to; a value exactly on an upper bound belongs to that tier.

    ``beyond_top`` lets the last tier go on above its bound: no order may grow a position that far, but the mark price
    of a position already open can.

    Raises
    ------
    InvalidInput
        For an empty ladder.
    NotEstablished
        When ``value`` lies above the ladder.
    """
    if not tiers:
        raise InvalidInput("a margin ladder has at least one tier")
    for tier in tiers:
        if tier.max_notional is None or value <= tier.max_notional:
            return tier
    if beyond_top:
        return tiers[-1]
    raise NotEstablished(f"a notional of {value} lies above the ladder, which ends at {tiers[-1].max_notional}")


def maintenance_margin(value: Decimal, tiers: Sequence[MaintenanceTerms], *, beyond_top: bool = False) -> Decimal:
    """Return the margin a notional of ``value`` needs to stay open, fee to close left out: value * rate - deduction.

    ``beyond_top`` and errors as in ``tier_of``.
    """
    tier = tier_of(tiers, value, beyond_top=beyond_top)
    return value * tier.maintenance_margin_rate - tier.mm_deduction


def initial_margin(value: Decimal, leverage: Decimal) -> Decimal:
    """Return the margin a notional of ``value`` needs to open, fee to close left out.

    Raises
    ------
    InvalidInput
        For leverage below 1.
    """
    _check_leverage(leverage)
    return value / leverage


def fee_to_close(
    category: Category, entry_price: Decimal, size: Decimal, leverage: Decimal, taker_rate: Decimal
) -> Decimal:
    """Return the taker fee at the bankruptcy price, which the venue reserves in the margin; settle coin.

    ``size`` is signed (long +). A linear long goes bankrupt below its entry, at a smaller value; an inverse long too,
    but there the lower price is the larger value in coin.
    """
    _check_leverage(leverage)
    grows = (size < 0) != (category is Category.INVERSE)
    share = _ONE + 1 / leverage if grows else _ONE - 1 / leverage
    return notional(category, size, entry_price) * share * taker_rate


@dataclass(frozen=True, slots=True)
class OrderCost:
    """What the venue sets aside for an opening order, settle coin, all >= 0."""

    initial_margin: Decimal
    fee_to_open: Decimal
    fee_to_close: Decimal

    @property
    def total(self) -> Decimal:
        """Sum of the three."""
        return self.initial_margin + self.fee_to_open + self.fee_to_close


def order_cost(category: Category, price: Decimal, size: Decimal, leverage: Decimal, taker_rate: Decimal) -> OrderCost:
    """Return the cost of an order of signed ``size`` (buy +) at ``price``."""
    value = notional(category, size, price)
    return OrderCost(
        initial_margin(value, leverage),
        value * taker_rate,
        fee_to_close(category, price, size, leverage, taker_rate),
    )


def mm_deductions(bounds: Sequence[Decimal | None], rates: Sequence[Decimal]) -> tuple[Decimal, ...]:
    """Return the deductions that make charging each slice at its own rate and value * rate - deduction equal.

    ``bounds`` are the inclusive upper bounds, ``rates`` the maintenance margin rates, lowest tier first, same length.
    The first deduction is 0.

    Raises
    ------
    InvalidInput
        When lengths differ, or a bound below the top tier is None.
    """
    if len(bounds) != len(rates) or not rates:
        raise InvalidInput(f"a ladder has one bound per rate: got {len(bounds)} bounds and {len(rates)} rates")
    deductions = [Decimal(0)]
    for lower_bound, lower, upper in zip(bounds[:-1], rates[:-1], rates[1:], strict=True):
        if lower_bound is None:
            raise InvalidInput("only the top tier may have no upper bound")
        deductions.append(deductions[-1] + lower_bound * (upper - lower))
    return tuple(deductions)


def max_leverage_from_rate(initial_margin_rate: Decimal) -> Decimal:
    """Return 1 / rate, half-up at 2 decimals. Some ladders round up instead: read ``max_leverage`` where there is one.

    Raises
    ------
    InvalidInput
        When the rate is not in (0, 1].
    """
    if not 0 < initial_margin_rate <= 1:
        raise InvalidInput(f"initial margin rate {initial_margin_rate} is not a fraction in (0, 1]")
    return (1 / initial_margin_rate).quantize(_TWO_DECIMALS, rounding=ROUND_HALF_UP)


def max_notional_at(tiers: Sequence[RiskTier], leverage: Decimal) -> Decimal | None:
    """Return the largest notional that may be held at ``leverage``; None when it is unbounded.

    Raises
    ------
    InvalidInput
        When no tier allows the leverage.
    """
    allowed = [tier for tier in tiers if tier.max_leverage >= leverage]
    if not allowed:
        highest = max((tier.max_leverage for tier in tiers), default=None)
        raise InvalidInput(f"leverage {leverage} is above what any tier allows: at most {highest}")
    return allowed[-1].max_notional


def _check_leverage(leverage: Decimal) -> None:
    if not leverage.is_finite() or leverage < 1:
        raise InvalidInput(f"leverage {leverage} is not one: expected 1 or more")
