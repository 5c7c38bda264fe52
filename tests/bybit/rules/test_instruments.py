from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_FLOOR
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.candles import Category
from bybit.rules.errors import NotEstablished
from bybit.rules.instrument_table import INSTRUMENT_ROWS
from bybit.rules.instruments import check_leverage, check_order, recorded_instruments, round_price, round_qty
from bybit.rules.margin import recorded_risk_tiers

BTC = recorded_instruments(Category.LINEAR, "BTCUSDT")[-1]


def codes(*args, **kwargs) -> list[int]:
    return [problem.ret_code for problem in check_order(*args, **kwargs)]


def test_records_of_a_contract_come_oldest_first() -> None:
    days = [record.as_of for record in recorded_instruments(Category.LINEAR, "BTCUSDT")]
    assert days == [
        datetime(2024, 2, 6, tzinfo=UTC),
        datetime(2025, 1, 2, tzinfo=UTC),
        datetime(2025, 4, 15, tzinfo=UTC),
    ]
    assert BTC.tick_size == D("0.10")
    assert BTC.max_market_order_qty == D("119.000")
    assert BTC.funding_interval == timedelta(hours=8)


def test_every_row_of_the_table_can_be_served() -> None:
    names = {tuple(text.split()[:2]) for text, source in INSTRUMENT_ROWS if source}
    assert sum(len(recorded_instruments(Category(category), symbol)) for category, symbol in names) == 22


def test_what_the_venue_left_out_is_none_not_zero() -> None:
    dated, spot = (
        recorded_instruments(Category.INVERSE, "BTCUSDZ26")[0],
        recorded_instruments(Category.SPOT, "ETHUSDT")[0],
    )
    assert dated.funding_interval is None
    assert dated.delivery_time == datetime(2026, 12, 25, 8, tzinfo=UTC)
    assert spot.max_leverage is None
    assert spot.launch_time is None
    assert recorded_instruments(Category.INVERSE, "BTCUSD")[0].min_notional is None


def test_a_premarket_contract_is_not_called_trading() -> None:
    assert recorded_instruments(Category.LINEAR, "BIOUSDT")[0].status == "PreLaunch"


def test_an_unknown_contract_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NotEstablished, match="ADAUSDT"):
        recorded_instruments(Category.LINEAR, "WIFUSDT")


@given(st.decimals(D("0.01"), D(100000), places=6), st.sampled_from([D("0.1"), D("0.5"), D("0.00001"), D("0.25")]))
def test_rounding_lands_on_the_step_within_one_step(value: D, step: D) -> None:
    assert round_price(value, step) % step == 0
    assert abs(round_price(value, step) - value) <= step / 2
    assert 0 <= value - round_price(value, step, ROUND_FLOOR) < step
    assert round_qty(value, step) % step == 0
    assert 0 <= value - round_qty(value, step) < step


def test_an_order_within_the_rules_is_accepted() -> None:
    assert check_order(BTC, D("0.001"), D("60000.1"), is_market=False) == ()


def test_each_broken_rule_is_named() -> None:
    assert "tick" in check_order(BTC, D("0.001"), D("60000.05"), is_market=False)[0].reason
    assert "step" in check_order(BTC, D("0.0015"), D(60000), is_market=False)[0].reason
    assert codes(BTC, D("0.001"), D(4000), is_market=False) == [110094]
    assert "largest" in check_order(BTC, D("1190.001"), D(60000), is_market=False)[0].reason
    assert len(check_order(BTC, D(0), D(0), is_market=False)) == 3


def test_a_market_order_has_a_smaller_bound_and_no_tick() -> None:
    assert check_order(BTC, D(500), D("60000.05"), is_market=True)[0].reason.count("market order, 119.000") == 1
    assert check_order(BTC, D(119), D("60000.05"), is_market=True) == ()


def test_a_reducing_order_is_spared_the_least_notional() -> None:
    assert codes(BTC, D("0.001"), D(4000), is_market=False, reduce_only=True) == []


def test_spot_answers_with_its_own_numbers() -> None:
    spot = recorded_instruments(Category.SPOT, "BTCUSDT")[-1]
    assert codes(spot, D("0.0000115"), D("60000.05"), is_market=False) == [170134, 170137, 170140]


def test_the_least_notional_of_an_inverse_contract_counts_dollars() -> None:
    inverse = replace(recorded_instruments(Category.INVERSE, "BTCUSD")[-1], min_notional=D(5))
    assert codes(inverse, D(4), D(60000), is_market=False) == [110094]
    assert codes(inverse, D(5), D(60000), is_market=False) == []


def test_leverage_and_position_are_judged_by_the_ladder() -> None:
    tiers = recorded_risk_tiers("BTCUSDT", date(2026, 1, 1))
    assert check_leverage(tiers, D(2000000), D(100)) is None
    assert check_leverage(tiers, D(2000001), D(100)).ret_code == 110090
    assert check_leverage(tiers, D(1), D(101)).ret_code == 110013
    assert check_leverage(tiers, D(1), D("0.9")).ret_code == 110013
