"""pybit, unmodified, listens to the sandbox's streams and trades over its socket."""

import copy
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from pybit.unified_trading import HTTP, WebSocket, WebSocketTrading

from bybit.sandbox import Serving
from tests.sandbox_clients.conftest import KEYS

BTC = {"category": "linear", "symbol": "BTCUSDT"}
Message = dict[str, Any]


# pybit builds the address of its streams from wss:// and a name under .com: these change the address and nothing else.
# Its reader notices an end only when a wait for a pong is over, which by default takes ten seconds.
class LocalWebSocket(WebSocket):
    def __init__(self, address: str, channel_type: str, **settings: Any) -> None:
        self.address = address
        super().__init__(channel_type=channel_type, testnet=False, ping_timeout=0.2, **settings)

    def _connect(self, url: str) -> None:
        super()._connect(self.address + urlsplit(url).path)


class LocalTrading(WebSocketTrading):
    def __init__(self, address: str, **settings: Any) -> None:
        self.address = address
        super().__init__(testnet=False, ping_timeout=0.2, **settings)

    def _connect(self, url: str) -> None:
        super()._connect(self.address + urlsplit(url).path)


class Inbox(queue.Queue[Message]):
    """A callback that keeps what it is told."""

    def __call__(self, message: Message) -> None:
        # pybit goes on to change the book it hands out.
        self.put(copy.deepcopy(message))

    def take(self, wanted: Callable[[Message], bool] = lambda message: True) -> Message:
        until = time.monotonic() + 5
        while time.monotonic() < until:
            if wanted(message := self.get(timeout=5)):
                return message
        raise AssertionError("nothing of the kind within 5 s")


@contextmanager
def closing(socket: Any) -> Iterator[Any]:
    try:
        yield socket
    finally:
        socket.exit()
        socket.wst.join(5)


@pytest.fixture
def public(sandbox: Serving) -> Iterator[WebSocket]:
    with closing(LocalWebSocket(sandbox.ws, "linear")) as socket:
        yield socket


@pytest.fixture
def private(sandbox: Serving) -> Iterator[WebSocket]:
    with closing(LocalWebSocket(sandbox.ws, "private", **KEYS)) as socket:
        yield socket


@pytest.fixture
def trading(sandbox: Serving) -> Iterator[WebSocketTrading]:
    with closing(LocalTrading(sandbox.ws, **KEYS)) as socket:
        yield socket


@pytest.mark.parametrize("symbol", ["BTCUSDT", "WIFUSDT"])
def test_a_ticker_is_told_whole_and_kept_up(public: WebSocket, symbol: str) -> None:
    inbox = Inbox()
    public.ticker_stream(symbol, inbox)
    messages = [inbox.take() for _ in range(3)]
    for message in messages:
        assert (message["topic"], message["data"]["symbol"]) == (f"tickers.{symbol}", symbol)
        assert float(message["data"]["bid1Price"]) < float(message["data"]["ask1Price"])
        assert {"fundingRate", "nextFundingTime", "markPrice", "volume24h"} < set(message["data"])
    assert messages[0]["cs"] < messages[1]["cs"] < messages[2]["cs"]


@pytest.mark.parametrize("depth", [1, 50, 200, 1000])
def test_a_book_is_kept_whole_through_its_deltas(public: WebSocket, depth: int) -> None:
    inbox = Inbox()
    public.orderbook_stream(depth, "BTCUSDT", inbox)
    updates = []
    for _ in range(3):
        book = inbox.take()["data"]
        bids, asks = ([float(price) for price, _ in book[side]] for side in ("b", "a"))
        assert (len(bids), len(asks)) == (depth, depth)
        assert max(bids) < min(asks)
        updates.append(book["u"])
    assert updates == sorted(set(updates))


def test_candles_of_several_contracts_come_on_one_connection(public: WebSocket) -> None:
    inbox = Inbox()
    public.kline_stream(1, ["BTCUSDT", "ETHUSDT"], inbox)
    told = {}
    while len(told) < 2:
        message = inbox.take()
        told[message["topic"]] = message["data"][0]
    assert set(told) == {"kline.1.BTCUSDT", "kline.1.ETHUSDT"}
    for candle in told.values():
        assert candle["end"] == candle["start"] + 60_000 - 1
        assert float(candle["low"]) <= float(candle["close"]) <= float(candle["high"])


def test_trades_are_told(public: WebSocket) -> None:
    inbox = Inbox()
    public.trade_stream("BTCUSDT", inbox)
    trades = inbox.take()["data"]
    assert {trade["s"] for trade in trades} == {"BTCUSDT"}
    assert {trade["S"] for trade in trades} <= {"Buy", "Sell"}


def test_liquidations_are_subscribed_to_without_an_error(public: WebSocket) -> None:
    public.all_liquidation_stream("BTCUSDT", Inbox())
    assert public.get_subscription_topics() == ["allLiquidation.BTCUSDT"]
    inbox = Inbox()
    public.ticker_stream("BTCUSDT", inbox)
    assert inbox.take()["topic"] == "tickers.BTCUSDT"


