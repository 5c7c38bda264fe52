"""What happens inside one candle, worked out by hand. 1,000 USDT, 10x, taker 0.00055, maker 0.0002 unless said."""

from datetime import timedelta

import pytest

from bybit.backtest import compilation, fees, holdings
from bybit.rules.candles import Interval
from bybit.rules.errors import NotEstablished
from tests.bybit.backtest.markets import (
    START,
    D,
    flat,
    funding,
    instrument,
    ladder,
    market,
    replay,
    run,
    schedule,
)

NAN = float("nan")
ERAS = [(START - timedelta(days=400), "0.0002", "0.00055")]


def hours(*rows):
    """Return hourly candles with the warm-up one in front, at the first row's open."""
    return flat(rows[0][0], 1) + list(rows)


def booked(result, data, eras=ERAS, leverage=10.0):
    """Hold the result against the ledger on the way out."""
    replay(result, data, eras, 1_000.0, leverage)
    return result


# Orders at the open


def test_a_market_order_fills_at_the_next_open_with_slippage_rounded_against_the_account():
    data = market(hours((100.0, 101.0, 99.0, 100.0), (100.0, 101.0, 99.0, 100.0)))
    result = booked(run(data, [1, 0], slippage_rate=0.00033), data)
    buy, sell = result.fills.itertuples()
    assert (buy.price, buy.reference_price, sell.price) == pytest.approx((100.04, 100.0, 99.96))
    assert result.costs.slippage == pytest.approx(10 * 0.04 * 2)
    assert result.costs.gross == pytest.approx(0.0)


def test_the_size_is_rounded_toward_zero_on_the_close_of_the_decision():
    data = market([(100, 100, 97, 97.0), (100, 100, 100, 100), (100, 100, 100, 100)])
    result = run(data, [-1, -1])
    # 1000 / 97 = 10.309...: the close before, not the open that nobody knew.
    assert result.fills["qty"].tolist() == pytest.approx([-10.3])


def test_nothing_is_traded_while_the_target_stays_and_equity_drifts():
    data = market(hours(*[(100 + i, 101 + i, 99 + i, 101 + i) for i in range(6)]))
    assert len(run(data, [1, 1, 1, 1, 1, 1]).fills) == 1


def test_a_changed_target_trades_the_difference():
    data = market(hours(*flat(100.0, 3)))
    result = booked(run(data, [1, 0.5, 0.8]), data)
    assert result.fills["size_after"].tolist() == pytest.approx([10.0, 4.9, 7.9])


def test_no_opinion_is_flat():
    data = market(hours(*flat(100.0, 3)))
    assert run(data, [1, NAN, NAN]).fills["size_after"].tolist() == pytest.approx([10.0, 0.0])


def test_a_flip_is_one_fill_that_ends_one_trade_and_begins_the_next():
    data = market(hours((100, 100, 100, 100), (104, 104, 104, 104), (104, 104, 104, 104)))
    result = booked(run(data, [1, -1, 0]), data)
    assert result.fills["qty"].tolist()[:2] == pytest.approx([10.0, -19.9])
    assert result.fills["fee"].iloc[1] == pytest.approx(19.9 * 104 * 0.00055)
    first, second = result.trades.itertuples()
    assert (first.side, first.price_pnl) == (1, pytest.approx(40.0))
    assert second.side == -1
    # The one fee is shared by what it closes and what it opens.
    assert first.fees == pytest.approx(10 * 100 * 0.00055 + 10 * 104 * 0.00055)
    assert second.fees == pytest.approx(2 * 9.9 * 104 * 0.00055)


def test_a_flip_that_cannot_open_still_closes():
    data = market(hours((100, 100, 100, 100), (100, 100, 100, 100)))
    result = booked(run(data, [1, -20]), data)
    assert result.fills["size_after"].tolist() == pytest.approx([10.0, 0.0])
    assert result.rejections["reason"].tolist() == ["margin"]


def test_without_trades_nothing_is_paid_and_figures_are_undefined():
    data = market(hours(*flat(100.0, 72)))
    result = run(data, [0] * 72)
    assert len(result.fills) == len(result.trades) == 0
    assert (result.equity == 1_000.0).all()
    undefined = ("sharpe", "sortino", "calmar", "win_rate", "profit_factor", "expectancy_money")
    assert {name: result.metrics[name] for name in undefined} == dict.fromkeys(undefined)
    assert result.metrics["net_return"] == 0.0


