"""Recomputes every fee and funding payment of an account's exports and says of each row how it came about.

Pure: bytes in, judgements out. Formats are those of ``reconcile_pages`` (API), ``reconcile_exports`` (CSV) and
``reconcile_tables`` (Parquet); ``docs/reconcile.md`` tells a user how to get them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from decimal import Decimal

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.fees import FeeSchedule, FeeSnapshot
from validation.reconcile_bookings import BadExport, Booking, Export, Kind, Source
from validation.reconcile_checks import Problem, broken_chains, broken_sums, open_listings, without_repeated_lines
from validation.reconcile_closed import hours_ahead, judge_closed
from validation.reconcile_events import Event, events_of, without_duplicates
from validation.reconcile_exports import read_csv
from validation.reconcile_legs import judge_legs
from validation.reconcile_pages import read_pages
from validation.reconcile_rates import RateBook
from validation.reconcile_rows import TOLERANCE, Judgement, Verdict, judge_fill, judge_funding
from validation.reconcile_tables import read_parquet

_HOUR_MS = 3_600_000
# What a row may leave out and another row of the same event may show.
_FIGURES = ("price", "qty", "rate", "liquidity", "coin")


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """What the account is taken to pay, and how its files are to be read.

    ``category`` and ``zone`` hold for rows and times that do not say.
    """

    tier: str = "vip0"
    category: Category = Category.LINEAR
    zone: tzinfo = UTC
    schedule: FeeSchedule = field(default_factory=FeeSchedule.builtin)


@dataclass(frozen=True)
class Reconciliation:
    """Every row of every file with its judgement, oldest first, and what is wrong with the files as a whole.

    Attributes
    ----------
    judgements : tuple of Judgement
        Fees, funding payments, closed positions, and rows nobody can read.
    others : tuple of Booking
        Rows without a fee or funding payment: transfers, interest, bare legs of spot trades.
    duplicates : tuple of (Booking, Booking)
        Rows left out because another file (or page) has them already, with the row kept.
    problems : tuple of Problem
        Missing pages or lines, sums that do not add up.
    remarks : tuple of str
        What was assumed about the files.
    """

    terms: AccountTerms
    exports: tuple[Export, ...]
    judgements: tuple[Judgement, ...]
    others: tuple[Booking, ...]
    duplicates: tuple[tuple[Booking, Booking], ...]
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]

    @property
    def is_explained(self) -> bool:
        """Whether every row is explained and nothing is missing."""
        return all(judgement.verdict is not Verdict.UNEXPLAINED for judgement in self.judgements) and not any(
            problem.is_error for problem in self.problems
        )


def read(name: str, payload: bytes, terms: AccountTerms) -> tuple[list[Export], list[FeeSnapshot]]:
    """Return what one file holds: its rows, and the account's own fee rates when it is a fee-rate reply.

    Raises
    ------
    BadExport
        When it is none of the formats; says what was found and what was expected.
    """
    if payload[:4] == b"PAR1":
        return [read_parquet(name, payload, terms.zone)], []
    if payload.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        exports, told = read_pages(name, payload, terms.category)
        return exports, [FeeSnapshot(fees.category, fees.symbol, fees.rates, time) for time, fees in told]
    return [read_csv(name, payload, terms.category, terms.zone)], []


def reconcile(files: Iterable[tuple[str, bytes]], terms: AccountTerms) -> Reconciliation:
    """Judge every row of ``files``, given as (name, content).

    Raises
    ------
    BadExport
        When a file is none of the formats: nothing is judged then.
    InvalidInput
        Without a file, or for an unknown tier.
    """
    exports: list[Export] = []
    snapshots: list[FeeSnapshot] = []
    for name, payload in files:
        found, told = read(name, payload, terms)
        exports += found
        snapshots += told
    if not exports:
        raise BadExport("no file with rows to reconcile: give executions, a transaction log, closed P&L or an export")
    if terms.tier not in terms.schedule.tiers(terms.category):
        known = ", ".join(terms.schedule.tiers(terms.category))
        raise InvalidInput(f"fee tier {terms.tier!r} is not known for {terms.category}: known are {known}")
    schedule = terms.schedule.with_snapshots(snapshots) if snapshots else terms.schedule
    return reconcile_exports(exports, replace(terms, schedule=schedule))


def reconcile_exports(exports: Sequence[Export], terms: AccountTerms) -> Reconciliation:
    """Judge every row of files that have been read."""
    remarks = [remark for export in exports for remark in export.remarks]
    bookings = [booking for export in exports for booking in export.bookings]
    bookings, repeated_lines = without_repeated_lines(bookings)
    bookings, repetitions = without_duplicates(bookings)
    rates = RateBook(terms.schedule, terms.tier, bookings)
    events, repeats = events_of(bookings)
    repeated = {id(row) for row, _ in repeats}
    judged = [
        judgement for event in events for judgement in _of_event(event, rates) if id(judgement.booking) not in repeated
    ]
    fills = [booking for booking in bookings if booking.kind is Kind.TRADE and id(booking) not in repeated]
    closed, said = _in_utc([booking for booking in bookings if booking.kind is Kind.CLOSED], fills)
    remarks += said
    rounded = [booking for booking in closed if booking.closing is not None and booking.closing.is_rounded]
    sharp = [booking for booking in closed if booking.closing is not None and not booking.closing.is_rounded]
    by_fills = {booking.symbol for booking in fills}
    if any(booking.symbol in by_fills for booking in closed):
        remarks.append(
            "fees of closed positions are judged but not added to the totals of contracts whose fills are among the "
            "files: both book the same money"
        )
    judged += [
        replace(judgement, same_as="the fills of the same symbol")
        if judgement.booking.symbol in by_fills
        else judgement
        for judgement in (*judge_closed(rounded, fills, rates), *judge_legs(sharp, fills, rates))
    ]
    judged += [_conflict(row, earlier) for row, earlier in repetitions.conflicts]
    judged += [_unreadable(export, number, why) for export in exports for number, why in export.unreadable]
    return Reconciliation(
        terms=terms,
        exports=tuple(exports),
        judgements=tuple(sorted(judged, key=lambda judgement: judgement.booking.time_ms or 0)),
        others=tuple(booking for booking in bookings if booking.kind is Kind.OTHER),
        duplicates=(*repetitions.duplicates, *repeated_lines, *repeats),
        problems=(*open_listings(exports), *broken_chains(bookings), *broken_sums(bookings)),
        remarks=tuple(dict.fromkeys(remarks)),
    )


def _of_event(event: Event, rates: RateBook) -> Iterator[Judgement]:
    counted = event.counted
    for booking in event.rows:
        judgement = _judged(booking, event.rows, rates)
        if booking is not counted:
            judgement = replace(judgement, same_as=counted.place)
            difference = Decimal(0) if booking.fee is None or counted.fee is None else booking.fee - counted.fee
            if abs(difference) > TOLERANCE and judgement.verdict is Verdict.EXACT:
                judgement = replace(
                    judgement,
                    verdict=Verdict.UNEXPLAINED,
                    reason="files contradict each other",
                    detail=f"booked {booking.fee:f} here and {counted.fee:f} in {counted.place}",
                    recomputed=counted.fee,
                )
        yield judgement


def _judged(booking: Booking, rows: Sequence[Booking], rates: RateBook) -> Judgement:
    """Judge one row with what other rows of the same event show and it does not."""

    def judge(row: Booking) -> Judgement:
        return judge_funding(row) if row.kind is Kind.FUNDING else judge_fill(row, rates)

    lacking = [name for name in _FIGURES if getattr(booking, name) is None]
    found = {
        name: (getattr(other, name), other)
        for other in reversed(rows)
        for name in lacking
        if other is not booking and getattr(other, name) is not None
    }
    if not found:
        return judge(booking)
    # A role shown elsewhere narrows the rates; a rate shown elsewhere is that row's claim, not this one's.
    completed = replace(booking, **{name: figure for name, (figure, _) in found.items()})
    judgement = judge(completed)
    places = ", ".join(sorted({other.place for _, other in found.values()}))
    return replace(judgement, booking=booking, detail=f"{judgement.detail}; {', '.join(found)} as shown by {places}")


def _in_utc(closed: list[Booking], fills: Sequence[Booking]) -> tuple[list[Booking], list[str]]:
    """Shift the times of closed positions by whole hours when the fills of the same account tell the zone."""
    local = [booking for booking in closed if booking.source is Source.CLOSED_POSITIONS]
    hours = hours_ahead(local, fills)
    if not hours:
        return closed, []
    shifted = [_shifted(booking, hours) if booking.source is Source.CLOSED_POSITIONS else booking for booking in closed]
    return shifted, [
        f"times of the closed positions stand {hours:+d} h from those of the fills of the same account: "
        f"read {hours:+d} h from the zone given"
    ]


def _shifted(booking: Booking, hours: int) -> Booking:
    closing = booking.closing
    assert closing is not None
    opened_ms = None if closing.opened_ms is None else closing.opened_ms - hours * _HOUR_MS
    time_ms = None if booking.time_ms is None else booking.time_ms - hours * _HOUR_MS
    return replace(booking, time_ms=time_ms, closing=replace(closing, opened_ms=opened_ms))


def _conflict(row: Booking, earlier: Booking) -> Judgement:
    return Judgement(
        row,
        Verdict.UNEXPLAINED,
        "same id, other figures",
        f"{earlier.place} has the same id and other figures: an id stands for one row; fetch both pages again",
    )


def _unreadable(export: Export, number: int, why: str) -> Judgement:
    nothing = Booking(
        export.source, export.name, number, Kind.OTHER, "unreadable", None, None, None, None, 1, None, None, None, None
    )
    return Judgement(nothing, Verdict.UNEXPLAINED, "unreadable row", f"{why}; look at the row in the original")
