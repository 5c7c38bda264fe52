"""A random day of trading: everything an account tells must add up, to the last digit."""

from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bybit.rules.account import Account
from bybit.rules.candles import Category
from bybit.rules.fees import FeeSchedule, Liquidity, Rounding
from bybit.rules.ledger import Contract
from bybit.rules.liquidation import LiquidationMode, MarginBasis
from bybit.sandbox.query import Refusal
from tests.bybit.sandbox.desks import NOW_MS, Desk
from tests.bybit.sandbox.wire import HOUR, MINUTE

D = Decimal
SYMBOLS = ("BTCUSDT", "ETHUSDT", "WIFUSDT")
QTY = {"BTCUSDT": D("0.01"), "ETHUSDT": D("0.1"), "WIFUSDT": D("200")}

EXPECTED = {0, 10001, 34040, 110007, 110009, 110017, 110043, 110044, 110064, 110090, 110092, 110093}

actions = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(SYMBOLS),
        "what": st.sampled_from(
            ["market", "market", "limit", "stop", "reduce", "guard", "cancel", "amend", "leverage"]
        ),
        "side": st.sampled_from(["Buy", "Sell"]),
        "size": st.integers(1, 60),
        "offset": st.integers(-40, 40),
        "wait": st.sampled_from([0, MINUTE, 20 * MINUTE, HOUR, 3 * HOUR]),
    }
)


def act(desk: Desk, action: dict[str, Any]) -> None:
    symbol, side = action["symbol"], action["side"]
    tick = desk.exchange.instrument(symbol).tick_size
    price = desk.last(symbol) * (1 + D(action["offset"]) / 10_000) // tick * tick
    qty = QTY[symbol] * action["size"]
    base = {"category": "linear", "symbol": symbol}
    order = {**base, "side": side, "qty": str(qty)}
    limit = {**order, "orderType": "Limit", "price": str(price)}
    match action["what"]:
        case "market":
            desk.ask("order/create", **order, orderType="Market")
        case "limit":
            desk.ask("order/create", **limit, timeInForce="PostOnly" if action["size"] % 5 == 0 else "GTC")
        case "stop":
            rises = 1 if price > desk.last(symbol) else 2
            desk.ask("order/create", **order, orderType="Market", triggerPrice=str(price), triggerDirection=rises)
        case "reduce":
            desk.ask("order/create", **limit, reduceOnly=True)
        case "guard":
            name = "takeProfit" if action["size"] % 2 else "stopLoss"
            trail = {"trailingStop": str(tick * 100)} if action["size"] % 7 == 0 else {}
            desk.ask("position/trading-stop", **base, tpslMode="Full", positionIdx=0, **{name: str(price)}, **trail)
        case "cancel":
            desk.ask("order/cancel-all", **base)
        case "amend":
            rows = desk.rows("order/realtime", **base)
            if rows:
                desk.ask("order/amend", **base, orderId=rows[0]["orderId"], qty=str(qty))
        case "leverage":
            leverage = str(action["size"] % 50 + 1)
            desk.ask("position/set-leverage", **base, buyLeverage=leverage, sellLeverage=leverage)


def trade(desk: Desk, day: list[dict[str, Any]]) -> None:
    for action in day:
        code = 0
        try:
            act(desk, action)
        except Refusal as refusal:
            code = refusal.ret_code
        assert code in EXPECTED
        desk.advance(action["wait"])
    desk.advance(HOUR)


def total(rows: list[dict[str, Any]], field: str) -> Decimal:
    return sum((D(row[field]) for row in rows if row[field]), D(0))


