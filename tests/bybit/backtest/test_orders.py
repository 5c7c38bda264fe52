"""Orders and protections candle by candle, worked out by hand. 1,000 of cash, 10x, no fees, no slippage unless said."""

import math

import pytest

from bybit.backtest.records import (
    AMBIGUOUS,
    BY_STOP,
    BY_TAKE_PROFIT,
    BY_TRAIL,
    BY_TRIGGER,
    DONE,
    FEE_MISSING,
    HELD,
    NO_QUOTE,
    PARTIAL,
    POST_ONLY,
    REDUCE_ONLY,
    REJECTIONS,
    UNFILLED,
    VOLUME_MISSING,
    Fees,
)
from tests.bybit.backtest.accounts import NAN, column, flat, simulate, symbol, table

CALM = (100.0, 100.0, 100.0, 100.0)


# Entries


def test_a_trigger_buys_above_at_its_price_with_slippage():
    rows = [CALM, (100.0, 106.0, 100.0, 105.0)]
    result = simulate(symbol(rows, [1, 1], trigger=[105.0, 105.0]), slippage_rate=0.001)
    (fill,) = table(result, "fills")
    assert (fill["price"], fill["reference_price"]) == pytest.approx((105.11, 105.0))
    assert (fill["reason"], fill["taker"], fill["candle"]) == (BY_TRIGGER, 1.0, 1.0)


def test_a_touched_trigger_fires_and_an_untouched_one_waits():
    touched = simulate(symbol([(100.0, 105.0, 100.0, 100.0)], [1], trigger=[105.0]))
    waiting = simulate(symbol([(100.0, 104.99, 100.0, 100.0)], [1], trigger=[105.0]))
    assert len(touched.logs.fills) == 1
    assert (len(waiting.logs.fills), waiting.counts[UNFILLED]) == (0, 1)


def test_a_trigger_that_the_open_has_passed_fills_at_the_open():
    rows = [CALM, (108.0, 109.0, 107.0, 108.0), (90.0, 90.0, 90.0, 90.0)]
    result = simulate(symbol(rows, [1, 1, -1], trigger=[105.0, 105.0, 95.0]))
    assert column(result, "fills", "price") == [108.0, 90.0]
    assert column(result, "fills", "fill_time")[0] == 1_767_225_600_000 + 3_600_000


def test_what_a_trigger_opened_can_be_stopped_in_its_own_candle_and_is_counted_as_uncertain():
    result = simulate(symbol([(100.0, 106.0, 97.0, 104.0)], [1], trigger=[105.0], stop=[98.0]))
    assert column(result, "fills", "price") == [105.0, 98.0]
    assert result.counts[AMBIGUOUS] == 1


def test_a_plain_limit_that_crosses_takes_at_the_open_and_never_beyond_its_price():
    far = simulate(symbol([CALM], [1], limit=[103.0], flags=[0]), slippage_rate=0.01)
    near = simulate(symbol([CALM], [1], limit=[100.5], flags=[0]), slippage_rate=0.01)
    refused = simulate(symbol([CALM], [1], limit=[103.0], flags=[POST_ONLY]), slippage_rate=0.01)
    assert column(far, "fills", "price") == [101.0]
    assert column(near, "fills", "price") == [100.5]
    assert column(near, "fills", "taker") == [1.0]
    assert len(refused.logs.fills) == 0


def test_a_plain_limit_that_rests_makes():
    result = simulate(symbol([(100.0, 100.0, 98.0, 100.0)], [1], limit=[99.0], flags=[0]))
    assert (column(result, "fills", "price"), column(result, "fills", "taker")) == ([99.0], [0.0])


def test_an_order_that_only_reduces_never_opens():
    grows = simulate(symbol([CALM, CALM], [0.5, 1], flags=[0, REDUCE_ONLY]))
    flips = simulate(symbol([CALM, CALM], [0.5, -1], flags=[0, REDUCE_ONLY]))
    opens = simulate(symbol([CALM], [1], flags=[REDUCE_ONLY]))
    assert column(grows, "fills", "size_after") == [5.0]
    assert column(flips, "fills", "size_after") == [5.0, 0.0]
    assert len(opens.logs.fills) == 0
    assert [REJECTIONS[int(why)] for why in column(opens, "rejections", "reason")] == ["reduce_only"]


