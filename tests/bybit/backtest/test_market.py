"""Which data a run accepts, what it refuses, and what it counts as assumed."""

import dataclasses
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from bybit.backtest.errors import UnusableData
from bybit.backtest.funding import funding_arrays
from bybit.backtest.market import prepare
from bybit.rules.candles import Interval
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.funding import FundingRate
from bybit.rules.periods import Period, to_ms
from tests.bybit.backtest.markets import START, Scripted, engine, flat, frame, funding, market, period, run

QUARTER = Interval.MINUTE_15


def quarters(rows, mark, **changes):
    """Return 15-minute candles from one warm-up hour on, with hourly mark candles over the same span."""
    start_ms = to_ms(START) - Interval.HOUR_1.ms
    data = market(rows, interval=QUARTER, mark=mark, mark_interval=Interval.HOUR_1, **changes)
    return dataclasses.replace(
        data, candles=frame(rows, QUARTER, start_ms), mark=frame(mark, Interval.HOUR_1, start_ms)
    )


def run_quarters(data, target, **changes):
    n = len(data.candles) - 4
    return engine(Scripted([target] * n), **({"mark_policy": "coarser"} | changes)).run(data, period(data))


# Mark prices


def test_without_mark_prices_a_run_is_refused_unless_last_is_asked_for_by_name():
    data = market(flat(100.0, 4), mark=flat(100.0, 4))
    bare = dataclasses.replace(data, mark=None, mark_interval=None)
    for policy in ("exact", "coarser"):
        with pytest.raises(NotEstablished, match="mark_policy='last' by name"):
            run(bare, [1, 1, 1], mark_policy=policy)
    result = run(bare, [0, 1, 1], mark_policy="last")
    assert result.assumptions["held_candles_with_last_price_as_mark"] == 2


def test_one_absent_mark_candle_refuses_the_run_and_is_named():
    data = market(flat(100.0, 5))
    holed = dataclasses.replace(data, mark=data.mark.drop(data.mark.index[2]))
    with pytest.raises(NotEstablished, match=r"missing for 1 of 4 candles, the first at 2024-01-01T01:00"):
        run(holed, [0] * 4)


def test_longer_mark_candles_are_refused_as_exact():
    with pytest.raises(NotEstablished, match="mark_policy='coarser' by name"):
        run_quarters(quarters(flat(100.0, 8), flat(100.0, 2)), 1, mark_policy="exact")


def test_the_extremes_of_a_longer_mark_candle_hold_for_every_candle_inside():
    data = quarters(flat(100.0, 8), [*flat(100.0, 1), (100.0, 100.0, 80.0, 100.0)])
    late = engine(Scripted([0, 0, 0, 2]), mark_policy="coarser").run(data, period(data))
    assert late.liquidations["candle"].tolist() == [3]
    assert late.assumptions["held_candles_with_a_longer_mark_candle"] == 1


def test_inside_a_longer_mark_candle_its_open_is_not_taken_for_the_mark_at_a_later_open():
    data = quarters(flat(100.0, 8), [*flat(100.0, 1), (80.0, 100.0, 80.0, 100.0)])
    (row,) = engine(Scripted([0, 2, 2, 2]), mark_policy="coarser").run(data, period(data)).liquidations.itertuples()
    assert row.trigger_price == row.liquidation_price


def test_equity_inside_a_longer_mark_candle_is_the_last_close_within_its_range():
    rows = [*flat(100.0, 4), *flat(100.0, 1), (100, 106, 100, 106), (106, 106, 97, 97), (97, 101, 97, 101)]
    data = quarters(rows, [*flat(100.0, 1), (100.0, 103.0, 98.0, 102.0)])
    result = run_quarters(data, 1)
    profit = result.equity - 1_000.0 + 0.55
    # 106 and 97 lie outside the mark's hour; at its end the mark's own close is known.
    assert profit.tolist() == pytest.approx([0.0, 30.0, -20.0, 20.0])


def test_the_mark_at_a_settlement_is_the_open_of_a_mark_candle_at_that_instant():
    mark = [*flat(100.0, 1), (101.0, 103.0, 99.0, 100.0), (104.0, 104.0, 100.0, 100.0)]
    good = quarters(flat(100.0, 12), mark, settlements=funding((1, "0.001")))
    assert run_quarters(good, 1).funding["mark_price"].tolist() == [104.0]
    late = quarters(flat(100.0, 12), mark, settlements=funding((1.25, "0.001")))
    with pytest.raises(NotEstablished, match="no mark candle opens at that instant"):
        run_quarters(late, 1)
    assert len(run_quarters(late, 0).fills) == 0


def test_with_the_last_price_as_mark_a_settlement_inside_a_candle_takes_the_worse_price():
    rows = [(100, 100, 100, 100), (100, 110, 90, 100), *flat(100.0, 1)]
    data = market(rows, interval=Interval.HOUR_12, settlements=funding((8, "0.001")))
    for side, mark in ((1, 110.0), (-1, 90.0)):
        result = run(data, [side * 0.1] * 2, mark_policy="last", leverage=2.0)
        assert result.funding["mark_price"].tolist() == [mark]
        assert result.assumptions["settlements_at_the_worse_last_price"] == 1


