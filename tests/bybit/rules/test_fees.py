from datetime import timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fee_builtin import builtin_remarks
from bybit.rules.fee_table import FEE_ROWS
from bybit.rules.fees import BybitFeeSimulator, FeeEra, FeeRates, FeeSchedule, Liquidity, Rounding
from bybit.rules.margin import MaintenanceTier
from bybit.rules.periods import Period, parse_time
from tests.bybit.rules.amounts import prices, quantities, rates

SCHEDULE = FeeSchedule.builtin()
ONE_MS = timedelta(milliseconds=1)


def period(start: str, end: str) -> Period:
    return Period(parse_time(start), parse_time(end))


def era(start: str, end: str | None, taker: str = "0.001", tier: str = "vip0") -> FeeEra:
    valid_to = None if end is None else parse_time(end)
    return FeeEra("spot", tier, FeeRates(D(0), D(taker)), parse_time(start), valid_to, "a test", "low")


@pytest.mark.parametrize(
    ("day", "maker", "taker"),
    [
        ("2021-06-01", "-0.00025", "0.00075"),
        ("2022-12-27", "0.0001", "0.0006"),
        ("2025-05-03", "0.0002", "0.00055"),
    ],
)
def test_the_non_vip_linear_rate_follows_the_date(day: str, maker: str, taker: str) -> None:
    assert SCHEDULE.rates(Category.LINEAR, "vip0", parse_time(day)) == FeeRates(D(maker), D(taker))


@pytest.mark.parametrize("day", ["2022-04-13", "2023-09-18"])
def test_an_era_ends_where_the_next_begins(day: str) -> None:
    start = parse_time(day)
    before = SCHEDULE.rates(Category.LINEAR, "vip0", start - ONE_MS)
    assert before != SCHEDULE.rates(Category.LINEAR, "vip0", start)
    assert SCHEDULE.rates(Category.LINEAR, "vip0", start) == SCHEDULE.rates(Category.LINEAR, "vip0", start + ONE_MS)


def test_the_same_instant_may_be_given_in_milliseconds() -> None:
    assert SCHEDULE.rates(Category.LINEAR, "vip0", 1746230400000).taker == D("0.00055")


def test_a_day_before_the_first_sighting_is_refused_with_what_is_known() -> None:
    with pytest.raises(NotEstablished, match=r"2024-03-07\.\.now"):
        SCHEDULE.rates(Category.LINEAR, "vip1", parse_time("2024-03-06"))


def test_an_unknown_tier_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NotEstablished, match=r"supreme_vip, vip0.*, vip5"):
        SCHEDULE.rates(Category.SPOT, "vip6", parse_time("2025-01-01"))


def test_a_hole_between_eras_is_refused_not_bridged() -> None:
    for day in ("2024-01-01", "2025-09-24"):
        with pytest.raises(NotEstablished, match="not established"):
            SCHEDULE.rates(Category.LINEAR, "pro3", parse_time(day))
    assert SCHEDULE.known_from(Category.LINEAR, "pro3") == parse_time("2025-09-25")


def test_group_rates_are_refused_for_a_symbol_of_another_group() -> None:
    day = parse_time("2025-10-01")
    assert SCHEDULE.rates(Category.LINEAR, "pro1", day, "BTCUSDT").taker == D("0.00028")
    with pytest.raises(NotEstablished, match="symbol group"):
        SCHEDULE.rates(Category.LINEAR, "pro1", day, "WIFUSDT")
    with pytest.raises(NotEstablished, match="ask with a symbol"):
        SCHEDULE.rates(Category.LINEAR, "pro1", day)


def test_the_eras_of_a_period_cover_it_without_a_gap() -> None:
    wanted = period("2022-01-01", "2024-01-01")
    eras = SCHEDULE.eras(Category.INVERSE, "vip0", wanted)
    assert [era.rates.taker for era in eras] == [D("0.00075"), D("0.0006"), D("0.00055")]
    assert eras[0].valid_from <= wanted.start
    assert [a.valid_to for a in eras[:-1]] == [b.valid_from for b in eras[1:]]


def test_a_period_that_ends_at_a_boundary_needs_no_later_era() -> None:
    assert len(SCHEDULE.eras(Category.LINEAR, "vip0", period("2022-01-01", "2022-04-13"))) == 1


