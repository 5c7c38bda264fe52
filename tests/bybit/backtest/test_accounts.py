"""One account of one or more symbols by hand: cross margin, inverse contracts, step-downs, dated ladders."""

import math

import numpy as np
import pytest

from bybit.backtest.records import (
    AMBIGUOUS,
    CASH,
    CROSS,
    ENTRY,
    FUND,
    FUNDING,
    GROSS,
    LIQUIDATION_LOSS,
    LIQUIDATION_PRICE,
    MAKER_FEES,
    MARGIN,
    REJECTIONS,
    SLIPPAGE,
    STEP_DOWN,
    TAKEOVER,
    TAKER_FEES,
    Fees,
)
from tests.bybit.backtest.accounts import HOUR, NAN, START, column, flat, ladder, simulate, symbol, table, tiers

CALM = (100.0, 100.0, 100.0, 100.0)


def taker_fees(rate: float, n: int = 1) -> Fees:
    return Fees([0], np.zeros((n, 1, 1)), np.full((n, 1, 1), rate), [0.0])


# Several symbols


def test_an_exposure_of_one_is_the_symbols_share_of_the_account():
    result = simulate(
        symbol([CALM], [1]), symbol([(50.0,) * 4], [1], close=[50.0]), contracts={"allocation": [0.75, 0.25]}
    )
    assert column(result, "fills", "qty") == pytest.approx([7.5, 5.0])
    assert column(result, "fills", "symbol") == [0.0, 1.0]


def test_the_equity_is_cash_and_what_every_position_has_gained():
    result = simulate(
        symbol([CALM, (100.0, 110.0, 100.0, 110.0)], [1, 1]), symbol([CALM, (100.0, 100.0, 90.0, 90.0)], [-1, -1])
    )
    assert result.equity.tolist() == pytest.approx([1_000.0, 1_000 + 5 * 10 + 5 * 10])


def test_what_reduces_comes_before_what_opens():
    # The first symbol's order needs the margin that the second one's frees.
    first, second = symbol(flat(100.0, 2), [0, 18]), symbol(flat(100.0, 2), [18, 0])
    result = simulate(first, second)
    assert column(result, "fills", "symbol") == [1.0, 1.0, 0.0]
    assert len(result.logs.rejections) == 0


def test_a_symbol_without_a_candle_keeps_its_last_mark():
    whole = symbol(flat(100.0, 3), [0, 0, 0])
    gapped = symbol(
        [CALM, (120.0,) * 4], [1, 1], open_ms=[START, START + 2 * HOUR], mark=[(100, 104, 100, 104), (120,) * 4]
    )
    assert simulate(whole, gapped).equity.tolist() == pytest.approx([1_020.0, 1_020.0, 1_100.0])


def test_a_settlement_inside_a_gap_is_charged_at_the_next_candle():
    gapped = symbol([CALM, CALM], [1, 1], open_ms=[START, START + 3 * HOUR], settlements=[(1.0, 0.001, 100.0)])
    result = simulate(symbol(flat(100.0, 4), [0] * 4), gapped)
    assert result.equity.tolist() == pytest.approx([1_000.0, 1_000.0, 1_000.0, 999.5])


def test_every_symbols_costs_add_up_to_the_account():
    rows = [(100.0, 103.0, 97.0, 101.0), (101.0, 104.0, 95.0, 96.0), (96.0, 99.0, 80.0, 98.0), (98.0,) * 4]
    result = simulate(
        symbol(rows, [4, 4, -3, 0], settlements=[(1.0, 0.001, 101.0)], stop=[NAN, 96.0, NAN, NAN]),
        symbol(rows[::-1], [-2, 5, 5, 0], settlements=[(2.0, -0.003, 97.0)]),
        fees=taker_fees(0.00055, 2),
        slippage_rate=0.001,
    )
    positions = result.positions
    net = positions[:, GROSS] - positions[:, MAKER_FEES] - positions[:, TAKER_FEES] + positions[:, FUNDING]
    net = net - positions[:, SLIPPAGE] - positions[:, LIQUIDATION_LOSS]
    assert net.sum() == pytest.approx(result.equity[-1] - 1_000.0, rel=1e-12)
    assert result.account[CASH] == pytest.approx(result.equity[-1])
    assert (net != 0.0).all()