# Rejections


@pytest.mark.parametrize(
    ("reason", "target", "changes"),
    [
        ("margin", 10.0, {}),  # the whole equity as margin leaves nothing for the fee
        ("min_notional", 0.02, {"instrument": instrument(min_notional=D(30))}),
        ("min_qty", 0.1, {"instrument": instrument(min_order_qty=D(2))}),
        ("max_qty", 1.0, {"instrument": instrument(max_market_order_qty=D("9.9"))}),
        ("risk_limit", 3.0, {"risk_tiers": ladder((500, 2_500), ("0.01", "0.02"))}),
    ],
)
def test_an_order_that_the_venue_would_refuse_is_counted_and_not_tried_again(reason, target, changes):
    data = market(hours(*flat(100.0, 3)), **changes)
    result = run(data, [target] * 3)
    assert result.rejections["reason"].tolist() == [reason]
    assert result.rejected_orders == result.metrics["n_rejected_orders"] == 1
    assert len(result.fills) == 0


def test_a_reduction_below_the_smallest_order_passes():
    data = market(hours(*flat(100.0, 2)), instrument=instrument(min_notional=D(600)))
    assert len(run(data, [1, 0.6]).fills) == 2


def test_a_limit_larger_than_the_market_cap_passes_when_the_limit_cap_allows_it():
    data = market(hours((100, 101, 98, 100)), instrument=instrument(max_market_order_qty=D(1)))
    assert len(run(data, [1], limit=[99.0]).fills) == 1


# Post-only limits


def test_a_limit_that_is_traded_through_fills_at_its_price_as_maker():
    data = market(hours((100.0, 101.0, 98.99, 100.0)))
    result = booked(run(data, [1], limit=[99.0]), data)
    (fill,) = result.fills.itertuples()
    assert (fill.price, fill.liquidity, fill.reason) == (99.0, "maker", "limit")
    assert fill.fee == pytest.approx(10.1 * 99.0 * 0.0002)
    assert result.costs.slippage == 0.0


def test_a_limit_that_is_only_touched_does_not_fill():
    result = run(market(hours((100.0, 101.0, 99.0, 100.0))), [1], limit=[99.0])
    assert len(result.fills) == 0
    assert result.metrics["n_limits_unfilled"] == 1


@pytest.mark.parametrize(("target", "limit"), [(1, 100.0), (1, 100.5), (-1, 100.0), (-1, 99.0)])
def test_a_post_only_order_that_would_cross_at_the_open_is_cancelled(target, limit):
    result = run(market(hours((100.0, 103.0, 97.0, 100.0))), [target], limit=[limit])
    assert len(result.fills) == 0
    assert result.metrics["n_limits_crossed"] == 1


def test_an_unfilled_limit_is_quoted_again_while_the_target_is_unmet():
    rows = hours((100.0, 101.0, 99.5, 100.0), (100.0, 101.0, 99.4, 100.0), (100.0, 101.0, 95.0, 100.0), *flat(100.0, 2))
    result = run(market(rows), [1] * 5, limit=[99.0, 99.2, 99.3, 98.0, 98.0])
    assert result.fills["price"].tolist() == [99.3]
    assert result.metrics["n_limits_unfilled"] == 2


def test_a_limit_is_rounded_to_the_passive_side_of_the_tick():
    bought = run(market(hours((100.0, 101.0, 90.0, 100.0))), [0.1], limit=[99.019])
    sold = run(market(hours((100.0, 110.0, 99.0, 100.0))), [-0.1], limit=[100.991])
    assert bought.fills["price"].tolist() == pytest.approx([99.01])
    assert sold.fills["price"].tolist() == pytest.approx([101.0])


def test_a_strategy_may_give_up_quoting_and_take():
    rows = hours((100.0, 101.0, 99.5, 100.0), (101.0, 102.0, 100.0, 101.0))
    (fill,) = run(market(rows), [1, 1], limit=[99.0, NAN]).fills.itertuples()
    assert (fill.price, fill.liquidity) == (101.0, "taker")


