"""Replies that others recorded from the venue: read, or refused for the right reason."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from bybit.client import parse
from bybit.client.envelope import open_envelope
from bybit.client.errors import MalformedResponse
from bybit.client.signing import redact_signatures
from bybit.client.transport import Reply
from bybit.rules.candles import Category, PriceType

AS_OF = datetime(2025, 1, 2, tzinfo=UTC)
ALL_TIME = (1_000_000_000_000, 9_999_999_999_999)


@pytest.fixture
def result_of(shared: Path):
    def read(name: str, part: str | None = None) -> dict[str, Any]:
        body = (shared / "data" / "responses" / f"{name}.json").read_bytes()
        if "hirokisan" in name:
            # These hold the result without its envelope.
            result = orjson.loads(body)
            return result if part is None else result[part]
        return open_envelope(Reply(200, {}, body), "GET", 0, redact_signatures).result

    return read


@pytest.mark.parametrize(
    ("name", "price", "n_candles", "last_close"),
    [
        ("JKorf/jkorf_GetKlines", PriceType.LAST, 3, 17055.5),
        ("JKorf/jkorf_GetIndexPriceKlines", PriceType.INDEX, 2, 17163.07),
        ("JKorf/jkorf_GetPremiumIndexPriceKlines", PriceType.PREMIUM, 2, -0.000344),
        ("nautechsystems/nautilus_http_get_klines_linear", PriceType.LAST, 1, 27455.0),
    ],
)
def test_recorded_candles_are_read(result_of, name, price, n_candles, last_close):
    page = parse.candle_page(result_of(name), price, ALL_TIME)
    assert len(page.candles) == n_candles
    assert page.candles.close[-1] == last_close
    assert page.rejected == ()


def test_candles_that_a_library_renamed_into_objects_are_refused(result_of):
    with pytest.raises(MalformedResponse, match="holds a dict, expected only list"):
        parse.candle_page(result_of("hirokisan/hirokisan_v5-market-get-mark-price-kline"), PriceType.MARK, ALL_TIME)


def test_recorded_funding_is_read(result_of):
    rows = parse.rows_of(result_of("JKorf/jkorf_GetFundingRateHistory"), dict)
    (rate,) = parse.funding_rates(rows, "ETHPERP", ALL_TIME)
    assert rate.funding_rate == Decimal("0.0001")
    assert rate.funding_time == datetime(2022, 12, 26, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "part", "category", "n_at_least"),
    [
        ("JKorf/jkorf_GetLinearInverseSymbols", None, Category.LINEAR, 1),
        ("hirokisan/hirokisan_v5-market-get-instruments-info-inverse", "LinearInverse", Category.LINEAR, 100),
        ("hirokisan/hirokisan_v5-market-get-instruments-info-spot", "Spot", Category.SPOT, 10),
        ("burakoner/burakoner_Market_spot-instrument", None, Category.SPOT, 1),
        ("nautechsystems/nautilus_http_get_instruments_inverse_symbol_type", None, Category.INVERSE, 1),
        ("nautechsystems/nautilus_http_get_instruments_linear_symbol_type", None, Category.LINEAR, 1),
        ("nautechsystems/nautilus_http_get_instruments_spot_xstocks", None, Category.SPOT, 1),
    ],
)
def test_recorded_instruments_are_read(result_of, name, part, category, n_at_least):
    rows = parse.rows_of(result_of(name, part), dict)
    found = parse.instruments(rows, category, AS_OF)
    assert found.rejected == ()
    assert len(found) == len(rows) >= n_at_least
    if category is not Category.SPOT:
        assert all(instrument.funding_interval in (None, timedelta(hours=8)) for instrument in found)


def test_recorded_options_are_refused_as_linear(result_of):
    result = result_of("JKorf/jkorf_GetOptionSymbols")
    with pytest.raises(MalformedResponse, match="asked for category linear"):
        parse.check_echo(result, category="linear")


def test_a_recorded_ladder_from_before_deductions_is_refused(result_of):
    tiers = parse.risk_tiers(parse.rows_of(result_of("hirokisan/hirokisan_v5-market-get-risk-limit"), dict), AS_OF)
    assert tiers == []
    assert {row.reason for row in tiers.rejected} == {"mmDeduction: null or missing"}


@pytest.mark.parametrize(
    ("name", "category", "last_price"),
    [
        ("JKorf/jkorf_GetLinearInverseTickers", Category.INVERSE, "16597.00"),
        ("JKorf/jkorf_GetSpotTickers", Category.SPOT, "20533.13"),
        ("burakoner/burakoner_Market_futures-ticker-empty-fields", Category.INVERSE, "120635.50"),
    ],
)
def test_recorded_tickers_are_read(result_of, name, category, last_price):
    (ticker,) = parse.tickers(parse.rows_of(result_of(name), dict), category, AS_OF)
    assert ticker.last_price == Decimal(last_price)