# Protections


def test_a_take_profit_sells_at_its_price_as_taker_with_slippage():
    result = simulate(symbol([(100.0, 105.0, 99.0, 101.0)], [1], take_profit=[104.0]), slippage_rate=0.001)
    profit = table(result, "fills")[-1]
    assert (profit["price"], profit["reference_price"], profit["taker"]) == (103.89, 104.0, 1.0)
    assert profit["reason"] == BY_TAKE_PROFIT


def test_a_take_profit_that_the_open_has_passed_sells_at_the_open():
    rows = [CALM, (107.0, 108.0, 106.0, 107.0)]
    assert column(simulate(symbol(rows, [1, 1], take_profit=[104.0, 104.0])), "fills", "price") == [100.0, 107.0]


def test_a_stop_comes_before_the_take_profit_of_the_same_candle():
    result = simulate(symbol([(100.0, 105.0, 97.0, 104.0)], [1], take_profit=[104.0], stop=[98.0]))
    assert (column(result, "fills", "price"), result.counts[AMBIGUOUS]) == ([100.0, 98.0], 1)


def test_a_short_takes_its_profit_below():
    assert column(simulate(symbol([(100.0, 101.0, 95.0, 99.0)], [-1], take_profit=[96.0])), "fills", "price") == [
        100.0, 96.0,
    ]  # fmt: skip


def test_a_profit_that_may_lie_before_the_limit_entry_is_not_taken():
    unsure = simulate(symbol([(100.0, 104.0, 98.0, 100.0)], [1], limit=[99.0], take_profit=[103.0]))
    certain = simulate(symbol([(100.0, 104.0, 98.0, 103.5)], [1], limit=[99.0], take_profit=[103.0]))
    assert (column(unsure, "fills", "price"), unsure.counts[AMBIGUOUS]) == ([99.0], 1)
    assert column(certain, "fills", "price") == [99.0, 103.0]


def test_a_trailing_stop_follows_the_best_price_of_earlier_candles():
    rows = [(100.0, 110.0, 100.0, 109.0), (109.0, 109.5, 106.0, 107.0)]
    result = simulate(symbol(rows, [1, 1], trail=[11.0, 3.0]))
    assert column(result, "fills", "price") == [100.0, 107.0]
    assert column(result, "fills", "reason")[-1] == BY_TRAIL


def test_a_trailing_stop_raised_by_this_candles_own_best_price_fills_at_the_worst_that_may_be_and_is_counted():
    low = simulate(symbol([(100.0, 110.0, 99.0, 104.0)], [1], trail=[5.0]))
    unsure = simulate(symbol([(100.0, 110.0, 99.0, 108.0)], [1], trail=[5.0]))
    assert column(low, "fills", "price") == column(unsure, "fills", "price") == [100.0, 99.0]
    assert (low.counts[AMBIGUOUS], unsure.counts[AMBIGUOUS]) == (1, 1)


def test_the_best_price_of_a_limit_entry_begins_where_it_was_certainly_held():
    # The high of 110 may lie before the entry at 99: only the close of 100 counts, and 95 is not reached.
    rows = [(100.0, 110.0, 98.0, 100.0), (100.0, 100.0, 95.5, 96.0)]
    result = simulate(symbol(rows, [1, 1], limit=[99.0, NAN], trail=[5.0, 5.0]))
    assert column(result, "fills", "price") == [99.0]


def test_the_nearer_of_stop_and_trailing_stop_happens():
    rows = [(100.0, 110.0, 100.0, 109.0), (109.0, 109.0, 95.0, 96.0)]
    trailing = simulate(symbol(rows, [1, 1], trail=[20.0, 4.0], stop=[NAN, 98.0]))
    stopped = simulate(symbol(rows, [1, 1], trail=[20.0, 20.0], stop=[NAN, 98.0]))
    assert column(trailing, "fills", "price") == [100.0, 106.0]
    assert (column(stopped, "fills", "price")[-1], column(stopped, "fills", "reason")[-1]) == (98.0, BY_STOP)


