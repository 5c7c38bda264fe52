from dataclasses import replace
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.account import Account
from bybit.rules.candles import Category
from bybit.rules.cross import (
    ASSUMPTIONS,
    Balance,
    Holding,
    Resting,
    SpotOrder,
    backing,
    haircut_loss,
    order_loss,
    order_margins,
    position_margins,
    standing,
)
from bybit.rules.errors import InvalidInput
from bybit.rules.fees import FeeRates, Liquidity
from bybit.rules.ledger import Contract
from bybit.rules.liquidation import MARK_BASED_FROM, MarginBasis
from bybit.rules.margin import MaintenanceTier
from bybit.rules.periods import to_ms

NOW = to_ms(MARK_BASED_FROM)
# 0.5 % up to 2 million, 0.56 % above: recorded of BTCUSDT.
LADDER = [MaintenanceTier(D(2_000_000), D("0.005"), D(0)), MaintenanceTier(None, D("0.0056"), D(1200))]
BTC_RATIOS = [(D(10), D("0.98")), (D(20), D("0.95")), (None, D(0))]
USDT = Balance("USDT", D(10_000), D(1), [(None, D(1))])
BTC = Balance("BTC", D(15), D(50_000), BTC_RATIOS)
LONG = Holding("BTCUSDT", Category.LINEAR, D(1), D(48_000), D(50_000), D(10), LADDER, D("0.00055"), D(1))


def order(qty: str, price: str = "50000", **changes) -> Resting:
    base = Resting("BTCUSDT", Category.LINEAR, D(qty), D(price), D(50_000), D(10), LADDER, D("0.00055"), D(1))
    return replace(base, **changes)


def test_margin_follows_the_mark_since_the_change_and_the_entry_before() -> None:
    # 50,000 / 10 and the fee on what is left at bankruptcy, 45,000 x 0.00055.
    since = position_margins(LONG, MarginBasis.MARK)
    assert (since.initial, since.maintenance, since.unrealized) == (D("5024.75"), D("274.75"), 2000)
    before = position_margins(LONG, MarginBasis.ENTRY)
    assert (before.initial, before.maintenance, before.unrealized) == (D("4823.76"), D("263.76"), 2000)
    assert standing(NOW, [USDT], [LONG]).positions == (since,)
    assert standing(NOW - 1, [USDT], [LONG]).positions == (before,)


def test_the_account_rates_stand_on_collateral_and_unrealized_profit() -> None:
    account = standing(NOW, [USDT, BTC], [LONG])
    # 10 x 0.98 + 5 x 0.95 = 14.55 of 15 coins count.
    assert account.collateral == {"USDT": 10_000, "BTC": 727_500}
    assert account.wallet == 760_000
    assert account.equity == 762_000
    assert account.margin_balance == 739_500
    assert account.initial_margin_rate == D("5024.75") / 739_500
    assert account.maintenance_margin_rate == D("274.75") / 739_500
    assert account.available == D("734475.25")
    assert not account.is_lost


def test_the_account_is_lost_at_a_maintenance_rate_of_one() -> None:
    # Long from 60,000 at 50,000: 10,000 lost, 274.75 to keep.
    holding = replace(LONG, entry_price=D(60_000))
    for wallet, lost in (("10274.76", False), ("10274.75", True), ("9000", True)):
        account = standing(NOW, [replace(USDT, qty=D(wallet))], [holding])
        assert account.is_lost is lost
    assert account.maintenance_margin_rate == D("Infinity")


def test_an_account_that_binds_nothing_is_never_lost() -> None:
    account = standing(NOW, [replace(USDT, qty=D(-5))], [])
    assert (account.maintenance_margin_rate, account.is_lost, account.available) == (0, False, -5)


def test_an_inverse_position_counts_at_the_index_of_its_coin() -> None:
    holding = Holding("BTCUSD", Category.INVERSE, D(-10_000), D(40_000), D(50_000), D(5), LADDER, D(0), D(50_000))
    account = standing(NOW, [BTC], [holding])
    # 0.2 coins; the short lost 0.25 - 0.2 = 0.05.
    assert account.unrealized == -2_500
    assert account.initial == 2_000
    assert account.maintenance == 50


def test_hedge_legs_do_not_offset_each_other() -> None:
    short = replace(LONG, size=D(-1))
    account = standing(NOW, [USDT], [LONG, short])
    # The short reserves the fee at a price above: 55,000 x 0.00055.
    assert account.initial == D("5024.75") + D("5030.25")
    assert account.unrealized == 0
    assert any("hedge mode do not offset" in sentence for sentence in ASSUMPTIONS)


def test_an_order_binds_its_cost_and_the_maintenance_it_would_add() -> None:
    margins = order_margins([order("50")], [], MarginBasis.MARK)
    # Value 2.5 million: margin 250,000, fees 1,375 and 1,237.5; maintenance 14,000 - 1,200.
    assert (margins.initial, margins.maintenance) == (D("252612.5"), 12_800)
    beside = order_margins([order("50")], [LONG], MarginBasis.MARK)
    assert beside.maintenance == D("2550000") * D("0.0056") - 1200 - 250
    account = standing(NOW, [USDT], [LONG], [order("50")])
    assert account.maintenance == D("274.75") + beside.maintenance
    assert not account.may_open()


