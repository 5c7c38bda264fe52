"""Lists the venue's way: newest first, by page and cursor, within a window of time."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bybit.sandbox.query import Query, Refusal
from bybit.sandbox.wire import decode_cursor, encode_cursor

Row = Mapping[str, Any]
_DAY_MS = 86_400_000
_LONGEST_MS = 7 * _DAY_MS


def time_span(query: Query, now_ms: int, default_ms: int = _LONGEST_MS) -> tuple[int, int]:
    """Return the window asked for by ``startTime`` and ``endTime``, ms, both inclusive.

    One bound alone reaches ``default_ms`` from it, none at all back from now.

    Raises
    ------
    Refusal
        10001 for a window that is reversed or longer than seven days.
    """
    first, last = query.bounds("startTime", "endTime")
    if first is None and last is None:
        return now_ms - default_ms, now_ms
    if first is None:
        return (last or 0) - default_ms, last or 0
    if last is None:
        return first, first + default_ms
    if last - first > _LONGEST_MS:
        raise Refusal(10001, "The time range between startTime and endTime cannot exceed 7 days.")
    return first, last


def page(
    query: Query, rows: Iterable[Row], identify: Callable[[Row], str], *, default: int, largest: int
) -> tuple[list[Row], str]:
    """Return the page of ``rows`` (newest first) that a request asks for, and the next cursor ("" on the last).

    Raises
    ------
    Refusal
        10001 for a limit out of range or a cursor that is none.
    """
    every: Sequence[Row] = list(rows)
    limit = query.limit(default, largest)
    start = 0
    if cursor := query.text("cursor"):
        last = decode_cursor(cursor)
        places = [place for place, row in enumerate(every) if identify(row) == last]
        if not places:
            raise Refusal(10001, "params error: cursor is invalid")
        start = places[0] + 1
    chosen = list(every[start : start + limit])
    more = start + limit < len(every)
    return chosen, encode_cursor(identify(chosen[-1])) if more else ""


def select(rows: Iterable[Row], **wanted: str) -> list[Row]:
    """Return the rows whose fields have the wanted texts; an empty text takes any."""
    asked = {name: value for name, value in wanted.items() if value}
    return [row for row in rows if all(row[name] == value for name, value in asked.items())]
