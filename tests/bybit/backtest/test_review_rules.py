"""A reviewer's cases of rules that change or bite in steps: basis, ladders, tiers, ticks, joint marks. No fees."""

import math
from decimal import Decimal as D
from fractions import Fraction as F

import numpy as np
import pytest

from bybit.backtest.records import CASH, STEP_DOWN, TAKEOVER, Fees
from bybit.rules.account import Account
from bybit.rules.candles import Category
from bybit.rules.fees import FeeRates, Liquidity
from bybit.rules.ledger import Contract
from bybit.rules.liquidation import LiquidationMode, MarginBasis
from bybit.rules.margin import RiskTier
from tests.bybit.backtest.accounts import HOUR, START, column, flat, ladder, simulate, symbol, table

STEPS = ladder([(10_000.0, 0.01, 0.0), (20_000.0, 0.02, 100.0), (math.inf, 0.05, 700.0)])
TAKES = F(55, 100_000)


def fees(n=1):
    return Fees(np.zeros(1, np.int64), np.zeros((n, 1, 1)), np.full((n, 1, 1), float(TAKES)), np.zeros(1))


def test_a_held_short_is_lost_at_the_hour_from_which_its_margin_is_reckoned_by_the_mark():
    # By the entry it is lost at 109, by the mark at 110 / 1.01 = 108.91.
    rows = [(100.0,) * 4, *flat(108.95, 3)]
    terms = {"close": [100.0] * 4}
    switched = simulate(symbol(rows, [-5.0] * 4, **terms), mark_based_from_ms=START + 2 * HOUR)
    (row,) = table(switched, "liquidations")
    assert row["liquidation_time"] // HOUR * HOUR == START + 2 * HOUR
    assert row["liquidation_price"] == pytest.approx(110.0 / 1.01)
    # It was lost before the candle began: at its open.
    assert row["trigger_price"] == 108.95
    kept = simulate(symbol(rows, [-5.0] * 4, **terms), mark_based_from_ms=START + 9 * HOUR)
    assert not table(kept, "liquidations")


def test_a_held_long_gains_room_at_the_same_hour():
    rows = [(100.0,) * 4, *flat(95.0, 1), *flat(90.95, 2)]
    terms = {"close": [100.0] * 4}
    by_entry = simulate(symbol(rows, [5.0] * 4, **terms), mark_based_from_ms=START + 9 * HOUR)
    (row,) = table(by_entry, "liquidations")
    assert (row["liquidation_price"], row["trigger_price"]) == pytest.approx((91.0, 90.95))
    switched = simulate(symbol(rows, [5.0] * 4, **terms), mark_based_from_ms=START + 2 * HOUR)
    assert not table(switched, "liquidations")


@pytest.mark.parametrize("cross", [False, True])
def test_a_ladder_that_becomes_stricter_under_a_held_position_ends_it_at_its_hour(cross):
    # 5,000 of 1,000; at 88 (cross) or 95 what is left is above 1 % and below 8 %.
    rows = [(100.0,) * 4, *flat(88.0 if cross else 95.0, 3)]
    ladders = ladder([(math.inf, 0.01, 0.0)], [(math.inf, 0.12, 0.0)], from_ms=(0, START + 2 * HOUR))
    result = simulate(symbol(rows, [5.0] * 4, close=[100.0] * 4), ladders=ladders, cross=cross)
    (row,) = table(result, "liquidations")
    assert row["liquidation_time"] // HOUR * HOUR == START + 2 * HOUR


def test_a_large_long_steps_down_tier_by_tier_as_fractions_say():
    # 300 at 100, 10x: lost at 26,300 / 285 in the third tier, then as 216.7 in the second, then as what is left.
    cash = F(10_000)
    rows = [(100.0,) * 4, (100.0, 100.0, 92.0, 92.0), (92.0, 92.0, 91.0, 91.0), (91.0, 91.0, 89.0, 89.0)]
    result = simulate(
        symbol(rows, [3.0] * 4, close=[100.0] * 4), cash=float(cash), ladders=STEPS, fees=fees(), step_down=True
    )
    cash -= 30_000 * TAKES
    qty, margin, expected = F(300), F(3_000), []
    for bound, rate, deduction in ((20_000, F(5, 100), 700), (10_000, F(2, 100), 100)):
        lost = (qty * 100 - margin - deduction) / (qty * (1 - rate))
        kept = F(int(qty * bound / (qty * lost) * 10), 10)
        expected.append((qty - kept, lost))
        cash += (qty - kept) * (lost - 100) - (qty - kept) * lost * TAKES
        qty, margin = kept, margin * kept / qty
    lost = (qty * 100 - margin) / (qty * F(99, 100))
    expected.append((qty, lost))
    cash -= margin
    found = table(result, "liquidations")
    assert [row["kind"] for row in found] == [STEP_DOWN, STEP_DOWN, TAKEOVER]
    for row, (size, price) in zip(found, expected, strict=True):
        assert (row["size"], row["trigger_price"]) == pytest.approx((float(size), float(price)), rel=1e-12)
    assert result.account[CASH] == pytest.approx(float(cash), rel=1e-12)