# Volume


def test_no_more_than_the_share_of_the_volume_fills_and_the_rest_goes_on_at_the_next_open():
    rows = [CALM, (101.0,) * 4, (102.0,) * 4, (103.0,) * 4]
    result = simulate(symbol(rows, [1] * 4, volume=[40.0] * 4, row=[0] * 4), participation=0.1)
    assert column(result, "fills", "qty") == pytest.approx([4.0, 4.0, 2.0])
    assert column(result, "fills", "price") == [100.0, 101.0, 102.0]
    assert result.counts[PARTIAL] == 2


def test_an_exit_goes_on_at_the_next_opens_until_it_is_done():
    rows = [CALM, (100.0, 100.0, 97.0, 98.0), (97.5,) * 4, (96.0,) * 4, (96.0,) * 4]
    result = simulate(
        symbol(rows, [1] * 5, volume=[200.0, 40.0, 40.0, 40.0, 40.0], stop=[98.0, 98.0, NAN, NAN, NAN]),
        participation=0.1,
    )
    assert column(result, "fills", "qty") == pytest.approx([10.0, -4.0, -4.0, -2.0])
    assert column(result, "fills", "price") == [100.0, 98.0, 97.5, 96.0]
    assert set(column(result, "fills", "reason")[1:]) == {BY_STOP}
    assert len(result.logs.trades) == 1


def test_what_filled_at_the_open_leaves_less_for_the_rest_of_the_candle():
    rows = [(100.0, 100.0, 97.0, 98.0), (97.5,) * 4]
    result = simulate(symbol(rows, [0.3, 0.3], volume=[40.0] * 2, stop=[98.0, NAN]), participation=0.1)
    assert column(result, "fills", "qty") == pytest.approx([3.0, -1.0, -2.0])
    assert column(result, "fills", "price") == [100.0, 98.0, 97.5]


def test_slippage_grows_with_the_square_of_the_share_of_the_volume():
    result = simulate(symbol([CALM], [1], volume=[20.0]), impact=0.1, slippage_rate=0.001)
    # 10 of 20: a quarter of the impact on top of the rate.
    assert column(result, "fills", "price") == pytest.approx([102.6])


def test_a_volume_that_nobody_knows_ends_the_run_where_it_is_needed():
    result = simulate(symbol([CALM, CALM], [0, 1], volume=[NAN, NAN]), participation=0.5)
    assert (result.status, result.where) == (VOLUME_MISSING, 1)
    assert simulate(symbol([CALM, CALM], [0, 0], volume=[NAN, NAN]), participation=0.5).status == DONE


def test_nothing_fills_in_a_candle_without_volume():
    result = simulate(symbol([CALM, (101.0,) * 4], [1, 1], volume=[0.0, 500.0]), participation=0.5)
    assert column(result, "fills", "price") == [101.0]


# Quotes


def test_market_orders_take_the_quote_of_the_open():
    result = simulate(symbol([CALM, CALM], [1, 0], bid=[99.9, 99.8], ask=[100.2, 100.3]))
    assert column(result, "fills", "price") == [100.2, 99.8]
    assert result.positions[0, 12] == pytest.approx(10 * 0.2 + 10 * 0.2)


def test_inside_a_candle_half_the_quoted_spread_is_lost():
    rows = [CALM, (100.0, 100.0, 97.0, 98.0)]
    result = simulate(symbol(rows, [1, 1], stop=[98.0, 98.0], bid=[99.5] * 2, ask=[100.5] * 2))
    assert column(result, "fills", "price") == pytest.approx([100.5, 97.51])


