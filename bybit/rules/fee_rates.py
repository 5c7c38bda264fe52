"""The records fees are made of: rates, the span they hold for, where they were seen, and how an amount is booked."""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.periods import Period, to_ms

MARKETS = {
    Category.SPOT: "spot",
    Category.LINEAR: "linear_perpetual",
    Category.INVERSE: "inverse_perpetual",
}
"""What the fee tables call each category."""

UNKNOWN = Decimal("NaN")
"""A rate that is not established. Not None, so that arrays of rates stay arrays; never zero."""

_EIGHT_DECIMALS = Decimal("1e-8")


class Liquidity(StrEnum):
    """Who provided the liquidity of a fill: a post-only limit is MAKER, everything that takes is TAKER."""

    MAKER = "maker"
    TAKER = "taker"


class Rounding(StrEnum):
    """How amounts are booked. EXACT rounds nothing; VENUE rounds up at 8 decimals, as recorded fills show.

    Up is toward what costs the account more. That is recorded for fees and funding that were paid on derivatives; for
    rebates and funding received the direction is presumed, not established. Fees of three recorded spot fills (EU
    entity, 2026-06-05) were NOT rounded at 8 decimals, neither in coin (2.25E-7 BTC) nor in euro (0.0040382175): spot
    is booked EXACT until somebody sees otherwise. An export that shares one fee out over several orders is off by a
    few 1e-8 either way.
    """

    EXACT = "exact"
    VENUE = "venue"

    def book(self, paid: Decimal) -> Decimal:
        """Return the amount booked for ``paid`` (one currency; positive is paid, negative received)."""
        if self is Rounding.EXACT:
            return paid
        return paid.quantize(_EIGHT_DECIMALS, rounding=ROUND_CEILING)


@dataclass(frozen=True, slots=True, eq=False)
class FeeRates:
    """One tier's fee per unit of notional. Negative means a rebate, NaN that the rate is not established."""

    maker: Decimal
    taker: Decimal

    def __post_init__(self) -> None:
        """Refuse what is no fraction of a notional."""
        for rate in (self.maker, self.taker):
            if not rate.is_nan() and not abs(rate) < 1:
                raise InvalidInput(f"fee rate {rate} is no fraction of a notional: 0.00055 means 0.055 %")

    def established(self, liquidity: Liquidity) -> bool:
        """Return whether the rate for ``liquidity`` is known."""
        return not self._of(liquidity).is_nan()

    def rate(self, liquidity: Liquidity) -> Decimal:
        """Return the fraction that applies to ``liquidity``.

        Raises
        ------
        NotEstablished
            When only the other side's rate is known.
        """
        rate = self._of(liquidity)
        if rate.is_nan():
            raise NotEstablished(
                f"the {Liquidity(liquidity)} rate of these terms is not established (market-maker terms name the maker "
                "rebate only, a recorded fill only its own side): give the account's own rates or choose another tier"
            )
        return rate

    def fee(self, notional: Decimal, liquidity: Liquidity) -> Decimal:
        """Return the fee in settle coin, unrounded: positive is paid, negative received. Raises like ``rate``."""
        return notional * self.rate(liquidity)

    def _of(self, liquidity: Liquidity) -> Decimal:
        return self.maker if Liquidity(liquidity) is Liquidity.MAKER else self.taker

    def _known(self) -> tuple[Decimal | None, Decimal | None]:
        # NaN is unequal to itself, yet two records that do not know the same thing are equal.
        maker, taker = (None if rate.is_nan() else rate for rate in (self.maker, self.taker))
        return maker, taker

    def __eq__(self, other: object) -> bool:
        """Compare by value; not established equals not established."""
        return self._known() == other._known() if isinstance(other, FeeRates) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._known())


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
        return covers(self, time)

    def __str__(self) -> str:
        """Return e.g. ``2022-04-13..2023-09-18``."""
        return span_text(self)


class Basis(StrEnum):
    """What a quoted rate rests on, the strongest first."""

    ACCOUNT = "account"
    """The account's own fee-rate reply."""
    SYMBOL = "symbol"
    """A rate recorded on fills of this very symbol."""
    GROUP = "group"
    """The terms of the symbol's group."""
    ERA = "era"
    """The venue's general terms of that time."""


@dataclass(frozen=True, slots=True)
class FeeQuote:
    """The rates in force over [valid_from, valid_to) and why; ``valid_to`` None is still in force."""

    rates: FeeRates
    basis: Basis
    source: str
    confidence: str
    valid_from: datetime
    valid_to: datetime | None

    def covers(self, time: datetime) -> bool:
        """Return whether ``time`` lies in the span."""
        return covers(self, time)

    def __str__(self) -> str:
        """Return e.g. ``2022-04-13..2023-09-18``."""
        return span_text(self)


@dataclass(frozen=True, slots=True)
class FeeSnapshot:
    """What the account's own fee-rate reply said of one symbol at ``time``; it holds until the next one."""

    category: Category
    symbol: str
    rates: FeeRates
    time: datetime

    @property
    def time_ms(self) -> int:
        """``time`` in ms UTC."""
        return to_ms(self.time)


@dataclass(frozen=True, slots=True)
class FeeSighting:
    """A rate that recorded fills of one symbol paid, over the days [seen_from, seen_to) of the record and no longer.

    ``taker`` is what was paid; ``maker`` is None when no maker fill was seen. ``category`` None: the record does not
    say which. ``tier`` is the tier the account is taken to have had.
    """

    symbol: str
    taker: Decimal
    seen_from: datetime
    seen_to: datetime
    source: str
    confidence: str
    maker: Decimal | None = None
    tier: str = "vip0"
    category: Category | None = None

    def covers(self, time: datetime) -> bool:
        """Return whether ``time`` lies in the days of the record."""
        return self.seen_from <= time < self.seen_to

    def rates(self, ordinary: FeeRates | None) -> FeeRates:
        """Return the rates it stands for, given the ``ordinary`` ones of that day.

        A side that was not seen is not established, unless the seen side is the ordinary one: then all is ordinary.
        """
        if self.maker is not None:
            return FeeRates(self.maker, self.taker)
        if ordinary is not None and ordinary.established(Liquidity.TAKER) and ordinary.taker == self.taker:
            return ordinary
        return FeeRates(UNKNOWN, self.taker)

    def __str__(self) -> str:
        """Return a sentence for a report."""
        return (
            f"recorded fills of {self.symbol} paid {self.taker:f} on {self.seen_from:%Y-%m-%d}..{self.seen_to:%Y-%m-%d}"
            f" ({self.source}); what it paid on other days is not recorded"
        )


@dataclass(frozen=True, slots=True)
class UncertainWindow:
    """A span in which a change of rates happened on a day nobody recorded; ``market`` and ``tier`` "" mean every."""

    period: Period
    market: str = ""
    tier: str = ""

    def concerns(self, market: str, tier: str) -> bool:
        """Return whether it is about rates of that market and tier."""
        return self.market in ("", market) and self.tier in ("", tier)


def covers(span: FeeEra | FeeQuote, time: datetime) -> bool:
    """Return whether ``time`` lies in [valid_from, valid_to)."""
    return span.valid_from <= time and (span.valid_to is None or time < span.valid_to)


def span_text(span: FeeEra | FeeQuote) -> str:
    """Return e.g. ``2022-04-13..2023-09-18``."""
    end = "now" if span.valid_to is None else f"{span.valid_to:%Y-%m-%d}"
    return f"{span.valid_from:%Y-%m-%d}..{end}"
