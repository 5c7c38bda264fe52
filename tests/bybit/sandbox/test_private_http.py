import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bybit.rules.errors import InvalidInput
from bybit.rules.periods import to_ms
from bybit.sandbox import SandboxConfig, create_app
from bybit.sandbox.clock import Clock
from bybit.sandbox.exchange import Exchange
from bybit.sandbox.order_desk import OrderDesk
from bybit.sandbox.query import Query
from tests.bybit.sandbox.desks import SYNTHETIC
from tests.bybit.sandbox.signed import Signer
from tests.bybit.sandbox.wire import HOUR, ask
from tests.sandbox import running

NOW = datetime(2026, 5, 6, 13, 47, tzinfo=UTC)
NOW_MS = to_ms(NOW)
BTC = {"category": "linear", "symbol": "BTCUSDT"}
LIMIT = {**BTC, "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "20000"}
STILL = SandboxConfig(now=NOW, speed=0, address_limit=None)


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with running(SandboxConfig(now=NOW, speed=0, address_limit=None, account_limits=False)) as url:
        yield url


@pytest.fixture
def me(base: str) -> Signer:
    return Signer(base, now_ms=ask(base, "/sandbox/clock").json["result"]["now_ms"])


def test_a_signed_order_lives_its_life_over_http(me: Signer) -> None:
    sent = me.post("order/create", **LIMIT, orderLinkId="http-1").json
    assert (sent["retCode"], sent["result"]["orderLinkId"]) == (0, "http-1")
    (row,) = me.get("order/realtime", **BTC, orderLinkId="http-1").rows
    assert (row["orderId"], row["orderStatus"]) == (sent["result"]["orderId"], "New")
    assert me.post("order/amend", **BTC, orderLinkId="http-1", price="20001").json["retCode"] == 0
    assert me.post("order/cancel", **BTC, orderLinkId="http-1").json["retCode"] == 0
    (row,) = me.get("order/history", **BTC, orderLinkId="http-1").rows
    assert (row["orderStatus"], row["cancelType"], row["price"]) == ("Cancelled", "CancelByUser", "20001")


def test_the_signature_covers_the_exact_characters_of_the_query(me: Signer) -> None:
    for query in (
        "symbol=BTCUSDT&category=linear",
        "category=linear&symbol=%42TCUSDT",
        "category=linear&symbol=BTCUSDT&",
    ):
        assert me.send("GET", f"/v5/position/list?{query}", query.encode(), None).json["retCode"] == 0
    other = me.send("GET", "/v5/position/list?category=linear&symbol=BTCUSDT", b"symbol=BTCUSDT&category=linear", None)
    assert other.json["retCode"] == 10004


def test_who_does_not_sign_right_is_told_why(base: str, me: Signer) -> None:
    def code(**changed: object) -> tuple[int, int]:
        reply = Signer(**{"base": base, "now_ms": me.now_ms, **changed}).get("account/info")  # type: ignore[arg-type]
        return reply.status, reply.json["retCode"]

    assert code() == (200, 0)
    assert code(key="unknown") == (200, 10003)
    assert code(secret="wrong") == (200, 10004)
    assert code(ahead_ms=1_000) == (200, 10002)
    assert code(ahead_ms=-6_000) == (200, 10002)
    assert code(ahead_ms=-6_000, window="10000") == (200, 0)
    unsigned = ask(base, "/v5/account/info")
    assert (unsigned.status, unsigned.json["retCode"]) == (401, 10003)


def test_a_body_that_is_no_object_is_10001_and_a_wrong_method_400(me: Signer) -> None:
    for body in (b"{", b"[]", b'"x"', b'{"category": {"a": 1}}'):
        assert me.send("POST", "/v5/order/create", body, body).json["retCode"] == 10001
    assert me.send("POST", "/v5/order/realtime", b"{}", b"{}").status == 400
    assert me.send("GET", "/v5/order/create", b"", None).status == 400
    refused = me.post("order/create", **{**LIMIT, "qty": "100"})
    assert (refused.status, refused.json["retCode"], refused.json["result"]) == (200, 110007, {})


def test_a_batch_tells_of_each_order_in_the_extra_info(me: Signer) -> None:
    orders = [{**LIMIT, "orderLinkId": "batch-1"}, {**LIMIT, "qty": "0"}]
    body = me.post("order/create-batch", category="linear", request=orders).json
    assert body["retCode"] == 0
    assert [note["code"] for note in body["retExtInfo"]["list"]] == [0, 10001]
    assert body["result"]["list"][0]["orderLinkId"] == "batch-1"
    me.post("order/cancel-all", **BTC)


def test_numbers_may_come_as_json_numbers(me: Signer) -> None:
    sent = me.post("order/create", **{**LIMIT, "qty": 0.001, "price": 20000}, positionIdx=0, reduceOnly=False)
    assert sent.json["retCode"] == 0
    me.post("order/cancel-all", category="linear", settleCoin="USDT")


def test_what_unmodified_clients_ask_besides_is_answered(me: Signer) -> None:
    assert me.get("asset/coin/query-info").json["result"] == {"rows": []}
    key = me.get("user/query-api").json["result"]
    assert (key["uta"], key["readOnly"], key["vipLevel"]) == (1, 0, "No VIP")
    assert me.get("account/collateral-info").rows[0]["collateralRatio"] == "1"
    for category in ("spot", "inverse", "option"):
        assert ask(me.base, "/v5/market/instruments-info", category=category).rows == []
        assert me.get("order/realtime", category=category).rows == []
        assert me.get("position/list", category=category).rows == []


def test_every_signed_reply_tells_the_limit_and_the_eleventh_order_of_a_second_waits() -> None:
    with running(STILL) as url:
        me = Signer(url, now_ms=NOW_MS)
        replies = [me.post("order/create", **LIMIT) for _ in range(11)]
        assert [reply.headers["x-bapi-limit-status"] for reply in replies[:10]] == [str(n) for n in range(9, -1, -1)]
        assert {reply.headers["x-bapi-limit"] for reply in replies} == {"10"}
        last = replies[-1]
        assert (last.status, last.json["retCode"], last.json["retMsg"]) == (200, 10006, "Too many visits!")
        assert int(last.headers["x-bapi-limit-reset-timestamp"]) >= NOW_MS
        assert len(me.get("order/realtime", **BTC).rows) == 10
        assert "x-bapi-limit" not in ask(url, "/v5/market/time").headers


def test_the_clock_stands_still_steps_and_runs_when_told_to() -> None:
    with running(STILL) as url:

        def move(**wanted: object) -> dict[str, object]:
            return ask(url, "/sandbox/clock", method="POST", body=json.dumps(wanted).encode()).json

        assert ask(url, "/sandbox/clock").json["result"] == {"now_ms": NOW_MS, "speed": 0.0, "is_simulated": True}
        assert ask(url, "/v5/market/time").json["time"] == NOW_MS
        me = Signer(url, now_ms=NOW_MS)
        assert me.post("order/create", **{**LIMIT, "orderType": "Market"}).json["retCode"] == 0
        assert move(advance_ms=3 * HOUR)["result"]["now_ms"] == NOW_MS + 3 * HOUR  # type: ignore[index]
        me.now_ms = NOW_MS + 3 * HOUR
        kinds = [row["type"] for row in me.get("account/transaction-log").rows]
        assert kinds == ["SETTLEMENT", "TRADE"]
        for wrong in (
            {"advance_ms": -1},
            {"advance_ms": 1.5},
            {"advance_ms": 40 * 24 * HOUR},
            {"speed": -1},
            {},
            {"x": 1},
        ):
            assert move(**wrong)["retCode"] == 10001
        assert move(speed=60_000)["retCode"] == 0
        assert int(ask(url, "/v5/market/time").json["time"]) > NOW_MS + 3 * HOUR
        assert move(speed=0)["retCode"] == 0
    with running(SandboxConfig(address_limit=None)) as url:
        refused = ask(url, "/sandbox/clock", method="POST", body=b'{"advance_ms": 1}').json
        assert (refused["retCode"], refused["retMsg"].startswith("the clock follows real time")) == (10001, True)


def test_time_acts_on_accounts_while_nobody_asks() -> None:
    clock = Clock(NOW, speed=36_000)
    exchange = Exchange(SYNTHETIC, clock.now_ms())
    account = exchange.open_account("k", "s", Decimal(10_000))
    OrderDesk(exchange).create(account, Query({**LIMIT, "orderType": "Market"}))
    app = create_app(SYNTHETIC, clock, exchange=exchange)

    async def live() -> None:
        async with app.router.lifespan_context(app):
            # Ten hours of the simulated clock pass in a second; a settlement lies two hours ahead.
            for _ in range(500):
                await asyncio.sleep(0.01)
                if len(account.transactions) > 1:
                    break

    asyncio.run(live())
    assert [row["type"] for row in account.transactions[:2]] == ["TRADE", "SETTLEMENT"]


def test_a_pair_balance_and_tier_of_ones_own() -> None:
    config = SandboxConfig(
        now=NOW, speed=0, address_limit=None, api_key="k", api_secret="s", balance="250.5", tier="vip1"
    )
    assert "s'" not in repr(config).replace("symbols", "")
    with running(config) as url:
        me = Signer(url, key="k", secret="s", now_ms=NOW_MS)
        assert me.get("account/wallet-balance", accountType="UNIFIED").rows[0]["totalEquity"] == "250.5"
        assert me.get("account/fee-rate", **BTC).rows[0]["takerFeeRate"] == "0.0004"
        assert Signer(url, now_ms=NOW_MS).get("account/info").json["retCode"] == 10003


@pytest.mark.parametrize(
    "terms",
    [{"balance": "much"}, {"api_key": ""}, {"tier": "vip9"}, {"margin_mode": "X"}, {"speed": 2.0}, {"speed": -1.0}],
)
def test_a_sandbox_that_cannot_be_is_refused_before_it_serves(terms: dict[str, object]) -> None:
    with pytest.raises(InvalidInput), running(SandboxConfig(address_limit=None, **terms)):  # type: ignore[arg-type]
        pass


def test_the_book_the_trades_and_the_ticker_agree(base: str) -> None:
    book = ask(base, "/v5/market/orderbook", **BTC, limit=50).json["result"]
    ticker = ask(base, "/v5/market/tickers", **BTC).rows[0]
    bids, asks = ([float(price) for price, _ in book[side]] for side in "ba")
    assert (len(bids), len(asks)) == (50, 50)
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert (bids[0], asks[0]) == (float(ticker["bid1Price"]), float(ticker["ask1Price"]))
    trades = ask(base, "/v5/market/recent-trade", **BTC, limit=20).rows
    times = [int(row["time"]) for row in trades]
    assert times == sorted(times, reverse=True)
    assert float(trades[0]["price"]) == float(ticker["lastPrice"])
    assert len({row["execId"] for row in trades}) == 20
    again = ask(base, "/v5/market/recent-trade", **BTC, limit=20).rows
    assert [row["execId"] for row in again] == [row["execId"] for row in trades]


def test_open_interest_is_paged_on_its_grid(base: str) -> None:
    first = ask(base, "/v5/market/open-interest", **BTC, intervalTime="1h", limit=3).json["result"]
    times = [int(row["timestamp"]) for row in first["list"]]
    assert times == [times[0], times[0] - HOUR, times[0] - 2 * HOUR]
    assert times[0] % HOUR == 0
    more = ask(base, "/v5/market/open-interest", **BTC, intervalTime="1h", limit=3, cursor=first["nextPageCursor"]).rows
    assert int(more[0]["timestamp"]) == times[-1] - HOUR
    assert ask(base, "/v5/market/open-interest", **BTC, intervalTime="2h").json["retCode"] == 10001
    assert ask(base, "/v5/market/insurance", coin="USDT").rows[0]["coin"] == "USDT"
    assert ask(base, "/v5/system/status").rows == []