def test_finer_mark_candles_are_as_exact_as_the_same_length():
    mark = [*flat(100.0, 12), (100.0, 100.0, 89.0, 100.0), *flat(100.0, 11)]
    data = market(flat(100.0, 2), interval=Interval.HOUR_12, mark=mark, mark_interval=Interval.HOUR_1)
    data = dataclasses.replace(data, mark=frame(mark, Interval.HOUR_1, to_ms(START) - Interval.HOUR_12.ms))
    result = run(data, [2])
    assert len(result.liquidations) == 1
    assert not any("mark" in name for name in result.assumptions)
    holed = dataclasses.replace(data, mark=data.mark.drop(data.mark.index[20]))
    with pytest.raises(NotEstablished, match="missing for 1 of 1"):
        run(holed, [2])


# Funding


def test_without_any_funding_a_run_is_refused_unless_zero_is_asked_for_by_name():
    data = market(flat(100.0, 4), settlements=[])
    with pytest.raises(NotEstablished, match="funding_policy='zero' by name"):
        run(data, [0, 0, 0])
    assert run(data, [1, 1, 0], funding_policy="zero").assumptions["held_candles_without_funding"] == 2


def test_a_day_held_without_a_settlement_is_refused():
    data = market(flat(100.0, 60), settlements=funding((-8, "0.0001"), (8, "0.0001"), (44, "0.0001")))
    with pytest.raises(NotEstablished, match=r"held for more than a day from 2024-01-01T08:00"):
        run(data, [1] * 59)
    # Adding to a position does not make it a new one.
    with pytest.raises(NotEstablished, match="held for more than a day"):
        run(data, [1] * 20 + [0.5] * 39)
    flat_between = [1] * 20 + [0] * 10 + [1] * 20 + [0] * 9
    assert len(run(data, flat_between).trades) == 2


def test_a_day_after_the_last_settlement_is_refused_as_well():
    data = market(flat(100.0, 60), settlements=funding((8, "0.0001")))
    with pytest.raises(NotEstablished, match="held for more than a day"):
        run(data, [0] * 20 + [1] * 39)


def test_recorded_settlements_are_ignored_when_zero_was_asked_for():
    data = market(flat(100.0, 4), settlements=funding((1, "0.01")))
    assert run(data, [1, 1, 1], funding_policy="zero").costs.funding == 0.0


@pytest.mark.parametrize(
    ("settlements", "message"),
    [
        (funding((8, "0.0001"), (8, "0.0002")), "two settlements at 2024-01-01T08:00"),
        (funding((16, "0.0001"), (8, "0.0002")), "not oldest first"),
        (funding((8, "0.0001"), symbol="ETHUSDT"), "holds settlements of ETHUSDT"),
        ([FundingRate("WIFUSDT", START, Decimal("NaN"))], "without a rate"),
    ],
)
def test_funding_that_contradicts_itself_is_refused(settlements, message):
    with pytest.raises(UnusableData, match=message):
        run(market(flat(100.0, 3), settlements=settlements), [0, 0])


def test_funding_may_come_as_a_frame():
    rates = funding((0, "0.0001"), (8, "-0.0002"))
    table = pd.DataFrame(
        {"funding_rate": [0.0001, -0.0002]}, index=pd.DatetimeIndex([rate.funding_time for rate in rates])
    )
    ours, theirs = (funding_arrays("WIFUSDT", given) for given in (rates, table))
    np.testing.assert_array_equal(ours, theirs)


def test_the_strategy_knows_a_rate_at_its_settlement_and_not_before():
    data = market(flat(100.0, 12), settlements=funding((2, "0.001"), (6, "0.002"), (7, "0.003")))
    view = prepare(data, period(data), 1, "exact").view
    # The candle that opens at 01:00 closes at 02:00, when the rate is published.
    known = dict(zip(range(-1, 11), view.funding_rate_known.tolist(), strict=True))
    assert np.isnan(known[0])
    assert (known[1], known[4], known[5], known[6], known[10]) == (0.001, 0.001, 0.002, 0.003, 0.003)
    hours = view.funding_interval_known_ms / 3_600_000
    assert np.isnan(hours[5])
    assert (hours[6], hours[7]) == (4.0, 1.0)


def test_a_strategy_cannot_write_into_what_others_read():
    data = market(flat(100.0, 4))
    view = prepare(data, period(data), 1, "exact").view
    with pytest.raises(ValueError, match="read-only"):
        view.close[0] = 1.0


# Candles


