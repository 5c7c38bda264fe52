import itertools
from decimal import Decimal

import pytest

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import to_ms
from bybit.sandbox.market import Window
from tests.bybit.sandbox.desks import HOUR, NOW_MS, SYNTHETIC, Desk, ScriptedMarket
from tests.bybit.sandbox.wire import DAY, MINUTE

D = Decimal
BTC = {"category": "linear", "symbol": "BTCUSDT"}
FLAT = ScriptedMarket((0, "50000", "50000"))
ISOLATED = {"margin_mode": "ISOLATED_MARGIN"}


def test_a_new_account_holds_its_balance_and_nothing_else() -> None:
    desk = Desk()
    wallet = desk.wallet()
    assert (wallet["totalEquity"], wallet["totalAvailableBalance"], wallet["accountIMRate"]) == ("10000", "10000", "0")
    assert [coin["coin"] for coin in wallet["coin"]] == ["USDT"]
    asked = desk.ask("account/wallet-balance", accountType="UNIFIED", coin="BTC,USDT")["list"][0]["coin"]
    assert [(coin["coin"], coin["walletBalance"]) for coin in asked] == [("BTC", "0"), ("USDT", "10000")]
    assert desk.refusal("account/wallet-balance", accountType="SPOT") == 10001
    assert desk.rows("account/transaction-log") == []
    assert desk.ask("account/info")["marginMode"] == "REGULAR_MARGIN"
    assert (desk.position()["size"], desk.position()["side"], desk.position()["leverage"]) == ("0", "", "10")
    assert desk.rows("position/list", category="linear", settleCoin="USDT") == []
    assert desk.refusal("position/list", category="linear") == 10001


def test_cross_margin_is_reckoned_at_the_mark_with_the_fee_to_close() -> None:
    desk = Desk(FLAT)
    desk.place("Buy", "0.1")
    position, wallet = desk.position(), desk.wallet()
    # 5000 / 10, and 5000 * (1 - 1/10) * 0.055 % to close; half a percent to keep.
    assert position["positionIM"] == "502.475"
    assert position["positionMM"] == "27.475"
    assert wallet["totalInitialMargin"] == "502.475"
    # The ask stood one tick above the mark.
    equity = 10_000 - D("5000.01") * D("0.00055") - D("0.01")
    assert D(wallet["totalEquity"]) == equity
    assert D(wallet["totalAvailableBalance"]) == equity - D("502.475")


def test_an_order_binds_its_cost_and_a_closing_one_nothing() -> None:
    desk = Desk(FLAT)
    desk.place("Buy", "0.1", "40000")
    # 4000 / 10, a taker fee to open, a fee to close at 90 %.
    assert D(desk.wallet()["totalInitialMargin"]) == D(400) + D("2.2") + D("1.98")
    desk.ask("order/cancel-all", **BTC)
    desk.place("Buy", "0.1")
    bound = desk.wallet()["totalInitialMargin"]
    desk.place("Sell", "0.1", "60000")
    assert desk.wallet()["totalInitialMargin"] == bound
    desk.place("Sell", "0.1", "60000")
    assert D(desk.wallet()["totalInitialMargin"]) > D(bound)


def test_more_than_is_available_is_110007_and_the_tier_of_the_value_110090() -> None:
    desk = Desk(FLAT)
    asked = {**BTC, "side": "Buy", "orderType": "Limit", "price": "49000"}
    assert desk.refusal("order/create", **asked, qty="2") == 0
    assert desk.refusal("order/create", **asked, qty="0.1") == 110007
    rich = Desk(FLAT, balance="100000000")
    rich.ask("position/set-leverage", **BTC, buyLeverage="100", sellLeverage="100")
    assert rich.refusal("order/create", **asked, qty="40") == 0
    assert rich.refusal("order/create", **asked, qty="1") == 110090


def test_leverage_changes_or_says_why_not() -> None:
    desk = Desk(FLAT)

    def lever(buy: str, sell: str) -> int:
        return desk.refusal("position/set-leverage", **BTC, buyLeverage=buy, sellLeverage=sell)

    assert [lever("10", "10"), lever("5", "6"), lever("101", "101"), lever("0", "0")] == [110043, 10001, 110013, 110013]
    desk.place("Buy", "0.5")
    assert lever("1", "1") == 110044
    assert lever("25", "25") == 0
    assert (desk.position()["leverage"], lever("25", "25")) == ("25", 110043)
    assert desk.events[-1].topic == "position"


