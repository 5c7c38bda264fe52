"""The public streams: acknowledgements by category, topics, limits, and what goes wrong with them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from bybit.sandbox import Serving
from tests.bybit.sandbox.sockets import MINUTE, NOW_MS, Stream, advance, sandbox, stream, without_id
from tests.bybit.sandbox.wire import ask


@pytest.fixture(scope="module")
def still() -> Iterator[Serving]:
    """A sandbox whose clock moves only when a test moves it."""
    with sandbox() as running:
        yield running


# Acknowledgements


@pytest.mark.parametrize("category", ["linear", "inverse", "spot"])
def test_a_ping_is_answered_as_a_ping(still: Serving, category: str) -> None:
    with stream(still, f"/v5/public/{category}") as public:
        pong = without_id(public.ask(op="ping", req_id="7"))
        assert pong == {"success": True, "ret_msg": "pong", "req_id": "7", "op": "ping"}
        assert without_id(public.ask(op="ping"))["req_id"] == ""


@pytest.mark.parametrize("path", ["/v5/public/option", "/v5/private", "/v5/trade"])
def test_a_ping_is_answered_as_a_pong_elsewhere(still: Serving, path: str) -> None:
    with stream(still, path) as other:
        pong = without_id(other.ask(op="ping"))
        assert pong["op"] == "pong"
        assert int(pong["args"][0]) >= NOW_MS


def test_a_subscription_is_acknowledged_before_its_first_snapshot(still: Serving) -> None:
    with stream(still, "/v5/public/linear") as public:
        topics = ["tickers.BTCUSDT", "orderbook.50.BTCUSDT", "kline.1.BTCUSDT"]
        acknowledged = without_id(public.ask(op="subscribe", req_id="a", args=topics))
        assert acknowledged == {"success": True, "ret_msg": "", "req_id": "a", "op": "subscribe"}
        first = [public.take() for _ in topics]
        assert sorted(message["topic"] for message in first) == sorted(topics)
        assert {message["type"] for message in first} == {"snapshot"}


def test_spot_names_the_operation_in_its_acknowledgement(still: Serving) -> None:
    with stream(still, "/v5/public/spot") as public:
        # The synthetic market has no spot contract: the refusal is all there is to see of one.
        refused = without_id(public.ask(op="subscribe", req_id="a", args=["tickers.BTCUSDT"]))
        assert (refused["success"], refused["ret_msg"]) == (False, "error:handler not found,topic:tickers.BTCUSDT")
        assert public.ask(op="unsubscribe", args=["tickers.BTCUSDT"])["ret_msg"] == "unsubscribe"


def test_options_are_acknowledged_whatever_they_are_and_stay_silent(still: Serving) -> None:
    with stream(still, "/v5/public/option") as public:
        topics = ["tickers.BTC-27MAR26-100000-C", "nonsense"]
        data = {"failTopics": [], "successTopics": topics}
        acknowledged = without_id(public.ask(op="subscribe", args=topics))
        assert acknowledged == {"success": True, "data": data, "type": "COMMAND_RESP"}
        assert public.is_silent()


@pytest.mark.parametrize(
    "topic",
    [
        "kline.1.NOPEUSDT",
        "kline.2.BTCUSDT",
        "kline.BTCUSDT",
        "tickers",
        "tickers.",
        "tickers.btcusdt",
        "tickers.../etc/passwd",
        "orderbook.500.BTCUSDT",
        "orderbook.BTCUSDT",
        "publicTrade.BTC",
        "liquidation.BTCUSDT",
    ],
)
def test_a_topic_that_is_not_served_is_refused_by_name(still: Serving, topic: str) -> None:
    with stream(still, "/v5/public/linear") as public:
        refused = without_id(public.ask(op="subscribe", req_id="x", args=["tickers.BTCUSDT", topic]))
        message = f"error:handler not found,topic:{topic}"
        assert refused == {"success": False, "ret_msg": message, "req_id": "x", "op": "subscribe"}
        assert public.is_silent()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '"ping"',
        "{",
        '{"op": "fly"}',
        '{"op": "subscribe"}',
        '{"op": "subscribe", "args": [1]}',
        '{"op": "subscribe", "args": []}',
    ],
)
@pytest.mark.parametrize("path", ["/v5/public/linear", "/v5/private"])
def test_what_is_no_operation_is_refused_and_the_connection_stays(still: Serving, path: str, text: str) -> None:
    with connect(still.ws + path) as connection:
        connection.send(text)
        assert json.loads(connection.recv(timeout=3))["success"] is False
        connection.send(b"\x00\x01")
        assert json.loads(connection.recv(timeout=3))["success"] is False
        connection.send('{"op": "ping"}')
        assert json.loads(connection.recv(timeout=3))["op"] in ("ping", "pong")


def test_a_topic_is_subscribed_to_once_and_again_after_it_was_left(still: Serving) -> None:
    with stream(still, "/v5/public/linear") as public:
        topics = ["allLiquidation.BTCUSDT"]
        assert public.ask(op="subscribe", args=topics)["success"]
        assert (
            public.ask(op="subscribe", args=topics)["ret_msg"]
            == "error:already subscribed,topic:allLiquidation.BTCUSDT"
        )
        assert public.ask(op="unsubscribe", args=topics)["success"]
        assert public.ask(op="subscribe", args=topics)["success"]


def test_a_left_topic_is_silent(still: Serving) -> None:
    with stream(still, "/v5/public/linear") as public:
        public.ask(op="subscribe", args=["orderbook.50.BTCUSDT"])
        assert public.take()["type"] == "snapshot"
        assert public.ask(op="unsubscribe", args=["orderbook.50.BTCUSDT"])["success"]
        advance(still, 5_000)
        assert public.is_silent()


def test_the_arguments_of_a_connection_are_limited(still: Serving) -> None:
    with stream(still, "/v5/public/spot") as public:
        refused = public.ask(op="subscribe", args=[f"tickers.C{n}USDT" for n in range(11)])
        assert (refused["success"], refused["ret_msg"]) == (False, "args size >10")
    with stream(still, "/v5/public/linear") as public:
        refused = public.ask(op="subscribe", args=[f"tickers.C{n}USDT" for n in range(2_000)])
        assert (refused["success"], refused["ret_msg"]) == (False, "args length >21000")


# Public topics


def test_candles_are_told_as_they_form_and_once_more_as_they_close() -> None:
    with sandbox() as running, stream(running, "/v5/public/linear") as public:
        public.ask(op="subscribe", args=["kline.1.BTCUSDT"])
        first = public.take()["data"][0]
        assert (first["start"], first["end"]) == (NOW_MS - 30_000, NOW_MS + 30_000 - 1)
        assert (first["interval"], first["confirm"]) == ("1", False)
        # Three minutes go by at once: each candle is told as it closed, then the one that forms.
        advance(running, 3 * MINUTE)
        told = [public.take()["data"][0] for _ in range(4)]
        assert [one["start"] for one in told] == [first["start"] + n * MINUTE for n in range(4)]
        assert [one["confirm"] for one in told] == [True, True, True, False]
        rows = ask(running.url, "/v5/market/kline", category="linear", symbol="BTCUSDT", interval="1", limit=4).rows
        names = ("open", "high", "low", "close", "volume", "turnover")
        assert [[str(one["start"]), *(one[name] for name in names)] for one in told] == rows[::-1]


def test_a_ticker_starts_whole_and_goes_on_with_what_changed() -> None:
    with sandbox() as running, stream(running, "/v5/public/linear") as public:
        public.ask(op="subscribe", args=["tickers.BTCUSDT"])
        first = public.take()
        assert first["type"] == "snapshot"
        together, before = dict(first["data"]), first
        for _ in range(3):
            advance(running, 10_000)
            delta = public.take()
            assert delta["type"] == "delta"
            assert len(delta["data"]) < len(first["data"])
            assert delta["cs"] > before["cs"]
            together |= delta["data"]
            before = delta
        row = ask(running.url, "/v5/market/tickers", category="linear", symbol="BTCUSDT").rows[0]
        assert {name: together[name] for name in row} == row
        book = ask(running.url, "/v5/market/orderbook", category="linear", symbol="BTCUSDT").json["result"]
        best = [[row["bid1Price"], row["bid1Size"]], [row["ask1Price"], row["ask1Size"]]]
        assert best == [book["b"][0], book["a"][0]]


@pytest.mark.parametrize("depth", [50, 200, 1000])
def test_a_book_merged_from_deltas_is_the_book(depth: int) -> None:
    with sandbox() as running, stream(running, "/v5/public/linear") as public:
        public.ask(op="subscribe", args=[f"orderbook.{depth}.ETHUSDT"])
        first = public.take()["data"]
        sides = {side: dict(first[side]) for side in "ba"}
        u = first["u"]
        for _ in range(5):
            advance(running, 7_000)
            message = public.take()
            assert message["type"] == "delta"
            assert message["data"]["u"] > u
            u = message["data"]["u"]
            for side, levels in sides.items():
                for price, size in message["data"][side]:
                    if size == "0":
                        # Only what is there is taken away: clients look it up.
                        del levels[price]
                    else:
                        levels[price] = size
        asked = {"category": "linear", "symbol": "ETHUSDT", "limit": depth}
        book = ask(running.url, "/v5/market/orderbook", **asked).json["result"]
        assert sorted(sides["b"].items(), key=lambda level: -float(level[0])) == [tuple(one) for one in book["b"]]
        assert sorted(sides["a"].items(), key=lambda level: float(level[0])) == [tuple(one) for one in book["a"]]


def test_the_best_prices_come_as_snapshots_and_again_after_three_seconds_of_silence() -> None:
    with sandbox() as running, stream(running, "/v5/public/linear") as public:
        public.ask(op="subscribe", args=["orderbook.1.BTCUSDT"])
        first = public.take()
        assert [len(first["data"][side]) for side in "ba"] == [1, 1]
        assert public.is_silent()
        advance(running, 20_000)
        second = public.take()
        assert (second["type"], len(second["data"]["b"])) == ("snapshot", 1)
        assert second["data"]["u"] > first["data"]["u"]


def test_new_trades_are_told_oldest_first() -> None:
    with sandbox() as running, stream(running, "/v5/public/linear") as public:
        public.ask(op="subscribe", args=["publicTrade.BTCUSDT"])
        assert public.is_silent()
        advance(running, MINUTE)
        trades = public.take()["data"]
        assert {trade["s"] for trade in trades} == {"BTCUSDT"}
        times = [trade["T"] for trade in trades]
        assert times == sorted(times)
        assert all(NOW_MS < at <= NOW_MS + MINUTE for at in times)
        assert set(trades[0]) == {"T", "s", "S", "v", "p", "L", "i", "BT", "RPI", "seq"}


def test_a_contract_is_silent_before_its_first_price_and_then_tells_everything() -> None:
    topics = ["tickers.WIFUSDT", "orderbook.50.WIFUSDT", "publicTrade.WIFUSDT", "kline.1.WIFUSDT"]
    with (
        sandbox(now=datetime(2023, 3, 1, 12, 28, tzinfo=UTC)) as running,
        stream(running, "/v5/public/linear") as public,
    ):
        assert public.ask(op="subscribe", args=topics)["success"]
        assert public.is_silent()
        advance(running, 150_000)
        first = {message["topic"]: message["type"] for message in (public.take() for _ in range(3))}
        assert first == {topic: "snapshot" for topic in topics if "Trade" not in topic}


# Who may stay


@pytest.mark.parametrize(
    ("path", "silence_s"),
    [
        ("/v5/public/linear", 600),
        ("/v5/private", 600),
        ("/v5/private?max_active_time=30s", 30),
        ("/v5/private?max_active_time=2m", 120),
        ("/v5/trade?max_active_time=5s", 600),
    ],
)
def test_ten_minutes_of_silence_close_a_connection(path: str, silence_s: int) -> None:
    with sandbox() as running, connect(running.ws + path) as connection:
        advance(running, silence_s * 1_000 - 1_000)
        connection.send('{"op": "ping"}')
        assert json.loads(connection.recv(timeout=3))["op"] in ("ping", "pong")
        advance(running, silence_s * 1_000 - 1)
        with pytest.raises(TimeoutError):
            connection.recv(timeout=0.1)
        advance(running, 1)
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=3)


def test_five_hundred_new_connections_in_five_minutes_are_the_limit() -> None:
    with sandbox() as running:
        for _ in range(500):
            connect(running.ws + "/v5/private").close()
        with pytest.raises(InvalidStatus, match="403"):
            connect(running.ws + "/v5/private")
        advance(running, 300_000)
        with stream(running, "/v5/private") as private:
            assert private.ask(op="ping")["op"] == "pong"


@pytest.mark.parametrize("path", ["/v5/public/nothing", "/v5", "/"])
def test_there_is_no_stream_elsewhere(still: Serving, path: str) -> None:
    with pytest.raises(InvalidStatus):
        connect(still.ws + path)


# What goes wrong


@contextmanager
def troubled(folder: Path, entry: dict[str, Any], **config: Any) -> Iterator[Serving]:
    path = folder / "faults.json"
    path.write_text(json.dumps({"faults": [entry]}))
    with sandbox(faults=(path,), **config) as running:
        yield running


def test_a_dropped_stream_ends_without_a_word(tmp_path: Path) -> None:
    entry = {"fault": "stream-drop", "nth": 2, "path": "tickers.*"}
    with troubled(tmp_path, entry) as running, connect(running.ws + "/v5/public/linear") as connection:
        one = Stream(connection)
        one.ask(op="subscribe", args=["tickers.BTCUSDT"])
        one.take()
        advance(running, 10_000)
        with pytest.raises(ConnectionClosed) as end:
            one.take()
        assert end.value.rcvd is None
        listed = ask(running.url, "/sandbox/faults").json["injected"]
        assert [(item["fault"], item["method"], item["path"]) for item in listed] == [
            ("stream-drop", "WS", "tickers.BTCUSDT")
        ]


@pytest.mark.parametrize("topic", ["orderbook.50.BTCUSDT", "tickers.BTCUSDT"])
def test_a_delta_comes_before_its_snapshot(tmp_path: Path, topic: str) -> None:
    with troubled(tmp_path, {"fault": "delta-first", "nth": 1}) as running:
        with stream(running, "/v5/public/linear") as public:
            assert public.ask(op="subscribe", args=[topic])["success"]
            assert [public.take()["type"] for _ in range(2)] == ["delta", "snapshot"]
        with stream(running, "/v5/public/linear") as public:
            public.ask(op="subscribe", args=[topic])
            assert public.take()["type"] == "snapshot"


def test_a_stream_leaves_out_repeats_or_falls_silent(tmp_path: Path) -> None:
    # Counted by the numbers of updates, read in one go.
    def numbers(entry: dict[str, Any]) -> list[int]:
        with troubled(tmp_path, entry) as running, stream(running, "/v5/public/linear") as public:
            public.ask(op="subscribe", args=["orderbook.50.BTCUSDT"])
            found: list[int] = []
            for _ in range(4):
                try:
                    while True:
                        found.append(public.take(0.06)["data"]["u"])
                except TimeoutError:
                    advance(running, 10_000)
            return [u - found[0] for u in found]

    whole = numbers({"fault": "latency", "rate": 0})
    assert len(whole) == 4
    assert numbers({"fault": "stream-gap", "nth": 2}) == [whole[0], *whole[2:]]
    assert numbers({"fault": "stream-duplicate", "nth": 2}) == [whole[0], whole[1], whole[1], *whole[2:]]
    assert numbers({"fault": "stream-mute", "nth": 3}) == whole[:2]
