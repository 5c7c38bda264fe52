"""Signatures. The only place where the secret is unwrapped."""

import hashlib
import hmac
import re
from typing import Any, NoReturn

from pydantic import SecretStr

from bybit.rules.errors import InvalidInput

_BLOT = "***"
_SIGNATURE = re.compile(r"[0-9a-fA-F]{64}")


class Signer:
    """Signs requests with one key pair; never shows it, and cannot be pickled.

    Parameters
    ----------
    api_key, api_secret : SecretStr
        One environment's pair; the wrong environment gives retCode 10003.
    """

    __slots__ = ("_api_key", "_api_secret")

    def __init__(self, api_key: SecretStr, api_secret: SecretStr) -> None:
        for name, secret in (("api_key", api_key), ("api_secret", api_secret)):
            text = secret.get_secret_value()
            if not text or not text.isascii() or not text.isprintable() or " " in text:
                # The text itself stays out of the message.
                raise InvalidInput(f"{name} is empty or holds a blank or an unprintable character: copy it again")
        self._api_key = api_key
        self._api_secret = api_secret

    def sign(self, text: str) -> str:
        """Return the lower-case hex HMAC-SHA256 of ``text``."""
        secret = self._api_secret.get_secret_value().encode()
        return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()

    def headers(self, payload: str, timestamp_ms: int, recv_window_ms: int) -> dict[str, str]:
        """Return the headers of one signed REST request.

        Parameters
        ----------
        payload : str
            Exactly the characters after ``?`` of a GET, or exactly the body of a POST.
        timestamp_ms : int
            The venue's time, ms since 1970.
        recv_window_ms : int
            How old the request may be when it arrives.
        """
        api_key = self._api_key.get_secret_value()
        return {
            "X-BAPI-API-KEY": api_key,
            "X-BAPI-TIMESTAMP": str(timestamp_ms),
            "X-BAPI-RECV-WINDOW": str(recv_window_ms),
            "X-BAPI-SIGN": self.sign(f"{timestamp_ms}{api_key}{recv_window_ms}{payload}"),
        }

    def stream_signature(self, expires_ms: int) -> str:
        """Return the signature of a private stream's ``auth`` message that is valid until ``expires_ms``."""
        return self.sign(f"GET/realtime{expires_ms}")

    def stream_auth(self, expires_ms: int) -> dict[str, Any]:
        """Return the ``auth`` message of a private stream. It goes to the socket and nowhere else."""
        args = [self._api_key.get_secret_value(), expires_ms, self.stream_signature(expires_ms)]
        return {"op": "auth", "args": args}

    def redact(self, text: str) -> str:
        """Return ``text`` with key, secret and anything shaped like a signature blotted out."""
        for secret in (self._api_secret, self._api_key):
            text = text.replace(secret.get_secret_value(), _BLOT)
        return redact_signatures(text)

    def __repr__(self) -> str:
        return "Signer(api_key=***, api_secret=***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Signer holds a secret and is never pickled: build it where it is used")


def redact_signatures(text: str) -> str:
    """Return ``text`` without anything shaped like a signature: the venue quotes them in its refusals."""
    return _SIGNATURE.sub(_BLOT, text)