# Cross margin


def test_a_gain_elsewhere_keeps_a_cross_position_that_isolated_margin_would_lose():
    falls, rises = [CALM, (100.0, 100.0, 85.0, 88.0)], [CALM, (100.0, 120.0, 100.0, 120.0)]
    pair = (symbol(falls, [2, 2]), symbol(rises, [2, 2]))
    assert len(simulate(*pair).logs.liquidations) == 1
    assert len(simulate(*pair, cross=True).logs.liquidations) == 0


def test_a_cross_account_is_lost_where_equity_meets_maintenance_and_pays_the_fee_there():
    # 50 coins at 100: 1000 + 50 (p - 100) = 0.01 * 50 p, so p = 4000 / 49.5.
    result = simulate(
        symbol([CALM, (100.0, 100.0, 75.0, 78.0)], [5, 5]), cross=True, fees=taker_fees(0.001), cash=1_005.0,
        contracts={"qty_step": 50.0},
    )  # fmt: skip
    (row,) = table(result, "liquidations")
    price = 4_000 / 49.5
    assert (row["kind"], row["trigger_price"]) == (CROSS, pytest.approx(price))
    assert row["fee"] == pytest.approx(50 * price * 0.001)
    assert row["loss"] == pytest.approx(50 * (100 - price))
    assert math.isnan(row["liquidation_price"])
    assert result.equity[-1] == pytest.approx(1_000 - 50 * (100 - price) - 50 * price * 0.001)
    assert row["fund"] == 0.0


def test_what_a_gap_takes_beyond_all_cash_is_the_funds():
    rows = [CALM, (60.0, 60.0, 55.0, 60.0), CALM]
    result = simulate(
        symbol(rows, [5, 5, 1]), cross=True, fees=taker_fees(0.001), cash=1_005.0, contracts={"qty_step": 50.0}
    )
    (row,) = table(result, "liquidations")
    # The loss of 2,000 and the fee of 3 meet 1,000 of cash.
    assert (row["loss"], row["fee"], row["fund"]) == pytest.approx((997.0, 3.0, -1_003.0))
    assert result.account[FUND] == pytest.approx(-1_003.0)
    assert result.equity.tolist()[1:] == [0.0, 0.0]
    assert result.ruined == 1
    assert len(result.logs.fills) == 1


def test_the_marks_of_a_cross_account_move_to_their_extremes_together():
    # Two longs of 25 coins: lost on the way where 1000 - 25 * 40 f - 25 * 20 f = 0.01 * 25 * (200 - 60 f).
    rows = [[CALM, (100.0, 100.0, low, 90.0)] for low in (60.0, 80.0)]
    result = simulate(*(symbol(one, [5, 5]) for one in rows), cross=True)
    fraction = (1_000 - 50) / (1_500 - 15)
    assert column(result, "liquidations", "trigger_price") == pytest.approx([100 - 40 * fraction, 100 - 20 * fraction])


def test_a_cross_account_is_judged_at_the_opens_before_the_way_to_the_extremes():
    rows = [CALM, (79.0, 79.0, 70.0, 79.0)]
    result = simulate(symbol(rows, [5, 5]), cross=True)
    assert column(result, "liquidations", "trigger_price") == [79.0]
    assert column(result, "liquidations", "liquidation_time") == [START + HOUR]


def test_a_cross_loss_comes_before_the_stop_of_the_same_candle():
    rows = [CALM, (100.0, 100.0, 75.0, 78.0)]
    result = simulate(symbol(rows, [5, 5], stop=[95.0, 95.0]), cross=True)
    assert len(result.logs.liquidations) == 1
    assert column(result, "fills", "reason") == [0.0]


