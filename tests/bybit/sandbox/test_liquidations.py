"""What the sandbox does to what is lost: tier by tier, at once, or the whole account; as the rules say."""

from decimal import Decimal

import pytest

from bybit.rules import cross
from bybit.rules.account import Account
from bybit.rules.candles import Category
from bybit.rules.fees import FeeSchedule, Liquidity, Rounding
from bybit.rules.ledger import Contract
from bybit.rules.liquidation import (
    LiquidationMode,
    MarginBasis,
    entry_based_liquidation_price,
    round_to_tick_against_holder,
)
from bybit.rules.margin import RiskTier
from bybit.rules.periods import to_ms
from tests.bybit.sandbox.desks import HOUR, NOW_MS, SYNTHETIC, Desk, ScriptedMarket
from tests.bybit.sandbox.wire import MINUTE

D = Decimal
BTC = {"category": "linear", "symbol": "BTCUSDT"}
ISOLATED = {"margin_mode": "ISOLATED_MARGIN"}
# Tiers of 0.5 % and 1 %, so that round figures do.
LADDER = [
    RiskTier("BTCUSDT", 1, D(40_000), D("0.01"), D("0.005"), D(0), D(100), SYNTHETIC._contracts["BTCUSDT"].launch),
    RiskTier("BTCUSDT", 2, None, D("0.02"), D("0.01"), D(200), D(50), SYNTHETIC._contracts["BTCUSDT"].launch),
]


def laddered(*course: tuple[int, str, str], leverage: str = "50", **terms: str) -> Desk:
    market = ScriptedMarket((0, "50000", "50000"), *course)
    market.risk_tiers = lambda category, symbol, now_ms: tuple(LADDER)
    desk = Desk(market, **(ISOLATED | {"balance": "100000"} | terms))
    desk.ask("position/set-leverage", **BTC, buyLeverage=leverage, sellLeverage=leverage)
    return desk


def ledger(desk: Desk) -> Account:
    """The account of the rules after the same fills."""
    item = desk.exchange.instrument("BTCUSDT")
    contract = Contract(
        "BTCUSDT", Category.LINEAR, D(50), tuple(LADDER), tick_size=item.tick_size, qty_step=item.qty_step
    )
    account = Account(
        D(100_000),
        contracts=[contract],
        fees=FeeSchedule.builtin().rates(Category.LINEAR, "vip0", NOW_MS),
        rounding=Rounding.VENUE,
        basis=MarginBasis.BY_DATE,
        liquidation=LiquidationMode.STEP_DOWN,
    )
    for fill in desk.account.executions:
        signed = D(fill["execQty"]) * (1 if fill["side"] == "Buy" else -1)
        account.fill(int(fill["execTime"]), "BTCUSDT", signed, D(fill["execPrice"]), Liquidity.TAKER)
    return account


def test_a_position_in_a_higher_tier_is_brought_down_to_the_next_one_and_lives_on() -> None:
    desk = laddered()
    desk.place("Buy", "2")
    # (2 * 50000.26 - 2000.0104 - 200) / (2 * (1 - 0.01)), up to the tick.
    assert desk.position()["liqPrice"] == "49394.2"
    # One tick above it nothing happens, at it the part above the lower tier goes.
    safe = laddered((MINUTE, "49400", "49394.3"))
    safe.place("Buy", "2")
    safe.advance(MINUTE)
    assert safe.position()["size"] == "2"
    desk = laddered((MINUTE, "49400", "49394.2"))
    waiting = desk.place("Buy", "0.001", "30000")
    desk.place("Buy", "2")
    rules = ledger(desk)
    wallet = desk.account.wallet
    desk.events.clear()
    desk.advance(MINUTE)
    rules.mark(NOW_MS + MINUTE, "BTCUSDT", D("49394.2"))
    assert [row["how"] for row in rules.liquidations] == ["step_down"]
    kept = (D(40_000) / D("49394.2")).quantize(D("0.001"), "ROUND_DOWN")
    position = desk.position()
    assert D(position["size"]) == rules.positions["BTCUSDT"].size == kept
    assert D(position["liqPrice"]) == rules.positions["BTCUSDT"].liquidation_price
    fill = desk.rows("execution/list", **BTC)[0]
    assert (fill["execType"], fill["createType"], fill["execPrice"]) == ("Trade", "CreateByLiq", "49394.2")
    assert D(fill["execQty"]) == 2 - kept
    assert D(fill["orderPrice"]) == rules.liquidations[0]["bankruptcy_price"]
    order = desk.order(fill["orderId"])
    assert (order["timeInForce"], order["orderStatus"], order["createType"]) == ("FOK", "Filled", "CreateByLiq")
    row = desk.rows("account/transaction-log")[0]
    assert (row["type"], D(row["fee"])) == ("LIQUIDATION", rules.liquidations[0]["fee"])
    assert desk.account.wallet - wallet == D(row["change"])
    assert abs(desk.account.wallet - rules.cash) <= D("1e-8") * 3
    assert desk.order(waiting)["cancelType"] == "CancelByPrepareLiq"
    told = [row["positionStatus"] for event in desk.events if event.topic == "position" for row in event.rows]
    assert (told[0], told[-1]) == ("Liq", "Normal")


