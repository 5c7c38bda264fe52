from decimal import Decimal

import pytest

from tests.bybit.sandbox.desks import NOW_MS, Desk
from tests.bybit.sandbox.wire import DAY, HOUR, MINUTE

BTC = {"category": "linear", "symbol": "BTCUSDT"}


@pytest.fixture
def desk() -> Desk:
    return Desk()


def away(desk: Desk, share: str, symbol: str = "BTCUSDT") -> str:
    """A price so far from the last one, on BTC's tick."""
    return str((desk.last(symbol) * (1 + Decimal(share))).quantize(Decimal("0.1")))


def test_a_market_order_takes_the_ask_and_pays_the_taker_fee_of_the_day(desk: Desk) -> None:
    last = desk.last()
    order = desk.order(desk.place("Buy", "0.1"))
    assert (order["orderStatus"], order["cumExecQty"], order["leavesQty"]) == ("Filled", "0.1", "0")
    price = last + Decimal("0.1")
    assert Decimal(order["avgPrice"]) == price
    (fill,) = desk.rows("execution/list", **BTC)
    assert (fill["execType"], fill["isMaker"], fill["feeRate"]) == ("Trade", False, "0.00055")
    assert Decimal(fill["execFee"]) == price * Decimal("0.1") * Decimal("0.00055")
    assert desk.position()["side"] == "Buy"


def test_a_large_order_walks_the_book_and_each_level_is_an_execution(desk: Desk) -> None:
    levels = desk.exchange.book("BTCUSDT").levels("Sell", 3)
    qty = levels[0][1] + levels[1][1]
    desk.place("Buy", str(qty))
    fills = desk.rows("execution/list", **BTC)[::-1]
    assert [(Decimal(fill["execPrice"]), Decimal(fill["execQty"])) for fill in fills] == levels[:2]
    assert Decimal(fills[0]["leavesQty"]) == levels[1][1]


def test_the_acknowledgement_comes_before_every_event(desk: Desk) -> None:
    sent = desk.send("order/create", settle=False, **BTC, side="Buy", orderType="Market", qty="0.1").result
    assert desk.events == []
    desk.exchange.advance(desk.exchange.now_ms)
    assert [event.topic for event in desk.events] == ["execution", "order", "position", "wallet"]
    assert desk.events[1].rows[0]["orderId"] == sent["orderId"]
    assert desk.events[2].rows[0]["entryPrice"] == desk.position()["avgPrice"]
    assert {event.account for event in desk.events} == {desk.account.uid}


def test_a_limit_order_waits_until_the_price_passes_and_then_pays_maker(desk: Desk) -> None:
    order_id = desk.place("Buy", "0.1", away(desk, "-0.002"))
    assert desk.order(order_id)["orderStatus"] == "New"
    assert [row["orderId"] for row in desk.rows("order/realtime", **BTC)] == [order_id]
    desk.advance(2 * DAY)
    order = desk.order(order_id)
    assert (order["orderStatus"], order["avgPrice"]) == ("Filled", order["price"])
    fill = next(row for row in desk.rows("execution/list", **BTC) if row["execType"] == "Trade")
    assert (fill["isMaker"], fill["feeRate"], fill["execPrice"]) == (True, "0.0002", order["price"])
    assert NOW_MS < int(fill["execTime"]) < NOW_MS + 2 * DAY
    assert order["updatedTime"] == fill["execTime"]


def test_a_crossing_post_only_is_accepted_and_then_cancelled_with_its_reason(desk: Desk) -> None:
    order = desk.order(desk.place("Buy", "0.1", away(desk, "0.001"), timeInForce="PostOnly"))
    assert (order["orderStatus"], order["rejectReason"]) == ("Cancelled", "EC_PostOnlyWillTakeLiquidity")
    assert desk.order(desk.place("Buy", "0.1", away(desk, "-0.01"), timeInForce="PostOnly"))["orderStatus"] == "New"