def test_other_coins_back_a_cross_account_and_may_be_used_up():
    rows = [CALM, (100.0, 100.0, 75.0, 78.0), (60.0,) * 4]
    # Sized on cash and backing: 75 coins would be bought; 50 are.
    backed = simulate(symbol(rows, [10 / 3] * 3), cross=True, backing=500.0, contracts={"qty_step": 50.0})
    assert column(backed, "fills", "qty") == [50.0]
    (row,) = table(backed, "liquidations")
    assert row["candle"] == 2.0
    assert backed.account[CASH] == -500.0
    assert row["fund"] == pytest.approx(-500.0)


def test_an_unrealized_loss_lowers_what_a_cross_order_may_bind_and_a_gain_does_not_raise_it():
    def second(price, target):
        # 20 coins at 100 bind 200 of 1,000; the mark of the open is known when the second order comes.
        first = symbol([CALM, (price,) * 4], [4, 4])
        result = simulate(first, symbol(flat(100.0, 2), [0, target]), cross=True)
        return [REJECTIONS[int(why)] for why in column(result, "rejections", "reason")]

    # 75 coins at 100 bind 750 of the 800 left; a loss of 100 leaves 700.
    assert second(100.0, 15.0) == []
    assert second(95.0, 15.0) == ["margin"]
    # 82 coins would need a gain to count.
    assert second(110.0, 16.4) == ["margin"]


# Inverse contracts


def test_an_inverse_contract_is_sized_and_earns_in_coin():
    rows = [(50_000.0,) * 4, (50_000.0, 60_000.0, 50_000.0, 60_000.0), (60_000.0,) * 4]
    result = simulate(
        symbol(rows, [2, 2, 0]), cash=1.0, inverse=True, fees=taker_fees(0.0005),
        contracts={"qty_step": 1.0, "tick_size": 0.5},
    )  # fmt: skip
    buy, sell = table(result, "fills")
    assert buy["qty"] == 100_000.0
    assert buy["fee"] == pytest.approx(2 * 0.0005)
    assert sell["realized_pnl"] == pytest.approx(100_000 * (1 / 50_000 - 1 / 60_000))
    assert result.equity[-1] == pytest.approx(1 + 2 - 100_000 / 60_000 - 0.001 - 100_000 / 60_000 * 0.0005)


def test_an_inverse_average_entry_is_harmonic():
    rows = [(50_000.0,) * 4, (60_000.0,) * 4]
    result = simulate(
        symbol(rows, [1, 2], close=[50_000.0, 60_000.0]), cash=1.0, inverse=True,
        contracts={"qty_step": 1.0, "tick_size": 0.5, "leverage": 5.0},
    )  # fmt: skip
    first, second = column(result, "fills", "qty")
    assert result.positions[0, ENTRY] == pytest.approx((first + second) / (first / 50_000 + second / 60_000))


def test_an_inverse_settlement_is_paid_in_coin():
    result = simulate(
        symbol([(50_000.0,) * 4] * 2, [1, 1], settlements=[(1.0, 0.001, 40_000.0)]), cash=1.0, inverse=True,
        contracts={"qty_step": 1.0, "tick_size": 0.5},
    )  # fmt: skip
    assert column(result, "funding", "payment") == pytest.approx([-50_000 / 40_000 * 0.001])


def test_an_inverse_long_is_lost_at_the_price_of_its_own_formula():
    # Margin 0.4 coin for 200,000 contracts at 50,000: n (1 + r) / (n / entry + margin).
    rows = [(50_000.0,) * 4, (50_000.0, 50_000.0, 40_000.0, 45_000.0)]
    result = simulate(
        symbol(rows, [4, 4]), cash=1.0, inverse=True, contracts={"qty_step": 1.0, "tick_size": 0.5, "leverage": 10.0}
    )
    (row,) = table(result, "liquidations")
    assert row["trigger_price"] == pytest.approx(200_000 * 1.01 / (4 + 0.4))
    assert row["loss"] == pytest.approx(0.4)
    assert column(result, "trades", "exit_price") == pytest.approx([200_000 / 4.4])