def test_what_the_step_does_not_save_is_taken_over_at_the_bankruptcy_price() -> None:
    desk = laddered((MINUTE, "49400", "49030"))
    desk.place("Buy", "2")
    rules = ledger(desk)
    desk.advance(MINUTE)
    rules.mark(NOW_MS + MINUTE, "BTCUSDT", D(49_030))
    assert [row["how"] for row in rules.liquidations] == ["step_down", "takeover"]
    assert desk.position()["size"] == "0"
    last, step = desk.rows("execution/list", **BTC)[:2]
    assert (step["createType"], last["createType"]) == ("CreateByLiq", "CreateByTakeOver_PassThrough")
    assert (last["execType"], last["execFee"]) == ("BustTrade", "0")
    assert D(last["execPrice"]) % desk.exchange.instrument("BTCUSDT").tick_size == 0
    assert abs(desk.account.wallet - rules.cash) <= D("1e-8") * 4


def test_a_gap_beyond_bankruptcy_leaves_nothing_to_step_down_to() -> None:
    desk = laddered((MINUTE, "49400", "48000"))
    desk.place("Buy", "2")
    margin, wallet = desk.account.position("BTCUSDT").margin, desk.account.wallet
    desk.advance(MINUTE)
    fills = desk.rows("execution/list", **BTC)
    assert [fill["createType"] for fill in fills[:2]] == ["CreateByTakeOver_PassThrough", "CreateByUser"]
    assert wallet - desk.account.wallet == margin.quantize(D("1e-8"))


def test_a_short_is_liquidated_at_the_tick_below_its_price() -> None:
    desk = laddered((MINUTE, "50000", "50900"))
    desk.place("Sell", "0.33")
    held = desk.account.position("BTCUSDT")
    assert held.entry_price is not None
    exact = held.entry_price * (1 + D("0.02")) / (1 + D("0.005"))
    assert D(desk.position()["liqPrice"]) == round_to_tick_against_holder(exact, held.size, D("0.1")) < exact


def test_before_september_2025_maintenance_is_reckoned_on_the_entry() -> None:
    before = to_ms(1_753_963_200_000)  # 2025-07-31T12:00Z
    desk = Desk(SYNTHETIC, now_ms=before, **ISOLATED)
    desk.place("Buy", "0.1")
    position, tiers = desk.account.position("BTCUSDT"), desk.exchange.tiers("BTCUSDT")
    assert position.entry_price is not None
    exact = entry_based_liquidation_price(Category.LINEAR, position.entry_price, position.size, D(10), tiers)
    assert exact is not None
    assert D(desk.position()["liqPrice"]) == round_to_tick_against_holder(exact, position.size, D("0.1"))
    value = position.size * position.entry_price
    reserve = value * D("0.9") * D("0.00055")
    assert D(desk.position()["positionMM"]) == (value * tiers[0].maintenance_margin_rate + reserve).quantize(D("1e-8"))


def test_a_ladder_that_changes_moves_the_price_of_what_is_held() -> None:
    market = ScriptedMarket((0, "50000", "50000"), (2 * HOUR, "50000", "49400"))
    old = (RiskTier("BTCUSDT", 1, None, D("0.01"), D("0.001"), D(0), D(100), LADDER[0].as_of),)
    new = (RiskTier("BTCUSDT", 1, None, D("0.01"), D("0.009"), D(0), D(100), LADDER[0].as_of),)
    for later, size in ((old, "0.1"), (new, "0")):
        market.risk_tiers = lambda category, symbol, now_ms, later=later: old if now_ms < NOW_MS + HOUR else later
        desk = Desk(market, **ISOLATED)
        desk.ask("position/set-leverage", **BTC, buyLeverage="50", sellLeverage="50")
        desk.place("Buy", "0.1")
        desk.advance(2 * HOUR)
        assert desk.position()["size"] == size


