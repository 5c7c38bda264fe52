"""From the bytes of a reply to its ``result``, or to the error it stands for."""

import email.utils
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

import orjson

from bybit.client.errors import (
    AuthenticationFailed,
    BybitError,
    ClockSkew,
    InsufficientBalance,
    MalformedResponse,
    RateLimited,
    RegionBlocked,
    RequestRejected,
    VenueUnavailable,
)
from bybit.client.transport import Reply
from bybit.rules.periods import utc

_SAMPLE_CHARS = 200
# A year: beyond it a reset time is noise.
_ABSURD_MS = 366 * 86_400_000

_LIMITED = {10006, 170005, 170222}
_UNAVAILABLE = {10000, 10016, 10019}
_SKEWED = {10002, -1}
_KEY_REFUSED = {10003, 10004, 10005, 10007, 10008, 10009, 10010, 10024, 10027, 33004, -2015}
_BALANCE = {110004, 110006, 110007, 110012, 110014, 110044, 110045, 110051, 110052, 110053, 170131}
_KINDS: dict[int, type[RequestRejected]] = {
    **dict.fromkeys(_SKEWED, ClockSkew),
    **dict.fromkeys(_KEY_REFUSED, AuthenticationFailed),
    **dict.fromkeys(_BALANCE, InsufficientBalance),
}
_WAY_OUT: dict[type[RequestRejected], str] = {
    ClockSkew: "check this machine's clock",
    AuthenticationFailed: "check the key, its environment, rights and address list",
    InsufficientBalance: "resize the order",
    RequestRejected: "look up the code; the same request will be refused again",
}

_BAN_WORDS = ("access too frequent",)
_REGION_WORDS = ("cloudfront", "country", "region", "jurisdiction", "your location", "restricted location")


class AddressBanSeen(BybitError):
    """The venue just shut this address out; the client turns it into ``AddressBanned`` with its end."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A successful reply: its ``result``, and the venue's time of it (ms since 1970; None where it gave none).

    ``extra`` is ``retExtInfo``, where batches tell the fate of each order. ``ret_code`` is 0, or one of the codes by
    which the venue says that everything was already as asked.
    """

    result: dict[str, Any]
    time_ms: int | None
    extra: dict[str, Any] = field(default_factory=dict)
    ret_code: int = 0


def open_envelope(reply: Reply, where: str, now_ms: int, redact: Callable[[str], str]) -> Envelope:
    """Return the result inside ``reply``, or raise the error it stands for.

    Parameters
    ----------
    reply : Reply
    where : str
        Method and path, for messages.
    now_ms : int
        The venue's time as far as known, for the waits it asks for.
    redact : callable
        Blots key and signature out of a text of the venue.
    """
    _refuse_by_status(reply, where, now_ms, redact)
    payload = _payload(reply, where, redact)
    ret_code = payload.get("retCode")
    if type(ret_code) is not int:
        raise _malformed(reply, where, f"retCode is {ret_code!r}, expected a whole number", redact)
    time_ms = payload.get("time")
    time_ms = time_ms if type(time_ms) is int else None
    if ret_code != 0:
        raise _error_of(ret_code, payload, reply, where, time_ms or now_ms, redact)
    if reply.status != 200:
        raise _malformed(reply, where, f"HTTP {reply.status} with retCode 0", redact)
    result = payload.get("result")
    if not isinstance(result, dict):
        raise _malformed(reply, where, f"result is {type(result).__name__}, expected an object", redact)
    extra = payload.get("retExtInfo")
    return Envelope(result, time_ms, extra if isinstance(extra, dict) else {})


def _refuse_by_status(reply: Reply, where: str, now_ms: int, redact: Callable[[str], str]) -> None:
    status = reply.status
    if status in (403, 451):
        _refuse_address(reply, where, redact)
    if status == 429:
        wait_ms = _retry_after_ms(reply.headers.get("retry-after", ""), now_ms)
        reset_at = None if wait_ms is None else utc(now_ms + wait_ms)
        raise RateLimited(f"{where}: HTTP 429, the venue is overloaded; wait and ask again", reset_at)
    if status >= 500:
        raise VenueUnavailable(f"{where}: HTTP {status} from the venue or the network before it; ask again later")
    if 300 <= status < 400:
        raise _malformed(reply, where, f"HTTP {status} redirect, which is never followed with a key", redact)


