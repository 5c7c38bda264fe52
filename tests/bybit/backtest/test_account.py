"""One account over several symbols: shared cash, shared margin, and what each symbol cost."""

import dataclasses
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.backtest.costs import CostBreakdown
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.periods import Period
from tests.bybit.backtest.markets import START, Scripted, add_up, engine, flat, funding, instrument, ladder, period
from tests.bybit.backtest.portfolios import inverse_part, part, random_account, trade

HOUR = timedelta(hours=1)
BOTH = ("WIFUSDT", "ETHUSDT")


def both(script):
    return dict.fromkeys(BOTH, script)


RISE = [(100 + i, 102 + i, 99 + i, 101 + i) for i in range(20)]


@given(
    seed=st.integers(0, 2**32 - 10),
    n_symbols=st.integers(1, 3),
    margin_mode=st.sampled_from(["isolated", "cross"]),
    category=st.sampled_from([Category.LINEAR, Category.INVERSE]),
    liquidation=st.sampled_from(["step_down", "takeover"]),
    leverage=st.sampled_from([2.0, 20.0, 100.0]),
)
@settings(max_examples=60, deadline=None)
def test_the_symbols_shares_of_every_cost_add_up_to_the_accounts(
    seed, n_symbols, margin_mode, category, liquidation, leverage
):
    result = random_account(
        seed, 40, n_symbols, category, margin_mode=margin_mode, liquidation=liquidation, leverage=leverage,
        slippage_rate=0.001,
    )  # fmt: skip
    shares = result.costs_by_symbol
    assert tuple(shares) == result.symbols
    scale = max(1_000.0, abs(result.costs.gross), abs(add_up(result.costs)))
    for name in CostBreakdown.__slots__:
        total = sum(getattr(share, name) for share in shares.values())
        assert total == pytest.approx(getattr(result.costs, name), rel=1e-9, abs=1e-9 * scale), name
    assert abs(result.costs.gross - add_up(result.costs) - result.costs.net) <= 1e-9 * scale
    assert result.equity[-1] - 1_000.0 == result.costs.net
    for symbol, share in shares.items():
        rows = result.fills[result.fills["symbol"] == symbol]
        lost = result.liquidations[result.liquidations["symbol"] == symbol]
        fees = rows["fee"].sum() + lost["fee"].sum()
        assert fees == pytest.approx(share.maker_fees + share.taker_fees, rel=1e-9, abs=1e-9 * scale)
        assert lost["loss"].sum() == pytest.approx(share.liquidation_loss, rel=1e-9, abs=1e-9 * scale)
        paid = result.funding.loc[result.funding["symbol"] == symbol, "payment"].sum()
        assert paid == pytest.approx(-share.funding, rel=1e-9, abs=1e-9 * scale)


def test_two_symbols_share_one_equity():
    rows = flat(100.0, 1) + RISE
    markets = [part(rows, symbol) for symbol in BOTH]
    result = trade(markets, {"WIFUSDT": [1] * 20, "ETHUSDT": [0] * 15 + [1] * 5})
    assert result.symbol == "WIFUSDT+ETHUSDT"
    first, later = result.fills.itertuples()
    assert (first.symbol, first.qty) == ("WIFUSDT", pytest.approx(5.0))
    # The second symbol's share is half of what the account is worth by then, the first one's gain included.
    worth = result.equity[14]
    assert worth > 1_060.0
    assert later.qty == pytest.approx(np.floor(10 * 0.5 * worth / 115.0) / 10)
    assert set(result.open_positions["symbol"]) == set(BOTH)


