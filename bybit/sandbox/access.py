"""Who may call a signed endpoint: keys, signatures and the window of the clock, judged as the venue does."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Generic, TypeVar

from bybit.sandbox.query import Refusal

_AHEAD_MS = 1_000
_DEFAULT_WINDOW_MS = 5_000
_Account = TypeVar("_Account")


class KeyRing(Generic[_Account]):
    """The keys that are valid here, each with its secret and its account; a secret never shows in ``repr``."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[bytes, _Account]] = {}

    def add(self, api_key: str, api_secret: str, account: _Account) -> None:
        """Make a key valid for an account."""
        self._keys[api_key] = api_secret.encode(), account

    def authenticate(self, headers: Mapping[str, str], payload: bytes, now_ms: int) -> _Account:
        """Return the account of a signed HTTP request.

        Parameters
        ----------
        headers : mapping
            Names in lower case.
        payload : bytes
            Exactly the query string (GET) or the body (POST) as it came over the wire.
        now_ms : int
            The sandbox's clock.

        Raises
        ------
        Refusal
            10003 unknown key (without any key: HTTP status 401), 10002 timestamp outside now - window <= t <
            now + 1 s, 10004 wrong signature, 10001 for a timestamp or window that is no number.
        """
        key = headers.get("x-bapi-api-key", "")
        if not key:
            raise Refusal(10003, "API key is invalid.", 401)
        secret, account = self._known(key)
        stamp, window = headers.get("x-bapi-timestamp", ""), headers.get("x-bapi-recv-window", "")
        signed_ms = _milliseconds(stamp, "timestamp")
        window_ms = _milliseconds(window, "recv_window") if window else _DEFAULT_WINDOW_MS
        if not now_ms - window_ms <= signed_ms < now_ms + _AHEAD_MS:
            raise Refusal(
                10002,
                "invalid request, please check your server timestamp or recv_window param. "
                f"req_timestamp[{signed_ms}],server_timestamp[{now_ms}],recv_window[{window_ms}]",
            )
        text = (stamp + key + window).encode() + payload
        if not _agrees(secret, text, headers.get("x-bapi-sign", "")):
            raise Refusal(10004, "error sign! please check your signature generation algorithm.")
        return account

    def authenticate_stream(self, api_key: str, expires_ms: int, signature: str, now_ms: int) -> _Account:
        """Return the account of a stream's ``auth`` operation; signed is ``GET/realtime`` and the expiry, ms.

        Raises
        ------
        Refusal
            10003 unknown key, 10004 an expiry that is over or a wrong signature.
        """
        secret, account = self._known(api_key)
        if expires_ms <= now_ms:
            raise Refusal(10004, "Params Error: the request has expired")
        if not _agrees(secret, f"GET/realtime{expires_ms}".encode(), signature):
            raise Refusal(10004, "error sign! please check your signature generation algorithm.")
        return account

    def _known(self, key: str) -> tuple[bytes, _Account]:
        known = self._keys.get(key)
        if known is None:
            raise Refusal(10003, "API key is invalid.")
        return known


def _milliseconds(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Refusal(10001, f"params error: {name} is invalid")
    return int(text)


def _agrees(secret: bytes, text: bytes, signature: str) -> bool:
    expected = hmac.new(secret, text, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))
