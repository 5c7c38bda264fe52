"""pybit, unmodified, reads the sandbox's market."""

import time
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP

SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "WIFUSDT", "XRPUSDT"]
HOUR = 3_600_000
START = int(datetime(2025, 3, 1, tzinfo=UTC).timestamp() * 1000)


def test_the_server_time_is_now(session: HTTP) -> None:
    reply = session.get_server_time()
    assert abs(int(reply["result"]["timeSecond"]) - time.time()) < 5
    assert reply["result"]["timeNano"][:10] == reply["result"]["timeSecond"]


@pytest.mark.parametrize(
    ("method", "width"),
    [
        ("get_kline", 7),
        ("get_mark_price_kline", 5),
        ("get_index_price_kline", 5),
        ("get_premium_index_price_kline", 5),
    ],
)
def test_candles_of_every_price_come_newest_first_with_both_bounds(session: HTTP, method: str, width: int) -> None:
    bounds = {"start": START, "end": START + 9 * HOUR}
    rows = getattr(session, method)(category="linear", symbol="BTCUSDT", interval="60", **bounds)["result"]["list"]
    assert [int(row[0]) for row in rows] == [START + n * HOUR for n in range(9, -1, -1)]
    assert {len(row) for row in rows} == {width}
    assert all(float(row[3]) <= float(row[1]) <= float(row[2]) for row in rows)


@pytest.mark.parametrize(
    ("interval", "step_ms"),
    [("1", 60_000), ("3", 180_000), ("15", 900_000), ("240", 4 * HOUR), ("720", 12 * HOUR), ("D", 24 * HOUR)],
)
def test_candles_of_an_interval_stand_on_its_grid(session: HTTP, interval: str, step_ms: int) -> None:
    rows = session.get_kline(symbol="SOLUSDT", interval=interval, start=START, limit=5)["result"]["list"]
    assert [int(row[0]) for row in rows] == [START + n * step_ms for n in range(4, -1, -1)]


@pytest.mark.parametrize("limit", [1, 200, 1000])
def test_a_page_of_candles_is_as_long_as_asked_and_ends_with_the_forming_one(session: HTTP, limit: int) -> None:
    reply = session.get_kline(category="linear", symbol="ETHUSDT", interval="1", limit=limit)
    rows = reply["result"]["list"]
    assert len(rows) == limit
    assert int(rows[0][0]) <= reply["time"] < int(rows[0][0]) + 60_000


def test_weeks_begin_on_monday(session: HTTP) -> None:
    rows = session.get_kline(category="linear", symbol="BTCUSDT", interval="W", limit=3)["result"]["list"]
    assert {datetime.fromtimestamp(int(row[0]) / 1000, UTC).isoweekday() for row in rows} == {1}


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_a_contract_tells_its_rules(session: HTTP, symbol: str) -> None:
    (row,) = session.get_instruments_info(category="linear", symbol=symbol)["result"]["list"]
    assert (row["symbol"], row["contractType"], row["status"]) == (symbol, "LinearPerpetual", "Trading")
    assert row["settleCoin"] == "USDT"
    assert float(row["priceFilter"]["tickSize"]) > 0
    assert float(row["lotSizeFilter"]["minOrderQty"]) >= float(row["lotSizeFilter"]["qtyStep"])
    assert row["fundingInterval"] in (60, 240, 480)


def test_contracts_are_listed_page_by_page(session: HTTP) -> None:
    found: list[str] = []
    cursor = ""
    while True:
        result = session.get_instruments_info(category="linear", limit=2, cursor=cursor)["result"]
        found += [row["symbol"] for row in result["list"]]
        cursor = result["nextPageCursor"]
        if not cursor:
            break
    assert found == SYMBOLS


def test_a_ticker_agrees_with_the_book_and_the_contract(session: HTTP) -> None:
    (ticker,) = session.get_tickers(category="linear", symbol="BTCUSDT")["result"]["list"]
    assert float(ticker["lowPrice24h"]) <= float(ticker["lastPrice"]) <= float(ticker["highPrice24h"])
    assert float(ticker["bid1Price"]) < float(ticker["ask1Price"])
    assert abs(float(ticker["markPrice"]) / float(ticker["indexPrice"]) - 1) < 0.02
    assert int(ticker["nextFundingTime"]) > time.time() * 1000


