"""ccxt, unmodified, trades on the sandbox."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import ccxt
import pytest

from bybit.sandbox import SandboxConfig, Serving, serving
from tests.sandbox_clients.conftest import ccxt_exchange

BTC = "BTC/USDT:USDT"


@pytest.fixture
def flat(exchange: ccxt.bybit) -> ccxt.bybit:
    """ccxt, with an account that has no orders and no positions."""
    exchange.cancel_all_orders(None, {"settleCoin": "USDT"})
    for position in exchange.fetch_positions():
        side = "sell" if position["side"] == "long" else "buy"
        exchange.create_order(position["symbol"], "market", side, position["contracts"], None, {"reduceOnly": True})
    return exchange


def far_below(exchange: ccxt.bybit) -> float:
    return float(exchange.price_to_precision(BTC, exchange.fetch_ticker(BTC)["last"] * 0.8))


def test_a_limit_order_rests_is_edited_and_cancelled(flat: ccxt.bybit) -> None:
    price = far_below(flat)
    order_id = flat.create_order(BTC, "limit", "buy", 0.01, price, {"clientOrderId": "ccxt-1"})["id"]
    (resting,) = flat.fetch_open_orders(BTC)
    assert (resting["id"], resting["status"], resting["clientOrderId"]) == (order_id, "open", "ccxt-1")
    assert (resting["price"], resting["amount"], resting["remaining"]) == (price, 0.01, 0.01)
    flat.edit_order(order_id, BTC, "limit", "buy", 0.02, price)
    assert flat.fetch_open_orders(BTC)[0]["amount"] == 0.02
    assert flat.cancel_order(order_id, BTC)["id"] == order_id
    assert flat.fetch_open_orders(BTC) == []
    (closed,) = [order for order in flat.fetch_canceled_orders(BTC) if order["id"] == order_id]
    assert closed["status"] == "canceled"


def test_a_market_order_fills_with_its_fee(flat: ccxt.bybit) -> None:
    order_id = flat.create_order(BTC, "market", "buy", 0.01)["id"]
    (order,) = [order for order in flat.fetch_closed_orders(BTC) if order["id"] == order_id]
    assert (order["status"], order["filled"]) == ("closed", 0.01)
    trades = flat.fetch_order_trades(order_id, BTC)
    assert sum(trade["amount"] for trade in trades) == pytest.approx(0.01)
    assert {trade["takerOrMaker"] for trade in trades} == {"taker"}
    assert sum(trade["fee"]["cost"] for trade in trades) == pytest.approx(order["cost"] * 0.00055, abs=1e-6)


@pytest.mark.parametrize(("side", "expected"), [("buy", "long"), ("sell", "short")])
def test_a_position_has_its_side_and_is_closed_by_the_other(flat: ccxt.bybit, side: str, expected: str) -> None:
    flat.create_order(BTC, "market", side, 0.01)
    position = flat.fetch_position(BTC)
    assert (position["symbol"], position["side"], position["contracts"]) == (BTC, expected, 0.01)
    assert position["entryPrice"] > 0
    other = "sell" if side == "buy" else "buy"
    flat.create_order(BTC, "market", other, 0.01, None, {"reduceOnly": True})
    assert flat.fetch_positions() == []


@pytest.mark.parametrize("kind", ["IOC", "FOK", "PO"])
def test_an_order_that_may_not_stay_is_cancelled(flat: ccxt.bybit, kind: str) -> None:
    share = 1.01 if kind == "PO" else 0.8
    price = float(flat.price_to_precision(BTC, flat.fetch_ticker(BTC)["last"] * share))
    order_id = flat.create_order(BTC, "limit", "buy", 0.01, price, {"timeInForce": kind})["id"]
    (order,) = [order for order in flat.fetch_canceled_orders(BTC) if order["id"] == order_id]
    assert (order["status"], order["filled"], order["timeInForce"]) == ("canceled", 0, kind)


def test_a_trigger_order_waits(flat: ccxt.bybit) -> None:
    trigger = float(flat.price_to_precision(BTC, flat.fetch_ticker(BTC)["last"] * 1.1))
    params = {"triggerPrice": trigger, "triggerDirection": "ascending"}
    order_id = flat.create_order(BTC, "market", "buy", 0.01, None, params)["id"]
    (waiting,) = flat.fetch_open_orders(BTC, params={"trigger": True})
    assert (waiting["id"], waiting["triggerPrice"]) == (order_id, trigger)
    flat.cancel_order(order_id, BTC, {"trigger": True})
    assert flat.fetch_open_orders(BTC, params={"trigger": True}) == []


def test_an_order_brings_its_protection(flat: ccxt.bybit) -> None:
    last = flat.fetch_ticker(BTC)["last"]
    stop, goal = (float(flat.price_to_precision(BTC, last * share)) for share in (0.9, 1.1))
    params = {"stopLoss": {"triggerPrice": stop}, "takeProfit": {"triggerPrice": goal}}
    flat.create_order(BTC, "market", "buy", 0.01, None, params)
    position = flat.fetch_position(BTC)
    assert (position["stopLossPrice"], position["takeProfitPrice"]) == (stop, goal)


def test_several_orders_go_at_once_and_are_cancelled_at_once(flat: ccxt.bybit) -> None:
    price = far_below(flat)
    order = {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": price}
    placed = flat.create_orders([order, {**order, "amount": 0.02}])
    assert len({one["id"] for one in placed}) == 2
    assert sorted(one["amount"] for one in flat.fetch_open_orders(BTC)) == [0.01, 0.02]
    flat.cancel_orders([one["id"] for one in placed], BTC)
    assert flat.fetch_open_orders(BTC) == []


def test_all_orders_are_cancelled(flat: ccxt.bybit) -> None:
    ids = {flat.create_order(BTC, "limit", "buy", 0.01, far_below(flat))["id"] for _ in range(3)}
    assert {order["id"] for order in flat.cancel_all_orders(BTC)} == ids
    assert flat.fetch_open_orders(BTC) == []


def test_leverage_is_set_and_read_back(flat: ccxt.bybit) -> None:
    wanted = 6 if flat.fetch_leverage(BTC)["longLeverage"] != 6 else 5
    flat.set_leverage(wanted, BTC)
    assert flat.fetch_leverage(BTC)["longLeverage"] == wanted
    # The venue calls a leverage that is set already an error.
    with pytest.raises(ccxt.ExchangeError, match="110043"):
        flat.set_leverage(wanted, BTC)


def test_what_is_set_already_is_told_as_such(flat: ccxt.bybit) -> None:
    with pytest.raises(ccxt.MarginModeAlreadySet):
        flat.set_margin_mode("cross")
    with pytest.raises(ccxt.NoChange):
        flat.set_position_mode(False, BTC)


def test_the_balance_is_what_the_ledger_says(flat: ccxt.bybit) -> None:
    flat.create_order(BTC, "market", "buy", 0.01)
    flat.create_order(BTC, "market", "sell", 0.01, None, {"reduceOnly": True})
    ledger = flat.fetch_ledger("USDT", None, 50)
    balance = flat.fetch_balance()
    assert balance["USDT"]["total"] == pytest.approx(ledger[-1]["after"], abs=1e-6)
    assert {entry["type"] for entry in ledger} == {"trade"}


def test_a_closed_position_is_on_record(flat: ccxt.bybit) -> None:
    flat.create_order(BTC, "market", "buy", 0.01)
    flat.create_order(BTC, "market", "sell", 0.01, None, {"reduceOnly": True})
    record = flat.fetch_positions_history([BTC])[-1]
    assert record["symbol"] == BTC
    assert record["info"]["side"] == "Sell"
    assert float(record["info"]["closedSize"]) == 0.01


def test_my_trades_are_in_order_of_time(flat: ccxt.bybit) -> None:
    for _ in range(3):
        flat.create_order(BTC, "market", "buy", 0.01)
    times = [trade["timestamp"] for trade in flat.fetch_my_trades(BTC)]
    assert len(times) >= 3
    assert times == sorted(times)


def test_fees_are_those_of_the_tier(flat: ccxt.bybit) -> None:
    fee = flat.fetch_trading_fee(BTC)
    assert (fee["taker"], fee["maker"]) == (0.00055, 0.0002)


def test_no_funding_was_paid_within_the_last_minutes_of_an_account(flat: ccxt.bybit) -> None:
    assert all(payment["symbol"] == BTC for payment in flat.fetch_funding_history(BTC))


# Errors


@pytest.mark.parametrize(
    ("amount", "price", "params", "error"),
    [
        (100.0, None, {}, ccxt.InsufficientFunds),
        (0.01, None, {"reduceOnly": True}, ccxt.InvalidOrder),
        (0.01, None, {"clientOrderId": "not one!"}, ccxt.BadRequest),
        (0.01, 50.0, {}, ccxt.ExchangeError),
    ],
)
def test_an_order_that_does_not_go_is_the_right_kind_of_error(
    flat: ccxt.bybit, amount: float, price: float | None, params: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        flat.create_order(BTC, "market" if price is None else "limit", "buy", amount, price, params)
    assert flat.fetch_open_orders(BTC) == []


def test_an_order_that_is_not_there_is_not_found(flat: ccxt.bybit) -> None:
    with pytest.raises(ccxt.OrderNotFound):
        flat.cancel_order("00000000-0000-0000-0000-000000000000", BTC)


@pytest.fixture(params=[{"apiKey": "unknown"}, {"secret": "wrong"}])
def stranger(sandbox: Serving, request: pytest.FixtureRequest) -> Iterator[ccxt.bybit]:
    made = ccxt_exchange(sandbox.url, **request.param)
    yield made
    made.session.close()


def test_a_wrong_key_or_secret_is_an_authentication_error(stranger: ccxt.bybit) -> None:
    with pytest.raises(ccxt.AuthenticationError):
        stranger.fetch_balance({"type": "swap"})


def test_a_clock_that_is_off_is_cured_by_the_difference() -> None:
    with serving(SandboxConfig(port=0, now=datetime.now(UTC) - timedelta(minutes=5))) as running:
        made = ccxt_exchange(running.url)
        try:
            with pytest.raises(ccxt.InvalidNonce):
                made.fetch_balance({"type": "swap"})
            made.load_time_difference()
            assert made.fetch_balance({"type": "swap"})["USDT"]["total"] == 10_000
        finally:
            made.session.close()


def test_too_many_requests_in_a_second_are_a_rate_limit() -> None:
    with serving(SandboxConfig(port=0)) as running:
        made = ccxt_exchange(running.url)
        try:
            made.load_markets()
            for _ in range(10):
                assert made.cancel_all_orders(BTC) == []
            with pytest.raises(ccxt.RateLimitExceeded, match="10006"):
                made.cancel_all_orders(BTC)
        finally:
            made.session.close()
