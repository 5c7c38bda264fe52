"""A reviewer's accounts reckoned in exact fractions, apart from the kernel and from the Decimal rules.

Both sides, linear and inverse, isolated and cross: one market entry, one that a limit adds, funding before and after,
one that a limit takes off, a flip and its protection.
"""

from fractions import Fraction as F
from itertools import product

import numpy as np
import pytest

from bybit.backtest.records import (
    BY_LIMIT,
    BY_MARKET,
    BY_STOP,
    BY_TAKE_PROFIT,
    BY_TRIGGER,
    CASH,
    MAKER,
    REJECTIONS,
    TAKER,
    Fees,
)
from tests.bybit.backtest.accounts import NAN, START, column, flat, ladder, simulate, symbol, table

MAKES, TAKES, SLIPS = F(2, 10_000), F(55, 100_000), F(1, 1_000)
FEES = Fees(np.zeros(1, np.int64), np.full((1, 1, 1), float(MAKES)), np.full((1, 1, 1), float(TAKES)), np.zeros(1))
EVERY = list(product([1, -1], [False, True], [False, True]))
WAYS = pytest.mark.parametrize(("side", "inverse", "cross"), EVERY)


class Reckoned:
    """One position in fractions: what it costs, earns and leaves in cash."""

    def __init__(self, cash, inverse):
        self.cash, self.inverse, self.size, self.entry = F(cash), inverse, F(0), F(0)
        self.fees, self.paid = [], []

    def worth(self, qty, price):
        return F(qty) / F(price) if self.inverse else F(qty) * F(price)

    def gain(self, size, price):
        return size * (1 / self.entry - 1 / F(price)) if self.inverse else size * (F(price) - self.entry)

    def fill(self, qty, price, rate):
        qty, price = F(qty), F(price)
        self.fees.append(abs(self.worth(qty, price)) * rate)
        self.cash -= self.fees[-1]
        closes = -max(-abs(self.size), -abs(qty)) if self.size * qty < 0 else F(0)
        if closes:
            sign = 1 if self.size > 0 else -1
            self.cash += self.gain(sign * closes, price)
            self.size -= sign * closes
            qty += sign * closes
        if qty and self.size:
            total = self.worth(self.size, self.entry) + self.worth(qty, price)
            self.entry = (self.size + qty) / total if self.inverse else total / (self.size + qty)
        elif qty:
            self.entry = price
        self.size += qty

    def settle(self, mark, rate):
        self.paid.append(-self.worth(self.size, mark) * F(rate))
        self.cash += self.paid[-1]

    def equity(self, mark):
        return self.cash + (self.gain(self.size, mark) if self.size else 0)


def slipped(price, sign):
    return F(price) * (1 + sign * SLIPS)


