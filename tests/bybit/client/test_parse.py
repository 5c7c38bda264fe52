from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.client import parse
from bybit.client.errors import MalformedResponse
from bybit.rules.candles import Category, PriceType
from bybit.rules.funding import FundingRate
from bybit.rules.periods import utc
from tests.bybit.client.fakes import MINUTE, row

START = 1_700_000_040_000
SPAN = (START, START + 10 * MINUTE)
AS_OF = datetime(2025, 1, 2, tzinfo=UTC)


def page_of(*rows, price=PriceType.LAST, span=SPAN):
    return parse.candle_page({"list": list(rows)}, price, span)


def times_of(page):
    return [(open_ms - START) // MINUTE for open_ms in page.candles.open_time_ms.tolist()]


def test_candles_come_oldest_first_as_the_nearest_floats():
    page = page_of(
        [str(START + MINUTE), "0.1", "0.3", "0.05", "0.2", "12.5", "1.25"],
        [str(START), "100", "101", "99.5", "100.5", "0", "0"],
    )
    candles = page.candles
    assert candles.open_time_ms.dtype == np.int64
    assert candles.open_time_ms.tolist() == [START, START + MINUTE]
    assert (candles.open.tolist(), candles.high.tolist()) == ([100.0, 0.1], [101.0, 0.3])
    assert (candles.low.tolist(), candles.close.tolist()) == ([99.5, 0.05], [100.5, 0.2])
    assert (candles.volume.tolist(), candles.turnover.tolist()) == ([0.0, 12.5], [0.0, 1.25])
    assert (page.n_outside, page.n_duplicate, page.conflicts, page.rejected) == (0, 0, (), ())


@pytest.mark.parametrize("price", [PriceType.MARK, PriceType.INDEX, PriceType.PREMIUM])
def test_prices_without_trades_have_no_volume(price):
    page = page_of([str(START), "1", "2", "0.5", "1.5"], price=price)
    assert np.isnan(page.candles.volume).all()
    assert np.isnan(page.candles.turnover).all()
    assert page.candles.close.tolist() == [1.5]


def test_an_empty_page_is_a_page():
    for price in PriceType:
        page = page_of(price=price)
        assert len(page.candles) == 0
        assert page.candles.turnover.dtype == np.float64


def test_a_premium_may_be_negative_or_zero_and_may_open_below_its_low():
    page = page_of([str(START), "-0.000587", "0", "-0.00048", "-0.000344"], price=PriceType.PREMIUM)
    assert page.candles.open.tolist() == [-0.000587]
    assert page.rejected == ()


def test_a_high_below_the_low_is_kept_for_the_quality_checks():
    page = page_of([str(START), "100", "98", "99", "100", "1", "1"])
    assert len(page.candles) == 1


def test_fault_15_a_repeated_row_counts_once_and_different_ones_conflict():
    page = page_of(row(START + MINUTE), row(START), row(START), row(START + MINUTE, price="100.6"))
    assert times_of(page) == [0]
    assert page.n_duplicate == 1
    (conflict,) = page.conflicts
    assert conflict.key == START + MINUTE
    assert [raw[1] for raw in conflict.rows] == ["100.5", "100.6"]


def test_fault_15_the_same_value_written_differently_is_no_conflict():
    page = page_of(row(START, price="100.5"), row(START, price="100.50"))
    assert (page.n_duplicate, page.conflicts) == (1, ())


def test_fault_16_the_order_of_the_rows_does_not_matter():
    page = page_of(*(row(START + i * MINUTE) for i in (3, 0, 4, 1, 2)))
    assert times_of(page) == [0, 1, 2, 3, 4]


def test_fault_17_rows_outside_the_span_are_dropped_and_counted():
    page = page_of(row(SPAN[1]), row(SPAN[1] - MINUTE), row(START), row(START - MINUTE))
    assert times_of(page) == [0, 9]
    assert page.n_outside == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "not a plain decimal"),
        ("inf", "not a plain decimal"),
        ("Infinity", "not a plain decimal"),
        ("", "empty"),
        (None, "null"),
        ("-1", "negative"),
        ("1,5", "not a plain decimal"),
        ("1\n2", "not a plain decimal"),
        ("1e5", "not a plain decimal"),
        ("1_000", "not a plain decimal"),
        (" 1", "not a plain decimal"),
        ("١٢", "not a plain decimal"),
        ("1" * 41, "longer than 40"),
        ("0", "price of zero"),
        ("0.000", "price of zero"),
        (True, "a bool"),
        ({}, "a dict"),
    ],
)
def test_a_row_with_a_bad_price_is_rejected_with_its_reason_and_the_others_stay(text, reason):
    page = page_of(row(START + MINUTE), row(START, price=text))
    assert times_of(page) == [1]
    (rejected,) = page.rejected
    assert reason in rejected.reason
    assert "open" in rejected.reason
    assert rejected.raw[0] == str(START)