# Liquidations of isolated margin


def test_a_long_at_1x_is_never_liquidated_when_maintenance_follows_the_mark():
    result = simulate(symbol([CALM, (100.0, 100.0, 0.01, 100.0)], [0.9, 0.9]), contracts={"leverage": 1.0})
    assert math.isnan(result.positions[0, LIQUIDATION_PRICE])
    assert len(result.logs.liquidations) == 0


def test_maintenance_follows_the_entry_before_the_change_and_the_mark_after_it():
    rows = flat(100.0, 4)
    result = simulate(symbol(rows, [2] * 4), mark_based_from_ms=START + 2 * HOUR)
    before = simulate(symbol(rows[:2], [2] * 2), mark_based_from_ms=START + 2 * HOUR)
    assert before.positions[0, LIQUIDATION_PRICE] == pytest.approx(100 - (200 - 20) / 20)
    assert result.positions[0, LIQUIDATION_PRICE] == pytest.approx((2_000 - 200) / (20 * 0.99))


def test_a_new_ladder_moves_the_liquidation_price_of_what_is_held():
    table_of = ladder([(math.inf, 0.01, 0.0)], [(math.inf, 0.05, 0.0)], from_ms=(0, START + 2 * HOUR))
    mark = [CALM, CALM, (100.0, 100.0, 93.0, 100.0)]
    result = simulate(symbol(flat(100.0, 3), [2] * 3, mark=mark), ladders=table_of)
    assert column(result, "liquidations", "liquidation_price") == pytest.approx([1_800 / (20 * 0.95)])


def test_the_rounded_liquidation_price_is_the_trigger():
    exact = 1_800 / (20 * 0.99)  # 90.909...
    mark = [CALM, (100.0, 100.0, exact + 0.0005, 100.0)]
    rounded = simulate(symbol(flat(100.0, 2), [2, 2], mark=mark), tick_rounding=True)
    unrounded = simulate(symbol(flat(100.0, 2), [2, 2], mark=mark))
    assert column(rounded, "liquidations", "trigger_price") == pytest.approx([90.91])
    assert len(unrounded.logs.liquidations) == 0


def test_the_fund_gains_what_the_trigger_is_better_than_the_bankruptcy_price_and_pays_in_a_gap():
    inside = simulate(symbol(flat(100.0, 2), [2, 2], mark=[CALM, (100.0, 100.0, 90.0, 95.0)]))
    gap = simulate(symbol(flat(100.0, 2), [2, 2], mark=[CALM, (80.0, 80.0, 80.0, 80.0)]))
    assert inside.account[FUND] == pytest.approx(200 - 20 * (100 - 1_800 / 19.8))
    assert gap.account[FUND] == pytest.approx(200 - 20 * 20)
    assert column(gap, "liquidations", "loss") == pytest.approx([200.0])


STEEP = ladder(tiers((1_000.0, 0.005), (3_000.0, 0.02), (math.inf, 0.08)))


def test_a_step_down_closes_what_lies_above_the_next_lower_tier_and_the_rest_lives_on():
    # 50 coins at 100 and 10x, margin 500, tier three: deduction 15 + 180 = 195.
    lost = (5_000 - 500 - 195) / (50 * 0.92)
    mark = [CALM, (100.0, 100.0, lost - 0.2, 99.0)]
    result = simulate(symbol(flat(100.0, 2), [5, 5], mark=mark), ladders=STEEP, step_down=True, fees=taker_fees(0.001))
    (row,) = table(result, "liquidations")
    kept = math.floor(3_000 / lost * 10) / 10
    assert (row["kind"], row["size"]) == (STEP_DOWN, pytest.approx(50 - kept))
    assert row["realized_pnl"] == pytest.approx((50 - kept) * (lost - 100))
    assert row["fee"] == pytest.approx((50 - kept) * lost * 0.001)
    assert result.positions[0, MARGIN] == pytest.approx(500 * kept / 50)
    assert len(result.logs.trades) == 0


