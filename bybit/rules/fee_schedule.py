"""Fee rates by category, tier, date and symbol; what is not known is refused, never extrapolated."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache, cached_property
from typing import Literal

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fee_builtin import builtin_eras, builtin_remarks, builtin_sightings, builtin_windows
from bybit.rules.fee_conflicts import check_era, check_sightings, replies_by_symbol
from bybit.rules.fee_rates import (
    MARKETS,
    FeeEra,
    FeeQuote,
    FeeRates,
    FeeSighting,
    FeeSnapshot,
    UncertainWindow,
)
from bybit.rules.fee_timeline import timeline
from bybit.rules.periods import Period, to_ms, utc

Change = Literal["earliest", "latest"]


class FeeSchedule:
    """Fee rates by category, tier, date and symbol.

    A quote rests on the strongest basis there is: the account's own fee-rate reply, a rate recorded on fills of the
    symbol on that day, the terms of its group, the general terms of the time. Without a symbol only terms that hold
    for every symbol are given.

    Parameters
    ----------
    eras : iterable of FeeEra
        In any order; eras of one market and tier that share a symbol must not overlap.
    uncertain_windows : iterable of Period or UncertainWindow
        Spans in which the date of a change is not established, so that either neighbour's rates may have applied.
    sightings : iterable of FeeSighting
        Rates recorded on single symbols; each holds on its own days, for its own tier.
    snapshots : iterable of FeeSnapshot
        The account's own replies; each holds from its time to the next of its symbol, whatever tier is named.
    remarks : mapping of str to str
        By symbol, a sentence of doubt about its general rates.

    Raises
    ------
    InvalidInput
        When eras, sightings or snapshots contradict each other, or end before they begin.
    """

    def __init__(
        self,
        eras: Iterable[FeeEra],
        uncertain_windows: Iterable[Period | UncertainWindow] = (),
        *,
        sightings: Iterable[FeeSighting] = (),
        snapshots: Iterable[FeeSnapshot] = (),
        remarks: Mapping[str, str] | None = None,
    ) -> None:
        self._eras: dict[tuple[str, str], tuple[FeeEra, ...]] = {}
        for era in sorted(eras, key=lambda era: (era.market, era.tier, era.valid_from, era.symbols)):
            known = self._eras.get((era.market, era.tier), ())
            check_era(era, known)
            self._eras[era.market, era.tier] = (*known, era)
        self._windows = tuple(
            UncertainWindow(window) if isinstance(window, Period) else window for window in uncertain_windows
        )
        self._sightings = tuple(sorted(sightings, key=lambda found: (found.symbol, found.seen_from, found.tier)))
        check_sightings(self._sightings)
        self._snapshots = replies_by_symbol(snapshots)
        self._remarks = dict(remarks or {})
        self._change: Change | None = None
        self._lines: dict[tuple[Category, str, str | None], list[FeeQuote]] = {}
        self._version = self._digest()

    @classmethod
    def builtin(cls) -> "FeeSchedule":
        """Return the project's own dated tables: spot, linear and inverse, with groups and recorded symbols."""
        return _builtin()

    @property
    def version(self) -> str:
        """First 12 hex digits of the SHA-256 of the content: equal content, equal version."""
        return self._version

    @property
    def change(self) -> Change | None:
        """To which side the uncertain windows were decided; None: they are open."""
        return self._change

    @property
    def table(self) -> tuple[FeeEra, ...]:
        """Every era, by market, tier and start."""
        return tuple(era for eras in self._eras.values() for era in eras)

    @property
    def windows(self) -> tuple[UncertainWindow, ...]:
        """The uncertain windows, as they were given."""
        return self._windows

    @property
    def sightings(self) -> tuple[FeeSighting, ...]:
        """The rates recorded on single symbols, by symbol and day."""
        return self._sightings

    def tiers(self, category: Category) -> tuple[str, ...]:
        """Return the names of the tiers known for ``category``, sorted."""
        return tuple(sorted(tier for market, tier in self._eras if market == MARKETS[category]))

    def rates(self, category: Category, tier: str, time: datetime | int, symbol: str | None = None) -> FeeRates:
        """Return the rates in force at ``time``: those of ``quote``, which see."""
        return self.quote(category, tier, time, symbol).rates

    def quote(self, category: Category, tier: str, time: datetime | int, symbol: str | None = None) -> FeeQuote:
        """Return the rates in force at ``time`` (aware datetime or ms UTC), with what they rest on.

        Parameters
        ----------
        category, tier : Category, str
            E.g. LINEAR, "vip0".
        time : datetime or int
            Instant the order was placed; a span's start belongs to it, its end to the next.
        symbol : str or None
            With it, terms of its group, recorded fills and the account's own replies count; without it, only terms
            that hold for every symbol, which Pro and market-maker tiers have not.

        Raises
        ------
        NotEstablished
            For an unknown tier, date or symbol; names what is known. A side that nobody knows is NaN in the rates and
            refused when it is used.
        """
        moment = utc(to_ms(time))
        for quote in self._line(category, tier, symbol):
            if quote.covers(moment):
                return quote
        raise self._not_established(category, tier, symbol, f"at {moment.isoformat()}")

    def eras(self, category: Category, tier: str, period: Period, symbol: str | None = None) -> tuple[FeeQuote, ...]:
        """Return the quotes that cover ``period`` without a gap, oldest first; the outer ones may reach beyond it.

        Raises
        ------
        NotEstablished
            When part of the period is not covered, or the tier is unknown; names what is known.
        """
        found = []
        reached: datetime | None = period.start
        for quote in self._line(category, tier, symbol):
            if reached is not None and reached < period.end and quote.covers(reached):
                found.append(quote)
                reached = quote.valid_to
        if reached is None or reached >= period.end:
            return tuple(found)
        raise self._not_established(category, tier, symbol, f"for all of {period}")

    def known_from(self, category: Category, tier: str, symbol: str | None = None) -> datetime:
        """Return the time from which rates are known without a gap until the last of them ends.

        Without a symbol, of the symbols whose rates are known longest: ask with it for tiers with groups.

        Raises
        ------
        NotEstablished
            For an unknown tier, or a symbol it holds nothing for.
        """
        eras = self._of(category, tier)
        spans: Sequence[FeeEra | FeeQuote] = eras if symbol is None else self._line(category, tier, symbol)
        if not spans:
            raise self._unknown_symbol(category, tier, symbol)
        start = max(span.valid_from for span in spans)
        for span in sorted(spans, key=lambda span: span.valid_from, reverse=True):
            if span.valid_to is None or span.valid_to >= start:
                start = min(start, span.valid_from)
        return start

    def uncertain(self, period: Period, category: Category = Category.LINEAR, tier: str = "vip0") -> tuple[Period, ...]:
        """Return the parts of ``period`` in which the rate of a tier is not established to the day.

        A result that depends on fees inside them should be computed with both sides: ``with_change``.
        """
        windows = (window.period for window in self._windows if window.concerns(MARKETS[category], tier))
        return tuple(part for window in windows if (part := window.overlap(period)) is not None)

    def doubts(self, category: Category, tier: str, symbol: str) -> tuple[str, ...]:
        """Return as sentences why the rates of ``symbol`` may be other than quoted, for the assumptions of a result.

        Recorded fills that paid another rate than the general one of their day, and remarks on the symbol. Nothing
        for a symbol whose rates the account's own reply has told.
        """
        if (category, symbol) in self._snapshots or tier != "vip0":
            return ()
        general = self._others[0]
        sentences = []
        for seen in self._seen(category, tier, symbol):
            try:
                ordinary = general.rates(category, tier, seen.seen_from, symbol)
            except NotEstablished:
                continue
            if seen.rates(ordinary) != ordinary:
                sentences.append(str(seen))
        remark = self._remarks.get(symbol) if category is Category.LINEAR else None
        return (*sentences, remark) if remark else tuple(sentences)

    def candidates(
        self, category: Category, time: datetime | int, symbol: str | None = None, tier: str = "vip0"
    ) -> tuple[FeeQuote, ...]:
        """Return every quote that a fill at ``time`` may have been charged by, the likeliest first.

        The quote itself, the general one without recorded symbols, and both sides of an uncertain window. Empty when
        nothing is known.
        """
        found: list[FeeQuote] = []
        for schedule in (self, *self._others):
            try:
                quote = schedule.quote(category, tier, time, symbol)
            except NotEstablished:
                continue
            if quote.rates not in [earlier.rates for earlier in found]:
                found.append(quote)
        return tuple(found)

    def with_change(self, change: Change) -> "FeeSchedule":
        """Return the schedule with every uncertain window decided: the change came at its start, or at its end.

        Run both to bound a result. ``uncertain`` has nothing left to say of the returned one, ``change`` names the
        side.

        Raises
        ------
        InvalidInput
            For any other word, or when the windows have been decided to the other side.
        """
        if change not in ("earliest", "latest"):
            raise InvalidInput(f"change {change!r} is not one of earliest, latest")
        if self._change not in (None, change):
            raise InvalidInput(f"the changes are already decided to the {self._change}: start from the open schedule")
        decided = [
            era for (market, tier), eras in self._eras.items() for era in self._decide(market, tier, eras, change)
        ]
        return self._like(decided, (), self._sightings, change)

    def with_snapshots(self, snapshots: Iterable[FeeSnapshot]) -> "FeeSchedule":
        """Return the schedule with the account's own replies added: each holds from its time on, for its symbol."""
        kept = [snapshot for of_symbol in self._snapshots.values() for snapshot in of_symbol]
        return FeeSchedule(
            self.table,
            self._windows,
            sightings=self._sightings,
            snapshots=[*kept, *snapshots],
            remarks=self._remarks,
        )._decided(self._change)

    def without_sightings(self) -> "FeeSchedule":
        """Return the schedule without the rates recorded on single symbols: general terms on every day."""
        return self if not self._sightings else self._like(self.table, self._windows, (), self._change)

    @cached_property
    def _others(self) -> "tuple[FeeSchedule, ...]":
        """What else may have applied: the general terms, and both sides of the windows."""
        general = self.without_sightings()
        sides: tuple[Change, ...] = ("latest", "earliest") if self._change is None else ()
        return general, *(general.with_change(side) for side in sides)

    def _like(
        self,
        eras: Iterable[FeeEra],
        windows: Iterable[UncertainWindow],
        sightings: Iterable[FeeSighting],
        change: Change | None,
    ) -> "FeeSchedule":
        snapshots = itertools.chain.from_iterable(self._snapshots.values())
        return FeeSchedule(eras, windows, sightings=sightings, snapshots=snapshots, remarks=self._remarks)._decided(
            change
        )

    def _decided(self, change: Change | None) -> "FeeSchedule":
        self._change = change
        self._version = self._digest()
        return self

    def _decide(self, market: str, tier: str, eras: Sequence[FeeEra], change: Change) -> Iterator[FeeEra]:
        """Yield ``eras`` with the changes inside their windows moved; the tables put them at the end."""
        moved: dict[datetime, datetime] = {}
        if change == "earliest":
            windows = [window.period for window in self._windows if window.concerns(market, tier)]
            moved = {window.end: window.start for window in windows}
        for era in eras:
            before = any(_same_symbols(era, other) and other.valid_to == era.valid_from for other in eras)
            after = any(_same_symbols(era, other) and other.valid_from == era.valid_to for other in eras)
            start = moved.get(era.valid_from, era.valid_from) if before else era.valid_from
            end = moved.get(era.valid_to, era.valid_to) if after and era.valid_to is not None else era.valid_to
            if end is None or end > start:
                yield replace(era, valid_from=start, valid_to=end)

    def _line(self, category: Category, tier: str, symbol: str | None) -> list[FeeQuote]:
        """Return the quotes of one symbol over all time, oldest first, without overlaps."""
        asked = (category, tier, symbol)
        if asked not in self._lines:
            eras = self._of(category, tier)
            self._lines[asked] = timeline(
                [era for era in eras if not era.symbols or symbol in era.symbols],
                [] if symbol is None else self._seen(category, tier, symbol),
                () if symbol is None else self._snapshots.get((category, symbol), ()),
            )
        return self._lines[asked]

    def _seen(self, category: Category, tier: str, symbol: str) -> list[FeeSighting]:
        return [
            found
            for found in self._sightings
            if found.symbol == symbol and found.tier == tier and found.category in (None, category)
        ]

    def _of(self, category: Category, tier: str) -> tuple[FeeEra, ...]:
        eras = self._eras.get((MARKETS[category], tier))
        if eras is None:
            tiers = ", ".join(self.tiers(category)) or "none"
            raise NotEstablished(f"no fee rates of tier {tier!r} are known for {category}: known tiers are {tiers}")
        return eras

    def _unknown_symbol(self, category: Category, tier: str, symbol: str | None) -> NotEstablished:
        return NotEstablished(
            f"fee rates of {category} {tier} differ by symbol group and are not established for {symbol}: choose a vip "
            "tier, or give the account's own rates"
        )

    def _not_established(self, category: Category, tier: str, symbol: str | None, when: str) -> NotEstablished:
        by_group = any(era.symbols for era in self._of(category, tier))
        line = self._line(category, tier, symbol)
        if symbol is not None and not line:
            return self._unknown_symbol(category, tier, symbol)
        spans = ", ".join(str(quote) for quote in line) or "no span"
        whose, way_out = "", ""
        if by_group:
            whose = " in general" if symbol is None else f" for {symbol}, whose symbol group decides,"
            way_out = "ask with a symbol, " if symbol is None else ""
        return NotEstablished(
            f"fee rates of {category} {tier}{whose} {when} are not established: known for {spans}; {way_out}choose "
            "another period or tier, or give a schedule or the rates of your own account"
        )

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for era in self.table:
            bounds = [to_ms(era.valid_from), era.valid_to and to_ms(era.valid_to)]
            row = (era.market, era.tier, _numbers(era.rates), bounds, era.source, era.confidence, era.symbols)
            digest.update(repr(row).encode())
        digest.update(repr([(*window.period.span_ms, window.market, window.tier) for window in self._windows]).encode())
        for seen in self._sightings:
            terms = (_numbers(seen.rates(None)), to_ms(seen.seen_from), to_ms(seen.seen_to), str(seen.category))
            digest.update(repr((seen.symbol, seen.tier, *terms, seen.source, seen.confidence)).encode())
        for (category, symbol), told in sorted(self._snapshots.items()):
            digest.update(
                repr((str(category), symbol, [(each.time_ms, _numbers(each.rates)) for each in told])).encode()
            )
        digest.update(repr((sorted(self._remarks.items()), self._change)).encode())
        return digest.hexdigest()[:12]


@cache
def _builtin() -> FeeSchedule:
    return FeeSchedule(builtin_eras(), builtin_windows(), sightings=builtin_sightings(), remarks=builtin_remarks())


def _numbers(rates: FeeRates) -> list[str]:
    # In plain notation, so that a table read back from a database has the same version.
    return ["NaN" if rate.is_nan() else format(rate.normalize(), "f") for rate in (rates.maker, rates.taker)]


def _same_symbols(one: FeeEra, other: FeeEra) -> bool:
    return sorted(one.symbols) == sorted(other.symbols)
