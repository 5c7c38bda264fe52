"""Single fields of the venue's rows: texts become exact values, or a reason why not."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

import orjson

from bybit.client.errors import MalformedResponse
from bybit.client.replies import Conflict, Listing, RejectedRow
from bybit.rules.candles import check_symbol
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import to_ms, utc

MAX_NUMBER_CHARS = 40
"""Longest number believed; the venue's have at most about 25 characters."""

T = TypeVar("T")

_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_MAX_RAW_CHARS = 1000


class BadRow(Exception):
    """Carries the reason from the field that is wrong to the list of rejected rows; never leaves the parser."""


def number(value: object, name: str, *, signed: bool = False) -> Decimal:
    """Return the plain decimal number in ``value`` exactly; a whole JSON number passes too.

    Raises
    ------
    BadRow
        When it is empty, null, not a plain decimal (NaN, 1e5, "1,5"), too long, or negative unless ``signed``.
    """
    if value is None:
        raise BadRow(f"{name}: null or missing")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRow(f"{name}: a {type(value).__name__}")
    # The docs call the margins of risk limits numbers; repr keeps the shortest exact text of a float.
    text = str(value)
    if not text:
        raise BadRow(f"{name}: empty")
    if len(text) > MAX_NUMBER_CHARS:
        raise BadRow(f"{name}: longer than {MAX_NUMBER_CHARS} characters")
    if not _DECIMAL.fullmatch(text):
        raise BadRow(f"{name}: {text!r} is not a plain decimal number")
    if text[0] == "-" and not signed:
        raise BadRow(f"{name}: {text} is negative")
    return Decimal(text)


def optional(row: dict[str, Any], name: str, *, signed: bool = False) -> Decimal | None:
    """Return the number in ``row[name]``; None when it is missing, null or ""."""
    value = row.get(name)
    return None if value is None or value == "" else number(value, name, signed=signed)


def time_ms(value: object, name: str) -> int:
    """Return the ms since 1970 in ``value``, a text of 13 digits."""
    if not isinstance(value, str) or not value.isascii() or not value.isdigit():
        raise BadRow(f"{name}: {str(value)[:MAX_NUMBER_CHARS]!r} is not a time in milliseconds")
    try:
        return to_ms(int(value[:20]))
    except InvalidInput as error:
        raise BadRow(f"{name}: {error}") from None


def optional_time(row: dict[str, Any], name: str) -> datetime | None:
    """Return the time in ``row[name]``; None when it is missing, "" or "0", which is how the venue says never."""
    value = row.get(name)
    return None if value in (None, "", "0") else utc(time_ms(value, name))


def text(row: dict[str, Any], name: str) -> str:
    """Return the non-empty text in ``row[name]``."""
    value = row.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 100:
        raise BadRow(f"{name}: {str(value)[:MAX_NUMBER_CHARS]!r}, expected a text")
    return value


def label(row: dict[str, Any], name: str) -> str | None:
    """Return the text in ``row[name]``; None when it is missing, null or "", which is how the venue says none."""
    return None if row.get(name) in (None, "") else text(row, name)


def flag(row: dict[str, Any], name: str) -> bool | None:
    """Return the truth in ``row[name]``, written as a JSON boolean, 0 or 1, or one of their texts; None if missing."""
    value = row.get(name)
    if value is None or value == "":
        return None
    for truth, spellings in ((True, (True, "1", "true", "ON")), (False, (False, "0", "false", "OFF"))):
        if value in spellings:
            return truth
    raise BadRow(f"{name}: {str(value)[:MAX_NUMBER_CHARS]!r} is neither true nor false")


def whole(row: dict[str, Any], name: str) -> int | None:
    """Return the whole number in ``row[name]``; None when it is missing, null or ""."""
    value = optional(row, name, signed=True)
    if value is not None and value != int(value):
        raise BadRow(f"{name}: {value} is not a whole number")
    return None if value is None else int(value)


def price(row: dict[str, Any], name: str) -> Decimal | None:
    """Return the price in ``row[name]``; None where there is none, for which the venue writes "" or a zero."""
    return optional(row, name) or None


def moment(row: dict[str, Any], name: str) -> datetime:
    """Return the time in ``row[name]``: ms since 1970, which streams send as a number and lists as a text."""
    value = row.get(name)
    return utc(time_ms(str(value) if type(value) is int else value, name))


def optional_moment(row: dict[str, Any], name: str) -> datetime | None:
    """Return the time in ``row[name]``; None when it is missing, "" or zero, which is how the venue says never."""
    return None if row.get(name) in (None, "", "0", 0) else moment(row, name)


def each(rows: Iterable[dict[str, Any]], record: Callable[[dict[str, Any]], T], what: str) -> list[T]:
    """Return one record per row.

    Raises
    ------
    MalformedResponse
        When any row cannot be used: what an account holds and did is whole or it is none.
    """
    found = []
    for row in rows:
        try:
            found.append(record(row))
        except BadRow as error:
            raise MalformedResponse(f"the venue's {what} cannot be used: {error}; look at the reply") from None
    return found


def symbol(row: dict[str, Any]) -> str:
    """Return the symbol in ``row``."""
    try:
        return check_symbol(text(row, "symbol"))
    except InvalidInput as error:
        raise BadRow(str(error)) from None


def part(row: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the object in ``row[name]``, empty when it is missing or null."""
    value = row.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRow(f"{name}: a {type(value).__name__}, expected an object")
    return value


class Gathering(Generic[T]):
    """Collects the records of a listing, one per key, and accounts for every row that did not become one."""

    def __init__(self) -> None:
        self.n_outside = 0
        self._raw_rows: list[dict[str, Any]] = []
        self._n_duplicate = 0
        self._rejected: list[RejectedRow] = []
        self._found: dict[Any, list[tuple[T, tuple[str, ...]]]] = {}

    @contextmanager
    def row(self, row: dict[str, Any]) -> Iterator[None]:
        """Turn a ``BadRow`` inside the block into a rejected row."""
        self._raw_rows.append(row)
        try:
            yield
        except BadRow as error:
            self._rejected.append(RejectedRow(_raw(row), str(error)))

    def add(self, key: Any, record: T, row: dict[str, Any]) -> None:
        """Take ``record``; the same one again counts as a duplicate, another one of the same key as a conflict."""
        versions = self._found.setdefault(key, [])
        if any(record == known for known, _ in versions):
            self._n_duplicate += 1
        else:
            versions.append((record, _raw(row)))

    def listing(self) -> Listing[T]:
        """Return the records by rising key; of a key in conflict, none."""
        items = sorted(self._found.items(), key=lambda item: item[0])
        return Listing(
            (versions[0][0] for _, versions in items if len(versions) == 1),
            rejected=self._rejected,
            conflicts=[
                Conflict(key, tuple(raw for _, raw in versions)) for key, versions in items if len(versions) > 1
            ],
            n_outside=self.n_outside,
            n_duplicate=self._n_duplicate,
            raw=self._raw_rows,
        )


def _conflict(key: Any, versions: list[tuple[T, tuple[str, ...]]]) -> Conflict:
    shown = key if isinstance(key, int | str) else " ".join(str(element) for element in key)
    return Conflict(shown, tuple(raw for _, raw in versions))


def _raw(row: dict[str, Any]) -> tuple[str, ...]:
    return str(row.get("symbol", ""))[:_MAX_RAW_CHARS], orjson.dumps(row).decode()[:_MAX_RAW_CHARS]