def test_a_cross_account_is_lost_at_a_maintenance_rate_of_all_it_has() -> None:
    desk = laddered(margin_mode="REGULAR_MARGIN", balance="900")
    desk.place("Buy", "0.5")
    limit = D(desk.position()["liqPrice"])
    for mark, size in ((limit + D("0.1"), "0.5"), (limit - D("0.1"), "0")):
        desk = laddered((MINUTE, "50000", str(mark)), margin_mode="REGULAR_MARGIN", balance="900")
        desk.place("Buy", "0.5")
        desk.advance(MINUTE)
        assert desk.position()["size"] == size
        if size != "0":
            rate = D(desk.wallet()["accountMMRate"])
            assert D("0.999") < rate < 1


def test_the_figures_of_a_cross_account_are_those_of_the_rules() -> None:
    desk = laddered(margin_mode="REGULAR_MARGIN", balance="5000")
    desk.place("Buy", "1")
    desk.place("Buy", "0.2", "49000")
    desk.place("Sell", "0.4", "51000")
    entry = desk.account.position("BTCUSDT").entry_price
    assert entry is not None
    common = ("BTCUSDT", Category.LINEAR)
    terms = (D(50_000), D(50), LADDER, D("0.00055"), D(1))
    now = cross.standing(
        NOW_MS,
        [cross.Balance("USDT", desk.account.wallet, D(1), ((None, D(1)),))],
        [cross.Holding(*common, D(1), entry, *terms)],
        [cross.Resting(*common, D("0.2"), D(49_000), *terms), cross.Resting(*common, D("-0.4"), D(51_000), *terms)],
    )
    wallet = desk.wallet()
    cents = D("1e-8")
    assert D(wallet["accountIMRate"]) == now.initial_margin_rate.quantize(cents)
    assert D(wallet["accountMMRate"]) == now.maintenance_margin_rate.quantize(cents)
    assert D(wallet["totalAvailableBalance"]) == now.available.quantize(cents)
    assert D(wallet["totalMaintenanceMargin"]) == now.maintenance.quantize(cents)
    # The order that would open needs maintenance as well; the one that closes needs nothing.
    assert now.maintenance > D(wallet["coin"][0]["totalPositionMM"])


def test_orders_go_before_positions_and_may_save_them() -> None:
    for mark, size in (("48900", "0.2"), ("48400", "0")):
        desk = laddered((MINUTE, "50000", mark), margin_mode="REGULAR_MARGIN", balance="300", leverage="100")
        desk.place("Buy", "0.2")
        waiting = desk.place("Buy", "0.1", "48800")
        desk.advance(MINUTE)
        assert desk.order(waiting)["cancelType"] == "CancelAllBeforeLiq"
        assert desk.position()["size"] == size


@pytest.mark.parametrize("symbol", ["BTCUSDT", "SOLUSDT"])
def test_a_pro_account_pays_what_its_tier_has_for_the_contracts_group(symbol: str) -> None:
    desk = Desk(tier="pro1")
    desk.place("Buy", "1" if symbol == "SOLUSDT" else "0.1", symbol=symbol)
    expected = FeeSchedule.builtin().rates(Category.LINEAR, "pro1", NOW_MS, symbol)
    assert D(desk.rows("execution/list", category="linear", symbol=symbol)[0]["feeRate"]) == expected.taker
    listed = {row["symbol"] for row in desk.ask("account/fee-rate", category="linear")["list"]}
    # What a group's terms were on that day is known for some groups only.
    assert symbol in listed
    assert "WIFUSDT" not in listed
    order = {"category": "linear", "symbol": "WIFUSDT", "side": "Buy", "orderType": "Market", "qty": "100"}
    assert desk.refusal("order/create", **order) == 10001


def test_an_account_whose_taker_fee_nobody_knows_cannot_order() -> None:
    desk = Desk(tier="mm1")
    assert desk.refusal("order/create", **BTC, side="Buy", orderType="Limit", qty="0.1", price="40000") == 10001
    assert desk.ask("account/fee-rate", category="linear")["list"] == []