def test_hedge_mode_and_portfolio_margin_are_refused() -> None:
    desk = Desk(FLAT)
    assert desk.refusal("position/switch-mode", **BTC, mode=3) == 110029
    assert desk.refusal("position/switch-mode", **BTC, mode=0) == 110025
    assert desk.refusal("position/switch-mode", category="linear", mode=3) == 10001
    assert desk.refusal("account/set-margin-mode", setMarginMode="PORTFOLIO_MARGIN") == 3400045
    assert desk.refusal("account/set-margin-mode", setMarginMode="REGULAR_MARGIN") == 110026
    assert desk.refusal("account/set-margin-mode", setMarginMode="ISOLATED_MARGIN") == 0
    assert desk.ask("account/info")["marginMode"] == "ISOLATED_MARGIN"
    assert desk.wallet()["totalAvailableBalance"] == ""
    desk.place("Buy", "0.1")
    assert desk.refusal("account/set-margin-mode", setMarginMode="REGULAR_MARGIN") == 3400045


def test_funding_is_paid_on_the_mark_by_what_is_held_at_that_instant() -> None:
    desk = Desk(ScriptedMarket((0, "50000", "50010"), rate="0.0002"))
    desk.place("Buy", "0.1")
    before = D(desk.wallet()["totalWalletBalance"])
    desk.advance(HOUR)
    (fill,) = desk.rows("execution/list", **BTC, execType="Funding")
    (row,) = desk.rows("account/transaction-log", type="SETTLEMENT")
    assert int(fill["execTime"]) % HOUR == 0
    assert (fill["execFee"], fill["orderType"], fill["feeRate"]) == ("1.0002", "UNKNOWN", "0.0002")
    assert (row["funding"], row["change"], row["feeRate"]) == ("-1.0002", "-1.0002", "0.0002")
    assert D(desk.wallet()["totalWalletBalance"]) == before - D("1.0002")
    desk.place("Sell", "0.3")
    desk.advance(HOUR)
    received = desk.rows("account/transaction-log", type="SETTLEMENT")[0]
    assert (received["funding"], received["side"], received["feeRate"]) == ("2.0004", "Sell", "-0.0002")
    desk.place("Buy", "0.2")
    desk.advance(3 * HOUR)
    assert len(desk.rows("account/transaction-log", type="SETTLEMENT")) == 2


def test_an_isolated_position_is_taken_over_at_its_bankruptcy_price_and_loses_its_margin() -> None:
    desk = Desk(
        ScriptedMarket((0, "50000", "50000"), (MINUTE, "46000", "45227"), (2 * MINUTE, "45000", "45226")), **ISOLATED
    )
    waiting = desk.place("Buy", "0.1", "30000")
    desk.place("Buy", "0.1")
    # (0.1 * 50000.1 - 500.001) / (0.1 * (1 - 0.005)), rounded up to the tick.
    assert desk.position()["liqPrice"] == "45226.3"
    before = D(desk.wallet()["totalWalletBalance"])
    desk.advance(MINUTE)
    assert desk.position()["size"] == "0.1"
    desk.advance(MINUTE)
    assert desk.position()["size"] == "0"
    fill = desk.rows("execution/list", **BTC)[0]
    assert (fill["execType"], fill["execPrice"], fill["execFee"]) == ("BustTrade", "45000.1", "0")
    row = desk.rows("account/transaction-log")[0]
    assert (row["type"], row["cashFlow"], row["change"]) == ("LIQUIDATION", "-500.001", "-500.001")
    assert D(desk.wallet()["totalWalletBalance"]) == before - D("500.001")
    assert desk.order(waiting)["cancelType"] == "CancelByPrepareLiq"
    assert desk.order(fill["orderId"])["createType"] == "CreateByTakeOver_PassThrough"


