"""The streams of an account: signing in, its events, and orders over the trade socket."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from starlette.websockets import WebSocket

from bybit.client import BybitClient
from bybit.sandbox import SandboxConfig, Serving
from bybit.sandbox.clock import Clock
from bybit.sandbox.config import DEFAULT_KEY, DEFAULT_SECRET
from bybit.sandbox.exchange import AccountEvent
from bybit.sandbox.faults import FaultPlan
from bybit.sandbox.streams_private import PrivateConnection
from bybit.sandbox.synthetic import SyntheticMarket
from tests.bybit.sandbox.sockets import NOW, NOW_MS, Message, Stream, advance, now_ms, sandbox, stream, without_id


@pytest.fixture(scope="module")
def still() -> Iterator[Serving]:
    """A sandbox whose clock moves only when a test moves it."""
    with sandbox() as running:
        yield running


def test_a_stream_is_for_nobody_before_signing_in(still: Serving) -> None:
    with stream(still, "/v5/private") as private:
        assert private.ask(op="subscribe", args=["order"])["success"] is False
        assert private.sign_in(secret="wrong")["success"] is False
        assert private.sign_in(key="unknown")["success"] is False
        assert private.sign_in(expires_ms=NOW_MS - 1)["success"] is False
        for args in ([], ["a", "b"], ["a", "soon", "c"], None):
            assert private.ask(op="auth", args=args)["success"] is False
        assert without_id(private.sign_in()) == {"success": True, "ret_msg": "", "op": "auth"}
        acknowledged = without_id(private.ask(op="subscribe", args=["order", "wallet"]))
        assert acknowledged == {"success": True, "ret_msg": "", "op": "subscribe"}
        assert private.ask(op="subscribe", req_id="9", args=["execution"])["req_id"] == "9"


@pytest.mark.parametrize(
    "args", [["orders"], ["wallet.linear"], ["order", "order.linear"], ["order.linear", "position"], ["order", "order"]]
)
def test_private_topics_that_do_not_go_are_refused(still: Serving, args: list[str]) -> None:
    with stream(still, "/v5/private") as private:
        private.sign_in()
        assert private.ask(op="subscribe", args=args)["success"] is False


def test_an_account_hears_of_itself_alone_and_of_the_categories_it_asked_for() -> None:
    exchange = SandboxConfig(now=NOW).exchange(SyntheticMarket(), Clock(NOW, 0.0))
    other = exchange.open_account("other-key", "other-secret", Decimal(10))
    websocket = WebSocket({"type": "websocket"}, None, None)
    connection = PrivateConnection(websocket, Clock(NOW, 0.0), FaultPlan(), "sandbox-1", exchange.keys, 600_000)
    connection.account = other
    assert connection.answer({"op": "subscribe", "args": ["order.linear"]})["success"]
    connection.answered()
    mine, theirs = [{"category": "linear", "orderId": "mine"}], [{"category": "linear", "orderId": "theirs"}]
    connection.tell(AccountEvent(exchange.accounts[0].uid, "order", NOW_MS, theirs))
    connection.tell(AccountEvent(other.uid, "order", NOW_MS, [{"category": "spot", "orderId": "spot"}]))
    connection.tell(AccountEvent(other.uid, "execution", NOW_MS, mine))
    connection.tell(AccountEvent(other.uid, "order", NOW_MS, mine))
    assert [(frame["topic"], frame["data"]) for frame in connection.news(NOW_MS)] == [("order.linear", mine)]
    assert connection.news(NOW_MS) == []


def trade(orders: Stream, running: Serving, op: str = "order.create", req_id: str = "", **args: Any) -> Message:
    header = {"X-BAPI-TIMESTAMP": str(now_ms(running)), "X-BAPI-RECV-WINDOW": "8000"}
    values = {"category": "linear", "symbol": "BTCUSDT", **args}
    return orders.ask(reqId=req_id, header=header, op=op, args=[values])


def test_an_order_over_the_socket_is_told_on_the_private_stream() -> None:
    with sandbox() as running, stream(running, "/v5/private") as private, stream(running, "/v5/trade") as orders:
        private.sign_in()
        private.ask(op="subscribe", args=["order.linear", "execution.linear", "position.linear", "wallet"])
        signed_in = without_id(orders.sign_in())
        assert signed_in == {"retCode": 0, "retMsg": "OK", "op": "auth"}
        accepted = trade(orders, running, req_id="1", side="Buy", orderType="Market", qty="0.01", orderLinkId="mine")
        assert (accepted["retCode"], accepted["op"], accepted["reqId"]) == (0, "order.create", "1")
        assert accepted["data"]["orderLinkId"] == "mine"
        assert {"X-Bapi-Limit", "X-Bapi-Limit-Status", "X-Bapi-Limit-Reset-Timestamp"} < set(accepted["header"])
        frames = {}
        while len(frames) < 4:
            frame = private.take()
            assert {"id", "topic", "creationTime", "data"} == set(frame)
            frames[frame["topic"]] = frame["data"][0]
        order_id = accepted["data"]["orderId"]
        assert (frames["order.linear"]["orderId"], frames["order.linear"]["orderStatus"]) == (order_id, "Filled")
        execution = frames["execution.linear"]
        assert (execution["orderId"], execution["execQty"]) == (order_id, "0.01")
        position = frames["position.linear"]
        assert (position["side"], position["size"]) == ("Buy", "0.01")
        assert float(position["entryPrice"]) == float(execution["execPrice"])
        coin = frames["wallet"]["coin"][0]
        assert float(coin["walletBalance"]) == pytest.approx(10_000 - float(execution["execFee"]), abs=1e-8)


def test_a_closing_execution_tells_what_it_realized() -> None:
    with sandbox() as running, stream(running, "/v5/private") as private, stream(running, "/v5/trade") as orders:
        private.sign_in()
        private.ask(op="subscribe", args=["execution"])
        orders.sign_in()
        trade(orders, running, side="Buy", orderType="Market", qty="0.1")
        opened = private.take()["data"][0]
        assert (opened["execPnl"], opened["closedSize"]) == ("0", "0")
        advance(running, 300_000)
        trade(orders, running, side="Sell", orderType="Market", qty="0.1", reduceOnly=True)
        closed = private.take()["data"][0]
        gross = (float(closed["execPrice"]) - float(opened["execPrice"])) * 0.1
        assert gross != 0
        assert float(closed["execPnl"]) == pytest.approx(gross, abs=1e-6)


def test_a_liquidation_is_told_to_the_public_by_the_side_of_its_position() -> None:
    wif = {"category": "linear", "symbol": "WIFUSDT"}
    with sandbox(balance="500") as running, stream(running, "/v5/public/linear") as public:
        public.ask(op="subscribe", args=["allLiquidation.WIFUSDT"])
        with BybitClient(DEFAULT_KEY, DEFAULT_SECRET, base_urls=[running.url]) as client:
            last = client.get_tickers("linear", "WIFUSDT")[0].last_price
            client.set_leverage("linear", "WIFUSDT", 50)
            client.place_order(**wif, side="Buy", orderType="Market", qty=int(500 * 45 / last))
            # At forty-five times the margin a fall of some percent is the end; the ping keeps the connection.
            while "topic" not in (told := public.ask(op="ping")):
                assert now_ms(running) < NOW_MS + 86_400_000
                advance(running, 540_000)
            (execution,) = client.get_executions("linear", "WIFUSDT", execType="BustTrade")
    assert execution.side == "Sell"
    assert told["topic"] == "allLiquidation.WIFUSDT"
    (liquidation,) = told["data"]
    assert (liquidation["s"], liquidation["S"]) == ("WIFUSDT", "Buy")
    assert (float(liquidation["v"]), float(liquidation["p"])) == (float(execution.qty), float(execution.price))


def test_an_order_lives_and_ends_over_the_socket() -> None:
    with sandbox() as running, stream(running, "/v5/trade") as orders:
        orders.sign_in()
        created = trade(orders, running, side="Buy", orderType="Limit", qty="0.01", price="50000")["data"]["orderId"]
        amended = trade(orders, running, "order.amend", orderId=created, price="51000")
        assert (amended["retCode"], amended["data"]["orderId"]) == (0, created)
        assert trade(orders, running, "order.cancel", orderId=created)["retCode"] == 0
        assert trade(orders, running, "order.cancel", orderId=created)["retCode"] == 110001
        request = [
            {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": qty, "price": "50000"}
            for qty in ("0.01", "0")
        ]
        batch = trade(orders, running, "order.create-batch", request=request)
        assert batch["retCode"] == 0
        assert [note["code"] == 0 for note in batch["retExtInfo"]["list"]] == [True, False]


def test_the_trade_socket_refuses_in_the_venues_codes() -> None:
    with sandbox() as running, stream(running, "/v5/trade") as orders:
        order = {"side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "50000"}
        assert trade(orders, running, **order)["retCode"] == 10003
        assert orders.sign_in(secret="wrong")["retCode"] == 10004
        assert orders.sign_in()["retCode"] == 0
        assert orders.sign_in()["retCode"] == 20001
        assert trade(orders, running, "order.fly", **order)["retCode"] == 10404
        assert trade(orders, running, req_id="same", **order)["retCode"] == 0
        assert trade(orders, running, req_id="same", **order)["retCode"] == 20006
        assert orders.ask(op="order.create", args=[order])["retCode"] == 10001
        for offset_ms in (-9_000, 1_000):
            header = {"X-BAPI-TIMESTAMP": str(NOW_MS + offset_ms)}
            assert orders.ask(op="order.create", header=header, args=[order])["retCode"] == 10002


def test_the_trade_socket_shares_the_limit_of_the_endpoints() -> None:
    with sandbox() as running, stream(running, "/v5/trade") as orders:
        orders.sign_in()
        request = [{"symbol": "BTCUSDT"}] * 20
        batch = trade(orders, running, "order.cancel-batch", request=request)
        codes = [note["code"] for note in batch["retExtInfo"]["list"]]
        assert codes[:10].count(10006) == 0
        assert codes[10:] == [10006] * 10
        refused = trade(orders, running, "order.cancel-batch", request=request)
        assert (refused["retCode"], refused["header"]["X-Bapi-Limit-Status"]) == (10006, "0")
