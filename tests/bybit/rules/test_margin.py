from datetime import UTC, date, datetime
from decimal import Decimal as D
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.margin import (
    MaintenanceTier,
    RiskTier,
    fee_to_close,
    initial_margin,
    maintenance_margin,
    max_leverage_from_rate,
    max_notional_at,
    mm_deductions,
    order_cost,
    recorded_ladders,
    recorded_risk_tiers,
    tier_of,
)
from bybit.rules.risk_table import LADDERS
from tests.bybit.rules.amounts import ladders

DAY = datetime(2026, 1, 1, tzinfo=UTC)
SYMBOLS = sorted({row[0] for row in LADDERS})
COMPLETE = [ladder for symbol in SYMBOLS for ladder in recorded_ladders(symbol) if ladder.complete]


def tier(**changes: str) -> RiskTier:
    texts = {
        "max_notional": "2000000",
        "initial_margin": "0.01",
        "maintenance_margin": "0.005",
        "mm_deduction": "",
        "max_leverage": "100.00",
    } | changes
    return RiskTier.from_text("BTCUSDT", 1, **texts, as_of=DAY)


def test_the_table_holds_eleven_complete_ladders_of_345_tiers() -> None:
    assert len(COMPLETE) == 11
    assert sum(len(ladder.tiers) for ladder in COMPLETE) == 345


@pytest.mark.parametrize("ladder", COMPLETE, ids=lambda ladder: f"{ladder.symbol}-{ladder.as_of}")
def test_recorded_deductions_chain(ladder) -> None:
    bounds = [tier.max_notional for tier in ladder.tiers]
    rates = [tier.maintenance_margin_rate for tier in ladder.tiers]
    assert mm_deductions(bounds, rates) == tuple(tier.mm_deduction for tier in ladder.tiers)


@pytest.mark.parametrize("ladder", COMPLETE, ids=lambda ladder: f"{ladder.symbol}-{ladder.as_of}")
def test_recorded_tiers_rise(ladder) -> None:
    assert ladder.source
    for lower, upper in pairwise(ladder.tiers):
        assert upper.tier == lower.tier + 1
        assert upper.max_notional > lower.max_notional
        assert upper.maintenance_margin_rate > lower.maintenance_margin_rate
        assert upper.max_leverage < lower.max_leverage


def test_the_latest_ladder_on_or_before_the_day_is_served() -> None:
    assert recorded_risk_tiers("BTCUSDT", date(2025, 12, 29))[0].max_leverage == 100
    assert recorded_risk_tiers("BTCUSDT", date(2026, 9, 24))[0].max_leverage == 100
    assert recorded_risk_tiers("BTCUSDT", datetime(2026, 9, 25, tzinfo=UTC))[0].max_leverage == 150


def test_a_day_before_every_complete_ladder_is_refused_unless_a_later_one_is_asked_for() -> None:
    with pytest.raises(NotEstablished, match=r"2022-07-01 \(incomplete\), 2025-12-29, 2026-09-25"):
        recorded_risk_tiers("BTCUSDT", date(2024, 1, 1))
    assert recorded_risk_tiers("BTCUSDT", date(2024, 1, 1), allow_later=True)[0].as_of.year == 2025
    assert len(recorded_risk_tiers("BTCUSDT", date(2024, 1, 1), allow_incomplete=True)) == 2


def test_an_incomplete_ladder_is_served_only_by_name() -> None:
    with pytest.raises(NotEstablished, match="incomplete"):
        recorded_risk_tiers("BTCUSD", date(2026, 12, 1), allow_later=True)
    assert len(recorded_risk_tiers("BTCUSD", date(2026, 12, 1), allow_incomplete=True)) == 2


def test_a_symbol_without_a_ladder_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NotEstablished, match="BTCUSDT"):
        recorded_risk_tiers("WIFUSDT", date(2026, 1, 1))


def test_an_empty_deduction_is_zero_on_the_lowest_tier_and_refused_above() -> None:
    assert tier().mm_deduction == 0
    with pytest.raises(InvalidInput, match="mmDeduction"):
        RiskTier.from_text("BTCUSDT", 2, "2600000", "0.0111", "0.0056", "", "90", DAY)