def test_a_left_topic_falls_silent(public: WebSocket) -> None:
    inbox = Inbox()
    public.ticker_stream("BTCUSDT", inbox)
    inbox.take()
    public.unsubscribe("tickers.BTCUSDT")
    until = time.monotonic() + 3
    while public.get_subscription_topics() and time.monotonic() < until:
        time.sleep(0.01)
    assert public.get_subscription_topics() == []
    while not inbox.empty():
        inbox.get()
    time.sleep(0.3)
    assert inbox.empty()


@pytest.mark.parametrize("topic", ["order", "execution", "position", "wallet"])
def test_what_happens_to_an_account_is_told_on_its_topic(idle: HTTP, private: WebSocket, topic: str) -> None:
    inbox = Inbox()
    getattr(private, f"{topic}_stream")(inbox)
    until = time.monotonic() + 3
    while not private.auth and time.monotonic() < until:
        time.sleep(0.01)
    # The acknowledgement of the subscription comes next on the same connection.
    time.sleep(0.1)
    placed = idle.place_order(**BTC, side="Buy", orderType="Market", qty="0.01")["result"]["orderId"]
    message = inbox.take()
    row = message["data"][0]
    assert (message["topic"], set(message)) == (topic, {"id", "topic", "creationTime", "data"})
    if topic == "order":
        assert (row["orderId"], row["orderStatus"], row["category"]) == (placed, "Filled", "linear")
    elif topic == "execution":
        assert (row["orderId"], row["execQty"], row["isMaker"]) == (placed, "0.01", False)
    elif topic == "position":
        assert (row["symbol"], row["side"], row["size"]) == ("BTCUSDT", "Buy", "0.01")
        assert float(row["entryPrice"]) > 0
    else:
        assert row["accountType"] == "UNIFIED"
        assert float(row["totalPositionIM"] if "totalPositionIM" in row else row["totalInitialMargin"]) > 0


def test_an_order_is_told_from_its_birth_to_its_end(idle: HTTP, private: WebSocket) -> None:
    inbox = Inbox()
    private.order_stream(inbox)
    time.sleep(0.2)
    price = str(round(float(idle.get_tickers(**BTC)["result"]["list"][0]["lastPrice"]) * 0.8))
    order_id = idle.place_order(**BTC, side="Buy", orderType="Limit", qty="0.01", price=price)["result"]["orderId"]
    idle.amend_order(**BTC, orderId=order_id, qty="0.02")
    idle.cancel_order(**BTC, orderId=order_id)
    told = [inbox.take()["data"][0] for _ in range(3)]
    assert [(row["orderId"], row["orderStatus"], row["qty"]) for row in told] == [
        (order_id, "New", "0.01"),
        (order_id, "New", "0.02"),
        (order_id, "Cancelled", "0.02"),
    ]


def test_an_order_over_the_socket_lives_and_ends(idle: HTTP, trading: WebSocketTrading) -> None:
    inbox, errors = Inbox(), Inbox()
    price = str(round(float(idle.get_tickers(**BTC)["result"]["list"][0]["lastPrice"]) * 0.8))
    order = {**BTC, "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": price}
    trading.place_order(inbox, errors, **order)
    placed = inbox.take()
    assert (placed["op"], placed["retMsg"]) == ("order.create", "OK")
    assert set(placed["header"]) >= {"Traceid", "Timenow"}
    order_id = placed["data"]["orderId"]
    trading.amend_order(inbox, errors, **BTC, orderId=order_id, qty="0.03")
    assert inbox.take()["data"]["orderId"] == order_id
    (row,) = idle.get_open_orders(**BTC)["result"]["list"]
    assert (row["orderId"], row["qty"]) == (order_id, "0.03")
    trading.cancel_order(inbox, errors, **BTC, orderId=order_id)
    assert inbox.take()["op"] == "order.cancel"
    assert idle.get_open_orders(**BTC)["result"]["list"] == []
    assert errors.empty()


def test_an_order_over_the_socket_is_refused_by_code(idle: HTTP, trading: WebSocketTrading) -> None:
    inbox, errors = Inbox(), Inbox()
    trading.place_order(inbox, errors, **BTC, side="Buy", orderType="Market", qty="0.00001")
    assert errors.take()["retCode"] == 10001
    trading.cancel_order(inbox, errors, **BTC, orderId="nobody")
    assert errors.take()["retCode"] == 110001
    assert inbox.empty()


def test_a_batch_over_the_socket_fails_order_by_order(idle: HTTP, trading: WebSocketTrading) -> None:
    inbox = Inbox()
    order = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.01"}
    trading.place_batch_order(inbox, category="linear", request=[order, {**order, "qty": "0"}])
    placed = inbox.take()
    assert [note["code"] == 0 for note in placed["retExtInfo"]["list"]] == [True, False]
    assert [bool(row["orderId"]) for row in placed["data"]["list"]] == [True, False]
