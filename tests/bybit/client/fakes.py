"""Fakes of the client's own seams: time, and the way to the network."""

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from bybit.client import Breaker, BybitClient, Reply, Timeout, TokenBucket

HOST = "https://one.example"
OTHER = "https://two.example"
KEY = "CANARYKEY0123456789"
SECRET = "CANARYSECRET0123456789"
# 2023-11-14T22:13:20Z, a whole minute and the venue's time in every test.
NOW_MS = 1_700_000_000_000
MINUTE = 60_000


class FakeClock:
    """Time that passes only by sleeping."""

    def __init__(self, wall_ms: int = NOW_MS) -> None:
        self.now_s = 1000.0
        self.skew_ms = 0.0
        self._zero_ms = wall_ms - 1000 * 1000
        self.sleeps: list[float] = []
        self._lock = threading.Lock()

    def wall_ms(self) -> int:
        return int(self._zero_ms + self.now_s * 1000 + self.skew_ms)

    def venue_ms(self) -> int:
        return int(self._zero_ms + self.now_s * 1000)

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        with self._lock:
            self.sleeps.append(seconds)
            self.now_s += seconds


@dataclass
class Request:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None

    @property
    def host(self) -> str:
        split = urlsplit(self.url)
        return f"{split.scheme}://{split.netloc}"

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> str:
        return urlsplit(self.url).query

    @property
    def params(self) -> dict[str, str]:
        return dict(parse_qsl(self.query, keep_blank_values=True))


Answer = Reply | Exception | Callable[[Request], "Reply | Exception"]


@dataclass
class FakeTransport:
    """Answers each request with the next of ``answers``; the last one answers for ever."""

    answers: list[Answer]
    requests: list[Request] = field(default_factory=list)
    closed: bool = False
    _lock: Any = field(default_factory=threading.Lock)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: Timeout) -> Reply:
        request = Request(method, url, headers, body)
        with self._lock:
            self.requests.append(request)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer) and not isinstance(answer, Exception):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed = True


def ok(result: Any, time_ms: int = NOW_MS) -> Reply:
    return coded(0, "OK", result, time_ms=time_ms)


def coded(ret_code: int, ret_msg: str = "refused", result: Any = None, time_ms: int = NOW_MS, **headers: str) -> Reply:
    payload = {"retCode": ret_code, "retMsg": ret_msg, "result": {} if result is None else result, "time": time_ms}
    return Reply(200, {name.replace("_", "-"): value for name, value in headers.items()}, orjson.dumps(payload))


def http(status: int, body: str = "", **headers: str) -> Reply:
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body.encode())


def clock_answer(clock: FakeClock, trip_s: float = 0.0) -> Callable[[Request], Reply]:
    """The venue's clock, read in the middle of a round trip of ``trip_s``."""

    def answer(_: Request) -> Reply:
        clock.now_s += trip_s / 2
        venue_ms = clock.venue_ms()
        clock.now_s += trip_s / 2
        return ok({"timeSecond": str(venue_ms // 1000), "timeNano": str(venue_ms * 1_000_000)})

    return answer


def klines(*rows: list[str], symbol: str = "BTCUSDT", category: str = "linear") -> Reply:
    return ok({"symbol": symbol, "category": category, "list": list(rows)})


def row(open_ms: int, price: str = "100.5", volume: str = "3") -> list[str]:
    return [str(open_ms), price, "101", "99", "100", volume, "300"]


def client_of(
    *answers: Answer, clock: FakeClock | None = None, signed: bool = False, **options: Any
) -> tuple[BybitClient, FakeTransport, FakeClock]:
    clock = clock or FakeClock()
    transport = FakeTransport(list(answers))
    rng = random.Random(7)
    defaults: dict[str, Any] = {
        "base_urls": [HOST],
        "limiter": TokenBucket(clock=clock),
        "breaker": Breaker(clock=clock, rng=rng),
        "rng": rng,
    }
    if signed:
        defaults |= {"api_key": KEY, "api_secret": SECRET}
    return BybitClient(transport=transport, clock=clock, **(defaults | options)), transport, clock