def _refuse_address(reply: Reply, where: str, redact: Callable[[str], str]) -> None:
    text = reply.body[:20_000].decode("utf-8", "replace").lower()
    if not any(word in text for word in _BAN_WORDS):
        if reply.status == 451 or any(word in text for word in _REGION_WORDS):
            raise RegionBlocked(
                f"{where}: HTTP {reply.status}, the venue does not serve the place this address is in; use a host "
                f"that serves it or another network. It said: {_sample(reply, redact)}"
            )
        if _names_a_code(reply):
            return
    # A 403 nobody can read counts as a ban: going on through a ban makes it permanent.
    raise AddressBanSeen(f"{where}: HTTP 403, access too frequent")


def _names_a_code(reply: Reply) -> bool:
    try:
        payload = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(payload, dict) and type(payload.get("retCode")) is int and payload["retCode"] in _KINDS


def _payload(reply: Reply, where: str, redact: Callable[[str], str]) -> dict[str, Any]:
    try:
        # orjson refuses NaN, Infinity, invalid UTF-8, trailing text and more than 1024 levels.
        payload = orjson.loads(reply.body)
    except orjson.JSONDecodeError as error:
        if reply.status == 401:
            raise AuthenticationFailed(f"{where}: HTTP 401; check the key", reply.status) from None
        if 400 <= reply.status < 500:
            raise RequestRejected(
                f"{where}: HTTP {reply.status}: {_sample(reply, redact)}; check path, category and method", reply.status
            ) from None
        raise _malformed(reply, where, f"not JSON ({error.msg})", redact) from None
    if not isinstance(payload, dict):
        raise _malformed(reply, where, f"a JSON {type(payload).__name__}, expected an object", redact)
    return payload


def _error_of(
    ret_code: int, payload: dict[str, Any], reply: Reply, where: str, now_ms: int, redact: Callable[[str], str]
) -> BybitError:
    ret_msg = redact(str(payload.get("retMsg", "")))[:_SAMPLE_CHARS]
    said = f"{where}: retCode {ret_code} ({ret_msg})"
    if ret_code in _LIMITED:
        reset_ms = _reset_ms(reply.headers.get("x-bapi-limit-reset-timestamp", ""), now_ms)
        return RateLimited(f"{said}; too many requests per second", None if reset_ms is None else utc(reset_ms))
    if ret_code in _UNAVAILABLE:
        return VenueUnavailable(f"{said}; ask again later")
    if ret_code == 10018:
        return AddressBanSeen(said)
    kind = _KINDS.get(ret_code, RequestRejected)
    return kind(f"{said}; {_WAY_OUT[kind]}", ret_code, ret_msg)


def _reset_ms(header: str, now_ms: int) -> int | None:
    # Missing on a global limit; else "now" or the time of the reset. Whatever is absurd counts as missing.
    if not header.isascii() or not header.isdigit() or len(header) > 15:
        return None
    reset_ms = int(header)
    return reset_ms if abs(reset_ms - now_ms) < _ABSURD_MS else None


def _retry_after_ms(header: str, now_ms: int) -> int | None:
    # Seconds or an HTTP date; negative and past mean now, and an hour is the longest anybody is believed.
    try:
        wait_ms = int(header) * 1000
    except ValueError:
        try:
            date = email.utils.parsedate_to_datetime(header)
        except ValueError:
            return None
        wait_ms = int(date.replace(tzinfo=date.tzinfo or UTC).timestamp() * 1000) - now_ms
    return min(max(wait_ms, 0), 3_600_000)


def _malformed(reply: Reply, where: str, found: str, redact: Callable[[str], str]) -> MalformedResponse:
    return MalformedResponse(
        f"{where}: {found}, in {len(reply.body)} bytes that begin {_sample(reply, redact)}; "
        "is this address a Bybit v5 endpoint?"
    )


def _sample(reply: Reply, redact: Callable[[str], str]) -> str:
    text = reply.body[:20_000].decode("utf-8", "replace")
    # Redacted before it is cut: half a key is a key too.
    return repr(redact(text)[:_SAMPLE_CHARS])