def test_ioc_keeps_what_it_got_and_fok_gets_all_or_nothing(desk: Desk) -> None:
    ask, size = desk.exchange.book("BTCUSDT").level("Sell", 0)
    more = str(size + Decimal("0.1"))
    part = desk.order(desk.place("Buy", more, str(ask), timeInForce="IOC"))
    assert (part["orderStatus"], part["cumExecQty"], part["leavesQty"]) == ("Cancelled", f"{size.normalize():f}", "0")
    none = desk.order(desk.place("Buy", "0.1", away(desk, "-0.01"), timeInForce="IOC"))
    assert (none["orderStatus"], none["rejectReason"]) == ("Cancelled", "EC_NoImmediateQtyToFill")
    killed = desk.order(desk.place("Buy", more, str(ask), timeInForce="FOK"))
    assert (killed["orderStatus"], killed["cumExecQty"]) == ("Cancelled", "0")
    assert desk.order(desk.place("Buy", "0.1", str(ask), timeInForce="FOK"))["orderStatus"] == "Filled"


def test_a_limit_order_that_takes_in_part_waits_for_the_rest(desk: Desk) -> None:
    ask, size = desk.exchange.book("BTCUSDT").level("Sell", 0)
    order_id = desk.place("Buy", str(size + Decimal("0.05")), str(ask))
    assert (desk.order(order_id)["orderStatus"], desk.order(order_id)["leavesQty"]) == ("PartiallyFilled", "0.05")
    desk.ask("order/cancel", **BTC, orderId=order_id)
    order = desk.order(order_id)
    assert (order["orderStatus"], order["cancelType"], order["cumExecQty"]) == (
        "Cancelled",
        "CancelByUser",
        f"{size.normalize():f}",
    )


def test_reduce_only_closes_and_never_opens(desk: Desk) -> None:
    assert desk.refusal("order/create", **BTC, side="Sell", orderType="Market", qty="0.1", reduceOnly=True) == 110017
    desk.place("Buy", "0.1")
    assert desk.refusal("order/create", **BTC, side="Buy", orderType="Market", qty="0.1", reduceOnly=True) == 110017
    order = desk.order(desk.place("Sell", "0.3", reduceOnly=True))
    assert (order["orderStatus"], order["cumExecQty"]) == ("Cancelled", "0.1")
    assert (desk.position()["side"], desk.position()["size"]) == ("", "0")


def test_a_waiting_reduce_only_order_goes_with_its_position(desk: Desk) -> None:
    desk.place("Buy", "0.1")
    waiting = desk.place("Sell", "0.1", away(desk, "0.1"), reduceOnly=True)
    desk.place("Sell", "0.1")
    assert (desk.order(waiting)["orderStatus"], desk.order(waiting)["cancelType"]) == (
        "Cancelled",
        "CancelByReduceOnly",
    )