def test_an_exit_limit_closes_as_maker():
    rows = hours((100.0, 100.0, 100.0, 100.0), (100.0, 102.0, 99.9, 101.0))
    data = market(rows)
    result = booked(run(data, [1, 0], limit=[NAN, 101.5]), data)
    assert result.trades["price_pnl"].tolist() == pytest.approx([15.0])
    assert result.fills["liquidity"].tolist() == ["taker", "maker"]


# Stops


def test_a_stop_sells_at_its_price_with_slippage_as_taker():
    data = market(hours((100.0, 101.0, 97.0, 98.0)))
    result = booked(run(data, [1], stop=[98.0], slippage_rate=0.001), data)
    stop = result.fills.iloc[-1]
    assert (stop["price"], stop["reference_price"], stop["liquidity"], stop["reason"]) == (97.9, 98.0, "taker", "stop")


def test_a_stop_that_the_open_gaps_through_fills_at_the_open():
    data = market(hours((100.0, 100.0, 100.0, 100.0), (96.0, 97.0, 95.0, 97.0)))
    result = booked(run(data, [1, 1], stop=[98.0, 98.0]), data)
    assert result.fills["price"].tolist() == [100.0, 96.0]


def test_a_touched_stop_is_triggered():
    assert len(run(market(hours((100.0, 101.0, 98.0, 100.0))), [1], stop=[98.0]).trades) == 1


def test_a_short_is_stopped_above():
    result = run(market(hours((100.0, 103.0, 100.0, 100.0))), [-1], stop=[102.0], slippage_rate=0.001)
    assert result.fills["price"].tolist() == [99.9, 102.11]


def test_nothing_is_opened_again_after_a_stop_until_the_target_changes():
    rows = hours((100.0, 100.0, 97.0, 100.0), *flat(100.0, 4))
    result = run(market(rows), [1, 1, 1, 0.5, 0.5], stop=[98.0, NAN, NAN, NAN, NAN])
    assert result.fills["candle"].tolist() == [0, 0, 3]


def test_a_stop_cancels_the_limit_that_rests():
    # The stop is hit while more is being quoted for: that quote is gone for good, not only for this candle.
    rows = hours(*flat(100.0, 1), (100.0, 100.0, 97.5, 98.0), (98.0, 98.0, 90.0, 95.0))
    data = market(rows)
    result = booked(run(data, [1, 2, 2], limit=[NAN, 97.0, 96.0], stop=[NAN, 98.0, NAN]), data)
    assert result.fills["reason"].tolist() == ["market", "stop"]


def test_the_old_side_has_no_stop_while_a_flip_still_rests():
    # Decided: short, with a stop above. The long is still held, and 105 is no stop of a long at 100.
    rows = hours(*flat(100.0, 1), (100.0, 100.5, 99.0, 100.0))
    result = run(market(rows), [1, -1], limit=[NAN, 101.0], stop=[NAN, 105.0])
    assert len(result.fills) == 1


# Liquidation


def test_a_liquidation_costs_the_margin_exactly_and_no_fee():
    mark = hours((100.0, 100.0, 90.0, 95.0))
    data = market(hours((100.0, 100.0, 99.0, 99.0)), mark=mark)
    result = booked(run(data, [2]), data)
    (row,) = result.liquidations.itertuples()
    # 20 coins at 100, margin 200, maintenance 1 % of the entry value as in 2024: 100 - (200 - 20) / 20.
    assert row.liquidation_price == row.trigger_price == pytest.approx(91.0)
    assert row.fund == pytest.approx(20 * (91.0 - 90.0))
    assert row.loss == pytest.approx(200.0)
    assert result.equity[-1] == pytest.approx(1_000 - 200 - 2_000 * 0.00055)
    assert result.trades["reason"].tolist() == ["liquidation"]
    assert result.trades["exit_price"].tolist() == pytest.approx([90.0])
    assert result.costs.liquidation_loss == pytest.approx(200.0)


def test_the_last_price_never_liquidates():
    data = market(hours((100.0, 100.0, 50.0, 99.0)), mark=hours((100.0, 100.0, 95.0, 99.0)))
    assert len(run(data, [2]).liquidations) == 0


