"""ccxt, unmodified, reads the sandbox's market."""

import time
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import ccxt
import pytest

BTC = "BTC/USDT:USDT"
SYMBOLS = [BTC, "ETH/USDT:USDT", "SOL/USDT:USDT", "WIF/USDT:USDT", "XRP/USDT:USDT"]
HOUR = 3_600_000
START = int(datetime(2025, 3, 1, tzinfo=UTC).timestamp() * 1000)


def test_the_time_is_now_and_nothing_is_announced(exchange: ccxt.bybit) -> None:
    assert abs(exchange.fetch_time() - time.time() * 1000) < 5_000
    assert exchange.fetch_status()["status"] == "ok"


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_a_market_is_a_linear_swap_with_its_steps(exchange: ccxt.bybit, symbol: str) -> None:
    market = exchange.market(symbol)
    assert (market["type"], market["linear"], market["settle"]) == ("swap", True, "USDT")
    assert market["active"] is True
    assert market["precision"]["price"] > 0
    assert market["limits"]["amount"]["min"] >= market["precision"]["amount"]
    assert market["limits"]["leverage"]["max"] >= 25


@pytest.mark.parametrize(("timeframe", "step_ms"), [("1m", 60_000), ("15m", 900_000), ("1h", HOUR), ("1d", 24 * HOUR)])
def test_candles_run_forward_from_since(exchange: ccxt.bybit, timeframe: str, step_ms: int) -> None:
    candles = exchange.fetch_ohlcv(BTC, timeframe, since=START, limit=5)
    assert [candle[0] for candle in candles] == [START + n * step_ms for n in range(5)]
    assert all(low <= close <= high for _, _, high, low, close, _ in candles)
    assert all(candle[5] > 0 for candle in candles)


def test_candles_are_paged_through_without_a_hole(exchange: ccxt.bybit) -> None:
    # ccxt counts its pages back from now, so the span ends there.
    since = exchange.fetch_time() // 60_000 * 60_000 - 2_500 * 60_000
    candles = exchange.fetch_ohlcv(BTC, "1m", since=since, params={"paginate": True})
    times = [candle[0] for candle in candles]
    assert times == list(range(since, times[-1] + 1, 60_000))
    assert len(times) >= 2_500


@pytest.mark.parametrize("method", ["fetch_mark_ohlcv", "fetch_index_ohlcv", "fetch_premium_index_ohlcv"])
def test_the_other_prices_have_candles_without_volume(exchange: ccxt.bybit, method: str) -> None:
    candles = getattr(exchange, method)("ETH/USDT:USDT", "1h", START, 4)
    assert [candle[0] for candle in candles] == [START + n * HOUR for n in range(4)]
    assert {candle[5] for candle in candles} == {None}


def test_a_ticker_has_a_spread_and_a_day(exchange: ccxt.bybit) -> None:
    ticker = exchange.fetch_ticker(BTC)
    assert ticker["symbol"] == BTC
    assert ticker["bid"] < ticker["ask"]
    assert ticker["low"] <= ticker["last"] <= ticker["high"]
    assert ticker["baseVolume"] > 0


def test_tickers_come_for_those_asked_for(exchange: ccxt.bybit) -> None:
    tickers = exchange.fetch_tickers([BTC, "XRP/USDT:USDT"])
    assert set(tickers) == {BTC, "XRP/USDT:USDT"}


def test_a_book_is_sorted(exchange: ccxt.bybit) -> None:
    book = exchange.fetch_order_book("SOL/USDT:USDT", 20)
    assert (len(book["bids"]), len(book["asks"])) == (20, 20)
    assert [price for price, _ in book["bids"]] == sorted((price for price, _ in book["bids"]), reverse=True)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert book["timestamp"] > 0


def test_trades_are_oldest_first(exchange: ccxt.bybit) -> None:
    trades = exchange.fetch_trades(BTC, limit=20)
    assert 0 < len(trades) <= 20
    assert [trade["timestamp"] for trade in trades] == sorted(trade["timestamp"] for trade in trades)
    assert {trade["side"] for trade in trades} <= {"buy", "sell"}


def test_the_next_funding_is_known(exchange: ccxt.bybit) -> None:
    rate = exchange.fetch_funding_rate("WIF/USDT:USDT")
    assert abs(rate["fundingRate"]) <= 0.02
    assert rate["fundingTimestamp"] > exchange.fetch_time()
    assert rate["interval"] == "4h"


def test_funding_history_lies_within_its_bounds(exchange: ccxt.bybit) -> None:
    rates = exchange.fetch_funding_rate_history(BTC, START, 6, {"until": START + 40 * HOUR})
    assert [rate["timestamp"] for rate in rates] == [START + n * 8 * HOUR for n in range(6)]


def test_open_interest_goes_back(exchange: ccxt.bybit) -> None:
    history = exchange.fetch_open_interest_history(BTC, "1h", None, 6)
    times = [point["timestamp"] for point in history]
    assert [later - before for before, later in pairwise(times)] == [HOUR] * 5
    assert all(point["openInterestAmount"] > 0 for point in history)


def test_leverage_falls_from_tier_to_tier(exchange: ccxt.bybit) -> None:
    tiers = exchange.fetch_market_leverage_tiers(BTC)
    leverages = [tier["maxLeverage"] for tier in tiers]
    assert leverages == sorted(leverages, reverse=True)
    assert all(before["maxNotional"] == after["minNotional"] for before, after in pairwise(tiers))


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("fetch_ohlcv", [BTC, "2m"]),
        ("publicGetV5MarketTickers", [{"category": "linear", "symbol": "NOPEUSDT"}]),
        ("publicGetV5MarketKline", [{"category": "linear", "symbol": "BTCUSDT", "interval": "7"}]),
        ("publicGetV5MarketFundingHistory", [{"category": "linear", "symbol": "BTCUSDT", "startTime": START}]),
    ],
)
def test_what_the_venue_does_not_have_is_a_bad_request(exchange: ccxt.bybit, method: str, arguments: list[Any]) -> None:
    with pytest.raises(ccxt.BadRequest, match="10001"):
        getattr(exchange, method)(*arguments)
