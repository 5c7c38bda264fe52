"""Shorter candles inside the strategy's own."""

import dataclasses
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.backtest.errors import UnusableData
from bybit.backtest.market import prepare
from bybit.rules.candles import Interval
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.periods import Period, to_ms
from tests.bybit.backtest.markets import START, Scripted, add_up, engine, flat, frame, market, period

QUARTER = Interval.MINUTE_15


def detailed(rows, inside, **changes):
    """Return hourly candles after a warm-up one, with 15-minute candles ``inside`` them from START on."""
    data = market(rows)
    quarters = frame(inside, QUARTER, to_ms(START))
    fine = frame(flat(rows[0][0], 4) + list(inside), QUARTER, to_ms(START) - Interval.HOUR_1.ms)
    values = {"detail": quarters, "detail_interval": QUARTER, "mark": fine, "mark_interval": QUARTER}
    return dataclasses.replace(data, **(values | changes))


def walk(n, seed=1):
    """Return ``n`` hours and the four quarters inside each."""
    random = np.random.default_rng(seed)
    inside, price = [], 100.0
    for _ in range(4 * n):
        after = price + float(random.integers(-3, 4))
        inside.append((price, max(price, after) + 1.0, min(price, after) - 1.0, after))
        price = after
    table = np.array(inside).reshape(n, 4, 4)
    hours = [(q[0, 0], q[:, 1].max(), q[:, 2].min(), q[-1, 3]) for q in table]
    return flat(100.0, 1) + [tuple(map(float, hour)) for hour in hours], inside


def prepared(data, policy="exact"):
    return prepare(data, period(data), 1, policy)


def test_orders_meet_the_shorter_candles_and_the_strategy_sees_the_longer_ones():
    data = detailed(*walk(3))
    found = prepared(data)
    assert len(found.view) == 4
    assert found.candles.row.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    np.testing.assert_array_equal(found.candles.open, data.detail["open"])
    np.testing.assert_array_equal(found.candles.close_ms - found.candles.open_ms, QUARTER.ms)
    np.testing.assert_array_equal(found.close_ms, found.view.open_time_ms[1:] + Interval.HOUR_1.ms)
    np.testing.assert_array_equal(found.candles.mark_low, data.detail["low"])
    assert found.detail.n_differing == 0


def test_marks_as_long_as_the_strategys_candles_are_refused_as_exact_and_hold_for_all_inside():
    rows, inside = walk(2)
    data = detailed(rows, inside, mark=market(rows).mark, mark_interval=Interval.HOUR_1)
    with pytest.raises(NotEstablished, match="mark_policy='coarser' by name"):
        prepared(data)
    found = prepared(data, "coarser")
    assert found.mark_is_coarser
    assert found.candles.mark_low.tolist() == [row[2] for row in rows[1:] for _ in range(4)]


def test_an_absent_shorter_candle_is_refused_unless_its_gap_is_allowed_and_then_counted():
    data = detailed(*walk(3))
    holed = dataclasses.replace(data, detail=data.detail.drop(data.detail.index[[5, 6]]))
    with pytest.raises(UnusableData, match="2 15m detail candles of WIFUSDT are absent, the first at 2024-01-01T01:15"):
        prepared(holed)
    gap = Period(START + timedelta(hours=1), START + timedelta(hours=2))
    found = prepared(dataclasses.replace(holed, gaps=(gap,)))
    assert len(found.detail.absent_ms) == 2
    assert found.candles.row.tolist() == [0] * 4 + [1] * 2 + [2] * 4


def test_a_longer_candle_without_a_single_shorter_one_is_an_absence_too():
    data = detailed(*walk(3))
    holed = dataclasses.replace(data, detail=data.detail.drop(data.detail.index[4:8]))
    with pytest.raises(UnusableData, match="4 15m detail candles"):
        prepared(holed)
    gap = Period(START + timedelta(hours=1), START + timedelta(hours=2))
    found = prepared(dataclasses.replace(holed, gaps=(gap,)))
    assert found.candles.row.tolist() == [0] * 4 + [2] * 4
    assert found.detail.n_differing == 0


def test_longer_candles_that_differ_from_the_shorter_ones_inside_are_counted():
    rows, inside = walk(3)
    odd = [*rows]
    odd[2] = (odd[2][0], odd[2][1] + 5.0, odd[2][2], odd[2][3])
    assert prepared(detailed(odd, inside)).detail.n_differing == 1


def test_shorter_candles_in_a_hole_of_the_longer_ones_are_not_traded():
    data = detailed(*walk(3))
    gap = Period(START + timedelta(hours=1), START + timedelta(hours=2))
    holed = dataclasses.replace(data, candles=data.candles.drop(data.candles.index[2]), gaps=(gap,))
    found = prepared(holed)
    assert found.n_absent == 1
    assert found.candles.row.tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize("interval", [None, Interval.HOUR_1, Interval.HOUR_2, Interval.DAY_1])
def test_detail_candles_that_are_not_shorter_are_refused(interval):
    with pytest.raises(InvalidInput, match="do not fill 1h ones"):
        prepared(detailed(*walk(2), detail_interval=interval))


def test_detail_candles_off_the_grid_are_refused():
    data = detailed(*walk(2))
    shifted = data.detail.copy()
    shifted.index = shifted.index + timedelta(minutes=1)
    with pytest.raises(UnusableData, match="off the 15m grid"):
        prepared(dataclasses.replace(data, detail=shifted))


def test_detail_candles_of_another_time_are_refused():
    data = detailed(*walk(2))
    with pytest.raises(UnusableData, match="no detail candles of WIFUSDT lie inside"):
        prepared(dataclasses.replace(data, detail=data.detail.iloc[:0]))


def test_volume_comes_from_the_shorter_candles():
    data = detailed(*walk(2))
    data.detail["volume"] = np.arange(8.0)
    found = prepare(data, period(data), 1, "exact", with_volume=True)
    assert found.candles.volume.tolist() == list(range(8))
    assert len(prepared(data).candles.volume) == 1


@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 23))
@settings(max_examples=30, deadline=None)
def test_what_happened_inside_does_not_depend_on_what_comes_later(seed, cut):
    rows, inside = walk(24, seed)
    data = detailed(rows, inside)
    random = np.random.default_rng(seed)
    close = np.array(rows)[:-1, 3]
    target = random.choice([0.0, 1.0, -1.0, 3.0], 24)
    script = Scripted(
        target,
        np.where(random.random(24) < 0.5, close + random.normal(0.0, 2.0, 24), np.nan),
        np.where(random.random(24) < 0.5, close - np.sign(target) * 4.0 - 0.01, np.nan),
        take_profit_price=close + np.sign(target) * 3.0 + 0.01,
        trailing_distance=np.full(24, 5.0),
        post_only=(random.random(24) < 0.5).tolist(),
    )
    whole = engine(script).run(data, period(data))
    until = Period(START, START + timedelta(hours=cut))
    early = engine(script).run(data, until)
    np.testing.assert_array_equal(early.equity, whole.equity[:cut])
    assert early.fills.equals(whole.fills[whole.fills["fill_time"] < until.end].reset_index(drop=True))
    assert abs(whole.costs.gross - add_up(whole.costs) - whole.costs.net) <= 1e-6