def test_a_mark_that_gaps_through_the_liquidation_price_costs_no_more_than_the_margin():
    rows = hours(*flat(100.0, 1), (60.0, 60.0, 55.0, 60.0))
    data = market(rows)
    result = booked(run(data, [2, 2]), data)
    (row,) = result.liquidations.itertuples()
    assert (row.trigger_price, row.loss) == (60.0, pytest.approx(200.0))


def test_a_short_is_liquidated_by_the_high():
    data = market(hours((100.0, 100.0, 100.0, 100.0)), mark=hours((100.0, 112.0, 100.0, 100.0)))
    (row,) = booked(run(data, [-1]), data).liquidations.itertuples()
    assert row.liquidation_price == pytest.approx(100 + (100 - 10) / 10)


def test_the_tier_of_the_entry_value_decides_while_maintenance_follows_the_entry():
    # 80 coins at 100 and 20x: the value lies in the second tier, whose deduction is 20.
    tiers = ladder((2_000, 10_000), ("0.01", "0.02"))
    data = market(hours((100.0, 100.0, 96.0, 97.0)), risk_tiers=tiers)
    result = booked(run(data, [8], leverage=20.0, liquidation="takeover"), data, leverage=20.0)
    (row,) = result.liquidations.itertuples()
    assert row.liquidation_price == pytest.approx(100 - (400 - (160 - 20)) / 80)


def test_a_position_that_grows_over_a_tier_is_liquidated_earlier():
    tiers = ladder((2_000, 10_000), ("0.01", "0.05"))
    rows = hours(*flat(100.0, 2), (100.0, 100.0, 93.0, 95.0))
    small, large = (market(rows, risk_tiers=tiers) for _ in range(2))
    assert len(booked(run(small, [1, 1.5, 1.5]), small).liquidations) == 0
    assert len(booked(run(large, [1, 6, 6]), large).liquidations) == 1


def test_nothing_is_opened_again_after_a_liquidation_until_the_target_changes():
    data = market(hours(*flat(100.0, 6)), mark=hours((100.0, 100.0, 80.0, 100.0), *flat(100.0, 5)))
    result = run(data, [2, 2, 2, 2, -1, -1])
    assert result.fills["candle"].tolist() == [0, 4]


# Two things in one candle: the worse for the account


def test_of_stop_and_liquidation_the_dearer_happens():
    # 10x: the margin is 10 % of the entry. A stop at 96 loses 4 %, so the liquidation is dearer.
    data = market(hours((100.0, 100.0, 88.0, 95.0)))
    result = booked(run(data, [2], stop=[96.0]), data)
    assert len(result.liquidations) == 1
    # A stop filled by a gap at 85 loses 15 %, more than the margin; the mark had reached the liquidation price as well.
    gapped = market(
        hours(*flat(100.0, 1), (85.0, 85.0, 85.0, 85.0)), mark=hours(*flat(100.0, 1), (92.0, 92.0, 89.0, 92.0))
    )
    result = booked(run(gapped, [2, 2], stop=[96.0, 96.0]), gapped)
    assert len(result.liquidations) == 0
    assert result.trades["reason"].tolist() == ["stop"]


def test_a_stop_comes_before_the_exit_limit_of_the_same_candle():
    rows = hours(*flat(100.0, 1), (100.0, 103.0, 97.0, 100.0))
    data = market(rows)
    result = booked(run(data, [1, 0], limit=[NAN, 102.0], stop=[NAN, 98.0]), data)
    assert result.fills["reason"].tolist() == ["market", "stop"]


def test_a_limit_entry_can_be_stopped_in_its_own_candle():
    data = market(hours((100.0, 100.0, 96.0, 100.0)))
    result = booked(run(data, [1], limit=[99.0], stop=[97.0]), data)
    assert result.fills["price"].tolist() == [99.0, 97.0]


def test_a_limit_entry_can_be_liquidated_in_its_own_candle():
    data = market(hours((100.0, 100.0, 85.0, 100.0)))
    result = booked(run(data, [2], limit=[99.0]), data)
    assert (len(result.fills), len(result.liquidations)) == (1, 1)


def test_an_adding_limit_below_the_stop_never_fills():
    rows = hours(*flat(100.0, 1), (100.0, 100.0, 95.0, 100.0))
    data = market(rows)
    result = booked(run(data, [1, 2], limit=[NAN, 97.0], stop=[NAN, 98.0]), data)
    assert result.fills["reason"].tolist() == ["market", "stop"]


