from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fees import (
    UNKNOWN,
    Basis,
    FeeEra,
    FeeRates,
    FeeSchedule,
    FeeSighting,
    FeeSnapshot,
    Liquidity,
    UncertainWindow,
)
from bybit.rules.periods import Period, parse_time, to_ms
from tests.bybit.rules.amounts import rates

LINEAR, INVERSE, SPOT = Category.LINEAR, Category.INVERSE, Category.SPOT
BUILTIN = FeeSchedule.builtin()
ORDINARY = FeeRates(D("0.0002"), D("0.00055"))
DAY = timedelta(days=1)
START = parse_time("2025-01-01")


def at(text: str) -> datetime:
    return parse_time(text)


def period(start: str, end: str) -> Period:
    return Period(at(start), at(end))


def era(start: int, end: int | None, taker: str, *symbols: str) -> FeeEra:
    """Days since START."""
    valid_to = None if end is None else START + end * DAY
    terms = FeeRates(D(0), D(taker))
    return FeeEra("linear_perpetual", "vip0", terms, START + start * DAY, valid_to, "a test", "low", symbols)


def snapshot(day: float, taker: str, symbol: str = "BTCUSDT") -> FeeSnapshot:
    return FeeSnapshot(LINEAR, symbol, FeeRates(D("0.0001"), D(taker)), START + day * DAY)


def sighting(start: int, end: int, taker: str, symbol: str = "BTCUSDT") -> FeeSighting:
    return FeeSighting(symbol, D(taker), START + start * DAY, START + end * DAY, "a fill", "low")


# Pro and market makers, by group.


@pytest.mark.parametrize(
    ("tier", "symbol", "category", "maker", "taker"),
    [
        ("pro1", "BTCUSDT", LINEAR, "0.0001", "0.00028"),
        ("pro1", "WIFUSDT", LINEAR, "0.000125", "0.00032"),
        ("pro6", "SIRENUSDT", LINEAR, "0", "0.00028"),
        ("pro3", "BTCPERP", LINEAR, "0", "0.000275"),
        ("pro2", "BTCUSD", INVERSE, "0.0001", "0.00032"),
        ("pro5", "BTCUSDU26", INVERSE, "0", "0.00028"),
    ],
)
def test_pro_terms_follow_the_group_of_the_symbol(
    tier: str, symbol: str, category: Category, maker: str, taker: str
) -> None:
    quote = BUILTIN.quote(category, tier, at("2026-07-01"), symbol)
    assert quote.rates == FeeRates(D(maker), D(taker))
    assert quote.basis is Basis.GROUP
    assert quote.source


def test_group_terms_are_refused_before_they_were_first_seen() -> None:
    assert BUILTIN.known_from(LINEAR, "pro1", "WIFUSDT") == at("2026-06-16")
    assert BUILTIN.known_from(LINEAR, "pro1", "BTCUSDT") == at("2025-09-25")
    for symbol, day in (("WIFUSDT", "2026-06-15"), ("BTCUSDT", "2025-09-24")):
        with pytest.raises(NotEstablished, match=f"{symbol}, whose symbol group decides"):
            BUILTIN.rates(LINEAR, "pro1", at(day), symbol)
    with pytest.raises(NotEstablished, match="2026-06-16"):
        BUILTIN.eras(LINEAR, "pro1", period("2026-06-01", "2026-07-01"), "WIFUSDT")


def test_a_symbol_in_no_group_is_refused() -> None:
    with pytest.raises(NotEstablished, match="not established for NOSUCHUSDT"):
        BUILTIN.rates(LINEAR, "mm1", at("2026-07-01"), "NOSUCHUSDT")


def test_a_market_maker_has_a_rebate_and_no_established_taker_rate() -> None:
    terms = BUILTIN.rates(LINEAR, "mm3", at("2026-07-01"), "BTCUSDT")
    assert terms.fee(D(1000), Liquidity.MAKER) == D("-0.04")
    assert not terms.established(Liquidity.TAKER)
    with pytest.raises(NotEstablished, match="maker rebate only"):
        terms.fee(D(1000), Liquidity.TAKER)