@pytest.mark.parametrize(("side", "bound"), [(1.0, 90.91), (-1.0, 108.91)])
def test_a_liquidation_price_is_rounded_to_the_tick_against_the_holder(side, bound):
    # 1,000 / 11 = 90.909... up for a long, 1,100 / 10.1 = 108.9109 down for a short.
    for mark, n_lost in ((bound, 1), (bound + side * 0.005, 0)):
        result = simulate(symbol([(100.0,) * 4, (mark,) * 4], [5.0 * side] * 2, close=[100.0] * 2), tick_rounding=True)
        assert len(table(result, "liquidations")) == n_lost
        assert result.account[CASH] == (500.0 if n_lost else 1_000.0)


def test_a_hedge_in_cross_margin_is_judged_with_both_marks_at_their_worst_at_once():
    # Long 5,000 and short 5,000 of 1,000. Both legs lose 9 % at once at their worst: 900, and 100 of maintenance.
    fair = (100.0, 109.0, 91.0, 100.0)
    legs = [symbol([(100.0,) * 4, fair], [sign * 10.0] * 2, close=[100.0] * 2) for sign in (1.0, -1.0)]
    result = simulate(*legs, cross=True, fees=fees(2), contracts={"leverage": 20.0})
    # 994.5 = 100 x d + 50 (100 - d) 0.01 + 50 (100 + d) 0.01 = 100 d + 100
    away = (994.5 - 100.0) / 100.0
    assert column(result, "liquidations", "trigger_price") == pytest.approx([100.0 - away, 100.0 + away])
    # What it kept for maintenance pays the fees of the end.
    assert result.account[CASH] == pytest.approx(100.0 - 10_000.0 * float(TAKES))
    calm = [symbol([(100.0,) * 4, (100.0, 120.0, 80.0, 100.0)], [sign * 1.0] * 2) for sign in (1.0, -1.0)]
    assert not table(simulate(*calm, cross=True), "liquidations")


def test_after_losses_the_next_order_is_sized_by_what_is_left():
    rows = [(100.0,) * 4, (100.0, 100.0, 60.0, 60.0), (60.0,) * 4, (60.0,) * 4]
    result = simulate(symbol(rows, [1.0, 1.0, 0.0, 1.0]), cross=True)
    assert column(result, "fills", "qty") == [10.0, -10.0, 10.0]
    assert result.equity[1] == 600.0


@pytest.mark.parametrize("cross", [False, True])
def test_a_symbol_without_candles_for_a_while_keeps_its_mark_and_pays_what_fell_due_at_its_next_open(cross):
    other = symbol(flat(50.0, 6), [0.0] * 6)
    holed = symbol(
        [(100.0,) * 4, (101.0,) * 4, (103.0,) * 4], [1.0] * 3, open_ms=START + HOUR * np.array([0, 1, 5]),
        settlements=[(3, 0.01, 102.0)], close=[100.0] * 3,
    )  # fmt: skip
    result = simulate(holed, other, cross=cross)
    assert result.equity.tolist() == pytest.approx([1_000.0, 1_005.0, 1_005.0, 1_005.0, 1_005.0, 1_015.0 - 5.1])
    (paid,) = table(result, "funding")
    assert paid["funding_time"] == START + 3 * HOUR


def test_the_ledger_keeps_a_whole_lot_that_stands_on_the_bound_exactly():
    # 10,000 contracts at 99.3: 60 coins are 5,958 of them, to the last one.
    tiers = (RiskTier("BTCUSD", 1, D(60), D("0.01"), D("0.01"), D(0), D(100), None),
             RiskTier("BTCUSD", 2, None, D("0.02"), D("0.02"), D("0.6"), D(100), None))  # fmt: skip
    terms = Contract("BTCUSD", Category.INVERSE, D(50), tiers, qty_step=D(1))
    account = Account(
        D(10), contracts=[terms], fees=[(0, FeeRates(D(0), D(0)))], basis=MarginBasis.ENTRY,
        liquidation=LiquidationMode.STEP_DOWN,
    )  # fmt: skip
    account.fill(1, "BTCUSD", D(-10_000), D("99.3"), Liquidity.TAKER)
    account.mark(2, "BTCUSD", D("100.5"))
    assert account.liquidations[0]["how"] == "step_down"
    assert account.liquidations[0]["qty"] == D(-4_042)
