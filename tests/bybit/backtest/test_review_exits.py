"""A reviewer's cases of what ends a position inside one candle, worked out by hand. 1,000 of cash, no fees."""

import pytest

from bybit.backtest.records import AMBIGUOUS, BY_TAKE_PROFIT, BY_TRAIL
from tests.bybit.backtest.accounts import column, simulate, symbol


def left(rows, **given):
    """Return price and reason of what ends a long bought at the first open, and how many candles were in doubt."""
    result = simulate(symbol(rows, [1] * len(rows), **given))
    return column(result, "fills", "price")[-1], column(result, "fills", "reason")[-1], int(result.counts[AMBIGUOUS])


@pytest.mark.parametrize("closed", [106.0, 109.0])
def test_a_trailing_stop_raised_inside_a_candle_fills_at_the_worst_price_that_any_path_allows(closed):
    # From 100 to 102 and down to 99 trails 3 as well as the path over 110 does.
    assert left([(100.0, 110.0, 99.0, closed)], trail=[3.0]) == (99.0, BY_TRAIL, 1)


def test_a_trailing_stop_cannot_fill_below_the_one_that_the_open_has_set():
    # Bought at 100; the second candle opens at 110, so that 107 is where it stands from the first moment on.
    rows = [(100.0, 100.0, 100.0, 100.0), (110.0, 111.0, 105.0, 106.0)]
    assert left(rows, trail=[3.0, 3.0]) == (107.0, BY_TRAIL, 1)


def test_a_short_trails_to_the_high_of_the_candle_that_lowered_its_stop():
    result = simulate(symbol([(100.0, 101.0, 90.0, 94.0)], [-1], trail=[3.0]))
    assert column(result, "fills", "price") == [100.0, 101.0]
    assert result.counts[AMBIGUOUS] == 1


def test_a_take_profit_that_the_open_has_passed_comes_before_a_stop_later_in_the_candle():
    rows = [(100.0, 100.0, 100.0, 100.0), (106.0, 107.0, 94.0, 95.0)]
    assert left(rows, take_profit=[105.0] * 2, stop=[95.0] * 2) == (106.0, BY_TAKE_PROFIT, 0)
    assert left(rows, take_profit=[105.0] * 2, trail=[3.0] * 2) == (106.0, BY_TAKE_PROFIT, 0)


HELD = (100.0, 100.0, 100.0, 100.0)


@pytest.mark.parametrize(("order", "price", "doubt"), [("trigger", 99.0, 1), ("limit", 102.0, 0)])
def test_an_order_that_reduces_for_less_goes_before_the_take_profit_of_the_rest(order, price, doubt):
    given = {order: [float("nan"), price], "take_profit": [float("nan"), 103.0], "close": [100.0, 100.0]}
    result = simulate(symbol([HELD, (100.0, 105.0, 98.0, 104.0)], [3.0, 1.0], **given))
    rest = int(1_000.0 / price * 10) / 10
    assert column(result, "fills", "price") == [100.0, price, 103.0]
    assert column(result, "fills", "qty") == pytest.approx([30.0, rest - 30.0, -rest])
    assert result.counts[AMBIGUOUS] == doubt


def test_an_exit_by_trigger_is_not_outrun_by_a_take_profit_that_may_have_come_later():
    given = {"trigger": [float("nan"), 99.0], "take_profit": [float("nan"), 103.0]}
    result = simulate(symbol([HELD, (100.0, 105.0, 98.0, 104.0)], [1.0, 0.0], **given))
    assert column(result, "fills", "price") == [100.0, 99.0]


def test_an_order_that_adds_never_fills_when_the_open_has_passed_the_take_profit():
    rows = [HELD, (106.0, 107.0, 100.0, 106.0)]
    given = {"limit": [float("nan"), 101.0], "take_profit": [105.0, 105.0], "close": [100.0, 100.0]}
    result = simulate(symbol(rows, [1.0, 4.0], **given))
    assert column(result, "fills", "price") == [100.0, 106.0]
