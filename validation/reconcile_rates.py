"""Which rates may have made a fee: what the schedule knows, and what the rows themselves name."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from bybit.rules.candles import Category
from bybit.rules.errors import NotEstablished
from bybit.rules.fees import Basis, FeeQuote, FeeSchedule, Liquidity
from validation.reconcile_bookings import Booking, Kind

_DAY_MS = 86_400_000
_REASONS = {Basis.ACCOUNT: "account snapshot", Basis.SYMBOL: "symbol rate", Basis.GROUP: "group", Basis.ERA: "era"}


@dataclass(frozen=True, slots=True)
class KnownRate:
    """A rate that may have applied, and why. ``reason`` is a word to count by, ``source`` a sentence to read."""

    rate: Decimal
    liquidity: Liquidity | None
    reason: str
    source: str

    def __str__(self) -> str:
        """Return e.g. ``taker 0.00055``."""
        return f"{self.liquidity or 'rate'} {self.rate:f}"


class RateBook:
    """The rates that rows of one account may have been charged by.

    Parameters
    ----------
    schedule : FeeSchedule
        With the account's own snapshots when there are any.
    tier : str
        The account's, e.g. "vip0".
    bookings : iterable of Booking
        Of the same account: a rate that one of them names may explain another of its symbol that names none.
    """

    def __init__(self, schedule: FeeSchedule, tier: str, bookings: Iterable[Booking] = ()) -> None:
        self._schedule = schedule
        self._tier = tier
        self._named: dict[tuple[Category, str], dict[Decimal, Booking]] = {}
        # The built-in tables change at midnight only; snapshots of an account at any time.
        self._grain_ms = _DAY_MS if schedule.version == FeeSchedule.builtin().version else 1
        self._known: dict[tuple[Category, str, int], tuple[KnownRate, ...]] = {}
        for booking in bookings:
            if booking.kind is Kind.TRADE and booking.rate is not None and booking.category and booking.symbol:
                self._named.setdefault((booking.category, booking.symbol), {}).setdefault(booking.rate, booking)

    def candidates(self, booking: Booking) -> list[KnownRate]:
        """Return the rates that may explain a fill, the likeliest first; those of its own role when it shows one.

        The rate that the row itself names comes first when the schedule knows it, and last, as a symbol rate, when
        it does not.
        """
        assert booking.category is not None
        assert booking.symbol is not None
        assert booking.time_ms is not None
        known = self.of(booking.category, booking.symbol, booking.time_ms)
        fitting = [rate for rate in known if booking.liquidity in (None, rate.liquidity)]
        if booking.rate is None:
            fitting += [rate for rate in self._from_others(booking) if rate.rate not in {k.rate for k in known}]
            return fitting
        first = [rate for rate in fitting if rate.rate == booking.rate]
        if not first:
            fitting.append(
                KnownRate(booking.rate, booking.liquidity, "symbol rate", f"the row itself names {booking.rate:f}")
            )
        return [*first, *(rate for rate in fitting if rate not in first)]

    def of(self, category: Category, symbol: str, time_ms: int) -> tuple[KnownRate, ...]:
        """Return what the schedule knows for both roles, taker first within each basis."""
        asked = (category, symbol, time_ms // self._grain_ms)
        if asked not in self._known:
            self._known[asked] = tuple(self._look_up(category, symbol, time_ms))
        return self._known[asked]

    def other_tiers(self, booking: Booking, rate: Decimal) -> list[str]:
        """Return which tiers and roles have exactly ``rate``: a hint for a row that nothing explains."""
        assert booking.category is not None
        assert booking.time_ms is not None
        found = []
        for tier in self._schedule.tiers(booking.category):
            try:
                rates = self._schedule.quote(booking.category, tier, booking.time_ms, booking.symbol).rates
            except NotEstablished:
                continue
            found += [f"{tier} {side}" for side in Liquidity if rates.established(side) and rates.rate(side) == rate]
        return found

    def _look_up(self, category: Category, symbol: str, time_ms: int) -> Iterator[KnownRate]:
        general = self._general_quote(category, symbol, time_ms)
        seen: list[FeeQuote] = list(self._schedule.candidates(category, time_ms, symbol, self._tier))
        for quote in seen:
            reason = _REASONS[quote.basis]
            if quote.basis is Basis.ERA and general is not None and quote.rates != general.rates:
                reason = "neighbouring era"
            yield from _sides(quote, reason, self._tier)
        for tier in self._schedule.tiers(category):
            if tier.startswith(f"{self._tier}@"):
                for quote in self._schedule.candidates(category, time_ms, symbol, tier)[:1]:
                    yield from _sides(quote, "regional terms", tier)

    def _general_quote(self, category: Category, symbol: str, time_ms: int) -> FeeQuote | None:
        try:
            return self._general.quote(category, self._tier, time_ms, symbol)
        except NotEstablished:
            return None

    @cached_property
    def _general(self) -> FeeSchedule:
        return self._schedule.without_sightings()

    def _from_others(self, booking: Booking) -> Iterator[KnownRate]:
        assert booking.category is not None
        assert booking.symbol is not None
        named: Mapping[Decimal, Booking] = self._named.get((booking.category, booking.symbol), {})
        for rate, other in named.items():
            source = f"{other.place}, a fill of the same symbol, names {rate:f}"
            yield KnownRate(rate, other.liquidity, "symbol rate", source)


def _sides(quote: FeeQuote, reason: str, tier: str) -> Iterator[KnownRate]:
    for side in (Liquidity.TAKER, Liquidity.MAKER):
        if quote.rates.established(side):
            source = f"{tier} {side} {quote}, {quote.confidence} confidence: {quote.source}"
            yield KnownRate(quote.rates.rate(side), side, reason, source)