def test_quantity_zero_closes_the_position_when_asked_to(desk: Desk) -> None:
    desk.place("Sell", "0.2")
    desk.place("Buy", "0", reduceOnly=True, closeOnTrigger=True)
    assert desk.position()["size"] == "0"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"qty": "0.1", "price": "10.05"}, 10001),
        ({"qty": "0.1005", "price": "20000"}, 10001),
        ({"qty": "0.0001", "price": "20000"}, 10001),
        ({"qty": "5000", "price": "20000"}, 10001),
        ({"qty": "0.001", "price": "4000"}, 110094),
        ({"qty": "100", "price": "20000"}, 110007),
        ({"qty": "0.1"}, 10001),
        ({"price": "20000"}, 10001),
        ({"qty": "0.1", "price": "200000"}, 110003),
        ({"qty": "-1", "price": "20000"}, 10001),
        ({"qty": "nan", "price": "20000"}, 10001),
        ({"qty": "1e1", "price": "20000"}, 10001),
        ({"qty": "0.1", "price": "20000", "side": "buy"}, 10001),
        ({"qty": "0.1", "price": "20000", "orderType": "Stop"}, 10001),
        ({"qty": "0.1", "price": "20000", "symbol": "NOPEUSDT"}, 10001),
        ({"qty": "0.1", "price": "20000", "category": "spot"}, 10001),
        ({"qty": "0.1", "price": "20000", "positionIdx": 1}, 10001),
        ({"qty": "0.1", "price": "20000", "timeInForce": "GTX"}, 10001),
        ({"qty": "0.1", "price": "20000", "orderLinkId": "x" * 37}, 10001),
        ({"qty": "0.1", "price": "20000", "orderLinkId": "a b"}, 10001),
        ({"qty": "0.1", "price": "20000", "stopLoss": "21000"}, 10001),
        ({"qty": "0.1", "price": "20000", "takeProfit": "19000"}, 10001),
        ({"qty": "0.1", "price": "20000", "tpslMode": "Partial", "takeProfit": "21000"}, 10001),
        ({"qty": "0.1", "price": "20000", "triggerPrice": "21000"}, 10001),
        ({"qty": "0.1", "price": "20000", "triggerPrice": "21000", "triggerDirection": 1}, 110092),
        ({"qty": "0.1", "price": "20000", "triggerPrice": "99000", "triggerDirection": 2}, 110093),
    ],
)
def test_a_bad_order_is_refused_with_the_code_of_the_venue_and_leaves_nothing(
    desk: Desk, params: dict[str, object], code: int
) -> None:
    asked = {**BTC, "side": "Buy", "orderType": "Limit", **params}
    # The band of BTC ends at 199999.8, so the price of 110003 must not fail for want of means.
    assert desk.refusal("order/create", **asked) == code
    assert desk.rows("order/realtime", **BTC) == []
    assert desk.wallet()["totalAvailableBalance"] == "10000"


def test_an_order_link_id_is_used_once(desk: Desk) -> None:
    desk.place("Buy", "0.1", "20000", orderLinkId="mine-1")
    again = {**BTC, "side": "Buy", "orderType": "Limit", "qty": "0.1", "price": "20000", "orderLinkId": "mine-1"}
    assert desk.refusal("order/create", **again) == 110072
    assert [row["orderLinkId"] for row in desk.rows("order/realtime", **BTC)] == ["mine-1"]
    # A refused order does not use it up.
    assert desk.refusal("order/create", **{**again, "orderLinkId": "mine-2", "qty": "100"}) == 110007
    assert desk.refusal("order/create", **{**again, "orderLinkId": "mine-2"}) == 0


def test_a_conditional_order_waits_untriggered_without_margin_and_acts_at_its_price(desk: Desk) -> None:
    trigger = away(desk, "0.003")
    order_id = desk.place("Buy", "0.1", triggerPrice=trigger, triggerDirection=1)
    order = desk.order(order_id)
    assert (order["orderStatus"], order["stopOrderType"], order["triggerBy"]) == ("Untriggered", "Stop", "LastPrice")
    assert desk.wallet()["totalInitialMargin"] == "0"
    desk.advance(2 * DAY)
    order = desk.order(order_id)
    assert order["orderStatus"] == "Filled"
    # The price ran through the trigger, so the fill is the ask there and not where the minute ended.
    assert Decimal(order["avgPrice"]) == Decimal(trigger) + Decimal("0.1")
    told = [
        row["orderStatus"]
        for event in desk.events
        if event.topic == "order"
        for row in event.rows
        if row["orderId"] == order_id
    ]
    assert told == ["Untriggered", "Triggered", "Filled"]


def test_a_triggered_order_without_means_is_rejected(desk: Desk) -> None:
    order_id = desk.place("Buy", "50", triggerPrice=away(desk, "0.003"), triggerDirection=1)
    desk.advance(2 * DAY)
    assert desk.order(order_id)["orderStatus"] == "Rejected"
    assert desk.position()["size"] == "0"


