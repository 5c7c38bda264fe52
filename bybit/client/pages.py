"""Listings to their end: cursors followed, windows of at most seven days, loops and truncation found."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from bybit.client.arguments import Time, check_span
from bybit.client.calls import Caller, Value
from bybit.client.errors import MalformedResponse
from bybit.client.fields import each
from bybit.client.parse import check_echo, cursor_of, rows_of
from bybit.rules.periods import Span, to_ms

T = TypeVar("T")

WINDOW_MS = 7 * 86_400_000
"""Longest window of one request for an account's history."""

_MAX_PAGES = 5000
# A page that repeats may be one bad answer: asked again this often before it counts.
_N_AGAIN = 2


@dataclass(frozen=True, slots=True)
class Source:
    """One listing of the venue.

    ``key`` fields name a row once and for all, ``time`` the field it is sorted by, newest first; a row of a
    ``mutable`` one may change between two pages, and then the later one counts.
    """

    path: str
    what: str
    limit: int
    key: tuple[str, ...]
    time: str
    mutable: bool = False
    signed: bool = True


OPEN_ORDERS = Source("/v5/order/realtime", "orders", 50, ("orderId",), "createdTime", mutable=True)
ORDERS = Source("/v5/order/history", "order history", 50, ("orderId",), "createdTime", mutable=True)
EXECUTIONS = Source("/v5/execution/list", "executions", 100, ("execId", "orderId", "leavesQty"), "execTime")
POSITIONS = Source("/v5/position/list", "positions", 200, ("symbol", "positionIdx"), "symbol", mutable=True)
CLOSED_PNL = Source(
    "/v5/position/closed-pnl", "closed pnl", 100, ("orderId", "updatedTime", "closedSize"), "updatedTime"
)
TRANSACTIONS = Source("/v5/account/transaction-log", "transaction log", 50, ("id",), "transactionTime")
OPEN_INTERESTS = Source("/v5/market/open-interest", "open interest", 200, ("timestamp",), "timestamp", signed=False)


def records(
    caller: Caller,
    source: Source,
    params: Mapping[str, Value],
    record: Callable[[dict[str, Any]], T],
    span: Span | None = None,
) -> Iterator[T]:
    """Yield one record per row, oldest first, each row once.

    Parameters
    ----------
    params : mapping
        What to ask for besides bounds, limit and cursor.
    record : callable
        From a row to our type.
    span : tuple of int, optional
        [start, end) in ms UTC, cut into windows the venue takes; without it the venue's own default.

    Raises
    ------
    MalformedResponse
        When pages repeat instead of ending, rows of one key differ, or a row cannot be used: what was yielded is
        right, but not the whole listing.
    """
    seen: dict[tuple[str, ...], dict[str, Any]] = {}
    for bounds in _windows(span):
        rows = _window(caller, source, {**params, **bounds})
        fresh = [(key, row) for key, row in rows.items() if key not in seen]
        # Rows of neighbouring windows are the only ones that may come twice.
        seen = rows
        fresh.sort(key=lambda item: (str(item[1].get(source.time)), item[0]))
        yield from each((row for _, row in fresh), record, source.what)


def span_of(caller: Caller, start: Time | None, end: Time | None) -> Span | None:
    """Return [start, end) in ms UTC of the bounds a caller gave; None when there are none.

    Without an end it is now; without a start seven days before the end.
    """
    if start is None and end is None:
        return None
    end_ms = caller.venue_time_ms() + 1 if end is None else to_ms(end)
    return check_span(end_ms - WINDOW_MS if start is None else start, end_ms)


def _windows(span: Span | None) -> Iterator[dict[str, Value]]:
    if span is None:
        yield {}
        return
    for start_ms in range(span[0], span[1], WINDOW_MS):
        # Both bounds of the venue are inclusive.
        yield {"startTime": start_ms, "endTime": min(start_ms + WINDOW_MS, span[1]) - 1}


def _window(caller: Caller, source: Source, params: Mapping[str, Value]) -> dict[tuple[str, ...], dict[str, Any]]:
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    confirmed: set[str] = set()
    cursor, cursors, n_again, n_before = "", {""}, 0, 0
    for _ in range(_MAX_PAGES):
        asked = {**params, "limit": source.limit, "cursor": cursor or None}
        result = caller.get(source.path, asked, signed=source.signed).result
        if params.get("category") is not None:
            check_echo(result, category=str(params["category"]))
        page = rows_of(result, dict)
        for row in page:
            _take(found, source, row)
        following = cursor_of(result)
        if following and len(page) < source.limit and cursor not in confirmed:
            # A last page may carry a cursor, which leads to an empty one; but rows may be missing too: asked twice.
            confirmed.add(cursor)
            continue
        if not following or not page:
            return found
        if len(found) > n_before and following not in cursors:
            cursor, n_again, n_before = following, 0, len(found)
            cursors.add(following)
            continue
        n_again += 1
        if n_again > _N_AGAIN:
            break
    raise MalformedResponse(
        f"GET {source.path}: the pages repeat after {len(found)} rows instead of ending: the {source.what} is "
        "truncated; ask for a shorter span, or later"
    )


def _take(found: dict[tuple[str, ...], dict[str, Any]], source: Source, row: dict[str, Any]) -> None:
    key = tuple(str(row.get(name)) for name in source.key)
    known = found.get(key)
    if known is not None and known != row and not source.mutable:
        differ = sorted(name for name in known.keys() | row.keys() if known.get(name) != row.get(name))
        raise MalformedResponse(
            f"GET {source.path}: two rows of {orjson.dumps(key).decode()[:120]} differ in {', '.join(differ)[:120]}; "
            "nobody knows which is right; ask again"
        )
    found[key] = row
