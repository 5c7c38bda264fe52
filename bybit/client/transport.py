"""The one seam to the network: bytes out, bytes in, nothing parsed."""

import http.client
import http.cookiejar
import io
import socket
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from bybit.client.errors import MalformedResponse, NoResponse

_MAX_BODY_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Timeout:
    """Deadlines of one request, seconds: to connect, between two arrivals of bytes, and until the last byte."""

    connect_s: float = 5.0
    read_s: float = 10.0
    total_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. Header names are lower case; ``body`` is complete and decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends one request and returns the whole reply, or raises; retries nothing, follows nothing."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: Timeout) -> Reply:
        """Return the reply.

        Raises
        ------
        NoResponse
            When no complete reply arrived in time.
        MalformedResponse
            When the reply is larger than anything the venue sends.
        """

    def close(self) -> None:
        """Let go of all connections."""


class RequestsTransport:
    """The real one: ``requests`` with pooled connections, verified TLS, no redirects, no cookies. Thread-safe.

    Parameters
    ----------
    n_connections : int
        Connections kept open per host; more threads than that open and close their own.
    max_body_bytes : int
        Longest reply accepted, after decompression.
    """

    def __init__(self, n_connections: int = 32, max_body_bytes: int = _MAX_BODY_BYTES) -> None:
        self._max_body_bytes = max_body_bytes
        self._session = requests.Session()
        # A jar that accepts nothing is never written to, so threads may share the session.
        self._session.cookies = RequestsCookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        adapter = _DeadlineAdapter(pool_connections=8, pool_maxsize=n_connections, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._lock = threading.Lock()
        self._settings: dict[str, Any] = {}

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: Timeout) -> Reply:
        """Return the reply of one request; see :class:`Transport`."""
        prepared = requests.Request(method, url, headers={"Accept-Encoding": "gzip", **headers}, data=body).prepare()
        # As signed, character for character: prepare() would quote the query anew.
        prepared.url = url
        deadline_s = time.monotonic() + timeout.total_s
        _deadline.at_s = deadline_s
        _deadline.read_s = timeout.read_s
        where = f"{method} {url.partition('?')[0]}"
        try:
            response = self._session.send(
                prepared,
                stream=True,
                allow_redirects=False,
                timeout=(min(timeout.connect_s, timeout.total_s), timeout.read_s),
                **self._settings_of(url),
            )
            with response:
                return self._read(response, where)
        except (requests.RequestException, urllib3.exceptions.HTTPError, zlib.error, OSError) as error:
            late = f", after the deadline of {timeout.total_s:g} s" if time.monotonic() >= deadline_s else ""
            # The library's own text may quote the URL with its query: the kind of failure is enough.
            raise NoResponse(
                f"{where}: no complete reply ({_kind(error)}{late}); check the network and the address",
                maybe_sent=not _UNSENT & set(_chain(error)),
            ) from None

    def close(self) -> None:
        """Close every pooled connection."""
        self._session.close()

    def _read(self, response: requests.Response, where: str) -> Reply:
        headers = {name.lower(): value for name, value in response.headers.items()}
        encoding = headers.get("content-encoding", "identity")
        if encoding not in ("identity", "gzip"):
            raise MalformedResponse(f"{where}: the reply is packed as {encoding[:20]!r}, asked for gzip; discarded")
        # urllib3 takes a packed body that breaks off for a whole one, so it is unpacked here, up to its checksum.
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding == "gzip" else None
        body = bytearray()
        for part in response.raw.stream(_CHUNK_BYTES, decode_content=False):
            room = self._max_body_bytes + 1 - len(body)
            body += part if unpacker is None else unpacker.decompress(part, room)
            if len(body) > self._max_body_bytes:
                raise MalformedResponse(
                    f"{where}: the reply is longer than {self._max_body_bytes} bytes, which no v5 reply is; discarded"
                )
        if unpacker is not None and not unpacker.eof:
            raise zlib.error("the packed body breaks off")
        return Reply(response.status_code, headers, bytes(body))

    def _settings_of(self, url: str) -> dict[str, Any]:
        # Proxies and certificates from the environment, looked up once per host rather than per request.
        split = urlsplit(url)
        host = f"{split.scheme}://{split.netloc}"
        with self._lock:
            if host not in self._settings:
                found = self._session.merge_environment_settings(host, {}, None, None, None)
                self._settings[host] = {"proxies": found["proxies"], "verify": found["verify"], "cert": None}
            settings: dict[str, Any] = self._settings[host]
            return settings


# Without a connection nothing was sent. A reset connection is another matter.
_UNSENT = {"NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ConnectionRefusedError", "gaierror"}


def _kind(error: BaseException) -> str:
    # requests wraps urllib3 wraps the system: the innermost name tells most.
    return " from ".join(dict.fromkeys(_chain(error)))


def _chain(error: BaseException) -> list[str]:
    chain = [type(error).__name__]
    inner = error.__cause__ or error.__context__
    while inner is not None and len(chain) < 6:
        chain.append(type(inner).__name__)
        inner = inner.__cause__ or inner.__context__
    return chain


class _Deadline(threading.local):
    at_s: float = float("inf")
    read_s: float = 60.0


_deadline = _Deadline()


class _DeadlineFile(io.RawIOBase):
    # A read timeout restarts with every byte, so a server that trickles holds a thread for hours. Here every
    # read of the socket gets only what is left until the deadline of the request.
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._at_s = _deadline.at_s
        self._read_s = _deadline.read_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._at_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the reply did not end before its deadline")
        self._sock.settimeout(min(left_s, self._read_s))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _DeadlineSocket:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineFile(self._sock))


class _DeadlineResponse(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(_DeadlineSocket(sock), *args, **kwargs)  # type: ignore[arg-type]


class _HTTPConnection(HTTPConnection):
    response_class = _DeadlineResponse


class _HTTPSConnection(HTTPSConnection):
    response_class = _DeadlineResponse


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class _DeadlineAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager
