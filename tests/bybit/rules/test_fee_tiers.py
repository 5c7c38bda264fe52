from datetime import timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.fee_tiers import TierThreshold, VolumeTiers, evaluation_time, volume_period
from bybit.rules.fees import FeeSchedule
from bybit.rules.periods import Period, parse_time, to_ms

VIP = VolumeTiers.builtin()


@pytest.mark.parametrize(
    ("volume", "tier"),
    [("0", "vip0"), ("9999999.99", "vip0"), ("10000000", "vip1"), ("100000000", "vip4"), ("1E+12", "supreme_vip")],
)
def test_a_tier_holds_from_its_volume_on(volume: str, tier: str) -> None:
    assert VIP.tier_of(D(volume)) == tier


def test_assets_open_a_tier_as_well_and_the_higher_one_counts() -> None:
    assert VIP.tier_of(D(0), D(250_000)) == "vip2"
    assert VIP.tier_of(D(50_000_000), D(100_000)) == "vip3"
    assert VIP.tier_of(D(0), D("1e9")) == "vip5"


def test_the_pro_ladder_leaves_the_vip_one_at_a_hundred_million() -> None:
    pro = VolumeTiers.builtin("pro")
    assert pro.tier_of(D("99999999")) == "vip3"
    assert pro.tier_of(D("100000000")) == "pro1"
    assert pro.tiers[-1] == "pro6"
    with pytest.raises(InvalidInput, match="one of vip, pro"):
        VolumeTiers.builtin("mm")  # type: ignore[arg-type]


def test_the_builtin_ladders_say_that_they_are_second_hand() -> None:
    for route in ("vip", "pro"):
        ladder = VolumeTiers.builtin(route)  # type: ignore[arg-type]
        assert ladder.confidence == "low"
        assert "third-party" in ladder.assumptions[0]
        assert any("only the table of 2026-05-26 is dated" in sentence for sentence in ladder.assumptions)


def test_every_tier_of_the_ladders_has_rates() -> None:
    known = FeeSchedule.builtin().tiers(Category.LINEAR)
    assert {*VIP.tiers, *VolumeTiers.builtin("pro").tiers} <= set(known)


def test_a_ladder_of_ones_own_reads_back_what_it_says() -> None:
    ladder = VolumeTiers.parse("vip1:1e6, vip0:0")
    assert ladder.tiers == ("vip0", "vip1")
    assert ladder.min_volumes == (D(0), D(1_000_000))
    assert VolumeTiers.parse(str(ladder)).version == ladder.version
    assert ladder.version != VIP.version


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("vip0", "not a tier with its volume"),
        ("vip0:much", "not a tier with its volume"),
        ("vip0:0,vip1:-1", "not a tier with its volume"),
        ("vip1:1000000", "lowest tier volume 0"),
        ("vip0:0,vip1:0", "rising volumes"),
        ("vip0:0,vip0:5", "named twice"),
    ],
)
def test_a_ladder_that_is_none_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        VolumeTiers.parse(text)


@pytest.mark.parametrize("volume", ["-1", "NaN", "Infinity"])
def test_a_volume_that_is_none_is_refused(volume: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be"):
        VIP.tier_of(D(volume))


@pytest.mark.parametrize(
    ("time", "evaluated", "first_day", "last_day"),
    [
        ("2025-03-31T06:59:59.999", "2025-03-30T07:00", "2025-02-28", "2025-03-30"),
        ("2025-03-31T07:00", "2025-03-31T07:00", "2025-03-01", "2025-03-31"),
        ("2025-03-31T23:00", "2025-03-31T07:00", "2025-03-01", "2025-03-31"),
    ],
)
def test_tiers_change_at_seven_by_the_thirty_days_before(
    time: str, evaluated: str, first_day: str, last_day: str
) -> None:
    assert evaluation_time(parse_time(time)) == parse_time(evaluated)
    assert volume_period(parse_time(time)) == Period(parse_time(first_day), parse_time(last_day))


@given(st.integers(1_500_000_000_000, 2_000_000_000_000))
def test_an_evaluation_is_at_most_a_day_old_and_knows_nothing_of_its_own_day(now_ms: int) -> None:
    evaluated = evaluation_time(now_ms)
    assert 0 <= now_ms - to_ms(evaluated) < 86_400_000
    assert (evaluated.hour, evaluated.minute) == (7, 0)
    counted = volume_period(now_ms)
    assert counted.end <= evaluated < counted.end + timedelta(days=1)
    assert counted.end - counted.start == timedelta(days=30)


@given(st.lists(st.decimals(D(0), D("1e10"), places=2), min_size=2, max_size=2))
def test_more_volume_never_means_a_lower_tier(volumes: list[D]) -> None:
    low, high = sorted(volumes)
    assert VIP.tiers.index(VIP.tier_of(low)) <= VIP.tiers.index(VIP.tier_of(high))


def test_a_ladder_in_any_order_is_sorted() -> None:
    steps = [TierThreshold("vip1", D(5)), TierThreshold("vip0", D(0))]
    assert VolumeTiers(steps).tiers == ("vip0", "vip1")