def test_the_maker_rebate_of_the_major_coins_changed_on_a_day_nobody_recorded() -> None:
    year = period("2025-10-01", "2026-10-01")
    assert [quote.rates.maker for quote in BUILTIN.eras(LINEAR, "mm1", year, "BTCUSDT")] == [
        D("-0.0000075"),
        D("-0.00001"),
    ]
    assert BUILTIN.uncertain(year, LINEAR, "mm1") == (period("2025-10-01", "2026-06-16"),)
    assert BUILTIN.uncertain(year) == ()


# Symbols whose recorded fills paid another rate.


@pytest.mark.parametrize("symbol", ["SIRENUSDT", "LIGHTUSDT", "DUSKUSDT", "CUSDT", "VVVUSDT", "BLUAIUSDT"])
def test_a_recorded_symbol_rate_holds_on_its_days_only(symbol: str) -> None:
    quote = BUILTIN.quote(LINEAR, "vip0", at("2026-03-24T01:00"), symbol)
    assert quote.basis is Basis.SYMBOL
    assert quote.rates.taker == D("0.0011")
    for day in ("2026-03-17", "2026-03-26"):
        ordinary = BUILTIN.quote(LINEAR, "vip0", at(day), symbol)
        assert (ordinary.rates, ordinary.basis) == (ORDINARY, Basis.ERA)


def test_the_side_that_was_not_seen_is_not_established() -> None:
    terms = BUILTIN.rates(LINEAR, "vip0", at("2026-03-24"), "SIRENUSDT")
    with pytest.raises(NotEstablished, match="only its own side"):
        terms.rate(Liquidity.MAKER)


def test_a_recorded_rate_that_is_the_ordinary_one_leaves_the_other_side_ordinary() -> None:
    quote = BUILTIN.quote(LINEAR, "vip0", at("2026-03-25T02:00"), "RIVERUSDT")
    assert (quote.rates, quote.basis) == (ORDINARY, Basis.SYMBOL)


@pytest.mark.parametrize(
    ("symbol", "day", "taker"), [("SNXUSDT", "2026-04-21", "0.00085"), ("XAUTUSDT", "2026-09-22", "0.001")]
)
def test_single_recorded_fills_are_quoted_whatever_their_market(symbol: str, day: str, taker: str) -> None:
    for category in (LINEAR, SPOT):
        assert BUILTIN.rates(category, "vip0", at(day), symbol).taker == D(taker)
    assert BUILTIN.rates(LINEAR, "vip0", at(day) + DAY, symbol) == ORDINARY


def test_a_recorded_symbol_rate_is_of_its_own_tier_and_needs_the_symbol() -> None:
    assert BUILTIN.rates(LINEAR, "vip1", at("2026-03-24"), "SIRENUSDT").taker == D("0.0004")
    assert BUILTIN.rates(LINEAR, "vip0", at("2026-03-24")) == ORDINARY
    assert BUILTIN.without_sightings().rates(LINEAR, "vip0", at("2026-03-24"), "SIRENUSDT") == ORDINARY


def test_the_eras_of_a_recorded_symbol_are_split_around_its_days() -> None:
    wanted = period("2026-03-01", "2026-04-01")
    found = BUILTIN.eras(LINEAR, "vip0", wanted, "SIRENUSDT")
    assert [quote.basis for quote in found] == [Basis.ERA, Basis.SYMBOL, Basis.ERA]
    assert [quote.valid_from for quote in found[1:]] == [at("2026-03-23"), at("2026-03-25")]
    assert len(BUILTIN.eras(LINEAR, "vip0", wanted, "BTCUSDT")) == 1
    assert len(BUILTIN.eras(LINEAR, "vip0", wanted)) == 1


def test_doubts_name_what_was_recorded_and_what_the_group_suggests() -> None:
    recorded, group = BUILTIN.doubts(LINEAR, "vip0", "SIRENUSDT")
    assert recorded.startswith("recorded fills of SIRENUSDT paid 0.0011 on 2026-03-23..2026-03-25")
    assert "Innovation-Zone" in group
    assert BUILTIN.doubts(LINEAR, "vip0", "RIVERUSDT") == ()
    assert BUILTIN.doubts(LINEAR, "vip0", "BTCUSDT") == ()
    told = FeeSnapshot(LINEAR, "SIRENUSDT", ORDINARY, START)
    assert BUILTIN.with_snapshots([told]).doubts(LINEAR, "vip0", "SIRENUSDT") == ()