def test_a_symbol_that_never_trades_changes_nothing():
    rows = flat(100.0, 1) + RISE
    alone = engine(Scripted([0.5] * 12 + [-0.5] * 8)).run(part(rows, "WIFUSDT"), period(part(rows, "WIFUSDT")))
    markets = [part(rows, symbol) for symbol in BOTH]
    both = trade(markets, {"WIFUSDT": [1] * 12 + [-1] * 8, "ETHUSDT": [0] * 20})
    np.testing.assert_array_equal(both.equity, alone.equity)
    assert both.fills.equals(alone.fills)
    assert both.costs_by_symbol["ETHUSDT"] == CostBreakdown(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_shares_of_equity_can_be_given():
    rows = flat(100.0, 1) + flat(100.0, 3)
    markets = [part(rows, symbol) for symbol in BOTH]
    scripts = both([1, 1, 1])
    result = trade(markets, scripts, allocations={"WIFUSDT": 0.2, "ETHUSDT": 0.7})
    assert result.fills["qty"].tolist() == pytest.approx([2.0, 7.0])
    assert result.provenance["allocations"] == {"WIFUSDT": 0.2, "ETHUSDT": 0.7}
    with pytest.raises(InvalidInput, match="allocations"):
        trade(markets, scripts, allocations={"WIFUSDT": 0.2})


def crash(symbol, bottom):
    """Return a market that falls from 100 to ``bottom`` in its second traded candle."""
    return part([*flat(100.0, 2), (100.0, 100.0, bottom, bottom), *flat(bottom, 2)], symbol)


def test_in_isolated_margin_a_lost_position_leaves_the_others_alone():
    markets = [crash("WIFUSDT", 80.0), part(flat(100.0, 5), "ETHUSDT")]
    result = trade(markets, both([3, 3, 3, 3]), liquidation="takeover")
    assert result.liquidations["symbol"].tolist() == ["WIFUSDT"]
    assert result.liquidations["kind"].tolist() == ["takeover"]
    assert result.open_positions["symbol"].tolist() == ["ETHUSDT"]


def test_in_cross_margin_the_account_stands_for_every_position_and_falls_as_one():
    markets = [crash("WIFUSDT", 80.0), part(flat(100.0, 5), "ETHUSDT")]
    kept = trade(markets, both([3, 3, 3, 3]), margin_mode="cross")
    assert kept.liquidations.empty
    assert kept.equity[-1] == pytest.approx(1_000.0 - 15 * 20 - 2 * 0.825)
    markets[0] = crash("WIFUSDT", 30.0)
    lost = trade(markets, both([3, 3, 3, 3]), margin_mode="cross")
    assert lost.liquidations["kind"].tolist() == ["cross", "cross"]
    assert set(lost.liquidations["symbol"]) == set(BOTH)
    assert (lost.liquidations["fee"] > 0.0).all()
    assert lost.open_positions.empty
    assert lost.assumptions["marks_inside_a_candle"].startswith("those of all positions move together")
    assert "cross_liquidation" in lost.assumptions


def test_the_gain_of_one_symbol_carries_the_loss_of_another_in_cross_margin():
    rise = part([*flat(100.0, 2), (100.0, 170.0, 100.0, 170.0), *flat(170.0, 2)], "ETHUSDT")
    markets = [crash("WIFUSDT", 35.0), rise]
    scripts = {"WIFUSDT": [3, 3, 3, 3], "ETHUSDT": [3, 3, 3, 3]}
    # The joint worst marks: the long's gain is not there yet when the other one's low is.
    assert len(trade(markets, scripts, margin_mode="cross").liquidations) == 2
    early = part([*flat(100.0, 1), (100.0, 170.0, 100.0, 170.0), *flat(170.0, 3)], "ETHUSDT")
    result = trade([markets[0], early], scripts, margin_mode="cross")
    assert result.liquidations.empty


def test_collateral_in_other_coins_keeps_a_cross_account_alive():
    markets = [crash("WIFUSDT", 30.0), part(flat(100.0, 5), "ETHUSDT")]
    scripts = both([3, 3, 3, 3])
    bare = trade(markets, scripts, margin_mode="cross")
    assert len(bare.liquidations) == 2
    for backing in (500.0, pd.Series([9_999.0, 500.0], index=pd.DatetimeIndex([START - HOUR, START]))):
        # Collateral counts in the size of an order too: a third of 1,500 is half of 1,000.
        shares = dict.fromkeys(BOTH, 1.0 / 3.0)
        result = trade(markets, scripts, margin_mode="cross", backing=backing, allocations=shares)
        assert result.fills["qty"].tolist() == bare.fills["qty"].tolist()
        assert result.liquidations.empty
        assert result.equity[-1] == pytest.approx(1_000.0 - 15 * 70 - 2 * 0.825)
    assert result.provenance["backing"][1] == [1_704_067_200_000, 500.0]


def slipping(n=4):
    """Return a market that falls far enough for the higher tier of a position and not for the lower one."""
    tiers = ladder((1_500, None), ("0.01", "0.05"))
    rows = [*flat(100.0, 2), (100.0, 100.0, 91.5, 94.0), *flat(94.0, n - 2)]
    return part(rows, "WIFUSDT", risk_tiers=tiers)


def test_a_position_steps_down_a_tier_unless_all_of_it_is_to_be_taken_over():
    stepped = trade([slipping()], {"WIFUSDT": [2] * 4})
    (row,) = stepped.liquidations.itertuples()
    assert (row.kind, row.loss, row.fund) == ("step_down", 0.0, 0.0)
    assert row.fee == pytest.approx(row.size * row.trigger_price * 0.00055)
    assert stepped.open_positions["size"].tolist() == pytest.approx([20.0 - row.size])
    assert stepped.assumptions["step_down_fills"] == "at the mark that triggered them, with the taker fee"
    taken = trade([slipping()], {"WIFUSDT": [2] * 4}, liquidation="takeover")
    assert taken.liquidations["kind"].tolist() == ["takeover"]
    assert taken.liquidations["loss"].tolist() == pytest.approx([200.0])
    assert taken.open_positions.empty


def test_what_a_step_down_leaves_is_still_held_without_funding():
    data = slipping(40)
    data = dataclasses.replace(data, funding=[*data.funding, *funding((8, "0.0001"))])
    with pytest.raises(NotEstablished, match="held for more than a day from 2024-01-01T08:00"):
        trade([data], {"WIFUSDT": [2] * 40})


def test_a_symbol_listed_in_the_period_starts_at_its_first_candle_and_the_result_says_so():
    launch = START + 10 * HOUR
    late = part(flat(100.0, 1) + RISE, "ETHUSDT", instrument=instrument("ETHUSDT", launch_time=launch))
    late = dataclasses.replace(late, candles=late.candles[late.candles.index >= launch])
    early = part(flat(100.0, 1) + RISE, "WIFUSDT")
    result = trade([early, late], both([1] * 20))
    assert len(result.equity) == 20
    bought = result.fills.set_index("symbol")["fill_time"]
    assert bought["WIFUSDT"] == START
    # Its first close is the first thing the strategy knows of it.
    assert bought["ETHUSDT"] == launch + HOUR
    assert result.assumptions["traded_from_its_listing"] == "ETHUSDT: 2024-01-01T10:00"
    assert result.assumptions["warmup_candles_not_there"] == 1
    (held,) = result.open_positions[result.open_positions["symbol"] == "ETHUSDT"].itertuples()
    assert held.entry_candle == 11


def test_a_delivered_contract_is_left_at_the_open_of_its_last_candle():
    delivery = START + 3 * HOUR
    data = part(flat(100.0, 1) + RISE[:6], "WIFUSDT", instrument=instrument(delivery_time=delivery))
    other = part(flat(100.0, 1) + RISE[:6], "ETHUSDT")
    result = trade([data, other], both([1] * 6))
    sold = result.fills[(result.fills["symbol"] == "WIFUSDT") & (result.fills["qty"] < 0.0)]
    assert sold["fill_time"].tolist() == [delivery - HOUR]
    assert result.open_positions["symbol"].tolist() == ["ETHUSDT"]
    assert len(result.equity) == 6
    words = "WIFUSDT: 2024-01-01T03:00, left at the open of the last candle before it"
    assert result.assumptions["traded_until_its_delivery"] == words


@given(seed=st.integers(0, 2**32 - 10), cut=st.floats(0.1, 0.95), margin_mode=st.sampled_from(["isolated", "cross"]))
@settings(max_examples=30, deadline=None)
def test_what_happened_in_an_account_does_not_depend_on_what_comes_later(seed, cut, margin_mode):
    n_known = max(1, int(40 * cut))
    until = Period(START, START + n_known * HOUR)
    whole = random_account(seed, 40, 2, margin_mode=margin_mode, leverage=20.0)
    early = random_account(seed, 40, 2, margin_mode=margin_mode, leverage=20.0, span=until)
    np.testing.assert_array_equal(early.equity, whole.equity[:n_known])
    known = whole.fills[whole.fills["fill_time"] < until.end]
    assert early.fills.equals(known.reset_index(drop=True))


def test_an_inverse_contract_counts_in_coin():
    rows = [*flat(50_000.0, 2), (50_000.0, 62_500.0, 50_000.0, 62_500.0), *flat(62_500.0, 2)]
    data = inverse_part(rows, settlements=funding((2, "0.001"), symbol="BTCUSD"))
    result = trade([data], {"BTCUSD": [1, 1, 1, 0]}, capital=2.0)
    bought, sold = result.fills.itertuples()
    # Two coins are 100,000 USD at 50,000, and 1.6 coins at 62,500.
    assert (bought.qty, sold.qty) == (100_000.0, -100_000.0)
    assert (bought.fee, sold.fee) == pytest.approx((2.0 * 0.00055, 1.6 * 0.00055))
    assert result.costs.gross == pytest.approx(0.4)
    (paid,) = result.funding["payment"]
    assert paid == pytest.approx(-1.6 * 0.001)
    assert result.equity[-1] == pytest.approx(2.4 - 3.6 * 0.00055 - 0.0016)
    (trade_row,) = result.trades.itertuples()
    assert trade_row.notional == pytest.approx(3.6)
    assert result.metrics["traded_notional"] == pytest.approx(3.6)


def test_an_open_inverse_position_is_valued_in_coin():
    rows = [*flat(50_000.0, 2), (50_000.0, 62_500.0, 50_000.0, 62_500.0)]
    (held,) = trade([inverse_part(rows)], {"BTCUSD": [-1, -1]}, capital=2.0, leverage=2.0).open_positions.itertuples()
    assert held.size == -100_000.0
    assert held.unrealized_pnl == pytest.approx(-0.4)


def test_settlements_after_a_held_symbols_last_candle_are_told():
    rows = flat(100.0, 21)
    settled = funding((-8, "0.0001"), (2, "0.001"), (12, "0.001"), (18, "0.001"), symbol="WIFUSDT")
    whole = part(rows, "WIFUSDT", settlements=settled)
    gap = Period(START + timedelta(hours=10), START + timedelta(hours=20))
    ended = dataclasses.replace(whole, candles=whole.candles.iloc[:11], gaps=(gap,))
    markets = [ended, part(rows, "ETHUSDT")]
    held = trade(markets, {"WIFUSDT": [1] * 10, "ETHUSDT": [0] * 20})
    assert len(held.funding[held.funding["symbol"] == "WIFUSDT"]) == 1
    assert held.assumptions["settlements_after_the_last_candle_not_charged"] == 2
    flat_by_then = trade(markets, {"WIFUSDT": [1] * 5 + [0] * 5, "ETHUSDT": [0] * 20})
    assert "settlements_after_the_last_candle_not_charged" not in flat_by_then.assumptions
