"""Whether rows are missing: chains of balances, pages that go on, sums that do not add up."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from bybit.rules.periods import utc
from validation.reconcile_bookings import Booking, Export, Kind, Source

_LOGS = (Source.TRANSACTION_LOG, Source.ASSET_CHANGES)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a whole file: what was found, what was expected, the way out. Errors fail the run."""

    place: str
    text: str
    is_error: bool = True


def without_repeated_lines(bookings: Iterable[Booking]) -> tuple[list[Booking], list[tuple[Booking, Booking]]]:
    """Return ``bookings`` with each line of a log once, and the repeats with the line repeated.

    Lines of two files that agree in time, coin, kind, change and in the balance after it are one line. Lines of one
    file are never one.
    """
    kept: list[Booking] = []
    repeats: list[tuple[Booking, Booking]] = []
    known: dict[tuple[object, ...], Booking] = {}
    for booking in bookings:
        if booking.source not in _LOGS or booking.balance is None:
            kept.append(booking)
            continue
        figures = (booking.change, booking.balance, booking.qty, booking.price)
        key = (booking.source, booking.time_ms, booking.coin, booking.kind_text, booking.symbol, *figures)
        earlier = known.setdefault(key, booking)
        if earlier is booking or earlier.file == booking.file:
            kept.append(booking)
        else:
            repeats.append((booking, earlier))
    return kept, repeats


def broken_sums(bookings: Iterable[Booking]) -> list[Problem]:
    """Return the log lines whose change is not cash flow less fee less funding paid."""
    problems = []
    for booking in bookings:
        if booking.source in _LOGS and booking.change is not None and booking.cash_flow is not None:
            expected = booking.cash_flow - (booking.fee or Decimal(0))
            # A settlement of USDC contracts books the day's profit, funding and sometimes a fee in one line.
            if booking.kind is not Kind.OTHER and expected != booking.change and booking.kind is not Kind.FUNDING:
                text = (
                    f"the change {booking.change:f} is not the cash flow {booking.cash_flow:f} less the fee "
                    f"{booking.fee or 0:f}: look at the row in the original"
                )
                problems.append(Problem(booking.place, text))
    return problems


def broken_chains(bookings: Iterable[Booking]) -> list[Problem]:
    """Return where the balance after one line is not the balance before the next: lines are missing between them."""
    lines = [b for b in bookings if b.source in _LOGS and b.balance is not None and b.change is not None]
    problems = []
    chains = sorted({(line.source, line.coin or "") for line in lines})
    for source, coin in chains:
        chain = [line for line in lines if (line.source, line.coin or "") == (source, coin)]
        problems += _breaks(source, coin, chain)
    return problems


def _breaks(source: Source, coin: str, chain: Sequence[Booking]) -> list[Problem]:
    problems = []
    balance: Decimal | None = None
    before = ""
    ordered = sorted(chain, key=lambda line: line.time_ms or 0)
    for time_ms, group in groupby(ordered, key=lambda line: line.time_ms or 0):
        # Lines of one instant come in any order: one of their balances is the last.
        together = list(group)
        change = sum((line.change or Decimal(0) for line in together), Decimal(0))
        balances = [line.balance for line in together if line.balance is not None]
        now = f"{utc(time_ms):%Y-%m-%d %H:%M:%S}"
        if balance is not None and balance + change not in balances:
            last = _last(together)
            missing = last - change - balance
            problems.append(
                Problem(
                    together[0].place,
                    f"{source} in {coin}: after {before} the balance was {balance:f}, and {now} "
                    f"starts from {balance + missing:f}: lines that changed it by {missing:f} are missing; export the "
                    "whole span again, or fetch every page",
                )
            )
            balance = last
        else:
            balance = _last(together) if balance is None else balance + change
        before = now
    return problems


def _last(together: Sequence[Booking]) -> Decimal:
    """Return the balance after the last of some lines of one instant: the one that no other starts from."""
    starts = [(line.balance or Decimal(0)) - (line.change or Decimal(0)) for line in together]
    for line in together:
        if line.balance is not None and line.balance not in starts:
            return line.balance
    return together[0].balance or Decimal(0)


def open_listings(exports: Sequence[Export]) -> list[Problem]:
    """Return the listings of the API whose last page is not among the files."""
    problems = []
    has_empty = any(export.cursor is not None and not export.bookings and not export.unreadable for export in exports)
    for source in Source:
        pages = [export for export in exports if export.source is source and export.cursor is not None]
        with_rows = [page for page in pages if page.bookings or page.unreadable]
        if with_rows and not has_empty and all(page.cursor for page in with_rows):
            names = ", ".join(page.name for page in with_rows[:3])
            text = (
                f"{len(with_rows)} page(s) of {source}, each with a nextPageCursor: expected one page without, or an "
                "empty one, as the end; fetch on with the cursor until then and give those pages too"
            )
            problems.append(Problem(names, text))
    return problems
