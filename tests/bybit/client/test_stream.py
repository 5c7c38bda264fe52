"""Streams: merged, gapless, and alive again after whatever happens to the connection."""

import itertools
import random
import threading
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest

from bybit.client import AuthenticationFailed, BybitClient, NoResponse, Stream, StreamClosed, TokenBucket
from bybit.client.feeds import feed_of
from bybit.client.stream import _connections, stream_url
from bybit.rules.candles import Candle, Category, Interval
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import to_ms, utc
from tests.bybit.client.fakes import KEY, MINUTE, NOW_MS, SECRET, FakeClock, client_of, klines, row

KLINE = "kline.1.BTCUSDT"
BOOK = "orderbook.50.BTCUSDT"
TICKER = "tickers.BTCUSDT"


class FakeSocket:
    """Plays a script: texts come, None is silence, an error ends it; answers what is asked."""

    def __init__(self, clock: FakeClock, script: list[Any], auth: dict[str, Any] | None = None) -> None:
        self.clock, self.script, self.auth = clock, list(script), auth
        self.sent: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        self.closed = False
        self.pongs = True
        self.refuse: str | None = None

    def send(self, text: str) -> None:
        message = orjson.loads(text)
        self.sent.append(message)
        answer = {"success": True, "ret_msg": "", "op": message["op"], "req_id": message.get("req_id", "")}
        if message["op"] == "auth":
            self.answers.append(self.auth or answer)
        elif message["op"] == "ping":
            if self.pongs:
                self.answers.append(answer | {"ret_msg": "pong"})
        else:
            refused = self.refuse in message["args"]
            self.answers.append(answer | ({"success": False, "ret_msg": "no such topic"} if refused else {}))

    def receive(self, timeout_s: float) -> str | None:
        if self.answers:
            return orjson.dumps(self.answers.pop(0)).decode()
        step = self.script.pop(0) if self.script else None
        if callable(step):
            step = step()
        if isinstance(step, Exception):
            raise step
        if step is None:
            self.clock.sleep(timeout_s)
            return None
        return step if isinstance(step, str) else orjson.dumps(step).decode()

    def close(self) -> None:
        self.closed = True


class Run:
    """A stream over scripted connections, run to the end of the last script in this thread."""

    def __init__(self, *scripts: list[Any], topics: tuple[str, ...] = (), **options: Any) -> None:
        self.clock = FakeClock()
        self.events: list[Any] = []
        self.sockets = [FakeSocket(self.clock, script) for script in scripts]
        self.opened: list[FakeSocket] = []
        self.opened_s: list[float] = []
        auth = options.pop("authenticate", None)
        category = options.pop("category", Category.LINEAR)
        self.stream = Stream(
            "ws://127.0.0.1/v5/x",
            self.events.append,
            category=category,
            authenticate=auth,
            connect=self.connect,
            clock=self.clock,
            limiter=TokenBucket(400, 300, paced=300, clock=self.clock),
            rng=random.Random(7),
            **options,
        )
        self.stream.subscribe(*topics)
        self.sockets[-1].script.append(self.end)

    def end(self) -> None:
        self.stream.close()

    def connect(self, url: str) -> FakeSocket:
        self.opened_s.append(self.clock.now_s)
        self.opened.append(self.sockets.pop(0))
        return self.opened[-1]

    def go(self) -> "Run":
        self.stream.run()
        return self

    def of(self, kind: str) -> list[Any]:
        return [event.data for event in self.events if event.kind == kind]


def kline(minute: int, confirm: bool = True, close: str = "100") -> dict[str, Any]:
    start = NOW_MS + minute * MINUTE
    candle = {"start": start, "end": start + MINUTE - 1, "interval": "1", "confirm": confirm, "timestamp": start}
    prices = {"open": "100", "high": "101", "low": "99", "close": close, "volume": "3", "turnover": "300"}
    return {"topic": KLINE, "type": "snapshot", "ts": start, "data": [candle | prices]}


def book(kind: str, update_id: int, bids: Any = (), asks: Any = ()) -> dict[str, Any]:
    data = {"s": "BTCUSDT", "b": list(bids), "a": list(asks), "u": update_id, "seq": update_id}
    return {"topic": BOOK, "type": kind, "ts": NOW_MS, "data": data}


