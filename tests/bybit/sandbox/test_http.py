import itertools
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bybit.rules.errors import InvalidInput
from bybit.rules.periods import to_ms
from bybit.sandbox import SandboxConfig, serving
from bybit.sandbox.limits import AddressLimit
from bybit.sandbox.wire import decimal_text
from tests.bybit.sandbox.wire import DAY, HOUR, MINUTE, ask, candle_file, funding_file, minutes
from tests.sandbox import running

NOW = datetime(2026, 5, 6, 13, 47, tzinfo=UTC)
NOW_MS = to_ms(NOW)
KLINE = "/v5/market/kline"
FUNDING = "/v5/market/funding/history"
BTC = {"category": "linear", "symbol": "BTCUSDT"}


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with running(SandboxConfig(now=NOW, address_limit=None)) as url:
        yield url


def test_the_documented_window_gives_its_three_hours_newest_first(base: str) -> None:
    # Worked example kline-window-47: both bounds are inclusive.
    rows = ask(base, KLINE, **BTC, interval="60", start=1670601600000, end=1670608800000).rows
    assert [row[0] for row in rows] == ["1670608800000", "1670605200000", "1670601600000"]
    assert all(len(row) == 7 and all(isinstance(cell, str) for cell in row) for row in rows)


def test_a_reply_is_the_envelope_with_the_names_of_the_venue(base: str) -> None:
    reply = ask(base, KLINE, symbol="BTCUSDT", interval="5")
    body = reply.json
    assert list(body) == ["retCode", "retMsg", "result", "retExtInfo", "time"]
    assert (body["retCode"], body["retMsg"], body["retExtInfo"]) == (0, "OK", {})
    assert 0 <= body["time"] - NOW_MS < 120_000
    assert (body["result"]["symbol"], body["result"]["category"]) == ("BTCUSDT", "linear")
    assert len(body["result"]["list"]) == 200
    assert reply.headers["content-type"].startswith("application/json")


def test_the_server_time_is_the_sandbox_clock(base: str) -> None:
    body = ask(base, "/v5/market/time").json
    assert set(body["result"]) == {"timeSecond", "timeNano"}
    assert abs(int(body["result"]["timeNano"]) / 1e9 - int(body["result"]["timeSecond"])) < 1
    assert 0 <= int(body["result"]["timeSecond"]) * 1000 - NOW_MS < 120_000


def test_start_alone_runs_forward_and_end_alone_keeps_the_newest(base: str) -> None:
    at = NOW_MS // HOUR * HOUR - 40 * DAY

    def opens(**bounds: int) -> list[int]:
        return [int(row[0]) for row in ask(base, KLINE, **BTC, interval="60", limit=3, **bounds).rows]

    assert opens(start=at) == [at + 2 * HOUR, at + HOUR, at]
    assert opens(end=at) == [at, at - HOUR, at - 2 * HOUR]
    assert opens(start=at - 100 * HOUR, end=at + 30_000) == [at, at - HOUR, at - 2 * HOUR]
    newest = NOW_MS // HOUR * HOUR
    assert opens() == [newest, newest - HOUR, newest - 2 * HOUR]


def test_the_first_candle_of_a_contract_is_found_from_the_beginning_of_time(base: str) -> None:
    launch = next(
        row["launchTime"]
        for row in ask(base, "/v5/market/instruments-info", category="linear").rows
        if row["symbol"] == "WIFUSDT"
    )
    (row,) = ask(base, KLINE, category="linear", symbol="WIFUSDT", interval="1", start=9999, limit=1).rows
    assert row[0] == launch