def test_a_cross_account_loses_all_positions_at_their_marks_and_ends_at_zero_at_worst() -> None:
    course = ((0, "50000", "50000"), (MINUTE, "40000", "40000"), (2 * MINUTE, "30150", "30150"))
    desk = Desk(ScriptedMarket(*course), balance="2000")
    desk.place("Buy", "0.1")
    desk.advance(MINUTE)
    assert (desk.position()["size"], D(desk.wallet()["totalEquity"]) > 0) == ("0.1", True)
    desk.advance(MINUTE)
    rows = desk.rows("account/transaction-log")
    assert desk.position()["size"] == "0"
    # Wallet and loss: 2000 - 2.75 to open - 1985.01, a taker fee on the value at the mark.
    fee = D("3015") * D("0.00055")
    assert (rows[0]["type"], rows[0]["tradePrice"], D(rows[0]["fee"])) == ("LIQUIDATION", "30150", fee)
    assert D(desk.wallet()["totalWalletBalance"]) == 2000 - D("2.7500055") - D("1985.01") - fee
    # A fall beyond everything the account has: the loss past it is not the account's.
    deep = Desk(ScriptedMarket((0, "50000", "50000"), (MINUTE, "20000", "20000")), balance="2000")
    deep.place("Buy", "0.1")
    deep.advance(MINUTE)
    assert deep.wallet()["totalWalletBalance"] == "0"
    lifted = deep.rows("account/transaction-log")[0]
    assert (lifted["type"], lifted["symbol"], D(lifted["change"]) > 0, lifted["cashBalance"]) == (
        "LIQUIDATION",
        "",
        True,
        "0",
    )


def test_in_isolated_mode_one_loss_leaves_the_other_position_alone() -> None:
    desk = Desk(ScriptedMarket((0, "50000", "50000"), (MINUTE, "44000", "44000")), **ISOLATED)
    desk.ask("position/set-leverage", category="linear", symbol="ETHUSDT", buyLeverage="2", sellLeverage="2")
    desk.place("Buy", "0.1")
    desk.place("Buy", "0.1", symbol="ETHUSDT")
    desk.advance(MINUTE)
    assert (desk.position()["size"], desk.position("ETHUSDT")["size"]) == ("0", "0.1")


def test_a_jump_over_a_stop_fills_where_the_price_lands_and_a_run_at_the_stop() -> None:
    course = ((0, "50000", "50000"), (MINUTE, "47000", "49000"))
    for jumps, exit_price in ((False, "49000"), (True, "47000")):
        desk = Desk(ScriptedMarket(*course, jumps=jumps))
        desk.place("Buy", "0.1", stopLoss="49000")
        desk.advance(MINUTE)
        assert desk.rows("position/closed-pnl", **BTC)[0]["avgExitPrice"] == exit_price


def test_a_trigger_on_the_mark_price_does_not_look_at_the_last() -> None:
    desk = Desk(ScriptedMarket((0, "50000", "50000"), (MINUTE, "48000", "50000"), (2 * MINUTE, "50000", "48900")))
    stop = {"triggerPrice": "49000", "triggerDirection": 2, "triggerBy": "MarkPrice"}
    order_id = desk.place("Sell", "0.1", **stop)
    desk.advance(MINUTE)
    assert desk.order(order_id)["orderStatus"] == "Untriggered"
    desk.advance(MINUTE)
    assert desk.order(order_id)["orderStatus"] == "Filled"


def test_a_book_that_only_touches_a_large_order_fills_its_best_level() -> None:
    desk = Desk(ScriptedMarket((0, "50000", "50000"), (MINUTE, "49999.9", "50000"), (2 * MINUTE, "49990", "50000")))
    order_id = desk.place("Buy", "0.5", "50000")
    assert desk.order(order_id)["orderStatus"] == "New"
    desk.advance(MINUTE)
    assert (desk.order(order_id)["orderStatus"], desk.order(order_id)["cumExecQty"]) == ("PartiallyFilled", "0.4")
    desk.advance(MINUTE)
    assert (desk.order(order_id)["orderStatus"], desk.order(order_id)["avgPrice"]) == ("Filled", "50000")


def test_a_flip_closes_at_its_price_and_opens_the_rest_there() -> None:
    desk = Desk(FLAT)
    desk.place("Buy", "0.1")
    desk.place("Sell", "0.3")
    position = desk.position()
    assert (position["side"], position["size"], position["avgPrice"]) == ("Sell", "0.2", "50000")
    (closed,) = desk.rows("position/closed-pnl", **BTC)
    assert (closed["closedSize"], closed["side"], closed["fillCount"]) == ("0.1", "Sell", "1")
    assert (closed["openFee"], closed["closeFee"]) == ("2.7500055", "2.75")
    assert D(closed["closedPnl"]) == D("-0.01") - D("2.7500055") - D("2.75")


