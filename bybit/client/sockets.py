"""The one seam to WebSockets: texts out, texts in, nothing parsed."""

import logging
from collections.abc import Callable
from typing import Literal, Protocol
from urllib.parse import urlsplit

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_socket

from bybit.client.errors import StreamClosed

_MAX_FRAME_BYTES = 8 * 1024 * 1024
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
# The library logs every frame at DEBUG, and one of them is the signature: this logger belongs to no tree and is mute.
_mute = logging.Logger("websockets of perpflow", level=logging.CRITICAL + 1)  # noqa: LOG001


class Socket(Protocol):
    """One open connection."""

    def send(self, text: str) -> None:
        """Send one message; raise ``StreamClosed`` when the connection is gone."""

    def receive(self, timeout_s: float) -> str | bytes | None:
        """Return the next message, None when none came in time; raise ``StreamClosed`` when none will come."""

    def close(self) -> None:
        """End the connection."""


Connect = Callable[[str], Socket]
"""Opens a connection to an address, or raises ``StreamClosed``."""


class WebSocket:
    """The real one: ``websockets``, verified TLS, no pings of its own since the venue has another kind."""

    def __init__(self, url: str, open_timeout_s: float = 10.0) -> None:
        self._where = url.partition("?")[0]
        proxy: Literal[True] | None = None if urlsplit(url).hostname in _LOOPBACK else True
        try:
            self._connection: ClientConnection = open_socket(
                url,
                open_timeout=open_timeout_s,
                ping_interval=None,
                close_timeout=2.0,
                max_size=_MAX_FRAME_BYTES,
                logger=_mute,
                proxy=proxy,
            )
        except (OSError, WebSocketException, EOFError) as error:
            raise StreamClosed(f"{self._where}: no connection ({type(error).__name__}); check the address") from None

    def send(self, text: str) -> None:
        """Send one message."""
        try:
            self._connection.send(text)
        except (OSError, WebSocketException, EOFError) as error:
            raise StreamClosed(f"{self._where}: the connection is gone ({type(error).__name__})") from None

    def receive(self, timeout_s: float) -> str | bytes | None:
        """Return the next message, None when none came in time."""
        try:
            return self._connection.recv(timeout=timeout_s)
        except TimeoutError:
            return None
        except (OSError, WebSocketException, EOFError) as error:
            raise StreamClosed(f"{self._where}: the connection ended ({type(error).__name__})") from None

    def close(self) -> None:
        """End the connection."""
        self._connection.close()