# The account's own replies.


def test_the_accounts_own_reply_beats_everything_from_its_time_on() -> None:
    schedule = FeeSchedule([era(0, None, "0.001")], sightings=[sighting(4, 8, "0.002")]).with_snapshots(
        [snapshot(10, "0.0004"), snapshot(6, "0.0003")]
    )
    line = schedule.eras(LINEAR, "vip0", Period(START, START + 20 * DAY), "BTCUSDT")
    assert [(quote.basis, quote.rates.taker) for quote in line] == [
        (Basis.ERA, D("0.001")),
        (Basis.SYMBOL, D("0.002")),
        (Basis.ACCOUNT, D("0.0003")),
        (Basis.ACCOUNT, D("0.0004")),
    ]
    assert [(quote.valid_from - START).days for quote in line] == [0, 4, 6, 10]
    assert line[-1].valid_to is None
    assert "2025-01-11T00:00:00Z" in line[-1].source


def test_a_reply_is_of_its_symbol_and_category_alone() -> None:
    schedule = BUILTIN.with_snapshots([snapshot(0, "0.0003")])
    assert schedule.quote(LINEAR, "vip0", START, "BTCUSDT").basis is Basis.ACCOUNT
    assert schedule.rates(LINEAR, "vip0", START, "ETHUSDT") == ORDINARY
    assert schedule.rates(INVERSE, "vip0", START, "BTCUSDT") == ORDINARY
    assert schedule.rates(LINEAR, "vip0", START) == ORDINARY
    assert schedule.version != BUILTIN.version


def test_a_reply_makes_a_symbol_without_group_terms_known() -> None:
    schedule = BUILTIN.with_snapshots([snapshot(0, "0.0003", "NOSUCHUSDT")])
    assert schedule.rates(LINEAR, "mm1", START + DAY, "NOSUCHUSDT").taker == D("0.0003")
    assert schedule.known_from(LINEAR, "mm1", "NOSUCHUSDT") == START
    with pytest.raises(NotEstablished):
        schedule.rates(LINEAR, "mm1", START - DAY, "NOSUCHUSDT")


def test_the_same_reply_twice_is_one_and_two_that_differ_are_refused() -> None:
    once = BUILTIN.with_snapshots([snapshot(0, "0.0003")])
    assert once.with_snapshots([snapshot(0, "0.0003")]).version == once.version
    with pytest.raises(InvalidInput, match="two fee-rate replies"):
        once.with_snapshots([snapshot(0, "0.0004")])


# Changes on a day nobody recorded.


def test_the_change_is_decided_to_either_side_of_its_window() -> None:
    inside, year = at("2023-05-01"), period("2023-01-01", "2024-01-01")
    latest, earliest = BUILTIN.with_change("latest"), BUILTIN.with_change("earliest")
    assert latest.rates(LINEAR, "vip0", inside) == FeeRates(D("0.0001"), D("0.0006"))
    assert earliest.rates(LINEAR, "vip0", inside) == ORDINARY
    assert earliest.eras(LINEAR, "vip0", year)[1].valid_from == at("2023-02-14")
    assert earliest.eras(INVERSE, "vip0", year)[1].valid_from == at("2023-02-14")
    assert (latest.change, earliest.change, BUILTIN.change) == ("latest", "earliest", None)
    assert earliest.uncertain(year) == latest.uncertain(year) == ()
    assert len({BUILTIN.version, latest.version, earliest.version}) == 3


def test_a_decided_change_moves_nothing_that_is_no_change() -> None:
    earliest = BUILTIN.with_change("earliest")
    # The undated Pro terms of 2022-23 end where the new schedule begins; nothing follows them there.
    assert earliest.quote(LINEAR, "pro3", at("2023-06-01")).valid_to == at("2023-09-18")
    assert earliest.quote(LINEAR, "vip0", at("2024-01-01")).valid_to is None
    assert earliest.rates(LINEAR, "mm1", at("2025-12-01"), "BTCUSDT").maker == D("-0.00001")


