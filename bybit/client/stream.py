"""The venue's streams: one connection that stays subscribed, through drops, silence and restarts of the venue."""

import logging
import random
import threading
from collections.abc import Callable, Iterable
from typing import Any, NoReturn
from urllib.parse import urlsplit

import orjson

from bybit.client.clock import Clock, SystemClock
from bybit.client.errors import AuthenticationFailed, BybitError, MalformedResponse, RequestRejected, StreamClosed
from bybit.client.feeds import Backfill, Feed, RowFeed, StreamEvent, feed_of
from bybit.client.limits import TokenBucket
from bybit.client.retries import MAIN_HOSTS, TEST_HOSTS
from bybit.client.sockets import Connect, Socket, WebSocket
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, PerpflowError

_log = logging.getLogger(__name__)

Handler = Callable[[StreamEvent], None]
"""Takes each event, in the stream's own thread: what is slow belongs elsewhere. An error of it is only logged."""

_PING_S = 20.0
# A pong follows each ping: longer silence is a dead connection that nobody closed.
_SILENCE_S = 45.0
_ANSWER_S = 10.0
_LOOK_S = 0.25
_MAX_ARGS = 10
_MAX_CHARS = 20_000
_CAP_S = 30.0
_FIRST_PAUSE_S = 0.25

# The venue allows 500 connections in 5 minutes, for all streams of this machine.
_connections = TokenBucket(400, 300.0, paced=300)