def test_a_cancelled_conditional_order_is_deactivated(desk: Desk) -> None:
    order_id = desk.place("Buy", "0.1", triggerPrice=away(desk, "0.1"), triggerDirection=1)
    desk.ask("order/cancel", **BTC, orderId=order_id)
    assert desk.order(order_id)["orderStatus"] == "Deactivated"


def test_take_profit_and_stop_loss_of_an_order_guard_the_position_until_one_acts(desk: Desk) -> None:
    stop, goal = away(desk, "-0.004"), away(desk, "0.004")
    desk.place("Buy", "0.1", takeProfit=goal, stopLoss=stop)
    guards = desk.rows("order/realtime", **BTC)
    assert {(row["stopOrderType"], row["triggerPrice"], row["side"], row["reduceOnly"]) for row in guards} == {
        ("TakeProfit", goal, "Sell", True),
        ("StopLoss", stop, "Sell", True),
    }
    assert (desk.position()["takeProfit"], desk.position()["stopLoss"]) == (goal, stop)
    desk.advance(3 * DAY)
    assert (desk.position()["size"], desk.position()["takeProfit"]) == ("0", "")
    ends = {desk.order(row["orderId"])["orderStatus"] for row in guards}
    assert ends == {"Filled", "Deactivated"}
    (closed,) = desk.rows("position/closed-pnl", **BTC)
    hit = next(desk.order(row["orderId"]) for row in guards if desk.order(row["orderId"])["orderStatus"] == "Filled")
    # A sell at the trigger takes the bid, which is the last price itself.
    assert Decimal(closed["avgExitPrice"]) == Decimal(hit["triggerPrice"])


def test_trading_stop_sets_changes_and_removes_and_says_when_nothing_changed(desk: Desk) -> None:
    stop = {**BTC, "tpslMode": "Full", "positionIdx": 0}
    assert desk.refusal("position/trading-stop", **stop, stopLoss="20000") == 10001
    desk.place("Buy", "0.1")
    assert desk.refusal("position/trading-stop", **stop, stopLoss="20000") == 0
    assert desk.refusal("position/trading-stop", **stop, stopLoss="20000") == 34040
    assert desk.refusal("position/trading-stop", **stop, stopLoss="90000") == 10001
    assert desk.refusal("position/trading-stop", **stop, takeProfit="20000") == 10001
    desk.ask("position/trading-stop", **stop, stopLoss="21000", takeProfit="90000")
    assert {row["triggerPrice"] for row in desk.rows("order/realtime", **BTC)} == {"21000", "90000"}
    desk.ask("position/trading-stop", **stop, stopLoss="0", takeProfit="0")
    assert desk.rows("order/realtime", **BTC) == []
    assert desk.position()["stopLoss"] == ""


def test_cancelling_a_stop_order_takes_it_from_the_position(desk: Desk) -> None:
    desk.place("Buy", "0.1", stopLoss="20000")
    (row,) = desk.rows("order/realtime", **BTC)
    desk.ask("order/cancel", **BTC, orderId=row["orderId"])
    assert desk.position()["stopLoss"] == ""
    desk.place("Buy", "0.1")
    assert desk.rows("order/realtime", **BTC) == []


def test_a_trailing_stop_follows_the_best_price_and_acts_on_the_way_back(desk: Desk) -> None:
    desk.place("Buy", "0.1")
    desk.ask("position/trading-stop", **BTC, tpslMode="Full", positionIdx=0, trailingStop="150")
    (order,) = desk.rows("order/realtime", **BTC)
    assert (order["stopOrderType"], Decimal(order["triggerPrice"])) == ("TrailingStop", desk.last() - 150)
    best = desk.last()
    for _ in range(2 * 24 * 60):
        desk.advance(MINUTE)
        if desk.position()["size"] == "0":
            break
        best = max(best, desk.last())
        assert Decimal(desk.order(order["orderId"])["triggerPrice"]) >= best - 150
    (closed,) = desk.rows("position/closed-pnl", **BTC)
    assert closed["orderId"] == order["orderId"]
    assert Decimal(closed["avgExitPrice"]) == Decimal(desk.order(order["orderId"])["triggerPrice"])
    assert Decimal(closed["avgExitPrice"]) >= best - 150