@WAYS
def test_a_round_of_orders_books_what_fractions_book(side, inverse, cross):
    # Prices around 1,000 with ticks of 0.01, lots of one: 200 units (inverse: USD) at first, 300 after the add.
    unit, cash = (200, 1.0) if inverse else (1, 5_000.0)
    low, high = F(990), F(1_010)
    near, far = (low, high) if side > 0 else (high, low)
    rows = [
        (1000.0, 1005.0, 995.0, 1002.0),
        # The limit at ``near`` is traded through.
        (1002.0, 1015.0, 985.0, 1001.0),
        # A limit at ``far`` takes half off.
        (1001.0, 1012.0, 988.0, 1004.0),
        # Turned over at the open, then nothing.
        (1004.0, 1006.0, 998.0, 1000.0),
        (1000.0, 1001.0, 999.0, 1000.0),
    ]
    mark = [tuple(price + 0.5 for price in row) for row in rows]
    given = {
        "limit": [NAN, float(near), float(far), NAN, NAN],
        "close": [1000.0] * 5,
        # At the very open of the second candle, and in the middle of the fourth.
        "settlements": [(0, 0.01, 1234.0), (1, 0.002, 1002.5), (3.5, -0.003, 1003.25)],
        "mark": mark,
    }
    lots = [side * unit, side * 2 * unit, side * unit, -side * unit, -side * unit]
    # Exposure is measured in what the account is worth by then: found by trying.
    targets = [n / (cash * 1000.0 if inverse else cash / 1000.0) for n in lots]
    for _ in range(6):
        result = simulate(
            symbol(rows, targets, **given), cash=cash, cross=cross, inverse=inverse, slippage_rate=float(SLIPS),
            fees=FEES, contracts={"qty_step": 1.0, "min_qty": 1.0},
        )  # fmt: skip
        worth = [cash, *result.equity[:-1].tolist()]
        priced = [1000.0 if np.isnan(limit) else limit for limit in given["limit"]]
        base = [w * p if inverse else w / p for w, p in zip(worth, priced, strict=True)]
        targets = [n / b * (1 + 1e-12) for n, b in zip(lots, base, strict=True)]
        targets[4] = targets[3]
    ours = Reckoned(cash, inverse)
    price = [slipped(1000, side), near, far, slipped(1004, -side)]
    ticks = [F(round(p * 100), 100) for p in price]
    # The venue's tick: a taker's price is rounded against the taker.
    ticks[3] = F(-(-price[3] * 100 // 1) if side < 0 else price[3] * 100 // 1, 100)
    ours.fill(side * unit, ticks[0], TAKES)
    ours.settle("1002.5", F(2, 1000))
    ours.fill(side * unit, ticks[1], MAKES)
    ours.fill(-side * unit, ticks[2], MAKES)
    after_three = ours.equity("1004.5")
    ours.fill(-side * 2 * unit, ticks[3], TAKES)
    ours.settle("1003.25", F(-3, 1000))
    assert column(result, "fills", "qty") == [side * unit, side * unit, -side * unit, -2 * side * unit]
    assert column(result, "fills", "reason") == [BY_MARKET, BY_LIMIT, BY_LIMIT, BY_MARKET]
    assert column(result, "fills", "taker") == [TAKER, MAKER, MAKER, TAKER]
    assert column(result, "fills", "price") == pytest.approx([float(p) for p in ticks], rel=1e-14)
    assert column(result, "fills", "fee") == pytest.approx([float(fee) for fee in ours.fees], rel=1e-13)
    assert column(result, "funding", "payment") == pytest.approx([float(paid) for paid in ours.paid], rel=1e-13)
    assert result.equity[2] == pytest.approx(float(after_three), rel=1e-13)
    assert result.equity[-1] == pytest.approx(float(ours.equity("1000.5")), rel=1e-13)
    assert result.account[CASH] == pytest.approx(float(ours.cash), rel=1e-13)


@WAYS
def test_a_stop_a_gap_a_take_profit_and_a_trigger_fill_where_fractions_say(side, inverse, cross):
    cash, unit = (1.0, 200) if inverse else (5_000.0, 1)
    exposure = unit / 1000.0 / cash if inverse else unit * 1000.0 / cash
    against, along = F(1000 - side * 10), F(1000 + side * 10)
    calm, moved = (1000.0,) * 4, (1000.0, 1015.0, 985.0, 1000.0)
    gap = F(1000 - side * 20)
    jump = F(1000 + side * 20)
    for rows, given, reason, reference in (
        ([calm, moved], {"stop": [float(against)] * 2}, BY_STOP, against),
        ([calm, (float(gap),) * 4], {"stop": [float(against)] * 2}, BY_STOP, gap),
        ([calm, moved], {"take_profit": [float(along)] * 2}, BY_TAKE_PROFIT, along),
        ([calm, (float(jump),) * 4], {"take_profit": [float(along)] * 2}, BY_TAKE_PROFIT, jump),
        # Both were reached: the stop.
        ([calm, moved], {"stop": [float(against)] * 2, "take_profit": [float(along)] * 2}, BY_STOP, against),
    ):
        result = simulate(
            symbol(rows, [side * exposure] * 2, close=[1000.0] * 2, **given), cash=cash, cross=cross, inverse=inverse,
            slippage_rate=float(SLIPS), fees=FEES, contracts={"qty_step": 1.0, "min_qty": 1.0},
        )  # fmt: skip
        ours = Reckoned(cash, inverse)
        ours.fill(side * unit, slipped(1000, side), TAKES)
        ours.fill(-side * unit, slipped(reference, -side), TAKES)
        assert column(result, "fills", "reason") == [BY_MARKET, reason]
        assert column(result, "fills", "price")[1] == pytest.approx(float(slipped(reference, -side)), rel=1e-14)
        assert result.account[CASH] == pytest.approx(float(ours.cash), rel=1e-13)
    # A trigger entry, sized at its price: filled there, and at the open that has passed it.
    sized = exposure * (1000.0 / float(along) if inverse else float(along) / 1000.0) * (1.0 + 1e-12)
    for rows, reference in (([moved], along), ([(float(jump),) * 4], jump)):
        result = simulate(
            symbol(rows, [side * sized], close=[1000.0], trigger=[float(along)]), cash=cash, cross=cross,
            inverse=inverse, slippage_rate=float(SLIPS), fees=FEES, contracts={"qty_step": 1.0, "min_qty": 1.0},
        )  # fmt: skip
        assert column(result, "fills", "reason") == [BY_TRIGGER]
        assert column(result, "fills", "price") == pytest.approx([float(slipped(reference, side))], rel=1e-14)


@pytest.mark.parametrize(("side", "inverse"), [(1, False), (-1, False), (1, True), (-1, True)])
def test_an_isolated_position_is_lost_where_fractions_say_and_costs_its_margin(side, inverse):
    cash, unit = (1.0, 5_000) if inverse else (5_000.0, 25)
    target = unit / 1000.0 / cash if inverse else unit * 1000.0 / cash
    worth = F(unit, 1000) if inverse else F(unit * 1000)
    margin, keep = worth / 10, F(1, 100)
    if inverse:
        lost = F(unit) * (1 + side * keep) / (F(unit, 1000) + side * margin)
    else:
        lost = (F(unit * 1000) - side * margin) / (F(unit) * (1 - side * keep))
    beyond = float(lost) * (1 - side * 1e-9)
    before = float(lost) * (1 + side * 1e-9)
    for end, gone in ((beyond, True), (before, False)):
        rows = [(1000.0,) * 4, (1000.0, max(1000.0, end), min(1000.0, end), 1000.0)]
        result = simulate(
            symbol(rows, [side * target] * 2), cash=cash, inverse=inverse, fees=FEES,
            contracts={"qty_step": 1.0, "min_qty": 1.0},
        )  # fmt: skip
        assert len(table(result, "liquidations")) == int(gone)
        left = F(cash) - worth * TAKES - (margin if gone else 0)
        assert result.account[CASH] == pytest.approx(float(left), rel=1e-13)
        if gone:
            (row,) = table(result, "liquidations")
            assert row["trigger_price"] == pytest.approx(float(lost), rel=1e-13)
            gained = margin + (
                side * F(unit) * (F(1, 1000) - 1 / lost) if inverse else side * F(unit) * (lost - 1000)
            )  # fmt: skip
            assert row["fund"] == pytest.approx(float(gained), rel=1e-9)


@pytest.mark.parametrize(("side", "inverse"), [(1, False), (-1, False), (1, True), (-1, True)])
def test_a_cross_account_is_lost_where_fractions_say_and_keeps_what_is_left_of_its_cash(side, inverse):
    cash, unit = (1.0, 5_000) if inverse else (5_000.0, 25)
    target = unit / 1000.0 / cash if inverse else unit * 1000.0 / cash
    keep, worth = F(1, 100), F(unit, 1000) if inverse else F(unit * 1000)
    paid = F(cash) - worth * TAKES
    # paid + side x gain = keep x value
    lost = (
        (side + keep) * F(unit) / (paid + side * worth)
        if inverse
        else (side * worth - paid) / (F(unit) * (side - keep))
    )
    end = float(lost) * (1 - side * 1e-6)
    rows = [(1000.0,) * 4, (1000.0, max(1000.0, end), min(1000.0, end), 1000.0)]
    result = simulate(
        symbol(rows, [side * target] * 2), cash=cash, cross=True, inverse=inverse, fees=FEES,
        contracts={"qty_step": 1.0, "min_qty": 1.0},
    )  # fmt: skip
    (row,) = table(result, "liquidations")
    assert row["trigger_price"] == pytest.approx(float(lost), rel=1e-12)
    at_mark = F(unit) / lost if inverse else F(unit) * lost
    left = keep * at_mark - at_mark * TAKES
    assert row["fee"] == pytest.approx(float(at_mark * TAKES), rel=1e-12)
    assert row["fund"] == 0.0
    assert result.account[CASH] == pytest.approx(float(left), rel=1e-10)


@pytest.mark.parametrize("cross", [False, True])
def test_a_flip_that_margin_does_not_allow_closes_and_opens_nothing(cross):
    # Long 10 at 100; at 91 the loss leaves 100 of 1,000 and 10x: a short of 90 lots' worth is too much with fees.
    rows = [(100.0,) * 4, (91.0,) * 4, (91.0,) * 4]
    contracts = {"leverage": 1.0}
    result = simulate(symbol(rows, [1.0, -1.5, -1.5], close=[100.0] * 3), cross=cross, contracts=contracts)
    assert column(result, "fills", "qty") == [10.0, -10.0]
    assert [REJECTIONS[int(why)] for why in column(result, "rejections", "reason")] == ["margin"]
    assert result.account[CASH] == pytest.approx(910.0)


def test_a_gap_beyond_bankruptcy_costs_the_margin_in_isolated_and_no_more_than_the_account_in_cross():
    rows = [(100.0,) * 4, (50.0,) * 4]
    alone = simulate(symbol(rows, [5.0, 5.0], close=[100.0] * 2))
    assert alone.account[CASH] == pytest.approx(500.0)
    (row,) = table(alone, "liquidations")
    assert (row["trigger_price"], row["loss"], row["fund"]) == pytest.approx((50.0, 500.0, -2_000.0))
    whole = simulate(symbol(rows, [5.0, 5.0], close=[100.0] * 2), cross=True)
    assert whole.account[CASH] == 0.0
    (row,) = table(whole, "liquidations")
    assert (row["trigger_price"], row["loss"], row["fund"]) == pytest.approx((50.0, 1_000.0, -1_500.0))
    backed = simulate(symbol(rows, [5.0, 5.0], close=[100.0] * 2), cross=True, backing=200.0)
    # Sized on 1,200: 60 lots lose 3,000; 1,200 are there.
    assert backed.account[CASH] == -200.0


def test_what_is_opened_at_a_settlement_pays_nothing_and_what_is_closed_at_one_pays():
    settled = [(hours, 0.001, 100.0) for hours in range(4)]
    result = simulate(symbol(flat(100.0, 4), [0.0, 1.0, 0.0, 0.0], settlements=settled))
    (row,) = table(result, "funding")
    assert (row["funding_time"], row["size"], row["payment"]) == (START + 2 * 3_600_000, 10.0, -1.0)


def test_settlements_every_eight_then_four_then_one_hour_are_each_paid_once():
    hours = [8, 16, 20, 24, 25, 26]
    result = simulate(symbol(flat(100.0, 28), [1.0] * 28, settlements=[(h, 0.001, 100.0) for h in hours]))
    assert [(row["funding_time"] - START) / 3_600_000 for row in table(result, "funding")] == hours
    day = symbol(flat(100.0, 2), [1.0] * 2, interval=24 * 3_600_000, settlements=[(h, 0.001, 100.0) for h in hours])
    assert column(simulate(day), "funding", "payment") == [-1.0] * 6


def test_a_ladder_of_two_tiers_needs_the_margin_of_both_slices():
    # 30,000 at 1 % to 10,000 and 5 % above: 1,100 are kept at the entry.
    result = simulate(
        symbol([(100.0,) * 4, (100.0, 100.0, 93.0, 93.0)], [6.0, 6.0], close=[100.0] * 2), cash=5_000.0,
        ladders=ladder([(10_000.0, 0.01, 0.0), (float("inf"), 0.05, 400.0)]),
    )  # fmt: skip
    (row,) = table(result, "liquidations")
    # 300 (100 - p) = 3,000 - (300 p x 0.05 - 400)
    assert row["trigger_price"] == pytest.approx(float((F(30_000) - 3_000 - 400) / (F(300) * F(95, 100))), rel=1e-13)