def test_an_absent_candle_is_refused_unless_its_gap_is_allowed_and_then_counted():
    data = market(flat(100.0, 6))
    holed = dataclasses.replace(data, candles=data.candles.drop(data.candles.index[3]))
    with pytest.raises(UnusableData, match=r"1 of 5 1h candles .* the first at 2024-01-01T02:00"):
        run(holed, [0] * 4)
    gap = Period(START + timedelta(hours=2), START + timedelta(hours=3))
    result = run(dataclasses.replace(holed, gaps=(gap,)), [1] * 4)
    assert result.assumptions["absent_candles_in_allowed_gaps"] == 1
    shut = run(dataclasses.replace(holed, closed=(gap,)), [1] * 4)
    assert shut.assumptions["candles_absent_while_the_venue_was_closed"] == 1
    assert "absent_candles_in_allowed_gaps" not in shut.assumptions
    assert len(result.equity) == 4


def test_a_settlement_inside_a_gap_meets_what_was_held():
    data = market(flat(100.0, 6), settlements=funding((2, "0.001")))
    gap = Period(START + timedelta(hours=2), START + timedelta(hours=3))
    holed = dataclasses.replace(data, candles=data.candles.drop(data.candles.index[3]), gaps=(gap,))
    assert run(holed, [1] * 4).funding["payment"].tolist() == pytest.approx([-1.0])


def test_a_period_that_reaches_beyond_the_candles_is_refused():
    data = market(flat(100.0, 6))
    with pytest.raises(UnusableData, match="19 of 24 1h candles"):
        engine(Scripted([0] * 5)).run(data, Period(START, START + timedelta(days=1)))
    with pytest.raises(UnusableData, match="no candle"):
        engine(Scripted([0] * 5)).run(data, Period(START + timedelta(days=2), START + timedelta(days=3)))


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        (2, "close", np.nan),
        (2, "low", 0.0),
        (2, "low", -1.0),
        (2, "high", np.inf),
        (2, "close", 101.0),
        (0, "open", 99.0),
    ],
)
def test_a_candle_that_is_none_is_refused(row, column, value):
    data = market(flat(100.0, 6), mark=flat(100.0, 6))
    data.candles.iloc[row, data.candles.columns.get_loc(column)] = value
    with pytest.raises(UnusableData, match="candles of WIFUSDT are none"):
        run(data, [0] * 5)


def test_an_absent_column_is_refused_by_name():
    data = market(flat(100.0, 6))
    with pytest.raises(UnusableData, match="no column 'low'"):
        run(dataclasses.replace(data, candles=data.candles.drop(columns="low")), [0] * 5)


def test_unsorted_doubled_and_off_grid_candles_are_refused():
    data = market(flat(100.0, 6))
    for candles in (data.candles.iloc[::-1], pd.concat([data.candles, data.candles.tail(1)])):
        with pytest.raises(UnusableData, match="not strictly oldest first"):
            engine(Scripted([0] * 5)).run(dataclasses.replace(data, candles=candles), period(data))
    shifted = data.candles.copy()
    shifted.index = shifted.index + pd.Timedelta(minutes=1)
    with pytest.raises(UnusableData, match="off the 1h grid"):
        engine(Scripted([0] * 5)).run(
            dataclasses.replace(data, candles=shifted), Period(START, START + timedelta(hours=5))
        )


def test_naive_times_are_refused():
    data = market(flat(100.0, 6))
    naive = dataclasses.replace(data, candles=data.candles.tz_localize(None))
    with pytest.raises(UnusableData, match="aware UTC times"):
        engine(Scripted([0] * 5)).run(naive, period(data))


def test_weekly_candles_are_refused():
    data = dataclasses.replace(market(flat(100.0, 6)), interval=Interval.WEEK_1)
    with pytest.raises(InvalidInput, match="one day or shorter"):
        engine(Scripted([0])).run(data, Period(START, START + timedelta(days=7)))


def test_warm_up_that_is_not_there_is_counted():
    class Slow(Scripted):
        def warmup(self, interval):
            return 5

    data = market(flat(100.0, 6))
    assert engine(Slow([0] * 5)).run(data, period(data)).assumptions["warmup_candles_not_there"] == 4


def test_a_longer_history_changes_nothing():
    long = market(flat(90.0, 1) + flat(100.0, 1) + [(100 + i, 102 + i, 99 + i, 101 + i) for i in range(8)])
    span = Period(START + timedelta(hours=1), START + timedelta(hours=9))
    short = dataclasses.replace(long, candles=long.candles.iloc[1:], mark=long.mark.iloc[1:])
    ours, theirs = (engine(Scripted([1, -1, 0, 1, 1, 0, 1, 1])).run(data, span) for data in (long, short))
    np.testing.assert_array_equal(ours.equity, theirs.equity)


def test_a_data_version_is_computed_from_what_is_used_and_a_given_one_is_kept():
    data = market(flat(100.0, 6))
    versions = {run(given, [0] * 5).provenance["data_versions"]["WIFUSDT"] for given in (data, market(flat(100.0, 6)))}
    assert len(versions) == 1
    other = run(market(flat(101.0, 6)), [0] * 5).provenance["data_versions"]["WIFUSDT"]
    assert other not in versions
    assert run(dataclasses.replace(data, data_version="abc"), [0] * 5).provenance["data_versions"]["WIFUSDT"] == "abc"