@pytest.mark.parametrize(
    "changes",
    [
        {"initial_margin": "1", "maintenance_margin": "0.5"},
        {"initial_margin": "100", "maintenance_margin": "50", "max_leverage": "1"},
        {"initial_margin": "2", "maintenance_margin": "1", "max_leverage": "50"},
    ],
)
def test_margins_in_percent_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="percentage"):
        tier(**changes)


def test_the_top_tier_at_leverage_one_is_not_taken_for_percent() -> None:
    assert tier(initial_margin="1", maintenance_margin="0.6", max_leverage="1").initial_margin_rate == 1


@pytest.mark.parametrize("text", ["", "abc", "NaN", "0", "-0.01"])
def test_a_margin_that_is_no_fraction_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        tier(maintenance_margin=text)


def test_a_value_exactly_on_a_bound_belongs_to_that_tier() -> None:
    tiers = recorded_risk_tiers("BTCUSDT", date(2026, 1, 1))
    assert tier_of(tiers, D(2000000)).tier == 1
    assert tier_of(tiers, D("2000000.01")).tier == 2


def test_a_value_above_the_ladder_is_refused_unless_asked_for() -> None:
    tiers = recorded_risk_tiers("BTCUSDT", date(2026, 1, 1))
    with pytest.raises(NotEstablished, match="above the ladder"):
        maintenance_margin(D(1200000001), tiers)
    assert maintenance_margin(D(1300000000), tiers, beyond_top=True) == D(1300000000) * D("0.6") - D(226382000)
    with pytest.raises(InvalidInput, match="at least one"):
        tier_of([], D(1))


@given(ladders(), st.decimals(D("0.01"), D("2e8"), places=2))
def test_deductions_charge_each_slice_at_its_own_rate(tiers: list[MaintenanceTier], value: D) -> None:
    charged = lower = D(0)
    for step in tiers:
        upper = value if step.max_notional is None else min(value, step.max_notional)
        charged += max(upper - lower, D(0)) * step.maintenance_margin_rate
        lower = max(lower, upper)
    assert maintenance_margin(value, tiers) == charged


@pytest.mark.parametrize(
    ("category", "size", "share"),
    [
        (Category.LINEAR, 1, "0.9"),
        (Category.LINEAR, -1, "1.1"),
        (Category.INVERSE, 1, "1.1"),
        (Category.INVERSE, -1, "0.9"),
    ],
)
def test_the_fee_to_close_is_reckoned_at_the_bankruptcy_value(category: Category, size: int, share: str) -> None:
    value = D(50000) if category is Category.LINEAR else 1 / D(50000)
    assert fee_to_close(category, D(50000), D(size), D(10), D("0.00055")) == value * D(share) * D("0.00055")


def test_an_order_costs_margin_and_both_fees() -> None:
    cost = order_cost(Category.LINEAR, D(50000), D(1), D(10), D("0.00055"))
    assert cost.total == D("5052.25")


@pytest.mark.parametrize("leverage", ["0", "0.5", "-3", "NaN", "Infinity"])
def test_leverage_below_one_is_refused(leverage: str) -> None:
    with pytest.raises(InvalidInput, match="leverage"):
        initial_margin(D(100), D(leverage))


def test_the_largest_notional_at_a_leverage_is_the_bound_of_its_last_tier() -> None:
    tiers = recorded_risk_tiers("BTCUSDT", date(2026, 1, 1))
    assert max_notional_at(tiers, D(100)) == 2000000
    assert max_notional_at(tiers, D("89.5")) == 2600000
    assert max_notional_at(tiers, D(1)) == 1200000000
    with pytest.raises(InvalidInput, match="at most 100"):
        max_notional_at(tiers, D(101))


def test_leverage_from_a_rate_is_rounded_half_up() -> None:
    assert max_leverage_from_rate(D("0.0175")) == D("57.14")
    for rate in ("0", "1.5", "-0.1"):
        with pytest.raises(InvalidInput, match="fraction"):
            max_leverage_from_rate(D(rate))
