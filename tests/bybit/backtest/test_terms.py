"""Contracts, dated ladders and fees as the kernel's arrays."""

import dataclasses
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from bybit.backtest.records import NEVER
from bybit.backtest.terms import contract_arrays, dated_ladder, fee_arrays, ladder_arrays
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fee_tiers import VolumeTiers
from bybit.rules.fees import FeeEra, FeeRates, FeeSchedule
from bybit.rules.periods import Period, to_ms
from tests.bybit.backtest.markets import START, instrument, ladder, schedule

DAY = timedelta(days=1)
PERIOD = Period(START, START + 10 * DAY)
D = Decimal


def seen(day, *args, **kwargs):
    return tuple(dataclasses.replace(tier, as_of=START + day * DAY) for tier in ladder(*args, **kwargs))


def days(dated):
    return [(ms - to_ms(START)) // 86_400_000 for ms in dated.from_ms]


def test_a_ladder_holds_from_its_day_on_and_the_first_before_it_too():
    tiers = (*seen(5, (9_000, None), ("0.02", "0.04")), *seen(2))
    dated = dated_ladder("WIFUSDT", tiers, PERIOD)
    assert days(dated) == [2, 5]
    arrays = ladder_arrays([dated])
    assert arrays.from_ms.tolist() == [[0, to_ms(START + 5 * DAY)]]
    assert arrays.upper.tolist() == [[[2_000, 8_000, np.inf], [9_000, np.inf, np.inf]]]
    assert arrays.rate.tolist() == [[[0.01, 0.02, 0.05], [0.02, 0.04, 0.04]]]
    assert arrays.deduction.tolist() == [[[0, 20, 260], [0, 180, 180]]]


@pytest.mark.parametrize(
    ("recorded", "used"),
    [((-9, -3, 4), [-3, 4]), ((-9, 0), [0]), ((-9, -3), [-3]), ((4, 20), [4]), ((20, 30), [20]), ((-1, 10), [-1])],
)
def test_only_ladders_in_force_in_the_period_count(recorded, used):
    tiers = [tier for day in recorded for tier in seen(day)]
    assert days(dated_ladder("WIFUSDT", tiers, PERIOD)) == used


def test_ladders_of_several_symbols_share_one_shape():
    many = dated_ladder("WIFUSDT", (*seen(-1), *seen(3)), PERIOD)
    one = dated_ladder("ETHUSDT", seen(-1, (50_000,), ("0.005",), symbol="ETHUSDT"), PERIOD)
    arrays = ladder_arrays([many, one])
    assert arrays.upper.shape == (2, 2, 3)
    assert arrays.from_ms[1].tolist() == [0, NEVER]
    assert arrays.rate[1].tolist() == [[0.005] * 3] * 2
    assert np.isinf(arrays.upper[1]).all()


@pytest.mark.parametrize("tiers", [(), ladder(symbol="ETHUSDT"), ladder()[::-1], ladder(rates=("0.5", "1", "50"))])
def test_a_ladder_that_is_none_is_refused(tiers):
    with pytest.raises((NotEstablished, InvalidInput)):
        dated_ladder("WIFUSDT", tiers, PERIOD)


def test_a_position_may_be_as_large_as_the_strictest_ladder_of_the_period_allows():
    loose = seen(-1, (5_000, 9_000), ("0.01", "0.02"))
    strict = seen(3, (5_000, 9_000), ("0.01", "0.02"))
    strict = (strict[0], dataclasses.replace(strict[1], max_leverage=D(5)))
    dated = dated_ladder("WIFUSDT", (*loose, *strict), PERIOD)
    contracts = contract_arrays([instrument()], [dated], 10.0, {"WIFUSDT": 1.0})
    assert contracts.max_position_value.tolist() == [5_000.0]
    assert dated.max_position_value(5.0) == 9_000.0


def test_leverage_above_the_contract_or_one_of_its_ladders_is_refused():
    low = tuple(dataclasses.replace(tier, max_leverage=D(20)) for tier in seen(3))
    dated = dated_ladder("WIFUSDT", (*seen(-1), *low), PERIOD)
    with pytest.raises(InvalidInput, match="above what any tier allows"):
        contract_arrays([instrument()], [dated], 21.0, {"WIFUSDT": 1.0})
    with pytest.raises(InvalidInput, match="above the maximum of WIFUSDT, 25"):
        contract_arrays([instrument(max_leverage=D(25))], [dated], 26.0, {"WIFUSDT": 1.0})


def test_limits_without_a_figure_limit_nothing():
    dated = dated_ladder("WIFUSDT", ladder(), PERIOD)
    rules = instrument(min_notional=None, max_market_order_qty=None, max_order_qty=None)
    contracts = contract_arrays([rules], [dated], 10.0, {"WIFUSDT": 0.5})
    assert contracts.min_notional.tolist() == [0.0]
    assert np.isinf([contracts.max_market_qty[0], contracts.max_limit_qty[0]]).all()
    assert contracts.allocation.tolist() == [0.5]


def test_the_least_value_of_an_inverse_order_is_a_number_of_its_dollar_contracts():
    dated = dated_ladder("WIFUSDT", ladder(), PERIOD)
    rules = instrument(category=Category.INVERSE, min_order_qty=D(1), min_notional=D(5))
    contracts = contract_arrays([rules], [dated], 10.0, {"WIFUSDT": 1.0})
    assert (contracts.min_qty.tolist(), contracts.min_notional.tolist()) == ([5.0], [0.0])


def era(tier, begin, end, maker, taker):
    stop = None if end is None else START + end * DAY
    return FeeEra("linear_perpetual", tier, FeeRates(D(maker), D(taker)), START + begin * DAY, stop, "test", "high")


def test_fees_change_on_their_day():
    fees = schedule((START - DAY, "0.0001", "0.0006"), (START + 3 * DAY, "0.0002", "0.00055"))
    arrays = fee_arrays(fees, Category.LINEAR, "vip0", PERIOD, ["WIFUSDT", "ETHUSDT"])
    assert arrays.start_ms.tolist() == [to_ms(START), to_ms(START + 3 * DAY)]
    assert arrays.maker.tolist() == [[[0.0001, 0.0002]]] * 2
    assert arrays.taker.tolist() == [[[0.0006, 0.00055]]] * 2
    assert arrays.min_volume.tolist() == [0.0]


def test_a_day_without_a_rate_is_refused():
    fees = FeeSchedule([era("vip0", -1, 5, "0.0001", "0.0006")])
    with pytest.raises(NotEstablished, match="for all of 2024-01-01"):
        fee_arrays(fees, Category.LINEAR, "vip0", PERIOD, ["WIFUSDT"])


def test_tiers_by_volume_start_at_the_tier_the_account_has():
    fees = FeeSchedule(
        [
            era("vip0", -9, None, "0.0002", "0.00055"),
            era("vip1", -9, 4, "0.00018", "0.0004"),
            era("vip1", 4, None, "0.00017", "0.0004"),
            era("vip2", 4, None, "0.00016", "0.000375"),
        ]
    )
    tiers = VolumeTiers.parse("vip0:0,vip1:10000,vip2:25000")
    arrays = fee_arrays(fees, Category.LINEAR, "vip0", PERIOD, ["WIFUSDT"], tiers)
    assert arrays.min_volume.tolist() == [0.0, 10_000.0, 25_000.0]
    # What is not known of a tier above is missing, never another tier's rate.
    np.testing.assert_array_equal(arrays.maker, [[[0.0002, 0.0002], [0.00018, 0.00017], [np.nan, 0.00016]]])
    arrays = fee_arrays(fees, Category.LINEAR, "vip1", PERIOD, ["WIFUSDT"], tiers)
    assert arrays.min_volume.tolist() == [0.0, 25_000.0]
    with pytest.raises(InvalidInput, match="none of those by volume: vip0, vip1, vip2"):
        fee_arrays(fees, Category.LINEAR, "pro1", PERIOD, ["WIFUSDT"], tiers)