def test_a_window_of_every_tier_moves_changes_and_no_first_or_last_day() -> None:
    window = Period(START + 5 * DAY, START + 10 * DAY)
    alone, changed = era(10, None, "0.001"), replace(era(0, 10, "0.001"), tier="vip1")
    next_one = replace(era(10, 20, "0.002"), tier="vip1")
    ends = replace(era(0, 10, "0.003"), tier="vip2")
    earliest = FeeSchedule([alone, changed, next_one, ends], [window]).with_change("earliest")
    spans = {(each.tier, (each.valid_from - START).days): each.valid_to for each in earliest.table}
    assert spans == {
        ("vip0", 10): None,
        ("vip1", 0): START + 5 * DAY,
        ("vip1", 5): START + 20 * DAY,
        ("vip2", 0): START + 10 * DAY,
    }


def test_a_change_is_decided_once() -> None:
    earliest = BUILTIN.with_change("earliest")
    assert earliest.with_change("earliest").version == earliest.version
    with pytest.raises(InvalidInput, match="already decided"):
        earliest.with_change("latest")
    with pytest.raises(InvalidInput, match="one of earliest, latest"):
        BUILTIN.with_change("midway")  # type: ignore[arg-type]


def test_a_decided_schedule_keeps_its_replies_and_its_side() -> None:
    schedule = BUILTIN.with_snapshots([snapshot(0, "0.0003")]).with_change("earliest")
    assert schedule.rates(LINEAR, "vip0", START, "BTCUSDT").taker == D("0.0003")
    assert schedule.with_snapshots([snapshot(1, "0.0004")]).change == "earliest"
    assert schedule.without_sightings().change == "earliest"


# What may have been charged.


def test_candidates_hold_both_sides_of_a_window() -> None:
    takers = [quote.rates.taker for quote in BUILTIN.candidates(LINEAR, at("2023-07-18"))]
    assert takers == [D("0.0006"), D("0.00055")]
    assert [quote.rates for quote in BUILTIN.candidates(LINEAR, at("2025-07-18"))] == [ORDINARY]


def test_candidates_name_the_recorded_symbol_rate_first() -> None:
    found = BUILTIN.candidates(LINEAR, at("2026-03-24"), "SIRENUSDT")
    assert [quote.basis for quote in found] == [Basis.SYMBOL, Basis.ERA]
    assert BUILTIN.candidates(LINEAR, at("2017-01-01")) == ()


# Regions and pre-market.


def test_regional_terms_are_nobodys_default_and_end_with_their_last_sighting() -> None:
    assert BUILTIN.rates(LINEAR, "vip0@ru", at("2024-06-01")) == FeeRates(D("0.00036"), D("0.001"))
    assert BUILTIN.rates(LINEAR, "vip0", at("2024-06-01")) == ORDINARY
    for day in ("2024-03-10", "2024-08-15"):
        with pytest.raises(NotEstablished):
            BUILTIN.rates(LINEAR, "vip0@ru", at(day))
    assert BUILTIN.rates(SPOT, "vip0@eu", at("2026-06-05T08:22"), "BTCEUR").taker == D("0.0025")
    with pytest.raises(NotEstablished):
        BUILTIN.rates(SPOT, "vip0@eu", at("2026-06-05T08:22"), "ETHEUR")


def test_pre_market_contracts_pay_nothing_in_the_auction_and_more_after_it() -> None:
    auction = BUILTIN.rates(LINEAR, "pre_market_auction", at("2025-01-02"))
    assert auction.fee(D(1000), Liquidity.TAKER) == 0
    assert BUILTIN.rates(LINEAR, "pre_market", at("2025-01-02")) == FeeRates(D("0.0004"), D("0.001"))


# What a schedule refuses, and what its version covers.


def test_eras_of_different_symbols_may_hold_at_once_and_shared_ones_not() -> None:
    FeeSchedule([era(0, None, "0.001", "BTCUSDT"), era(0, None, "0.002", "ETHUSDT")])
    for other in (era(1, None, "0.002", "ETHUSDT", "BTCUSDT"), era(1, None, "0.002")):
        with pytest.raises(InvalidInput, match="overlap"):
            FeeSchedule([era(0, None, "0.001", "BTCUSDT"), other])


