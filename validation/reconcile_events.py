"""Which rows book the same event: exports overlap, and money counts once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from validation.reconcile_bookings import Booking, Kind, Source

_MINUTE_MS = 60_000
_ORDER = {source: at for at, source in enumerate(Source)}


@dataclass(slots=True)
class Event:
    """Rows about one fill or one settlement; the first counts its money, the others repeat it."""

    rows: list[Booking]

    @property
    def counted(self) -> Booking:
        """The row whose money counts: of the fullest account of it."""
        return self.rows[0]


@dataclass(slots=True)
class Repetitions:
    """What was repeated: identical rows of one kind of file, and rows of one id that contradict each other."""

    duplicates: list[tuple[Booking, Booking]]
    conflicts: list[tuple[Booking, Booking]]


def without_duplicates(bookings: Iterable[Booking]) -> tuple[list[Booking], Repetitions]:
    """Return ``bookings`` with each id of one kind of source once, and what was left out.

    Two rows of one id that say the same are one row in overlapping pages; two that differ stay both, as a conflict.
    """
    kept: list[Booking] = []
    found = Repetitions([], [])
    known: dict[tuple[object, ...], Booking] = {}
    for booking in bookings:
        # Exports of the site have no ids of their own rows; a spot trade has one line a coin.
        row_id = booking.row_id or booking.exec_id
        if row_id is None:
            kept.append(booking)
            continue
        key = (booking.source, booking.kind, row_id, booking.coin)
        earlier = known.setdefault(key, booking)
        if earlier is booking:
            kept.append(booking)
        elif _content(earlier) == _content(booking):
            found.duplicates.append((booking, earlier))
        else:
            found.conflicts.append((booking, earlier))
    return kept, found


def _content(booking: Booking) -> Booking:
    return replace(booking, file="", number=0)


def events_of(bookings: Iterable[Booking]) -> tuple[list[Event], list[tuple[Booking, Booking]]]:
    """Return the fills and settlements among ``bookings``, each with all rows about it, and the repeats of no id.

    Rows of the same id are one event. Without ids, rows of different files that agree in kind, symbol, side, price,
    quantity and time (as exactly as both show it) are, one for one: the same fill twice within one file is two fills.
    The second result lists rows of one kind of source that repeat another file's row, with the row repeated.
    """
    by_file: dict[tuple[int, str], list[Booking]] = {}
    for booking in bookings:
        if booking.kind in (Kind.TRADE, Kind.FUNDING):
            by_file.setdefault((_ORDER[booking.source], booking.file.split(" page ")[0]), []).append(booking)
    events: list[Event] = []
    repeats: list[tuple[Booking, Booking]] = []
    by_id: dict[tuple[Kind, str], Event] = {}
    by_look: dict[tuple[object, ...], list[Event]] = {}
    for _, rows in sorted(by_file.items()):
        taken: set[int] = set()
        made: list[Event] = []
        for booking in rows:
            event = by_id.get((booking.kind, booking.exec_id)) if booking.exec_id else None
            if event is None:
                event = _alike(booking, by_look.get(_look(booking), ()), taken)
            if event is None or (booking.row_id and any(row.source is booking.source for row in event.rows)):
                # Several lines of one log may book the parts of one fill: each counts.
                event = Event([])
                made.append(event)
            elif any(row.source is booking.source for row in event.rows):
                repeats.append((booking, event.rows[0]))
            event.rows.append(booking)
            taken.add(id(event))
            if booking.exec_id:
                by_id.setdefault((booking.kind, booking.exec_id), event)
        events += made
        # Only after the whole file: within one file two equal rows are two events.
        for event in made:
            by_look.setdefault(_look(event.counted), []).append(event)
    return events, repeats


def _look(booking: Booking) -> tuple[object, ...]:
    minute = (booking.time_ms or 0) // _MINUTE_MS
    if booking.kind is Kind.FUNDING:
        # Logs of the site show neither price nor rate of a settlement: the money tells them apart.
        return booking.kind, minute, booking.symbol, None if booking.fee is None else _plain(booking.fee)
    figures = (None if figure is None else _plain(figure) for figure in (booking.price, booking.qty))
    return booking.kind, minute, booking.symbol, booking.side, *figures


def _plain(figure: Decimal) -> Decimal:
    return figure.normalize()


def _alike(booking: Booking, events: Sequence[Event], taken: set[int]) -> Event | None:
    for event in events:
        other = event.counted
        # Two different ids are two events however alike they look.
        has_other_id = booking.exec_id is not None and any(row.exec_id is not None for row in event.rows)
        if id(event) in taken or (has_other_id and booking.source is other.source):
            continue
        # Settlements of one minute are one settlement; fills are told apart as exactly as both sides show them.
        is_funding = booking.kind is Kind.FUNDING
        grain = _MINUTE_MS if is_funding else max(booking.precision_ms, other.precision_ms)
        if (booking.time_ms or 0) // grain == (other.time_ms or 0) // grain:
            return event
    return None