def test_a_trailing_stop_sleeps_until_its_active_price(desk: Desk) -> None:
    desk.place("Buy", "0.1")
    active = away(desk, "0.003")
    desk.ask("position/trading-stop", **BTC, tpslMode="Full", positionIdx=0, trailingStop="100", activePrice=active)
    assert desk.rows("order/realtime", **BTC) == []
    desk.advance(2 * DAY)
    (closed,) = desk.rows("position/closed-pnl", **BTC)
    assert Decimal(closed["avgExitPrice"]) >= Decimal(active) - 100


def test_amending_changes_price_quantity_and_trigger_or_says_nothing_changed(desk: Desk) -> None:
    order_id = desk.place("Buy", "0.1", "20000", orderLinkId="mine")
    desk.ask("order/amend", **BTC, orderLinkId="mine", qty="0.2", price="20001")
    order = desk.order(order_id)
    assert (order["qty"], order["price"], order["orderStatus"]) == ("0.2", "20001", "New")
    assert desk.refusal("order/amend", **BTC, orderId=order_id, price="20001") == 10001
    assert desk.refusal("order/amend", **BTC, orderId=order_id, price="20000.05") == 10001
    assert desk.refusal("order/amend", **BTC, orderId=order_id, qty="100") == 110007
    assert desk.order(order_id)["qty"] == "0.2"
    assert desk.refusal("order/amend", **BTC, orderId="nope", price="20000") == 110001
    desk.ask("order/amend", **BTC, orderId=order_id, price=away(desk, "0.001"))
    assert desk.order(order_id)["orderStatus"] == "Filled"
    assert desk.refusal("order/amend", **BTC, orderId=order_id, price="20000") == 110001


def test_the_amended_quantity_must_exceed_what_is_filled(desk: Desk) -> None:
    ask, size = desk.exchange.book("BTCUSDT").level("Sell", 0)
    order_id = desk.place("Buy", str(size + 1), str(ask))
    assert desk.refusal("order/amend", **BTC, orderId=order_id, qty=str(size)) == 110064


def test_cancelling_what_is_gone_is_110001_and_cancel_all_tells_what_it_took(desk: Desk) -> None:
    assert desk.refusal("order/cancel", **BTC, orderId="nope") == 110001
    assert desk.refusal("order/cancel", **BTC) == 10001
    first = desk.place("Buy", "0.1", "20000")
    stop = desk.place("Sell", "0.1", triggerPrice="15000", triggerDirection=2)
    other = desk.place("Buy", "1", "500", symbol="ETHUSDT")
    assert desk.refusal("order/cancel-all", category="linear") == 10001
    kept = desk.ask("order/cancel-all", **BTC, orderFilter="StopOrder")
    assert [row["orderId"] for row in kept["list"]] == [stop]
    assert [row["orderId"] for row in desk.ask("order/cancel-all", **BTC)["list"]] == [first]
    gone = desk.ask("order/cancel-all", category="linear", settleCoin="USDT")
    assert ([row["orderId"] for row in gone["list"]], gone["success"]) == ([other], "1")
    assert desk.refusal("order/cancel", **BTC, orderId=first) == 110001