def test_walking_back_by_the_oldest_start_gives_every_candle_once(base: str) -> None:
    first, last = NOW_MS - 3 * DAY, NOW_MS // MINUTE * MINUTE - MINUTE
    whole = ask(base, KLINE, **BTC, interval="1", start=first, end=first + 999 * MINUTE, limit=1000).rows
    walked: list[list[str]] = []
    end = last
    while end >= first:
        page = ask(base, KLINE, **BTC, interval="1", start=first, end=end, limit=777).rows
        walked += page
        end = int(page[-1][0]) - 1
    opens = [int(row[0]) for row in walked]
    assert opens == list(range(last, -(-first // MINUTE) * MINUTE - 1, -MINUTE))
    assert walked[-len(whole) :] == whole


def test_prices_without_volume_have_five_columns(base: str) -> None:
    for path in ("mark-price-kline", "index-price-kline", "premium-index-price-kline"):
        rows = ask(base, f"/v5/market/{path}", **BTC, interval="D", limit=4).rows
        assert [len(row) for row in rows] == [5] * 4


def test_the_newest_candle_is_still_forming_at_the_last_price(base: str) -> None:
    minute, hour, ticker = (
        ask(base, path, **BTC, **more).rows[0]
        for path, more in ((KLINE, {"interval": "1"}), (KLINE, {"interval": "60"}), ("/v5/market/tickers", {}))
    )
    assert int(minute[0]) <= NOW_MS + 120_000 < int(minute[0]) + 5 * MINUTE
    assert int(hour[0]) + HOUR > NOW_MS
    assert abs(float(hour[4]) / float(ticker["lastPrice"]) - 1) < 0.01


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("kline", {"symbol": "BTCUSDT", "interval": "2"}),
        ("kline", {"symbol": "BTCUSDT", "interval": "1h"}),
        ("kline", {"symbol": "BTCUSDT"}),
        ("kline", {"interval": "1"}),
        ("kline", {"symbol": "NOPEUSDT", "interval": "1"}),
        ("kline", {"symbol": "../etc", "interval": "1"}),
        ("kline", {"category": "option", "symbol": "BTCUSDT", "interval": "1"}),
        ("kline", {"category": "Linear", "symbol": "BTCUSDT", "interval": "1"}),
        ("mark-price-kline", {"category": "spot", "symbol": "BTCUSDT", "interval": "1"}),
        ("premium-index-price-kline", {"category": "inverse", "symbol": "BTCUSDT", "interval": "1"}),
        ("kline", {"symbol": "BTCUSDT", "interval": "1", "limit": 0}),
        ("kline", {"symbol": "BTCUSDT", "interval": "1", "limit": 1001}),
        ("kline", {"symbol": "BTCUSDT", "interval": "1", "limit": "many"}),
        ("kline", {"symbol": "BTCUSDT", "interval": "1", "start": -1}),
        ("kline", {"symbol": "BTCUSDT", "interval": "1", "start": "1.5e12"}),
        ("kline", {"symbol": "BTCUSDT", "interval": "1", "end": 10**15}),
        ("kline", {"symbol": "BTCUSDT", "interval": "1", "end": "１"}),
        ("kline", {"symbol": "BTCUSDT", "interval": "1", "start": 2000, "end": 1000}),
        ("funding/history", {"symbol": "BTCUSDT"}),
        ("funding/history", {"category": "spot", "symbol": "BTCUSDT"}),
        ("funding/history", {"category": "linear"}),
        ("funding/history", {"category": "linear", "symbol": "BTCUSDT", "limit": 201}),
        ("funding/history", {"category": "linear", "symbol": "BTCUSDT", "startTime": 1_700_000_000_000}),
        ("instruments-info", {}),
        ("instruments-info", {"category": "linear", "limit": 1001}),
        ("instruments-info", {"category": "linear", "cursor": "page2"}),
        ("instruments-info", {"category": "linear", "symbol": "NOPEUSDT"}),
        ("risk-limit", {"category": "spot"}),
        ("tickers", {"category": "option"}),
    ],
)
def test_a_wrong_parameter_is_10001_inside_http_200(base: str, path: str, params: dict[str, object]) -> None:
    reply = ask(base, f"/v5/market/{path}", **params)
    assert (reply.status, reply.json["retCode"], reply.json["result"]) == (200, 10001, {})
    assert reply.json["retMsg"]


@pytest.mark.parametrize("path", ["/v5/market/klines", "/v5/market/kline/", "/", "/v5/order/creat"])
def test_an_unknown_path_is_404_and_10017(base: str, path: str) -> None:
    reply = ask(base, path)
    assert (reply.status, reply.json["retCode"]) == (404, 10017)


def test_a_wrong_method_is_400_and_a_get_with_a_body_403(base: str) -> None:
    assert ask(base, KLINE, method="POST", body=b"{}", **BTC).status == 400
    refused = ask(base, KLINE, body=b'{"category": "linear"}')
    assert refused.status == 403
    assert "json" not in refused.headers["content-type"]


def test_a_huge_or_endless_body_is_refused(base: str) -> None:
    assert ask(base, "/v5/order/create", method="POST", body=b"x" * 100_000).status == 413


def test_funding_is_newest_first_with_both_bounds_inclusive(base: str) -> None:
    newest = ask(base, FUNDING, **BTC, limit=3).rows
    times = [int(row["fundingRateTimestamp"]) for row in newest]
    assert times == sorted(times, reverse=True)
    assert set(newest[0]) == {"symbol", "fundingRate", "fundingRateTimestamp"}
    between = ask(base, FUNDING, **BTC, startTime=times[2], endTime=times[0]).rows
    assert between == newest
    assert ask(base, FUNDING, **BTC, startTime=times[2] + 1, endTime=times[0] - 1).rows == newest[1:2]
    assert len(ask(base, FUNDING, **BTC, endTime=times[0]).rows) == 200


def test_walking_back_through_funding_gives_every_settlement_once(base: str) -> None:
    end, walked = NOW_MS, []
    for _ in range(4):
        page = ask(base, FUNDING, category="linear", symbol="XRPUSDT", endTime=end, limit=150).rows
        walked += [int(row["fundingRateTimestamp"]) for row in page]
        end = walked[-1] - 1
    assert len(set(walked)) == 600
    assert walked == sorted(walked, reverse=True)
    steps = {a - b for a, b in itertools.pairwise(walked)}
    assert steps == {HOUR, 4 * HOUR, 8 * HOUR}


def test_instruments_are_paged_by_an_opaque_cursor_to_an_empty_one(base: str) -> None:
    path, seen, cursor = "/v5/market/instruments-info", [], ""
    for _ in range(3):
        more = {"cursor": cursor} if cursor else {}
        result = ask(base, path, category="linear", limit=2, **more).json["result"]
        seen += [row["symbol"] for row in result["list"]]
        cursor = result["nextPageCursor"]
        assert (cursor == "") == (len(seen) == 5)
        assert "=" not in cursor
    assert seen == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "WIFUSDT", "XRPUSDT"]
    (row,) = ask(base, path, category="linear", symbol="SOLUSDT").rows
    assert row["fundingInterval"] == 480
    assert row["priceFilter"]["tickSize"] == "0.01"
    assert row["lotSizeFilter"]["qtyStep"] == "0.1"
    assert row["leverageFilter"]["maxLeverage"] == "100.00"
    for category in ("spot", "inverse", "option"):
        assert ask(base, path, category=category).rows == []