def check(desk: Desk, deposit: Decimal) -> None:
    span = {"startTime": NOW_MS - HOUR, "endTime": desk.exchange.now_ms}
    log = desk.rows("account/transaction-log", limit=50, **span)
    fills = desk.rows("execution/list", category="linear", limit=100, **span)
    closed = desk.rows("position/closed-pnl", category="linear", limit=100, **span)
    wallet = D(desk.wallet()["coin"][0]["walletBalance"])
    for row in log:
        assert D(row["change"]) == D(row["cashFlow"]) + D(row["funding"] or 0) - D(row["fee"])
    assert wallet == deposit + total(log, "change")
    assert not log or D(log[0]["cashBalance"]) == wallet
    for row in closed:
        side = 1 if row["side"] == "Sell" else -1
        gross = side * (D(row["cumExitValue"]) - D(row["cumEntryValue"]))
        assert D(row["closedPnl"]) == gross - D(row["openFee"]) - D(row["closeFee"])
    trades = [row for row in fills if row["execType"] != "Funding"]
    funding = [row for row in fills if row["execType"] == "Funding"]
    assert total(funding, "execFee") == -total([row for row in log if row["type"] == "SETTLEMENT"], "funding")
    assert total(trades, "execFee") == total(log, "fee")
    assert {row["execId"] for row in fills} == {row["tradeId"] for row in log if row["tradeId"]}
    still_open = D(0)
    for symbol in SYMBOLS:
        row, position = desk.position(symbol), desk.account.position(symbol)
        signed = sum(
            (D(fill["execQty"]) * (1 if fill["side"] == "Buy" else -1) for fill in trades if fill["symbol"] == symbol),
            D(0),
        )
        assert signed == D(row["size"]) * (-1 if row["side"] == "Sell" else 1)
        assert (row["avgPrice"] == "0") == (row["size"] == "0")
        still_open += position.open_fee
        assert position.open_fee >= 0
    # Every fee paid belongs to a closed trade or to what is still open.
    assert total(trades, "execFee") == total(closed, "openFee") + total(closed, "closeFee") + still_open
    # A wallet that a liquidation took below zero is lifted to it: the one row that belongs to no contract.
    covered = total([row for row in log if not row["symbol"]], "cashFlow")
    gross = total(log, "cashFlow") - covered
    assert total(closed, "closedPnl") == gross - total(closed, "openFee") - total(closed, "closeFee")
    assert D(desk.wallet()["coin"][0]["cumRealisedPnl"]) == wallet - deposit - covered
    orders = desk.rows("order/history", category="linear", limit=50, **span)
    orders += desk.rows("order/realtime", category="linear", settleCoin="USDT")
    for order in orders:
        mine = [fill for fill in trades if fill["orderId"] == order["orderId"]]
        assert D(order["cumExecQty"]) == total(mine, "execQty") <= D(order["qty"])
        assert D(order["cumExecFee"]) == total(mine, "execFee")


modes = st.sampled_from(["REGULAR_MARGIN", "ISOLATED_MARGIN"])
deposits = st.sampled_from([D(10_000), D(400), D("1234.56789")])


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(actions, min_size=5, max_size=24), modes, deposits)
def test_after_a_random_day_everything_adds_up(day: list[dict[str, Any]], mode: str, deposit: Decimal) -> None:
    desk = Desk(margin_mode=mode, balance=str(deposit))
    trade(desk, day)
    check(desk, deposit)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(actions, min_size=5, max_size=16))
def test_an_isolated_account_books_as_the_ledger_of_the_rules(day: list[dict[str, Any]]) -> None:
    desk = Desk(margin_mode="ISOLATED_MARGIN", balance="200000")
    trade(desk, [action for action in day if action["what"] != "leverage"])
    tiers = {symbol: desk.exchange.tiers(symbol) for symbol in SYMBOLS}
    items = {symbol: desk.exchange.instrument(symbol) for symbol in SYMBOLS}
    ledger = Account(
        D(200_000),
        contracts=[
            Contract(
                symbol,
                Category.LINEAR,
                D(10),
                tiers[symbol],
                tick_size=items[symbol].tick_size,
                qty_step=items[symbol].qty_step,
            )
            for symbol in SYMBOLS
        ],
        fees=FeeSchedule.builtin().rates(Category.LINEAR, "vip0", NOW_MS),
        rounding=Rounding.VENUE,
        basis=MarginBasis.BY_DATE,
        liquidation=LiquidationMode.STEP_DOWN,
    )
    forced: set[tuple[int, str]] = set()
    for fill in desk.account.executions:
        time_ms, symbol = int(fill["execTime"]), fill["symbol"]
        if fill["createType"] in ("CreateByLiq", "CreateByTakeOver_PassThrough"):
            # The ledger takes all steps of one mark at once.
            if (time_ms, symbol) not in forced:
                forced.add((time_ms, symbol))
                n_before = len(ledger.liquidations)
                ledger.mark(time_ms, symbol, D(fill["markPrice"]))
                assert len(ledger.liquidations) > n_before
            continue
        qty = D(fill["execQty"]) * (1 if fill["side"] == "Buy" else -1)
        match fill["execType"]:
            case "Funding":
                row = ledger.funding(time_ms, symbol, D(fill["feeRate"]), D(fill["markPrice"]))
                assert row["paid"] == D(fill["execFee"])
            case "Trade":
                liquidity = Liquidity.MAKER if fill["isMaker"] else Liquidity.TAKER
                row = ledger.fill(time_ms, symbol, qty, D(fill["execPrice"]), liquidity)
                assert (row["kind"], row["fee"]) == ("fill", D(fill["execFee"]))
    # Realized P&L is booked at 8 decimals here and exactly there.
    assert abs(desk.account.wallet - ledger.cash) <= D("1e-8") * len(desk.account.executions)
    for symbol in SYMBOLS:
        ours, theirs = desk.account.position(symbol), ledger.positions[symbol]
        assert ours.size == theirs.size
        for mine, its in (
            (ours.margin, theirs.margin),
            (ours.entry_price, theirs.entry_price),
            (ours.liquidation_price, theirs.liquidation_price),
            (ours.bankruptcy_price, theirs.bankruptcy_price),
        ):
            assert (mine is None) == (its is None)
            assert mine is None or its is None or abs(mine - its) < D("1e-12")