def test_every_contract_has_a_ticker(session: HTTP) -> None:
    rows = session.get_tickers(category="linear")["result"]["list"]
    assert [row["symbol"] for row in rows] == SYMBOLS


@pytest.mark.parametrize("limit", [1, 25, 500])
def test_a_book_is_sorted_from_the_inside_out(session: HTTP, limit: int) -> None:
    book = session.get_orderbook(category="linear", symbol="XRPUSDT", limit=limit)["result"]
    bids, asks = ([float(price) for price, _ in book[side]] for side in ("b", "a"))
    assert (len(bids), len(asks), book["s"]) == (limit, limit, "XRPUSDT")
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    assert all(isinstance(book[name], int) for name in ("ts", "u", "seq", "cts"))


def test_recent_trades_are_newest_first(session: HTTP) -> None:
    rows = session.get_public_trade_history(category="linear", symbol="BTCUSDT", limit=30)["result"]["list"]
    times = [int(row["time"]) for row in rows]
    assert times == sorted(times, reverse=True)
    assert {row["side"] for row in rows} <= {"Buy", "Sell"}
    assert len({row["execId"] for row in rows}) == len(rows)


def test_funding_history_is_newest_first_and_never_later_than_asked(session: HTTP) -> None:
    asked = {"startTime": START, "endTime": START + 48 * HOUR}
    rows = session.get_funding_rate_history(category="linear", symbol="BTCUSDT", **asked)["result"]["list"]
    times = [int(row["fundingRateTimestamp"]) for row in rows]
    assert times == [START + n * 8 * HOUR for n in range(6, -1, -1)]
    assert all(abs(float(row["fundingRate"])) <= 0.005 for row in rows)


def test_funding_history_with_a_start_alone_is_refused(session: HTTP) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        session.get_funding_rate_history(category="linear", symbol="BTCUSDT", startTime=START)
    assert refusal.value.status_code == 10001


@pytest.mark.parametrize(("interval", "step_ms"), [("5min", 300_000), ("1h", HOUR), ("1d", 24 * HOUR)])
def test_open_interest_counts_both_sides(session: HTTP, interval: str, step_ms: int) -> None:
    reply = session.get_open_interest(category="linear", symbol="ETHUSDT", intervalTime=interval, limit=5)
    rows = reply["result"]["list"]
    times = [int(row["timestamp"]) for row in rows]
    assert [before - after for before, after in pairwise(times)] == [step_ms] * 4
    assert all(float(row["openInterest"]) > 0 for row in rows)


def test_margin_ladders_rise_tier_by_tier(session: HTTP) -> None:
    rows = session.get_risk_limit(category="linear", symbol="BTCUSDT")["result"]["list"]
    assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))
    limits = [float(row["riskLimitValue"]) for row in rows]
    assert limits == sorted(limits)
    assert [row["isLowestRisk"] for row in rows[:2]] == [1, 0]
    assert rows[0]["mmDeduction"] == ""


def test_nothing_is_announced(session: HTTP) -> None:
    assert session.get_system_status()["result"] == {"list": []}


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        ("get_kline", {"category": "linear", "symbol": "NOPEUSDT", "interval": "1"}),
        ("get_kline", {"category": "linear", "symbol": "BTCUSDT", "interval": "2"}),
        ("get_kline", {"category": "linear", "symbol": "BTCUSDT", "interval": "1", "limit": 1001}),
        ("get_tickers", {"category": "nonsense"}),
        ("get_orderbook", {"category": "linear", "symbol": "BTCUSDT", "limit": 1001}),
        ("get_risk_limit", {"category": "linear", "symbol": "NOPEUSDT"}),
        ("get_open_interest", {"category": "linear", "symbol": "BTCUSDT", "intervalTime": "2h"}),
    ],
)
def test_what_the_venue_does_not_have_is_refused(session: HTTP, method: str, asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        getattr(session, method)(**asked)
    assert refusal.value.status_code == 10001
    assert refusal.value.message


def test_what_is_not_served_is_an_error_rather_than_an_empty_list(session: HTTP) -> None:
    with pytest.raises(FailedRequestError) as refusal:
        session.get_long_short_ratio(category="linear", symbol="BTCUSDT", period="1h")
    assert refusal.value.status_code == 404