def test_only_trading_contracts_are_listed_unless_another_status_or_symbol_is_asked_for(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    candle_file(tmp_path / "klines" / "bybit_linear_BTCUSDT_1m.parquet", minutes(NOW_MS - DAY, 5))
    n = 700
    names = [f"A{i:03}USDT" for i in range(n)]
    table = {"symbol": names, "status": ["Closed" if i < 10 else "Trading" for i in range(n)]}
    table |= {name: ["1"] * n for name in ("tick_size", "quantity_step", "min_order_quantity")}
    (tmp_path / "instruments").mkdir()
    pq.write_table(pa.table(table), tmp_path / "instruments" / "bybit_linear_instruments.parquet")
    path = "/v5/market/instruments-info"
    with running(SandboxConfig(tape=tmp_path, address_limit=None)) as base:
        first = ask(base, path, category="linear").json["result"]
        assert len(first["list"]) == 500
        rest = ask(base, path, category="linear", cursor=first["nextPageCursor"]).json["result"]
        assert (len(rest["list"]), rest["nextPageCursor"]) == (191, "")
        assert len(ask(base, path, category="linear", limit=1000).rows) == 691
        assert len(ask(base, path, category="linear", status="Closed").rows) == 10
        assert ask(base, path, category="linear", symbol="A000USDT").rows[0]["status"] == "Closed"
        pages, cursor, symbols = 0, "", []
        while pages == 0 or cursor:
            more = {"cursor": cursor} if cursor else {}
            result = ask(base, "/v5/market/risk-limit", category="linear", **more).json["result"]
            symbols += list(dict.fromkeys(row["symbol"] for row in result["list"]))
            pages, cursor = pages + 1, result["nextPageCursor"]
        assert (pages, len(symbols), len(set(symbols))) == (47, 701, 701)


def test_a_risk_ladder_is_fractions_in_text_with_nothing_deducted_on_the_first_tier(base: str) -> None:
    rows = ask(base, "/v5/market/risk-limit", **BTC).rows
    assert rows[0] == {
        "id": 1,
        "symbol": "BTCUSDT",
        "riskLimitValue": "2000000",
        "maintenanceMargin": "0.005",
        "initialMargin": "0.01",
        "isLowestRisk": 1,
        "maxLeverage": "100.00",
        "mmDeduction": "",
    } | {"riskLimitValue": rows[0]["riskLimitValue"]}
    assert [row["isLowestRisk"] for row in rows[1:]] == [0] * (len(rows) - 1)
    assert all(float(row["mmDeduction"]) > 0 for row in rows[1:])


def test_tickers_name_the_next_settlement_and_its_running_estimate(base: str) -> None:
    rows = ask(base, "/v5/market/tickers", category="linear").rows
    assert [row["symbol"] for row in rows] == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "WIFUSDT", "XRPUSDT"]
    for row in rows:
        assert 0 < int(row["nextFundingTime"]) - NOW_MS <= int(row["fundingIntervalHour"]) * HOUR + 120_000
        assert float(row["bid1Price"]) < float(row["ask1Price"])
        assert abs(float(row["markPrice"]) / float(row["lastPrice"]) - 1) < 0.01
        assert all(isinstance(cell, str) for cell in row.values())