def test_a_fill_without_a_quote_is_counted_and_takes_the_rate():
    result = simulate(symbol([CALM, CALM], [1, 0], bid=[NAN, 99.8], ask=[NAN, 100.3]), slippage_rate=0.01)
    assert column(result, "fills", "price") == [101.0, 99.8]
    assert result.counts[NO_QUOTE] == 1


# Finer candles


def test_an_order_is_placed_in_the_first_candle_of_a_row_and_rests_in_the_others():
    rows = [CALM, (100.0, 100.0, 98.5, 99.5), CALM, (100.0, 100.0, 90.0, 100.0)]
    one = symbol(rows, [1, 1, 0, 0], limit=[99.0, NAN, NAN, NAN], row=[0, 0, 2, 2])
    assert column(simulate(one), "fills", "price") == [99.0, 100.0]
    assert column(simulate(one), "fills", "candle") == [1.0, 2.0]


def test_a_resting_limit_that_a_later_candle_opens_beyond_fills_at_its_price():
    rows = [CALM, (95.0, 96.0, 94.0, 95.0)]
    assert column(simulate(symbol(rows, [1, 1], limit=[99.0, NAN], row=[0, 0])), "fills", "price") == [99.0]


def test_finer_candles_decide_what_a_long_one_leaves_open():
    fine = [(100.0, 104.5, 100.0, 104.0), (104.0, 104.0, 97.0, 98.0)]
    coarse = [(100.0, 104.5, 97.0, 98.0)]
    given = {"take_profit": 104.0, "stop": 98.0}
    long = simulate(symbol(coarse, [1], **{name: [price] for name, price in given.items()}))
    short = simulate(symbol(fine, [1, 1], row=[0, 0], **{name: [price] * 2 for name, price in given.items()}))
    assert column(long, "fills", "price") == [100.0, 98.0]
    assert column(short, "fills", "price") == [100.0, 104.0]
    assert (long.counts[AMBIGUOUS], short.counts[AMBIGUOUS]) == (1, 0)


# Fees


def test_the_tier_is_earned_by_thirty_days_of_volume_and_changes_at_seven():
    fees = Fees([0], [[[0.0], [0.0]]], [[[0.001], [0.0005]]], [0.0, 5_000.0])
    # 1,000 a fill: the sixth and later fills of the first day do not change its own tier, nor the night after it.
    target = [i % 2 for i in range(1, 41)]
    result = simulate(symbol(flat(100.0, 40), target), fees=fees, cash=1_000.0)
    rates = [row["fee"] / abs(row["qty"] * row["price"]) for row in table(result, "fills")]
    hours = [row["candle"] for row in table(result, "fills")]
    assert {round(rate, 6) for rate, hour in zip(rates, hours, strict=True) if hour < 31} == {0.001}
    assert {round(rate, 6) for rate, hour in zip(rates, hours, strict=True) if hour >= 31} == {0.0005}


def test_volume_older_than_thirty_days_earns_nothing():
    fees = Fees([0], [[[0.0], [0.0]]], [[[0.001], [0.0005]]], [0.0, 5_000.0])
    days = 34
    target = [i % 2 for i in range(1, 13)] + [0] * (24 * days - 14) + [1, 1]
    result = simulate(symbol(flat(100.0, 24 * days), target), fees=fees)
    last = table(result, "fills")[-1]
    assert last["fee"] / (last["qty"] * last["price"]) == pytest.approx(0.001)


def test_a_rate_that_is_not_established_ends_the_run_where_it_is_needed():
    fees = Fees([0], [[[0.0002]]], [[[math.nan]]], [0.0])
    assert (simulate(symbol([CALM, CALM], [0, 1]), fees=fees).status) == FEE_MISSING
    assert simulate(symbol([CALM, CALM], [0, 1]), fees=fees).where == 1
    rests = symbol([(100.0, 100.0, 98.0, 100.0)], [1], limit=[99.0])
    assert simulate(rests, fees=fees).status == DONE


def test_every_candle_with_a_position_counts_as_held():
    assert simulate(symbol(flat(100.0, 5), [0, 1, 1, 0, 0])).counts[HELD] == 2