def test_an_adding_limit_above_the_stop_is_stopped_with_the_rest():
    rows = hours(*flat(100.0, 1), (100.0, 100.0, 95.0, 100.0))
    data = market(rows)
    result = booked(run(data, [1, 2], limit=[NAN, 99.0], stop=[NAN, 98.0]), data)
    assert result.fills["reason"].tolist() == ["market", "limit", "stop"]
    assert result.fills["size_after"].iloc[-1] == 0.0


def test_an_adding_limit_makes_the_liquidation_larger_when_both_are_certain_to_be_reached():
    rows = hours(*flat(100.0, 1), (100.0, 100.0, 80.0, 90.0))
    data = market(rows)
    result = booked(run(data, [2, 4], limit=[NAN, 95.0], liquidation="takeover"), data)
    assert result.liquidations["size"].iloc[0] == pytest.approx(40.0 + 2.0, abs=0.2)


def test_an_adding_limit_cannot_save_a_position_from_its_liquidation():
    # Adding at 91.5 would lower the liquidation price below the mark's low: it counts as not filled.
    rows = hours(*flat(100.0, 1), (100.0, 100.0, 90.5, 95.0))
    data = market(rows)
    result = booked(run(data, [2, 8], limit=[NAN, 91.5]), data)
    assert result.fills["reason"].tolist() == ["market"]
    assert result.liquidations["size"].tolist() == pytest.approx([20.0])


# Funding


def test_a_fill_exactly_at_settlement_comes_after_it():
    settlements = funding((1, "0.001"), (2, "0.001"))
    data = market(hours(*flat(100.0, 3)), settlements=settlements)
    result = booked(run(data, [0, 1, 0]), data)
    (row,) = result.funding.itertuples()
    # Bought at 01:00, after that settlement; sold at 02:00, after that one.
    assert row.funding_time == START + timedelta(hours=2)
    assert row.payment == pytest.approx(-10 * 100 * 0.001)
    assert result.costs.funding == pytest.approx(1.0)


def test_funding_is_paid_and_received_in_both_directions_over_a_switch_from_8_to_4_hours():
    times = (8, 16, 20, 24)
    rates = ("0.001", "-0.002", "0.0005", "-0.0001")
    data = market(hours(*flat(100.0, 25)), settlements=funding((0, "0.5"), *zip(times, rates, strict=True)))
    long, short = (booked(run(data, [side] * 25), data) for side in (1, -1))
    assert long.funding["payment"].tolist() == pytest.approx([-1.0, 2.0, -0.5, 0.1])
    assert short.funding["payment"].tolist() == pytest.approx([1.0, -2.0, 0.5, -0.1])
    assert long.trades.empty
    assert long.costs.net == pytest.approx(0.6 - 0.55)


def test_funding_takes_the_mark_of_that_instant():
    mark = hours(*flat(100.0, 1), (101.0, 105.0, 95.0, 100.0))
    data = market(hours(*flat(100.0, 2)), mark=mark, settlements=funding((1, "0.001")))
    assert run(data, [1, 1]).funding["mark_price"].tolist() == [101.0]


def test_funding_does_not_move_the_liquidation_price():
    mark = hours(*flat(100.0, 1), (100.0, 100.0, 91.01, 100.0))
    data = market(hours(*flat(100.0, 2)), mark=mark, settlements=funding((1, "0.2")))
    result = booked(run(data, [2, 2]), data)
    assert len(result.liquidations) == 0
    assert result.costs.funding == pytest.approx(400.0)


def test_inside_a_long_candle_a_settlement_that_costs_is_charged_before_the_stop():
    paid = market(
        [(100, 100, 100, 100), (100, 100, 97, 100)],
        interval=Interval.HOUR_12,
        mark=flat(100.0, 24),
        mark_interval=Interval.HOUR_1,
        settlements=funding((8, "0.001")),
    )
    received = market(
        [(100, 100, 100, 100), (100, 100, 97, 100)],
        interval=Interval.HOUR_12,
        mark=flat(100.0, 24),
        mark_interval=Interval.HOUR_1,
        settlements=funding((8, "-0.001")),
    )
    assert run(paid, [1], stop=[98.0]).funding["payment"].tolist() == pytest.approx([-1.0])
    assert run(received, [1], stop=[98.0]).funding.empty