@pytest.mark.parametrize(("tier", "taker"), [("vip0", "0.00055"), ("vip1", "0.0004")])
def test_the_tier_of_the_account_sets_its_fees(tier: str, taker: str) -> None:
    desk = Desk(tier=tier)
    rows = desk.ask("account/fee-rate", category="linear", symbol="BTCUSDT")["list"]
    assert [(row["symbol"], row["takerFeeRate"]) for row in rows] == [("BTCUSDT", taker)]
    desk.place("Buy", "0.1")
    assert desk.rows("execution/list", **BTC)[0]["feeRate"] == taker
    assert len(desk.ask("account/fee-rate", category="linear")["list"]) == 5
    assert desk.ask("account/fee-rate", category="spot") == {"category": "spot", "list": []}


def test_the_log_shows_a_day_unless_asked_for_more() -> None:
    desk = Desk(ScriptedMarket((0, "50000", "50000"), rate="0"))
    desk.place("Buy", "0.1")
    desk.advance(2 * DAY)
    assert all(row["type"] == "SETTLEMENT" for row in desk.rows("account/transaction-log", limit=50))
    (trade,) = desk.rows("account/transaction-log", startTime=NOW_MS, type="TRADE")
    assert (trade["size"], trade["cashFlow"]) == ("0.1", "0")


@pytest.mark.parametrize(
    "terms", [{"balance": "-1"}, {"tier": "vip99"}, {"margin_mode": "CROSS"}], ids=["balance", "tier", "mode"]
)
def test_an_account_that_cannot_be_is_refused(terms: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        Desk(FLAT, **terms)


def test_what_is_filled_at_the_instant_of_a_settlement_pays_nothing() -> None:
    to_the_hour = HOUR - NOW_MS % HOUR
    desk = Desk(ScriptedMarket((0, "50000", "50000"), (to_the_hour, "48000", "48000")))
    order_id = desk.place("Buy", "0.1", "49000")
    desk.advance(to_the_hour)
    assert (desk.order(order_id)["orderStatus"], desk.position()["size"]) == ("Filled", "0.1")
    assert [row["type"] for row in desk.rows("account/transaction-log")] == ["TRADE"]


def test_a_guard_grows_and_shrinks_with_its_position() -> None:
    desk = Desk(FLAT)
    desk.place("Buy", "0.1", stopLoss="40000")
    (guard,) = desk.rows("order/realtime", **BTC)
    desk.place("Buy", "0.2")
    assert desk.order(guard["orderId"])["qty"] == "0.3"
    desk.place("Sell", "0.25", reduceOnly=True)
    assert D(desk.order(guard["orderId"])["qty"]) == D("0.05")


def test_an_account_without_means_may_still_close() -> None:
    desk = Desk(ScriptedMarket((0, "50000", "50000"), (MINUTE, "43000", "43000")), balance="1400")
    desk.place("Buy", "0.2")
    desk.advance(MINUTE)
    # What is left, with the loss, no longer covers the initial margin; the maintenance margin it does.
    assert (desk.wallet()["totalAvailableBalance"], desk.position()["size"]) == ("0", "0")
    desk = Desk(ScriptedMarket((0, "50000", "50000"), (MINUTE, "47500", "47500")), balance="1400")
    desk.place("Buy", "0.2")
    desk.advance(MINUTE)
    assert (desk.wallet()["totalAvailableBalance"], desk.position()["size"]) == ("0", "0.2")
    assert desk.refusal("order/create", **BTC, side="Buy", orderType="Market", qty="0.01") == 110007
    desk.place("Sell", "0.1")
    desk.place("Sell", "0.1", "48000")
    assert desk.position()["size"] == "0.1"


def test_a_change_of_the_funding_interval_is_settled_as_it_comes() -> None:
    # XRPUSDT goes from 4 h to 1 h for three days and then to 8 h, by the market's own plan.
    hours = SYNTHETIC._contracts["XRPUSDT"].funding_hours
    day = next(day for day in itertools.count(NOW_MS // DAY) if (hours(day), hours(day + 1)) == (4, 1))
    desk = Desk(now_ms=day * DAY)
    desk.place("Buy", "50", symbol="XRPUSDT")
    desk.advance(5 * DAY)
    settled = [int(row["execTime"]) for row in desk.account.executions if row["execType"] == "Funding"]
    steps = [(b - a) // HOUR for a, b in itertools.pairwise([day * DAY, *settled])]
    assert steps == [4] * 6 + [1] * 72 + [8] * 3
    due = desk.exchange.market.funding(
        Category.LINEAR, "XRPUSDT", Window(day * DAY + 1, None, 200), desk.exchange.now_ms
    )
    assert settled == [to_ms(rate.funding_time) for rate in due]