def test_a_batch_fails_order_by_order_in_the_order_given(desk: Desk) -> None:
    good = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "20000"}
    answer = desk.send("order/create-batch", category="linear", request=[good, {**good, "qty": "0"}, good], quota=2)
    assert answer.ext is not None
    assert [note["code"] for note in answer.ext["list"]] == [0, 10001, 10006]
    rows = answer.result["list"]
    assert [bool(row["orderId"]) for row in rows] == [True, False, False]
    assert [set(row) for row in rows] == [{"category", "symbol", "orderId", "orderLinkId", "createAt"}] * 3
    changed = desk.send(
        "order/amend-batch",
        category="linear",
        request=[{"symbol": "BTCUSDT", "orderId": rows[0]["orderId"], "price": "19000"}, {"symbol": "BTCUSDT"}],
    )
    assert changed.ext is not None
    assert [note["code"] for note in changed.ext["list"]] == [0, 10001]
    gone = desk.send(
        "order/cancel-batch",
        category="linear",
        request=[{"symbol": "BTCUSDT", "orderId": rows[0]["orderId"]}, {"symbol": "BTCUSDT", "orderId": "x"}],
    )
    assert gone.ext is not None
    assert [note["code"] for note in gone.ext["list"]] == [0, 110001]
    assert desk.refusal("order/create-batch", category="linear", request=[good] * 21) == 10001
    assert desk.refusal("order/create-batch", category="linear") == 10001


def test_lists_come_newest_first_by_page_and_within_seven_days(desk: Desk) -> None:
    ids = []
    for _ in range(7):
        ids.append(desk.place("Buy", "0.01"))
        desk.advance(HOUR)
    listed = [row["orderId"] for row in desk.rows("order/history", **BTC, limit=3)]
    assert listed == ids[::-1]
    fills = [row["orderId"] for row in desk.rows("execution/list", **BTC, limit=2, execType="Trade")]
    assert fills == ids[::-1]
    assert len(desk.rows("order/realtime", **BTC, openOnly=1)) == 7
    assert desk.rows("order/history", **BTC, startTime=NOW_MS, endTime=NOW_MS + 1)[0]["orderId"] == ids[0]
    assert [row["orderId"] for row in desk.rows("execution/list", **BTC, orderId=ids[3])] == [ids[3]]
    for path in ("order/history", "execution/list", "position/closed-pnl", "account/transaction-log"):
        assert desk.refusal(path, **BTC, startTime=NOW_MS - 8 * DAY, endTime=NOW_MS) == 10001
        assert desk.refusal(path, **BTC, limit=101) == 10001
        assert desk.refusal(path, **BTC, cursor="page2") == 10001
    assert desk.refusal("order/realtime", category="linear") == 10001
    assert desk.rows("order/realtime", category="spot") == []
    desk.advance(8 * DAY)
    assert desk.rows("order/history", **BTC) == []
    assert len(desk.rows("order/history", **BTC, startTime=NOW_MS)) == 7


def test_an_order_cancelled_without_a_fill_is_listed_for_a_day(desk: Desk) -> None:
    order_id = desk.place("Buy", "0.01", "20000")
    desk.ask("order/cancel", **BTC, orderId=order_id)
    assert [row["orderId"] for row in desk.rows("order/history", **BTC)] == [order_id]
    desk.advance(DAY + 1)
    assert desk.rows("order/history", **BTC) == []


def test_an_eleventh_conditional_order_of_a_symbol_is_refused(desk: Desk) -> None:
    for _ in range(10):
        desk.place("Buy", "0.01", triggerPrice="90000", triggerDirection=1)
    eleventh = {"side": "Buy", "orderType": "Market", "qty": "0.01", "triggerPrice": "90000", "triggerDirection": 1}
    assert desk.refusal("order/create", **BTC, **eleventh) == 110009


def test_the_same_seed_and_requests_give_the_same_day_however_time_is_cut() -> None:
    def day(step: int) -> list[dict[str, object]]:
        desk = Desk()
        desk.place("Buy", "0.3", away(desk, "-0.001"), stopLoss=away(desk, "-0.004"), takeProfit=away(desk, "0.002"))
        desk.place("Sell", "0.1", away(desk, "0.003"))
        for _ in range(DAY // step):
            desk.advance(step)
        return [{k: row[k] for k in ("execPrice", "execQty", "execType", "side")} for row in desk.account.executions]

    assert day(DAY) == day(HOUR) == day(20_000)