def test_a_tape_is_served_digit_by_digit(tmp_path: Path) -> None:
    start = to_ms(datetime(2025, 6, 2, tzinfo=UTC))
    rows = [
        (start, 0.7298, 0.73, 0.7289, 0.7289, 202551.0, 147700.5),
        (start + MINUTE, 1e-05, 2e-05, 1e-05, 2e-05, 3.0, 0.0),
    ]
    candle_file(tmp_path / "klines" / "bybit_linear_ADAUSDT_1m.parquet", rows, symbol="ADAUSDT")
    funding_file(tmp_path / "funding" / "bybit_linear_ADAUSDT.parquet", [(start, -7.6e-07)], symbol="ADAUSDT")
    with running(SandboxConfig(tape=tmp_path)) as base:
        assert ask(base, KLINE, symbol="ADAUSDT", interval="1").rows == [
            [str(start + MINUTE), "0.00001", "0.00002", "0.00001", "0.00002", "3", "0"],
            [str(start), "0.7298", "0.73", "0.7289", "0.7289", "202551", "147700.5"],
        ]
        (rate,) = ask(base, FUNDING, category="linear", symbol="ADAUSDT").rows
        assert rate["fundingRate"] == "-0.00000076"
        # The mark price is not on the tape: nothing is made up.
        assert ask(base, "/v5/market/mark-price-kline", symbol="ADAUSDT", interval="1").rows == []