def test_what_only_closes_a_position_binds_nothing() -> None:
    assert order_margins([order("-1")], [LONG], MarginBasis.MARK).initial == 0
    assert order_margins([order("-5", reduce_only=True)], [LONG], MarginBasis.MARK).initial == 0
    # The second sell finds nothing left to close, and the buy opens in any case.
    one = order_margins([order("-1"), order("-1")], [LONG], MarginBasis.MARK)
    assert one.initial == order_margins([order("-1")], [], MarginBasis.MARK).initial > 0
    both = order_margins([order("-2"), order("1")], [LONG], MarginBasis.MARK)
    apart = [order_margins([order(qty)], [], MarginBasis.MARK).initial for qty in ("-1", "1")]
    assert both.initial == sum(apart)


def test_in_hedge_mode_an_order_closes_its_own_leg_only() -> None:
    legs = [LONG, replace(LONG, size=D(-3))]
    closes = order("-1", is_long_leg=True)
    opens = order("-1", is_long_leg=False)
    assert order_margins([closes], legs, MarginBasis.MARK).initial == 0
    assert order_margins([opens], legs, MarginBasis.MARK).initial > 0


def test_an_order_worse_than_the_mark_weakens_what_stands_behind() -> None:
    assert order_loss([order("2", "50100")]) == 200
    assert order_loss([order("2", "49900"), order("-1", "50100")]) == 0
    assert order_loss([order("-1", "49900", settle_index=D("0.5"))]) == 50
    account = standing(NOW, [USDT], [], [order("0.1", "50100")])
    assert account.initial_margin_rate == account.initial / (10_000 - 10)
    assert account.available == 10_000 - account.initial


def test_a_spot_order_into_a_weaker_collateral_costs_the_difference() -> None:
    swap = SpotOrder("USDT", D(5_000), "BTC", D("0.1"))
    # 15.1 coins: the last tenth counts 0.95.
    assert haircut_loss([USDT, BTC], [swap]) == 250
    assert haircut_loss([USDT, BTC], [SpotOrder("BTC", D("0.1"), "USDT", D(5_000))]) == 0
    account = standing(NOW, [USDT, BTC], [LONG], spot_orders=[swap])
    assert account.available == D("734475.25") - 250
    assert account.initial_margin_rate == D("5024.75") / (739_500 - 250)
    with pytest.raises(InvalidInput, match="no index is known"):
        haircut_loss([USDT], [swap])


def test_a_borrowed_coin_counts_in_full_and_binds_what_its_rates_say() -> None:
    debt = Balance("ETH", D(-2), D(2_000), [(None, D("0.9"))], (D("0.1"), D("0.04")))
    account = standing(NOW, [USDT, debt], [])
    assert (account.margin_balance, account.initial, account.maintenance) == (6_000, 400, 160)


def test_a_coin_without_a_ratio_is_no_collateral_but_worth_something() -> None:
    account = standing(NOW, [Balance("XYZ", D(10), D(3))], [])
    assert (account.equity, account.margin_balance) == (30, 0)


def test_the_same_coin_or_side_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="balance of USDT"):
        standing(NOW, [USDT, USDT], [])
    with pytest.raises(InvalidInput, match="BTCUSDT long"):
        standing(NOW, [USDT], [LONG, LONG])


@pytest.mark.parametrize("broken", [{"size": D(0)}, {"size": D("NaN")}, {"mark_price": D(0)}, {"settle_index": D(-1)}])
def test_what_is_no_position_is_refused(broken: dict) -> None:
    with pytest.raises(InvalidInput):
        replace(LONG, **broken)


def test_orders_are_reckoned_contract_by_contract() -> None:
    for orders in ([], [order("1"), order("1", symbol="ETHUSDT")]):
        with pytest.raises(InvalidInput, match="contract by contract"):
            order_margins(orders, [], MarginBasis.MARK)


def test_backing_is_the_collateral_of_all_other_coins_in_settle_coin() -> None:
    assert backing([USDT, BTC], "USDT") == 727_500
    assert backing([USDT, BTC], "BTC") == D("0.2")
    with pytest.raises(InvalidInput, match="settle coin USDC"):
        backing([USDT, BTC], "USDC")


@given(
    st.decimals(D("0.1"), D(60), places=1),
    st.sampled_from([1, -1]),
    st.decimals(D(30_000), D(70_000), places=0),
    st.decimals(D(0), D(800_000), places=0),
)
def test_without_fees_the_account_is_lost_where_the_ledger_says(qty: D, side: int, mark: D, cash: D) -> None:
    coins = [replace(USDT, qty=cash), replace(BTC, qty=D("0.5"))]
    holding = replace(LONG, size=qty * side, entry_price=D(50_000), mark_price=mark, taker_rate=D(0))
    ledger = Account(
        cash,
        contracts=[Contract("BTCUSDT", Category.LINEAR, D(100), LADDER)],
        fees=FeeRates(D(0), D(0)),
        margin_mode="cross",
    )
    ledger.back(0, backing(coins, "USDT"))
    if ledger.fill(0, "BTCUSDT", qty * side, D(50_000), Liquidity.TAKER)["kind"] == "fill":
        ledger.mark(1, "BTCUSDT", mark)
        assert bool(ledger.liquidations) is standing(NOW, coins, [holding]).is_lost


@given(st.decimals(D(0), D(100_000), places=2), st.decimals(D(0), D(100_000), places=2))
def test_more_money_never_raises_a_rate(first: D, more: D) -> None:
    poor, rich = (standing(NOW, [replace(USDT, qty=qty)], [LONG]) for qty in (first, first + more))
    assert rich.maintenance_margin_rate <= poor.maintenance_margin_rate
    assert rich.initial_margin_rate <= poor.initial_margin_rate
    assert rich.available >= poor.available