def test_inside_a_long_candle_what_a_limit_opened_pays_and_does_not_receive():
    def payments(rate):
        data = market(
            [(100, 100, 100, 100), (100, 100, 98, 100)],
            interval=Interval.HOUR_12,
            mark=flat(100.0, 24),
            mark_interval=Interval.HOUR_1,
            settlements=funding((8, rate)),
        )
        return run(data, [1], limit=[99.0]).funding["payment"].tolist()

    assert payments("0.001") == pytest.approx([-10.1 * 100 * 0.001])
    assert payments("-0.001") == []


# Fees by date


def test_the_rate_in_force_at_the_fill_applies():
    eras = [(START - timedelta(days=1), "0.0001", "0.0006"), (START + timedelta(hours=1), "0.0002", "0.00055")]
    data = market(hours(*flat(100.0, 2)))
    result = booked(run(data, [1, 0], fee_schedule=schedule(*eras)), data, eras)
    assert result.fills["fee"].tolist() == pytest.approx([0.6, 0.55])


def test_a_maker_rebate_enters_the_wallet():
    eras = [(START - timedelta(days=1), "-0.00025", "0.00075")]
    data = market(hours((100.0, 101.0, 98.0, 100.0)))
    result = booked(run(data, [1], limit=[99.0], fee_schedule=schedule(*eras)), data, eras)
    assert result.costs.maker_fees == pytest.approx(-10.1 * 99 * 0.00025)


def test_a_period_that_begins_before_the_first_fee_row_is_refused():
    with pytest.raises(NotEstablished, match="not established"):
        run(market(hours(*flat(100.0, 2))), [1, 1], fee_schedule=schedule((START + timedelta(hours=1), "0", "0.001")))


# Ruin


def test_ruin_ends_trading_for_good():
    # A short at 1x without a near liquidation price is squeezed by the last price alone, out of the mark's sight.
    rows = hours(*flat(100.0, 1), (300.0, 300.0, 300.0, 300.0), *flat(100.0, 5))
    mark = hours(*flat(100.0, 7))
    data = market(rows, mark=mark)
    result = run(data, [-1, 0, 1, 1, -1, 1, 1], leverage=2.0)
    assert result.ruined
    assert result.equity[-1] == result.equity[1] < 0
    assert result.fills["candle"].max() == 1
    assert result.metrics["net_return"] < -1.0
    booked(result, data, leverage=2.0)


def test_a_position_that_funding_has_ruined_is_closed():
    rows = hours(*flat(100.0, 6))
    data = market(rows, settlements=funding(*[(i, "0.3") for i in range(1, 6)]))
    result = booked(run(data, [4, 4, 4, 4, 4, 4]), data)
    assert result.ruined
    assert result.fills["reason"].tolist() == ["market", "ruin"]
    assert (result.equity[1:] == result.equity[-1]).all()


# The length of the logs


def test_more_fills_than_the_first_logs_hold_are_all_kept():
    n = 6_000
    data = market(hours(*flat(100.0, n)))
    result = run(
        data, [1, -1] * (n // 2), fee_schedule=schedule((START - timedelta(days=1), "0", "0")), funding_policy="zero"
    )
    assert len(result.fills) == n
    assert len(result.trades) == n - 1


def test_more_rejections_than_the_first_logs_hold_are_all_kept():
    n = 6_000
    result = run(market(hours(*flat(100.0, n))), [20, 30] * (n // 2))
    assert len(result.rejections) == n


# The cache on disk


def test_the_kernel_is_compiled_anew_when_a_function_or_a_constant_changes(monkeypatch):
    before = compilation.fingerprint([fees, holdings])
    assert compilation.fingerprint([fees, holdings]) == before
    monkeypatch.setattr(holdings, "MARGIN", 99)
    constant = compilation.fingerprint([fees, holdings])
    monkeypatch.undo()
    monkeypatch.setattr(holdings, "settle", holdings.end_trade)
    assert len({before, constant, compilation.fingerprint([fees, holdings])}) == 3