def test_recorded_quarters_come_over_the_wire_equal_to_the_file(shared: Path) -> None:
    import pyarrow.parquet as pq

    file = shared / "data" / "klines" / "bybit_linear_BTCUSDT_15m_2023-11_2025-12.parquet"
    table = pq.read_table(file).slice(5000, 2500)
    wanted = [
        [str(row["open_time"]), *(decimal_text(row[name]) for name in ("open", "high", "low", "close", "volume"))]
        for row in table.to_pylist()
    ]
    first, end = int(wanted[0][0]), int(wanted[-1][0])
    got: list[list[str]] = []
    with running(SandboxConfig(tape=file)) as base:
        while end >= first:
            page = ask(base, KLINE, **BTC, interval="15", start=first, end=end, limit=1000).rows
            got = [row[:6] for row in reversed(page)] + got
            end = int(page[-1][0]) - 1
    assert got == wanted


def test_the_address_limit_answers_403_without_json() -> None:
    with running(SandboxConfig(address_limit=20)) as base:
        replies = [ask(base, "/v5/market/time") for _ in range(25)]
    assert [reply.status for reply in replies] == [200] * 20 + [403] * 5
    assert b"{" not in replies[-1].body
    assert "json" not in replies[-1].headers["content-type"]


def test_the_address_limit_is_600_in_5_seconds_unless_said_otherwise() -> None:
    assert SandboxConfig().address_limit == 600
    limit = AddressLimit()
    second = 1_000_000_000
    assert [limit.admit(i) for i in range(601)] == [True] * 600 + [False]
    assert not limit.admit(5 * second - 1)
    assert limit.admit(5 * second)
    assert [limit.admit(5 * second + 599), limit.admit(5 * second + 600)] == [True, True]


def test_the_address_limit_slides_rather_than_starting_over() -> None:
    limit = AddressLimit(2, 1000)
    millisecond = 1_000_000
    times = [0, 900, 999, 1000, 1001, 1899, 1900]
    assert [limit.admit(at * millisecond) for at in times] == [True, True, False, True, False, False, True]


def test_latency_is_waited_before_a_reply() -> None:
    with running(SandboxConfig(latency_ms=80, address_limit=None)) as base:
        begin = time.monotonic()
        ask(base, "/v5/market/time")
        assert time.monotonic() - begin >= 0.08


def test_a_kept_connection_answers_without_a_delay_for_acknowledgements(base: str) -> None:
    import http.client

    connection = http.client.HTTPConnection(base.removeprefix("http://"))
    begin = time.monotonic()
    for _ in range(30):
        connection.request("GET", "/v5/market/time")
        connection.getresponse().read()
    # With Nagle's delay each of these took 40 ms.
    assert time.monotonic() - begin < 0.9
    connection.close()


def test_the_server_ends_although_a_client_keeps_its_connection_open() -> None:
    before = set(threading.enumerate())
    with running(SandboxConfig()) as base:
        idle = socket.create_connection(("127.0.0.1", int(base.rsplit(":", 1)[1])))
    idle.close()
    assert set(threading.enumerate()) <= before


def test_two_servers_take_two_ports_and_a_taken_one_is_an_error() -> None:
    with serving(SandboxConfig(port=0)) as one:
        port = int(one.url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="in use"), serving(SandboxConfig(port=port)):
            pass


@pytest.mark.parametrize(
    "wrong",
    [{"host": "0.0.0.0"}, {"host": "example.com"}, {"port": 70_000}, {"latency_ms": -1}, {"address_limit": 0}],
)
def test_an_open_or_impossible_configuration_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        SandboxConfig(**wrong)  # type: ignore[arg-type]
    assert SandboxConfig(host="0.0.0.0", allow_open=True).host == "0.0.0.0"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_in_the_foreground_it_tells_when_it_is_ready_and_ends_cleanly_on_a_signal(end: signal.Signals) -> None:
    code = "from bybit.sandbox import *; serve(SandboxConfig(port=0)); print('after')"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert (told["ready"], told["ws"]) == (True, told["url"].replace("http", "ws", 1))
        assert any("made up" in text for text in told["assumptions"])
        assert ask(told["url"], "/v5/market/time").status == 200
        process.send_signal(end)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out, err) == (0, "after\n", "")