def test_the_lowest_tier_is_taken_over_and_each_tier_is_stepped_to_once():
    mark = [CALM, (100.0, 100.0, 85.0, 99.0)]
    result = simulate(symbol(flat(100.0, 2), [5, 5], mark=mark), ladders=STEEP, step_down=True)
    assert column(result, "liquidations", "kind") == [STEP_DOWN, STEP_DOWN, TAKEOVER]
    assert len(result.logs.trades) == 1


def test_a_position_beyond_its_bankruptcy_price_is_taken_over_whole():
    mark = [CALM, (85.0, 85.0, 85.0, 85.0)]
    result = simulate(symbol(flat(100.0, 2), [5, 5], mark=mark), ladders=STEEP, step_down=True)
    assert column(result, "liquidations", "kind") == [TAKEOVER]


def test_what_is_left_of_a_step_down_is_still_stopped():
    lost = (5_000 - 500 - 195) / (50 * 0.92)
    mark = [CALM, (100.0, 100.0, lost - 0.2, 99.0)]
    rows = [CALM, (100.0, 100.0, 95.0, 99.0)]
    result = simulate(symbol(rows, [5, 5], mark=mark, stop=[95.5, 95.5]), ladders=STEEP, step_down=True)
    assert column(result, "liquidations", "kind") == [STEP_DOWN]
    assert column(result, "fills", "size_after")[-1] == 0.0
    assert result.counts[AMBIGUOUS] == 1


# The same market in candles of different lengths


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("minutes", [15, 5])
def test_the_same_fills_pay_the_same_funding_and_are_lost_at_the_same_marks_in_finer_candles(minutes, cross):
    """A market of 5-minute candles, also seen as 15-minute and hourly ones: decisions change on the hour only."""
    coarse, fine = (resolved(seed=4, minutes=length, cross=cross) for length in (60, minutes))
    assert len(coarse.logs.liquidations) > 0
    for name in ("qty", "price", "fill_time"):
        assert column(coarse, "fills", name) == pytest.approx(column(fine, "fills", name))
    for name in ("funding_time", "mark_price", "payment"):
        assert column(coarse, "funding", name) == pytest.approx(column(fine, "funding", name))
    for name in ("size", "trigger_price", "loss", "fee"):
        assert column(coarse, "liquidations", name) == pytest.approx(column(fine, "liquidations", name))
    assert coarse.equity[-1] == pytest.approx(fine.equity[-1])


def resolved(seed: int, minutes: int, *, cross: bool):
    """Return the run of one seeded market at a resolution; only market orders, on the hour, one symbol."""
    random = np.random.default_rng(seed)
    n_hours = 120
    closes = 100 * np.exp(np.cumsum(0.006 * random.standard_normal(12 * n_hours)))
    opens = np.concatenate([[100.0], closes[:-1]])
    high = np.maximum(opens, closes) * (1 + 0.002 * random.random(len(opens)))
    low = np.minimum(opens, closes) * (1 - 0.002 * random.random(len(opens)))
    each = minutes // 5
    parts = [column.reshape(-1, each) for column in (opens, high, low, closes)]
    rows = np.column_stack([parts[0][:, 0], parts[1].max(axis=1), parts[2].min(axis=1), parts[3][:, -1]])
    sizes = [0.0, 9.0, -9.0, 11.0] if cross else [0.0, 3.0, -3.0, 6.0]
    target = np.repeat(random.choice(sizes, n_hours), 60 // minutes)
    sized_at = np.repeat(opens[::12], 60 // minutes)
    settlements = [
        (float(hour), float(random.normal(0, 0.001)), float(opens[12 * hour])) for hour in range(1, n_hours, 4)
    ]
    one = symbol(rows.tolist(), target, interval=minutes * 60_000, settlements=settlements, close=sized_at)
    return simulate(
        one, cross=cross, fees=taker_fees(0.00055), step_down=True, ladders=STEEP, contracts={"leverage": 12.0}
    )
