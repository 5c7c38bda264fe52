"""pybit, unmodified, trades on the sandbox: orders' whole life, positions, the account, errors and limits."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pybit.exceptions import InvalidRequestError
from pybit.unified_trading import HTTP

from bybit.sandbox import SandboxConfig, Serving, serving
from tests.sandbox_clients.conftest import pybit_http

LINEAR = {"category": "linear"}
BTC = {"category": "linear", "symbol": "BTCUSDT"}


def last_price(session: HTTP, symbol: str = "BTCUSDT") -> float:
    return float(session.get_tickers(category="linear", symbol=symbol)["result"]["list"][0]["lastPrice"])


def far_below(session: HTTP) -> str:
    return str(round(last_price(session) * 0.8))


def order_of(session: HTTP, order_id: str) -> dict[str, Any]:
    (row,) = session.get_open_orders(**BTC, orderId=order_id)["result"]["list"]
    return row


def position_of(session: HTTP, symbol: str = "BTCUSDT") -> dict[str, Any]:
    (row,) = session.get_positions(category="linear", symbol=symbol)["result"]["list"]
    return row


def buy(session: HTTP, qty: str = "0.01", **more: Any) -> str:
    return session.place_order(**{**BTC, "side": "Buy", "orderType": "Market", "qty": qty, **more})["result"]["orderId"]


def test_a_limit_order_rests_is_amended_and_cancelled(idle: HTTP) -> None:
    price = far_below(idle)
    placed = idle.place_order(**BTC, side="Buy", orderType="Limit", qty="0.01", price=price, orderLinkId="pybit-1")
    order_id = placed["result"]["orderId"]
    assert placed["result"]["orderLinkId"] == "pybit-1"
    resting = order_of(idle, order_id)
    assert (resting["orderStatus"], resting["price"], resting["leavesQty"]) == ("New", price, "0.01")
    idle.amend_order(**BTC, orderId=order_id, qty="0.02")
    assert order_of(idle, order_id)["qty"] == "0.02"
    assert idle.cancel_order(**BTC, orderLinkId="pybit-1")["result"]["orderId"] == order_id
    assert idle.get_open_orders(**BTC)["result"]["list"] == []
    (closed,) = idle.get_order_history(**BTC, orderId=order_id)["result"]["list"]
    assert (closed["orderStatus"], closed["cancelType"]) == ("Cancelled", "CancelByUser")


def test_a_market_order_fills_and_pays_the_takers_fee(idle: HTTP) -> None:
    order_id = buy(idle)
    (order,) = idle.get_order_history(**BTC, orderId=order_id)["result"]["list"]
    assert (order["orderStatus"], order["cumExecQty"]) == ("Filled", "0.01")
    fills = idle.get_executions(**BTC, orderId=order_id)["result"]["list"]
    assert sum(float(fill["execQty"]) for fill in fills) == pytest.approx(0.01)
    for fill in fills:
        assert (fill["isMaker"], fill["feeRate"], fill["execType"]) == (False, "0.00055", "Trade")
        assert float(fill["execFee"]) == pytest.approx(float(fill["execValue"]) * 0.00055, abs=1e-8)


def test_a_position_follows_its_fills_and_closes_with_its_profit(idle: HTTP) -> None:
    buy(idle)
    opened = position_of(idle)
    assert (opened["side"], opened["size"], opened["positionIdx"]) == ("Buy", "0.01", 0)
    assert float(opened["positionValue"]) == pytest.approx(float(opened["avgPrice"]) * 0.01)
    order_id = buy(idle, side="Sell", reduceOnly=True)
    closed = position_of(idle)
    assert (closed["side"], float(closed["size"])) == ("", 0)
    (row,) = [row for row in idle.get_closed_pnl(**BTC)["result"]["list"] if row["orderId"] == order_id]
    gross = float(row["cumExitValue"]) - float(row["cumEntryValue"])
    assert float(row["closedPnl"]) == pytest.approx(gross - float(row["openFee"]) - float(row["closeFee"]), abs=1e-6)
    assert (row["side"], row["closedSize"]) == ("Sell", "0.01")


def test_a_short_is_a_sell_with_a_size_above_zero(idle: HTTP) -> None:
    buy(idle, side="Sell", symbol="ETHUSDT", qty="0.5")
    position = position_of(idle, "ETHUSDT")
    assert (position["side"], position["size"]) == ("Sell", "0.5")
    listed = idle.get_positions(category="linear", settleCoin="USDT")["result"]["list"]
    assert [row["symbol"] for row in listed] == ["ETHUSDT"]


@pytest.mark.parametrize("force", ["IOC", "FOK"])
def test_an_order_that_may_not_rest_is_cancelled(idle: HTTP, force: str) -> None:
    price = far_below(idle)
    placed = idle.place_order(**BTC, side="Buy", orderType="Limit", qty="0.01", price=price, timeInForce=force)
    (order,) = idle.get_order_history(**BTC, orderId=placed["result"]["orderId"])["result"]["list"]
    assert (order["orderStatus"], order["timeInForce"], order["cumExecQty"]) == ("Cancelled", force, "0")


def test_a_post_only_order_that_would_take_is_accepted_and_then_cancelled(idle: HTTP) -> None:
    price = str(round(last_price(idle) * 1.01))
    placed = idle.place_order(**BTC, side="Buy", orderType="Limit", qty="0.01", price=price, timeInForce="PostOnly")
    assert placed["retCode"] == 0
    (order,) = idle.get_order_history(**BTC, orderId=placed["result"]["orderId"])["result"]["list"]
    assert (order["orderStatus"], order["rejectReason"]) == ("Cancelled", "EC_PostOnlyWillTakeLiquidity")


@pytest.mark.parametrize(("direction", "share", "side"), [(1, 1.1, "Buy"), (2, 0.9, "Sell")])
def test_a_conditional_order_waits_untriggered(idle: HTTP, direction: int, share: float, side: str) -> None:
    trigger = str(round(last_price(idle) * share))
    order_id = buy(idle, side=side, triggerPrice=trigger, triggerDirection=direction)
    order = order_of(idle, order_id)
    assert (order["orderStatus"], order["triggerPrice"], order["triggerDirection"]) == (
        "Untriggered",
        trigger,
        direction,
    )
    idle.cancel_order(**BTC, orderId=order_id)
    (closed,) = idle.get_order_history(**BTC, orderId=order_id)["result"]["list"]
    assert closed["orderStatus"] == "Deactivated"


def test_protection_is_set_shown_and_taken_away(idle: HTTP) -> None:
    buy(idle)
    price = last_price(idle)
    stop, goal = str(round(price * 0.9)), str(round(price * 1.1))
    idle.set_trading_stop(**BTC, positionIdx=0, tpslMode="Full", takeProfit=goal, stopLoss=stop)
    position = position_of(idle)
    assert (position["takeProfit"], position["stopLoss"]) == (goal, stop)
    kinds = {row["stopOrderType"] for row in idle.get_open_orders(**BTC)["result"]["list"]}
    assert kinds == {"TakeProfit", "StopLoss"}
    idle.set_trading_stop(**BTC, positionIdx=0, tpslMode="Full", takeProfit="0", stopLoss="0")
    position = position_of(idle)
    assert (position["takeProfit"], position["stopLoss"]) == ("", "")
    assert idle.get_open_orders(**BTC)["result"]["list"] == []


def test_a_batch_fails_order_by_order(idle: HTTP) -> None:
    price = far_below(idle)
    order = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": price}
    request = [order, {**order, "qty": "0.0001"}, {**order, "symbol": "NOPEUSDT"}]
    placed = idle.place_batch_order(category="linear", request=request)
    assert placed["retCode"] == 0
    assert [note["code"] == 0 for note in placed["retExtInfo"]["list"]] == [True, False, False]
    order_id = placed["result"]["list"][0]["orderId"]
    amended = idle.amend_batch_order(
        category="linear", request=[{"symbol": "BTCUSDT", "orderId": order_id, "qty": "0.03"}]
    )
    assert amended["retExtInfo"]["list"][0]["code"] == 0
    assert order_of(idle, order_id)["qty"] == "0.03"
    gone = [{"symbol": "BTCUSDT", "orderId": order_id}, {"symbol": "BTCUSDT", "orderId": "nobody"}]
    cancelled = idle.cancel_batch_order(category="linear", request=gone)
    assert [note["code"] for note in cancelled["retExtInfo"]["list"]] == [0, 110001]


def test_all_orders_of_a_contract_are_cancelled_at_once(idle: HTTP) -> None:
    price = far_below(idle)
    ids = {buy(idle, orderType="Limit", price=price) for _ in range(3)}
    other = buy(idle, symbol="XRPUSDT", orderType="Limit", qty="100", price=str(last_price(idle, "XRPUSDT") * 0.5)[:6])
    cancelled = idle.cancel_all_orders(**BTC)["result"]
    assert {row["orderId"] for row in cancelled["list"]} == ids
    left = idle.get_open_orders(category="linear", settleCoin="USDT")["result"]["list"]
    assert [row["orderId"] for row in left] == [other]


def test_open_orders_are_listed_newest_first_page_by_page(idle: HTTP) -> None:
    price = far_below(idle)
    ids = [buy(idle, orderType="Limit", price=price) for _ in range(5)]
    first = idle.get_open_orders(**BTC, limit=3)["result"]
    second = idle.get_open_orders(**BTC, limit=3, cursor=first["nextPageCursor"])["result"]
    assert [row["orderId"] for row in first["list"] + second["list"]] == ids[::-1]


def test_leverage_is_set_once(idle: HTTP) -> None:
    now = position_of(idle, "SOLUSDT")["leverage"]
    other = "7" if now != "7" else "8"
    both = {"buyLeverage": other, "sellLeverage": other}
    assert idle.set_leverage(category="linear", symbol="SOLUSDT", **both)["result"] == {}
    assert position_of(idle, "SOLUSDT")["leverage"] == other
    with pytest.raises(InvalidRequestError) as refusal:
        idle.set_leverage(category="linear", symbol="SOLUSDT", **both)
    assert refusal.value.status_code == 110043


# The account


def test_the_wallet_adds_up(idle: HTTP) -> None:
    buy(idle)
    (wallet,) = idle.get_wallet_balance(accountType="UNIFIED")["result"]["list"]
    (coin,) = wallet["coin"]
    assert coin["coin"] == "USDT"
    equity = float(coin["walletBalance"]) + float(coin["unrealisedPnl"])
    assert float(wallet["totalEquity"]) == pytest.approx(equity, abs=1e-4)
    assert float(wallet["totalAvailableBalance"]) < float(wallet["totalMarginBalance"])


def test_the_transaction_log_adds_up_to_the_wallet(idle: HTTP) -> None:
    buy(idle)
    buy(idle, side="Sell", reduceOnly=True)
    rows = idle.get_transaction_log(accountType="UNIFIED", category="linear", limit=50)["result"]["list"]
    for row in rows:
        funding = float(row["funding"] or 0)
        assert float(row["change"]) == pytest.approx(float(row["cashFlow"]) + funding - float(row["fee"]), abs=1e-8)
    (wallet,) = idle.get_wallet_balance(accountType="UNIFIED", coin="USDT")["result"]["list"]
    assert float(rows[0]["cashBalance"]) == pytest.approx(float(wallet["coin"][0]["walletBalance"]), abs=1e-8)


def test_fees_are_those_of_the_tier(idle: HTTP) -> None:
    (row,) = idle.get_fee_rates(category="linear", symbol="BTCUSDT")["result"]["list"]
    assert (row["takerFeeRate"], row["makerFeeRate"]) == ("0.00055", "0.0002")


def test_the_account_is_a_unified_one_with_cross_margin(idle: HTTP) -> None:
    info = idle.get_account_info()["result"]
    assert (info["unifiedMarginStatus"], info["marginMode"]) == (5, "REGULAR_MARGIN")


def test_the_key_is_known(idle: HTTP) -> None:
    info = idle.get_api_key_information()["result"]
    assert info["readOnly"] in (0, 1)


# Errors


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"qty": "0.00001"}, 10001),
        ({"qty": "0.0015"}, 10001),
        ({"qty": "-1"}, 10001),
        ({"qty": "many"}, 10001),
        ({"qty": ""}, 10001),
        ({"qty": "100"}, 110007),
        ({"qty": "5000"}, 10001),
        ({"side": "Hold"}, 10001),
        ({"orderType": "Fast"}, 10001),
        ({"symbol": "NOPEUSDT"}, 10001),
        ({"category": "nonsense"}, 10001),
        ({"reduceOnly": True}, 110017),
        ({"orderType": "Limit"}, 10001),
        ({"orderType": "Limit", "price": "50"}, 110094),
        ({"orderType": "Limit", "price": "20000.05"}, 10001),
        ({"orderLinkId": "x" * 37}, 10001),
        ({"orderLinkId": "a b"}, 10001),
        ({"triggerPrice": "1", "triggerDirection": 1}, 110092),
        ({"triggerPrice": "900000", "triggerDirection": 2}, 110093),
    ],
)
def test_an_order_that_does_not_go_is_refused_by_code(idle: HTTP, order: dict[str, Any], code: int) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        buy(idle, **order)
    assert refusal.value.status_code == code
    assert idle.get_open_orders(**BTC)["result"]["list"] == []


@pytest.mark.parametrize("method", ["amend_order", "cancel_order"])
def test_an_order_that_is_not_there_cannot_be_changed(idle: HTTP, method: str) -> None:
    more = {"qty": "0.02"} if method == "amend_order" else {}
    with pytest.raises(InvalidRequestError) as refusal:
        getattr(idle, method)(**BTC, orderId="00000000-0000-0000-0000-000000000000", **more)
    assert refusal.value.status_code == 110001


def test_an_order_link_id_is_used_once(idle: HTTP) -> None:
    buy(idle, orderType="Limit", price=far_below(idle), orderLinkId="once")
    with pytest.raises(InvalidRequestError) as refusal:
        buy(idle, orderType="Limit", price=far_below(idle), orderLinkId="once")
    assert refusal.value.status_code == 110072


@pytest.fixture
def stranger(sandbox: Serving) -> Iterator[HTTP]:
    http = pybit_http(sandbox.url, api_key="unknown", retry_delay=0)
    yield http
    http.client.close()


def test_a_key_nobody_knows_is_refused(stranger: HTTP) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        stranger.get_wallet_balance(accountType="UNIFIED")
    assert refusal.value.status_code == 10003


def test_a_wrong_secret_is_refused(sandbox: Serving) -> None:
    http = pybit_http(sandbox.url, api_secret="wrong")
    with http.client, pytest.raises(InvalidRequestError) as refusal:
        http.place_order(**BTC, side="Buy", orderType="Market", qty="0.01")
    assert refusal.value.status_code == 10004


@pytest.mark.parametrize("ahead", [timedelta(seconds=6), timedelta(seconds=-2)])
def test_a_clock_that_is_late_or_early_is_refused(ahead: timedelta) -> None:
    with serving(SandboxConfig(port=0, now=datetime.now(UTC) + ahead)) as running:
        http = pybit_http(running.url, ignore_codes={10002}, retry_codes={1})
        with http.client:
            refused = http.get_account_info()
        assert refused["retCode"] == 10002
        assert "recv_window" in refused["retMsg"]


def test_too_many_orders_in_a_second_are_refused_and_the_reset_is_told() -> None:
    with serving(SandboxConfig(port=0)) as running:
        http = pybit_http(running.url, ignore_codes={10006}, retry_codes={1}, return_response_headers=True)
        with http.client:
            replies = [http.cancel_all_orders(**BTC) for _ in range(12)]
        codes = [body["retCode"] for body, _, _ in replies]
        assert codes == [0] * 10 + [10006] * 2
        left = [int(headers["X-Bapi-Limit-Status"]) for _, _, headers in replies]
        assert left == [*range(9, -1, -1), 0, 0]
        assert int(replies[-1][2]["X-Bapi-Limit-Reset-Timestamp"]) >= replies[-1][0]["time"] - 1