class Stream:
    """One connection to a public category or to the private topics. Thread-safe.

    Starts with :meth:`start` or ``with``, and ends with :meth:`close`. It pings every 20 s, takes 45 s of silence for
    a dead connection, connects again after 0.25 s to 30 s (doubling, with jitter; all streams of a process together
    stay far below the venue's 500 connections in 5 minutes), subscribes anew and fills the candles that are missing.

    Parameters
    ----------
    url : str
        ``wss://…/v5/public/linear`` and the like, or ``…/v5/private``.
    handler : callable
        Takes each :class:`StreamEvent` in the stream's thread.
    category : Category or None
        Of a public stream; None is the private one.
    authenticate : callable, optional
        Returns the ``auth`` message, signed afresh; for the private stream.
    backfill : callable, optional
        Asks the venue's lists for candles that are missing.
    connect, clock, limiter, rng : optional
        Seams for tests.
    """

    def __init__(
        self,
        url: str,
        handler: Handler,
        *,
        category: Category | None,
        authenticate: Callable[[], dict[str, Any]] | None = None,
        backfill: Backfill | None = None,
        connect: Connect = WebSocket,
        clock: Clock | None = None,
        limiter: TokenBucket | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.url = url
        self._handler = handler
        self._category = category
        self._authenticate = authenticate
        self._backfill = backfill
        self._connect = connect
        self._clock = clock or SystemClock()
        self._limiter = limiter or _connections
        # Jitter only: nothing that must be unguessable.
        self._rng = rng or random.Random()
        self._lock = threading.Lock()
        self._wanted: dict[str, Feed] = {}
        self._sent: dict[str, list[str]] = {}
        self._live: set[str] = set()
        # Topics that were refused together with others: asked for one by one.
        self._alone: set[str] = set()
        self._next_id = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.error: BybitError | None = None
        self.n_connections = 0
        self.n_rejected = 0

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics wanted now."""
        with self._lock:
            return tuple(self._wanted)

    @property
    def n_dropped(self) -> int:
        """Messages that could not be used: late, repeated, or a delta without its snapshot."""
        with self._lock:
            return sum(feed.n_dropped for feed in self._wanted.values())

    @property
    def is_subscribed(self) -> bool:
        """Whether the venue has acknowledged every topic on the connection there is now."""
        with self._lock:
            return bool(self._live) and set(self._wanted) <= self._live and not self._sent

    def subscribe(self, *topics: str) -> None:
        """Want topics, from now on and after every new connection; unknown ones raise ``InvalidInput``."""
        feeds = {topic: feed_of(topic, self._category, self._backfill) for topic in topics}
        with self._lock:
            self._wanted = {**feeds, **self._wanted}

    def unsubscribe(self, *topics: str) -> None:
        """Want topics no longer."""
        with self._lock:
            for topic in topics:
                self._wanted.pop(topic, None)

    def start(self) -> "Stream":
        """Connect and go on in a thread of its own."""
        if self._thread is not None:
            raise InvalidInput("the stream runs already: build another one")
        self._thread = threading.Thread(target=self.run, name=f"stream {urlsplit(self.url).path}", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """End the connection and the thread."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=30)

    def __enter__(self) -> "Stream":
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Stream({self.url}, {len(self.topics)} topics)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Stream holds a connection and perhaps a secret: build it where it is used")

    def run(self) -> None:
        """Stay connected until :meth:`close`; in the thread of the caller. A refused key ends it with ``error``."""
        n_failed = 0
        while not self._stop.is_set():
            self._limiter.acquire()
            if self._stop.is_set():
                return
            began_s = self._clock.monotonic()
            socket: Socket | None = None
            try:
                socket = self._connect(self.url)
                self.n_connections += 1
                self._serve(socket)
            except AuthenticationFailed as error:
                self.error = error
                self._tell("failed", "", error)
                return
            except BybitError as error:
                _log.info("%s: %s", self.url, error)
                self._tell("disconnected", "", error)
            finally:
                if socket is not None:
                    socket.close()
            # A connection that held for a while was a good one.
            n_failed = 0 if self._clock.monotonic() - began_s > _CAP_S else n_failed + 1
            longest_s = min(_CAP_S, _FIRST_PAUSE_S * 2.0 ** min(n_failed, 10))
            self._pause(longest_s * (0.5 + self._rng.random() / 2))

    def _pause(self, seconds: float) -> None:
        # In slices, so that closing does not wait for it.
        until_s = self._clock.monotonic() + seconds
        while not self._stop.is_set() and (left_s := until_s - self._clock.monotonic()) > 0:
            self._clock.sleep(min(left_s, _LOOK_S))

    def _serve(self, socket: Socket) -> None:
        self._sent, self._live = {}, set()
        if self._authenticate is not None:
            self._log_in(socket, self._authenticate())
        with self._lock:
            feeds = dict(self._wanted)
        for feed in feeds.values():
            feed.restart()
        self._tell("connected", "", None)
        if self.n_connections > 1:
            # What these said meanwhile nobody repeats.
            for topic in (topic for topic, feed in feeds.items() if isinstance(feed, RowFeed)):
                self._tell("gap", topic, None)
        now_s = self._clock.monotonic()
        pinged_s = heard_s = now_s
        while not self._stop.is_set():
            self._subscribe_missing(socket)
            now_s = self._clock.monotonic()
            if now_s - pinged_s >= _PING_S:
                socket.send('{"op":"ping"}')
                pinged_s = now_s
            text = socket.receive(_LOOK_S)
            if text is not None:
                heard_s = self._clock.monotonic()
                self._take(text)
            elif self._clock.monotonic() - heard_s >= _SILENCE_S:
                raise StreamClosed(f"{self.url}: nothing for {_SILENCE_S:g} s, not even a pong: connecting anew")

    def _log_in(self, socket: Socket, message: dict[str, Any]) -> None:
        socket.send(orjson.dumps(message).decode())
        until_s = self._clock.monotonic() + _ANSWER_S
        while self._clock.monotonic() < until_s:
            text = socket.receive(_LOOK_S)
            answer = None if text is None else _object(text)
            if answer is None or answer.get("op") != "auth":
                continue
            code = answer.get("retCode", 0)
            if answer.get("success") is True or (code == 0 and "success" not in answer):
                return
            code = code if type(code) is int and code else 10003
            # Its text may quote key and signature, so the code has to do.
            raise AuthenticationFailed(
                f"{self.url}: the venue refused the key (retCode {code}); check key and host", code
            )
        raise StreamClosed(f"{self.url}: no answer to the key for {_ANSWER_S:g} s")

    def _subscribe_missing(self, socket: Socket) -> None:
        with self._lock:
            again = [topic for topic in self._live if topic in self._wanted and self._wanted[topic].needs_snapshot]
            missing = [topic for topic in self._wanted if topic not in self._live]
            gone = [topic for topic in self._live if topic not in self._wanted]
            for topic in again:
                self._wanted[topic].needs_snapshot = False
        if again or gone:
            # Only a new subscription brings a new snapshot.
            for chunk in _chunks(again + gone):
                self._request(socket, "unsubscribe", chunk)
            self._live.difference_update(gone)
        together = [topic for topic in again + missing if topic not in self._alone]
        for chunk in [*_chunks(together), *([topic] for topic in missing if topic in self._alone)]:
            self._sent[self._request(socket, "subscribe", chunk)] = chunk
            self._live.update(chunk)

    def _request(self, socket: Socket, op: str, topics: list[str]) -> str:
        self._next_id += 1
        req_id = f"{op}-{self._next_id}"
        socket.send(orjson.dumps({"req_id": req_id, "op": op, "args": topics}).decode())
        return req_id

    def _take(self, text: str | bytes) -> None:
        message = _object(text)
        if message is None:
            self.n_rejected += 1
            return
        topic = message.get("topic")
        if not isinstance(topic, str):
            self._take_answer(message)
            return
        with self._lock:
            feed = self._wanted.get(topic)
        if feed is None:
            return
        try:
            for event in feed.take(message):
                self._hand(event)
        except MalformedResponse as error:
            self.n_rejected += 1
            _log.warning("left out: %s", error)

    def _take_answer(self, message: dict[str, Any]) -> None:
        topics = self._sent.pop(str(message.get("req_id", "")), None)
        if topics is None or message.get("success") is not False:
            return
        if len(topics) > 1:
            # Which of them the venue minds it does not say.
            self._alone.update(topics)
            self._live.difference_update(topics)
            return
        said = str(message.get("ret_msg", ""))[:200]
        self._live.difference_update(topics)
        with self._lock:
            for topic in topics:
                self._wanted.pop(topic, None)
        for topic in topics:
            error = RequestRejected(f"{topic}: the venue refuses it ({said})", 10001, said)
            self._tell("refused", topic, error)

    def _tell(self, kind: str, topic: str, data: BybitError | None) -> None:
        self._hand(StreamEvent(kind, topic, data))

    def _hand(self, event: StreamEvent) -> None:
        try:
            self._handler(event)
        except PerpflowError:
            # Not the connection's fault: it stays.
            _log.exception("the handler of %s failed at a %s of %r", self.url, event.kind, event.topic)


def stream_url(base_url: str, path: str) -> str:
    """Return the address of a stream for the REST address ``base_url``.

    The official hosts have one for each environment; a server on this machine serves both on one port.
    """
    split = urlsplit(base_url)
    if base_url in MAIN_HOSTS:
        return f"wss://stream.bybit.com{path}"
    if base_url in TEST_HOSTS:
        return f"wss://stream-testnet.bybit.com{path}"
    host = split.netloc.replace("api-demo.", "stream-demo.", 1).replace("api.", "stream.", 1)
    return f"{'wss' if split.scheme == 'https' else 'ws'}://{host}{path}"


def _object(text: str | bytes) -> dict[str, Any] | None:
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return message if isinstance(message, dict) else None


def _chunks(topics: Iterable[str]) -> list[list[str]]:
    chunks: list[list[str]] = []
    n_chars = _MAX_CHARS
    for topic in topics:
        n_chars += len(topic) + 3
        if n_chars > _MAX_CHARS or len(chunks[-1]) == _MAX_ARGS:
            chunks.append([])
            n_chars = len(topic) + 3
        chunks[-1].append(topic)
    return chunks