def ticker(kind: str, sequence: int, **fields: str) -> dict[str, Any]:
    return {"topic": TICKER, "type": kind, "ts": NOW_MS, "cs": sequence, "data": {"symbol": "BTCUSDT", **fields}}


LOST = StreamClosed("lost")


def asked_candles(asked: list[Any]):
    def backfill(symbol: str, interval: Interval, start_ms: int, end_ms: int) -> list[Candle]:
        asked.append((symbol, interval, (start_ms - NOW_MS) // MINUTE, (end_ms - NOW_MS) // MINUTE))
        one = Decimal(1)
        return [Candle(utc(int(ms)), one, one, one, one, one, one) for ms in interval.open_times(start_ms, end_ms)]

    return backfill


def minutes(candles: list[Candle]) -> list[int]:
    return [(to_ms(candle.open_time) - NOW_MS) // MINUTE for candle in candles]


# What topics are merged to


def test_fault_27_only_closed_candles_are_handed_on_and_each_once():
    run = Run([kline(0, False), kline(0), kline(0), kline(1, False), kline(1)], topics=(KLINE,)).go()
    assert minutes(run.of("candle")) == [0, 1]
    assert run.of("candle")[0].close == Decimal(100)
    assert run.stream.n_dropped == 1


def test_fault_27_candles_lost_with_the_connection_are_asked_for_and_come_in_order():
    asked: list[Any] = []
    run = Run(
        [kline(0), kline(1, False), LOST], [kline(4, False), kline(4)], topics=(KLINE,), backfill=asked_candles(asked)
    ).go()
    assert asked == [("BTCUSDT", Interval.MINUTE_1, 1, 4)]
    assert minutes(run.of("candle")) == [0, 1, 2, 3, 4]
    assert [event.backfilled for event in run.events if event.kind == "candle"] == [False, True, True, True, False]
    assert run.of("gap") == []


def test_fault_27_a_candle_that_never_came_on_a_live_connection_is_asked_for():
    asked: list[Any] = []
    run = Run([kline(0), kline(2)], topics=(KLINE,), backfill=asked_candles(asked)).go()
    assert minutes(run.of("candle")) == [0, 1, 2]


def test_fault_27_a_candle_still_under_way_is_not_asked_for():
    asked: list[Any] = []
    run = Run([kline(0), kline(2, False), kline(1), kline(2)], topics=(KLINE,), backfill=asked_candles(asked)).go()
    assert asked == []
    assert minutes(run.of("candle")) == [0, 1, 2]


def test_fault_27_a_hole_that_cannot_be_filled_is_told_once_and_tried_again():
    asked: list[Any] = []
    fill = asked_candles(asked)

    def backfill(*span: Any) -> list[Candle]:
        if len(asked) < 2:
            asked.append("failed")
            raise NoResponse("gone")
        return fill(*span)

    run = Run([kline(0), kline(2), kline(3), kline(4)], topics=(KLINE,), backfill=backfill).go()
    assert minutes(run.of("candle")) == [0, 2, 3, 1, 4]
    (gap,) = run.of("gap")
    assert (gap.start, gap.end) == (utc(NOW_MS + MINUTE), utc(NOW_MS + 2 * MINUTE))


def test_the_venues_lists_fill_holes_exactly():
    start = NOW_MS // MINUTE * MINUTE
    rows = [row(start + i * MINUTE, price="100.12345678901234567") for i in (1, 0)]
    client, _, _ = client_of(klines(*rows))
    first, second = client._candles(Category.LINEAR, "BTCUSDT", Interval.MINUTE_1, start, start + 2 * MINUTE)
    assert first.open == Decimal("100.12345678901234567")
    assert second.open_time - first.open_time == timedelta(minutes=1)


def test_ticker_deltas_change_only_what_they_name():
    whole = {"lastPrice": "100", "markPrice": "101", "fundingRate": "-0.0001", "bid1Price": "99"}
    messages = [ticker("delta", 1, lastPrice="1"), ticker("snapshot", 5, **whole), ticker("delta", 6, lastPrice="102")]
    run = Run([*messages, ticker("delta", 4, lastPrice="55")], topics=(TICKER,)).go()
    first, second = run.of("ticker")
    assert (first.last_price, second.last_price) == (Decimal(100), Decimal(102))
    assert (second.mark_price, second.funding_rate) == (Decimal(101), Decimal("-0.0001"))
    # The delta before the snapshot and the late one.
    assert run.stream.n_dropped == 2


def test_book_deltas_insert_replace_and_remove():
    run = Run(
        [
            book("delta", 9, [["1", "1"]]),
            book("snapshot", 10, [["99", "1"], ["98", "2"]], [["100", "1"]]),
            book("delta", 11, [["99", "0"], ["97", "4"]], [["100", "3"]]),
            book("delta", 11, [["97", "9"]]),
        ],
        topics=(BOOK,),
    ).go()
    last = run.of("book")[-1]
    assert len(run.of("book")) == 2
    assert last.bids == ((Decimal(98), Decimal(2)), (Decimal(97), Decimal(4)))
    assert last.asks == ((Decimal(100), Decimal(3)),)
    assert run.stream.n_dropped == 2


@pytest.mark.parametrize(
    "broken", [book("delta", 15, [["99", "5"]]), book("delta", 14, [["101", "1"]]), book("delta", 14, [["NaN", "1"]])]
)
def test_fault_27_a_sequence_gap_or_a_broken_book_brings_a_new_snapshot(broken):
    start = [book("snapshot", 10, [["99", "1"]], [["100", "1"]]), *(book("delta", i) for i in (11, 12, 13))]
    again = book("snapshot", 20, [["98", "1"]], [["99", "1"]])
    run = Run([*start, broken, None, book("delta", 16), again], topics=(BOOK,)).go()
    operations = [message["op"] for message in run.opened[0].sent if message["op"] != "ping"]
    assert operations == ["subscribe", "unsubscribe", "subscribe"]
    assert [found.update_id for found in run.of("book")] == [10, 11, 12, 13, 20]


def test_update_ids_that_never_counted_by_one_are_no_gap():
    run = Run([book("snapshot", 10), *(book("delta", i) for i in (15, 17, 30))], topics=(BOOK,)).go()
    assert run.of("gap") == []
    assert len(run.of("book")) == 4


def test_fault_27_an_update_id_of_one_starts_a_book_anew():
    run = Run([book("snapshot", 10, [["99", "1"]]), book("delta", 1, [["50", "1"]])], topics=(BOOK,)).go()
    assert run.of("book")[-1].bids == ((Decimal(50), Decimal(1)),)


def test_public_trades_that_repeat_count_once():
    trade = {"T": NOW_MS, "s": "BTCUSDT", "S": "Buy", "v": "0.1", "p": "100", "i": "a", "BT": False}
    message = {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": NOW_MS, "data": [trade, trade | {"i": "b"}]}
    run = Run([message, message], topics=("publicTrade.BTCUSDT",)).go()
    assert [found.exec_id for found in run.of("trade")] == ["a", "b"]


def test_fault_12_13_messages_that_are_none_are_left_out_and_counted():
    bad = ["<html>", "[1]", '{"topic":"tickers.BTCUSDT","data":5,"ts":1}', kline(0) | {"data": None}, kline(0, 1)]
    run = Run([*bad, {"topic": "strange", "data": []}, kline(0)], topics=(KLINE, TICKER)).go()
    assert run.stream.n_rejected == 5
    assert minutes(run.of("candle")) == [0]


@pytest.mark.parametrize("topic", ["order", "kline.1", "kline.7.BTCUSDT", "liquidation.BTCUSDT", ""])
def test_fault_23_a_topic_the_client_cannot_read_is_refused_before_anything_is_sent(topic):
    with pytest.raises(InvalidInput):
        feed_of(topic, Category.LINEAR)


# What keeps the connection alive


def test_fault_27_a_lost_connection_is_opened_again_and_every_topic_subscribed_anew():
    run = Run([LOST], [LOST], [kline(0)], topics=(KLINE, TICKER)).go()
    assert [socket.sent[0]["args"] for socket in run.opened] == [[KLINE, TICKER]] * 3
    assert all(socket.closed for socket in run.opened)
    assert len(run.of("connected")) == 3
    # Doubling with jitter, from half to the whole.
    pauses = [later - earlier for earlier, later in itertools.pairwise(run.opened_s)]
    assert 0.25 <= pauses[0] <= 0.5 <= pauses[1] <= 1


def test_a_ping_goes_out_every_20_s():
    run = Run([None] * 250, topics=(KLINE,)).go()
    pings = [message for message in run.opened[0].sent if message == {"op": "ping"}]
    assert len(pings) == 3


def test_fault_27_a_connection_that_falls_silent_is_given_up():
    run = Run([None] * 400, [kline(0)], topics=(KLINE,))
    run.sockets[0].pongs = False
    run.go()
    assert len(run.opened) == 2
    assert "nothing for 45 s" in str(run.of("disconnected")[0])


def test_fault_27_connections_stay_below_the_venues_500_in_five_minutes():
    clock = FakeClock()
    limiter = TokenBucket(400, 300.0, paced=300, clock=clock)
    opened = []
    for _ in range(900):
        limiter.acquire()
        opened.append(clock.now_s)
    assert max(sum(since <= at < since + 300 for at in opened) for since in opened) <= 400
    assert (_connections._capacity, _connections._per_s) == (400, 300.0)


def test_a_topic_the_venue_refuses_is_told_and_takes_no_other_with_it():
    refused = "tickers.NONEUSDT"
    run = Run([None, kline(0), LOST], [kline(1)], topics=(KLINE, refused))
    for socket in run.sockets:
        socket.refuse = refused
    run.go()
    assert [event.topic for event in run.events if event.kind == "refused"] == [refused]
    asked = [message["args"] for message in run.opened[0].sent if message["op"] == "subscribe"]
    assert asked == [[KLINE, refused], [KLINE], [refused]]
    assert [message["args"] for message in run.opened[1].sent] == [[KLINE]]
    assert minutes(run.of("candle")) == [0, 1]


def test_a_topic_can_be_given_up():
    run = Run([], topics=(KLINE, TICKER))
    run.sockets[0].script = [kline(0), lambda: run.stream.unsubscribe(KLINE), None, kline(1), run.end]
    run.go()
    assert run.opened[0].sent[-1]["op"] == "unsubscribe"
    assert run.opened[0].sent[-1]["args"] == [KLINE]
    assert minutes(run.of("candle")) == [0]


def test_an_error_of_the_handler_is_logged_and_the_connection_stays(caplog):
    run = Run([kline(0), kline(1)], topics=(KLINE,))
    seen = []

    def handler(event: Any) -> None:
        seen.append(event)
        raise NoResponse("an order of the handler got lost")

    run.stream._handler = handler
    run.go()
    assert len(run.opened) == 1
    assert [event.kind for event in seen] == ["connected", "candle", "candle"]
    assert "the handler of" in caplog.text


def test_topics_are_asked_for_ten_at_a_time():
    topics = tuple(f"tickers.T{number}USDT" for number in range(25))
    run = Run([None], topics=topics).go()
    assert [len(message["args"]) for message in run.opened[0].sent] == [10, 10, 5]


# The account


def test_the_private_stream_logs_in_first_and_hands_on_orders_and_fills():
    from tests.bybit.client.test_pages import execution

    client, _, _ = client_of(NoResponse("none"), signed=True)
    fill = execution(1, category="linear")
    fills = {"topic": "execution", "creationTime": NOW_MS, "id": "x", "data": [fill]}
    run = Run(
        [fills, fills, LOST],
        [fills | {"data": [fill | {"execId": "e2"}]}],
        topics=("execution",),
        category=None,
        authenticate=client._auth_message,
    ).go()
    first, second = run.opened[0].sent[:2]
    expires_ms = first["args"][1]
    assert first == {"op": "auth", "args": [KEY, expires_ms, client._caller._signer.stream_signature(expires_ms)]}
    assert expires_ms == NOW_MS + 10_000
    assert second["args"] == ["execution"]
    assert [found.exec_id for found in run.of("fill")] == ["e1", "e2"]
    # What happened meanwhile is lost to the stream: it says so.
    assert [event.kind for event in run.events] == ["connected", "fill", "disconnected", "connected", "gap", "fill"]


@pytest.mark.parametrize(
    "refusal",
    [
        {"op": "auth", "success": False, "retCode": 10003, "retMsg": f"Invalid apikey {KEY}"},
        {"op": "auth", "success": False, "ret_msg": f"error sign {SECRET}", "conn_id": "c"},
        {"op": "auth", "retCode": 10004, "retMsg": "error sign"},
    ],
)
def test_fault_8_59_a_refused_key_ends_the_stream_and_shows_nothing(refusal, caplog):
    client, _, _ = client_of(NoResponse("none"), signed=True)
    run = Run([], topics=("order",), category=None, authenticate=client._auth_message)
    run.sockets[0].auth = refusal
    run.go()
    assert isinstance(run.stream.error, AuthenticationFailed)
    assert len(run.opened) == 1
    shown = f"{run.stream.error!r}{run.events!r}{run.stream!r}{caplog.text}"
    assert KEY not in shown
    assert SECRET not in shown


def test_the_private_stream_needs_a_key():
    client, _, _ = client_of(NoResponse("none"))
    with pytest.raises(InvalidInput, match="needs a key"):
        client.private_stream(print)


@pytest.mark.parametrize(
    ("base_url", "stream"),
    [
        ("https://api.bybit.com", "wss://stream.bybit.com/v5/private"),
        ("https://api.bytick.com", "wss://stream.bybit.com/v5/private"),
        ("https://api-testnet.bybit.com", "wss://stream-testnet.bybit.com/v5/private"),
        ("https://api-demo.bybit.com", "wss://stream-demo.bybit.com/v5/private"),
        ("https://api.bybit.nl", "wss://stream.bybit.nl/v5/private"),
        ("http://127.0.0.1:8900", "ws://127.0.0.1:8900/v5/private"),
    ],
)
def test_the_stream_of_an_address_is_known(base_url, stream):
    assert stream_url(base_url, "/v5/private") == stream


# A real connection


class Server:
    """A WebSocket server on this machine that acknowledges, sends two candles and hangs up, for ever."""

    def __enter__(self) -> "Server":
        from websockets.sync.server import serve

        self.n_sessions = 0
        self.server = serve(self.session, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self.server.socket.getsockname()[1]}/v5/public/linear"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return self

    def session(self, connection: Any) -> None:
        asked = orjson.loads(connection.recv())
        connection.send(orjson.dumps({"success": True, "req_id": asked["req_id"], "op": "subscribe"}).decode())
        for minute in (self.n_sessions * 2, self.n_sessions * 2 + 1):
            connection.send(orjson.dumps(kline(minute)).decode())
        self.n_sessions += 1

    def __exit__(self, *exc_info: object) -> None:
        self.server.shutdown()
        self.thread.join()


def test_fault_27_a_real_connection_that_drops_again_and_again_loses_no_candle(caplog):
    caplog.set_level("DEBUG")
    events: list[Any] = []
    done = threading.Event()

    def handler(event: Any) -> None:
        events.append(event)
        if sum(found.kind == "candle" for found in events) >= 6:
            done.set()

    with (
        Server() as server,
        BybitClient(base_urls=["http://127.0.0.1:9"]) as client,
        client.public_stream(handler, KLINE, url=server.url),
    ):
        assert done.wait(20)
    assert minutes([event.data for event in events if event.kind == "candle"])[:6] == list(range(6))
    # What goes out may be a signature: the library logs none of it.
    assert not [record for record in caplog.records if "client" in record.name and "subscribe" in record.getMessage()]
    assert not [record for record in caplog.records if record.name == "websockets.client"]


def test_nobody_at_the_address_is_tried_again_until_the_stream_is_closed():
    events: list[Any] = []
    client = BybitClient(base_urls=["http://127.0.0.1:9"])
    stream = client.public_stream(events.append, KLINE).start()
    until = time.monotonic() + 10
    while len(events) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    stream.close()
    client.close()
    assert {event.kind for event in events} == {"disconnected"}
    assert "no connection" in str(events[0].data)