@pytest.mark.parametrize("text", ["NaN", "", None, "-1", "1,5"])
def test_a_row_with_a_bad_volume_is_rejected(text):
    assert len(page_of(row(START, volume=text)).rejected) == 1


@pytest.mark.parametrize(
    "text", ["1700000040", "1700000040000000", "x", "", None, 1700000040000, "1700000040000.5", "-1"]
)
def test_a_row_with_a_time_that_is_none_is_rejected(text):
    page = page_of([text, *row(START)[1:]])
    assert len(page.candles) == 0
    assert len(page.rejected) == 1
    assert "start" in page.rejected[0].reason


def test_a_short_row_is_rejected_and_a_longer_one_read_as_far_as_known():
    page = page_of([*row(START + MINUTE), "new"], row(START)[:6])
    assert times_of(page) == [1]
    assert "6 fields" in page.rejected[0].reason


@pytest.mark.parametrize("result", [{}, {"list": None}, {"list": {}}, {"list": [{"StartTime": "1"}]}, {"list": [None]}])
def test_fault_13_a_list_that_is_none_is_refused(result):
    with pytest.raises(MalformedResponse):
        parse.candle_page(result, PriceType.LAST, SPAN)


numbers = st.decimals("0.00000001", "999999999", places=8).map(lambda value: format(value, "f"))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-2, 12), st.one_of(numbers, st.sampled_from(["NaN", "", "0", "-3"]))), max_size=25),
    st.randoms(use_true_random=False),
)
def test_every_row_of_a_page_is_accounted_for(rows, random):
    wire = [row(START + i * MINUTE, price=price) for i, price in rows]
    random.shuffle(wire)
    page = page_of(*wire)
    assert np.all(np.diff(page.candles.open_time_ms) > 0)
    in_conflict = sum(len(conflict.rows) for conflict in page.conflicts)
    accounted = len(page.candles) + page.n_outside + page.n_duplicate + len(page.rejected) + in_conflict
    # A repeat of a conflicting row counts as a duplicate, so nothing is counted twice.
    assert accounted == len(rows)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(numbers, numbers, numbers, numbers, numbers, numbers), min_size=1, max_size=10))
def test_the_quick_and_the_careful_way_read_the_same_page_alike(values):
    wire = [[str(START + i * MINUTE), *texts] for i, texts in enumerate(values)][::-1]
    quick = page_of(*wire).candles
    careful = parse._careful_page(wire, 7, PriceType.LAST, SPAN).candles
    for name in ("open_time_ms", "open", "high", "low", "close", "volume", "turnover"):
        assert getattr(quick, name).tobytes() == getattr(careful, name).tobytes()


def settlement(hour: int, rate: str = "0.0001", symbol: str = "BTCUSDT") -> dict[str, str]:
    return {"symbol": symbol, "fundingRate": rate, "fundingRateTimestamp": str(START + hour * 60 * MINUTE)}


DAY = (START, START + 24 * 60 * MINUTE)


def test_funding_rates_are_exact_and_oldest_first():
    rates = parse.funding_rates([settlement(8, "-0.00037501"), settlement(0, "0.0001")], "BTCUSDT", DAY)
    assert rates == [
        FundingRate("BTCUSDT", utc(START), Decimal("0.0001")),
        FundingRate("BTCUSDT", utc(START + 480 * MINUTE), Decimal("-0.00037501")),
    ]


def test_funding_rows_that_repeat_differ_lie_outside_or_are_of_another_symbol_are_accounted_for():
    rates = parse.funding_rates(
        [
            settlement(0),
            settlement(0),
            settlement(4),
            settlement(4, "0.0002"),
            settlement(24),
            settlement(1, symbol="ETHUSDT"),
            settlement(2, "NaN"),
            settlement(3, "1.5"),
            settlement(5, ""),
        ],
        "BTCUSDT",
        DAY,
    )
    assert [rate.funding_time for rate in rates] == [utc(START)]
    assert (rates.n_duplicate, rates.n_outside) == (1, 1)
    assert [conflict.key for conflict in rates.conflicts] == [START + 240 * MINUTE]
    assert [row.reason.split(":")[0] for row in rates.rejected] == [
        "symbol",
        "fundingRate",
        "fundingRate",
        "fundingRate",
    ]


def instrument_row(**changes):
    return {
        "symbol": "BTCUSDT",
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "settleCoin": "USDT",
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": "0.10", "maxPrice": "199999.80", "tickSize": "0.10"},
        "lotSizeFilter": {
            "maxOrderQty": "100.000",
            "minOrderQty": "0.001",
            "qtyStep": "0.001",
            "minNotionalValue": "5",
        },
        "fundingInterval": 480,
        "upperFundingRate": "0.00375",
        "lowerFundingRate": "-0.00375",
    } | changes