def test_sightings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InvalidInput, match="two sightings of BTCUSDT"):
        FeeSchedule([], sightings=[sighting(0, 2, "0.001"), sighting(1, 3, "0.002")])
    with pytest.raises(InvalidInput, match="not after its start"):
        FeeSchedule([], sightings=[sighting(2, 2, "0.001")])


def test_a_rate_that_is_no_fraction_is_refused() -> None:
    for rate in ("0.055E2", "-1", "Infinity"):
        with pytest.raises(InvalidInput, match="no fraction"):
            FeeRates(D(rate), D(0))


def test_two_records_that_do_not_know_the_same_side_are_equal() -> None:
    assert FeeRates(D(0), D("NaN")) == FeeRates(D(0), UNKNOWN)
    assert hash(FeeRates(D(0), D("NaN"))) == hash(FeeRates(D("0.0"), UNKNOWN))
    assert FeeRates(D(0), UNKNOWN) != FeeRates(D(0), D(0))


def test_the_version_covers_everything_that_can_change_a_quote() -> None:
    first = era(0, None, "0.001")
    window = UncertainWindow(Period(START, START + DAY), "linear_perpetual", "vip0")
    schedules = [
        FeeSchedule([first]),
        FeeSchedule([replace(first, symbols=("BTCUSDT",))]),
        FeeSchedule([replace(first, rates=FeeRates(UNKNOWN, D("0.001")))]),
        FeeSchedule([first], [window]),
        FeeSchedule([first], [replace(window, tier="vip1")]),
        FeeSchedule([first]).with_change("latest"),
        FeeSchedule([first], sightings=[sighting(0, 1, "0.001")]),
        FeeSchedule([first], sightings=[replace(sighting(0, 1, "0.001"), maker=D(0))]),
        FeeSchedule([first], sightings=[replace(sighting(0, 1, "0.001"), category=LINEAR)]),
        FeeSchedule([first], sightings=[replace(sighting(0, 1, "0.001"), tier="vip1")]),
        FeeSchedule([first], snapshots=[snapshot(0, "0.001")]),
        FeeSchedule([first], snapshots=[snapshot(1, "0.001")]),
        FeeSchedule([first], remarks={"BTCUSDT": "doubtful"}),
    ]
    assert len({schedule.version for schedule in schedules}) == len(schedules)
    assert FeeSchedule([first], [window]).version == FeeSchedule([first], [window]).version


days = st.integers(0, 30)


@st.composite
def schedules(draw: st.DrawFn) -> FeeSchedule:
    """Draw general terms without a hole, recorded symbols and replies, all within a month."""
    cuts = sorted({0, *draw(st.sets(days, max_size=4))})
    ends: list[int | None] = [*cuts[1:], None]
    eras = [era(a, b, f"{draw(rates):f}") for a, b in zip(cuts, ends, strict=True)]
    seen_from = draw(days)
    seen = [sighting(seen_from, seen_from + draw(st.integers(1, 5)), f"{draw(rates):f}")] * draw(st.integers(0, 1))
    told = {draw(days): snapshot(0, f"{draw(rates):f}") for _ in range(draw(st.integers(0, 3)))}
    snapshots = [replace(each, time=START + day * DAY) for day, each in told.items()]
    return FeeSchedule(eras, sightings=seen, snapshots=snapshots)


@given(schedules(), st.integers(-48, 40 * 24))
def test_the_eras_are_the_quotes_of_every_instant(schedule: FeeSchedule, hour: int) -> None:
    moment = START + timedelta(hours=hour)
    try:
        quote = schedule.quote(LINEAR, "vip0", to_ms(moment), "BTCUSDT")
    except NotEstablished:
        with pytest.raises(NotEstablished):
            schedule.eras(LINEAR, "vip0", Period(moment, moment + DAY), "BTCUSDT")
        return
    line = schedule.eras(LINEAR, "vip0", Period(moment, START + 50 * DAY), "BTCUSDT")
    assert line[0] == quote
    assert [a.valid_to for a in line] == [*(b.valid_from for b in line[1:]), None]
    told = [each for each in schedule._snapshots.get((LINEAR, "BTCUSDT"), ()) if each.time <= moment]
    assert (quote.basis is Basis.ACCOUNT) == bool(told)
    if told:
        assert quote.rates == told[-1].rates
