"""How the venue writes things down: string numbers, newest first, one envelope."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote, unquote

import orjson

from bybit.sandbox.market import Rows

MAX_PRICE_TICKS = 1_999_998
"""The venue's range of BTCUSDT in ticks; other contracts' own ranges are not recorded."""
_EXPONENT = re.compile(rb"-?\d+(?:\.\d+)?e[+-]?\d+")


def decimal_text(number: float | Decimal | None) -> str:
    """Return the shortest plain decimal that reads back as ``number``; a Decimal keeps its own digits.

    Absent is "", as on the venue.
    """
    if number is None:
        return ""
    text = format(number if isinstance(number, Decimal) else Decimal(repr(float(number))), "f")
    return text.removesuffix(".0") if isinstance(number, float) else text


def rows_json(rows: Rows) -> bytes:
    """Return candles (oldest first) as the JSON list of the wire: newest first, every number a string.

    orjson writes the shortest text that reads back as the same float64; rewriting its bytes is some ten times faster
    than formatting number by number, and a page of 1000 candles is what the sandbox serves most.
    """
    if not len(rows):
        return b"[]"
    text = orjson.dumps(rows[::-1].copy(), option=orjson.OPT_SERIALIZE_NUMPY)
    text = text.replace(b".0,", b",").replace(b".0]", b"]")
    if b"e" in text:
        text = _EXPONENT.sub(lambda found: decimal_text(float(found[0])).encode(), text)
    # A price or volume that was recorded as missing: absent is "" on the wire.
    text = text.replace(b"null", b"")
    text = text.replace(b"],[", b"|").replace(b",", b'","').replace(b"|", b'"],["')
    return b'[["' + text[2:-2] + b'"]]'


def envelope(
    result: bytes | Mapping[str, Any],
    time_ms: int,
    ret_code: int = 0,
    ret_msg: str = "OK",
    ext: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the v5 reply around ``result`` (bytes are JSON already); ``ext`` is its ``retExtInfo``."""
    body = result if isinstance(result, bytes) else orjson.dumps(result)
    head = b'{"retCode":%d,"retMsg":%b,"result":' % (ret_code, orjson.dumps(ret_msg))
    return head + body + b',"retExtInfo":%b,"time":%d}' % (orjson.dumps(ext or {}), time_ms)


def encode_cursor(last: str) -> str:
    """Return an opaque cursor that goes on after ``last``; already URL-encoded, as the venue's are."""
    return quote(f"last={last}", safe="")


def decode_cursor(cursor: str) -> str | None:
    """Return what ``encode_cursor`` was given, whether the client encoded it again or not; None if not one of ours."""
    text = unquote(cursor)
    return text.removeprefix("last=") if text.startswith("last=") else None