@pytest.mark.parametrize(("start", "end"), [("2020-01-01", "2021-01-01"), ("2018-01-01", "2019-01-01")])
def test_a_period_partly_before_the_first_era_is_refused(start: str, end: str) -> None:
    with pytest.raises(NotEstablished, match="known for 2020-03-15"):
        SCHEDULE.eras(Category.LINEAR, "vip0", period(start, end))


def test_both_uncertain_windows_are_reported_inside_a_long_period() -> None:
    assert SCHEDULE.uncertain(period("2020-04-01", "2025-01-01")) == (
        period("2021-09-01", "2022-04-13"),
        period("2023-02-14", "2023-09-18"),
    )
    assert SCHEDULE.uncertain(period("2023-09-01", "2024-01-01")) == (period("2023-09-01", "2023-09-18"),)
    assert SCHEDULE.uncertain(period("2024-01-01", "2025-01-01")) == ()


def test_overlapping_eras_are_refused() -> None:
    with pytest.raises(InvalidInput, match="overlap"):
        FeeSchedule([era("2024-01-01", None), era("2025-01-01", None)])


def test_the_version_depends_on_the_content_alone() -> None:
    first, second = era("2024-01-01", "2025-01-01"), era("2025-01-01", None, taker="0.002")
    assert FeeSchedule([first, second]).version == FeeSchedule([second, first]).version
    assert FeeSchedule([first]).version != FeeSchedule([era("2024-01-01", "2025-01-01", taker="0.0011")]).version
    same_rate = era("2024-01-01", "2025-01-01", taker="0.0010")
    assert FeeSchedule([first]).version == FeeSchedule([same_rate]).version


def test_every_row_of_the_table_has_a_source_and_a_confidence() -> None:
    assert all(row[6] and row[7] in ("high", "medium", "low") for row in FEE_ROWS)


@given(quantities, prices, rates)
def test_a_positive_rate_is_paid_and_a_negative_one_received(qty: D, price: D, rate: D) -> None:
    fee = FeeRates(maker=rate, taker=D(0)).fee(qty * price, Liquidity.MAKER)
    assert (fee > 0) == (rate > 0)
    assert (fee < 0) == (rate < 0)


@given(st.decimals(D(-1000), D(1000), places=12))
def test_the_venue_never_books_less_than_is_due(paid: D) -> None:
    booked = Rounding.VENUE.book(paid)
    assert 0 <= booked - paid < D("1e-8")
    assert Rounding.EXACT.book(paid) == paid


@pytest.mark.parametrize(
    ("price", "qty", "fee"),
    [("29749.1", "0.001", "0.01636201"), ("41562", "0.001", "0.0228591"), ("42782", "0.001", "0.0235301")],
)
def test_recorded_taker_fills_come_out_to_the_last_digit(price: str, qty: str, fee: str) -> None:
    simulator = BybitFeeSimulator(rounding=Rounding.VENUE)
    when = parse_time("2024-02-04")
    assert simulator.calculate_trading_fees(D(qty), D(price), Liquidity.TAKER, when) == D(fee)


def test_the_simulator_counts_funding_as_a_cost() -> None:
    costs = BybitFeeSimulator().calculate_funding_costs(D("0.4"), [(D(50500), D("0.0001")), (D(49800), D("-0.00025"))])
    assert costs == D("2.02") - D("4.98")


def test_the_simulator_tells_how_far_liquidation_is() -> None:
    tiers = [MaintenanceTier(None, D("0.005"), D(0))]
    risk = BybitFeeSimulator().simulate_liquidation_risk(D(1), D(20000), D(50), D(20000), tiers)
    assert risk.bankruptcy_price == D(19600)
    assert risk.liquidation_price is not None
    assert round(risk.liquidation_price, 2) == D("19698.49")
    assert not risk.is_liquidated
    lost = BybitFeeSimulator().simulate_liquidation_risk(D(1), D(20000), D(50), D(19600), tiers)
    assert lost.is_liquidated
    assert lost.distance == 0


def test_a_schedule_made_of_the_table_of_another_is_the_same_schedule() -> None:
    plain = SCHEDULE.without_sightings()
    assert FeeSchedule(plain.table, plain.windows, remarks=builtin_remarks()).version == plain.version