def test_an_instrument_keeps_its_figures_exactly_and_none_for_what_is_missing():
    (found,) = parse.instruments([instrument_row()], Category.LINEAR, AS_OF)
    assert (found.tick_size, found.qty_step, found.min_notional) == (Decimal("0.10"), Decimal("0.001"), Decimal(5))
    assert found.funding_interval == timedelta(hours=8)
    assert found.lower_funding_rate == Decimal("-0.00375")
    assert found.launch_time == datetime(2020, 3, 30, tzinfo=UTC)
    assert (found.delivery_time, found.max_market_order_qty) == (None, None)
    assert found.as_of == AS_OF


@pytest.mark.parametrize("minutes", ["240", 240])
def test_a_funding_interval_is_a_number_of_minutes_as_number_or_text(minutes):
    (found,) = parse.instruments([instrument_row(fundingInterval=minutes)], Category.LINEAR, AS_OF)
    assert found.funding_interval == timedelta(hours=4)


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": "../etc/passwd"},
        {"symbol": None},
        {"priceFilter": None},
        {"priceFilter": {"tickSize": "0"}},
        {"priceFilter": {"tickSize": ""}},
        {"lotSizeFilter": "none"},
        {"fundingInterval": "soon"},
        {"launchTime": "yesterday"},
        {"settleCoin": ""},
    ],
)
def test_an_instrument_that_lacks_what_an_order_needs_is_rejected_alone(changes):
    found = parse.instruments(
        [instrument_row(), instrument_row(**{"symbol": "ETHUSDT"} | changes)], Category.LINEAR, AS_OF
    )
    assert [instrument.symbol for instrument in found] == ["BTCUSDT"]
    assert len(found.rejected) == 1


def tier_row(limit: str, im: str, mm: str, leverage: str, deduction="0", symbol: str = "BTCUSDT", **changes):
    return {
        "id": 1,
        "symbol": symbol,
        "riskLimitValue": limit,
        "maintenanceMargin": mm,
        "initialMargin": im,
        "maxLeverage": leverage,
        "mmDeduction": deduction,
    } | changes


def test_a_margin_ladder_is_sorted_by_notional_and_numbered_from_one():
    tiers = parse.risk_tiers(
        [
            tier_row("2600000", "0.0111", "0.0056", "90", "1200"),
            tier_row("2000000", "0.01", "0.005", "100", ""),
            tier_row("900000", "0.02", "0.01", "50.00", symbol="ETHUSDT"),
        ],
        AS_OF,
    )
    assert [(tier.symbol, tier.tier, tier.max_notional) for tier in tiers] == [
        ("BTCUSDT", 1, Decimal(2000000)),
        ("BTCUSDT", 2, Decimal(2600000)),
        ("ETHUSDT", 1, Decimal(900000)),
    ]
    assert [tier.mm_deduction for tier in tiers] == [Decimal(0), Decimal(1200), Decimal(0)]


def test_margins_given_as_json_numbers_are_read_too():
    (tier,) = parse.risk_tiers([tier_row("2000000", 0.01, 0.005, "100")], AS_OF)
    assert tier.initial_margin_rate == Decimal("0.01")


@pytest.mark.parametrize(
    "bad",
    [
        tier_row("3000000", "1", "0.5", "100"),
        tier_row("3000000", "0.02", "0.03", "50"),
        tier_row("3000000", "0.02", "0.01", "50", deduction=None),
        tier_row("3000000", "", "0.01", "50"),
        tier_row("2000000", "0.02", "0.01", "50"),
    ],
)
def test_a_ladder_with_a_step_that_cannot_be_used_is_left_out_as_a_whole(bad):
    good = tier_row("2000000", "0.01", "0.005", "100")
    tiers = parse.risk_tiers([good, bad, tier_row("900000", "0.02", "0.01", "50", symbol="ETHUSDT")], AS_OF)
    assert [tier.symbol for tier in tiers] == ["ETHUSDT"]
    assert len(tiers.rejected) + len(tiers.conflicts) == 1


def test_a_ticker_says_none_where_the_venue_says_nothing():
    (found,) = parse.tickers(
        [{"symbol": "BTCUSDT", "lastPrice": "100.5", "markPrice": "", "fundingRate": "-0.0001", "nextFundingTime": ""}],
        Category.LINEAR,
        AS_OF,
    )
    assert (found.last_price, found.mark_price, found.index_price) == (Decimal("100.5"), None, None)
    assert (found.funding_rate, found.next_funding_time) == (Decimal("-0.0001"), None)


def test_the_clock_of_the_venue_is_read_from_its_nanoseconds():
    assert parse.venue_time_ms({"timeSecond": "1700000000", "timeNano": "1700000000123456789"}) == 1700000000123
    for bad in (None, "", "1700000000123", 1700000000123456789, "17000000001234567xx"):
        with pytest.raises(MalformedResponse):
            parse.venue_time_ms({"timeNano": bad})
