from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from bybit.client import BybitClient, MalformedResponse
from bybit.rules.candles import Category, Interval, PriceType
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import utc
from tests.bybit.client.fakes import MINUTE, NOW_MS, client_of, clock_answer, klines, ok, row
from tests.bybit.client.test_parse import instrument_row, settlement, tier_row

START = 1_700_000_040_000


def test_the_bounds_of_candles_are_half_open_here_and_inclusive_on_the_wire():
    client, transport, _ = client_of(klines(row(START + MINUTE), row(START)))
    page = client.get_kline_data("BTCUSDT", Interval.MINUTE_1, utc(START), utc(START + 2 * MINUTE))
    (request,) = transport.requests
    assert (request.method, request.path, request.body) == ("GET", "/v5/market/kline", None)
    assert request.params == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "interval": "1",
        "start": str(START),
        "end": str(START + 2 * MINUTE - 1),
        "limit": "1000",
    }
    assert page.candles.open_time_ms.tolist() == [START, START + MINUTE]
    assert not any(name.startswith("X-BAPI") for name in request.headers)


@pytest.mark.parametrize(
    ("price", "path"),
    [
        (PriceType.MARK, "/v5/market/mark-price-kline"),
        (PriceType.INDEX, "/v5/market/index-price-kline"),
        ("premium", "/v5/market/premium-index-price-kline"),
    ],
)
def test_each_price_type_has_its_own_path(price, path):
    client, transport, _ = client_of(klines(row(START)[:5]))
    assert len(client.get_kline_data("BTCUSDT", "60", START, START + 60 * MINUTE, price=price).candles) == 1
    assert transport.requests[0].path == path


def test_times_in_another_zone_mean_the_same_instant():
    client, transport, _ = client_of(klines())
    india = timezone(timedelta(hours=5, minutes=30))
    client.get_kline_data("BTCUSDT", "1m", utc(START).astimezone(india), START + MINUTE)
    assert transport.requests[0].params["start"] == str(START)


def test_a_thousand_candles_are_one_page_and_one_more_is_refused_unasked():
    client, transport, _ = client_of(klines())
    client.get_kline_data("BTCUSDT", "1m", START, START + 1000 * MINUTE)
    with pytest.raises(InvalidInput, match="1001 candles"):
        client.get_kline_data("BTCUSDT", "1m", START, START + 1000 * MINUTE + 1)
    # From inside a candle on, the first one to open is the next.
    client.get_kline_data("BTCUSDT", "1m", START - MINUTE + 1, START + 999 * MINUTE + 1)
    assert len(transport.requests) == 2


def test_months_and_weeks_count_in_pages_too():
    client, transport, _ = client_of(klines())
    client.get_kline_data("BTCUSDT", "M", START, NOW_MS + 80 * 365 * 86_400_000)
    client.get_kline_data("BTCUSDT", "W", START, START + 1000 * 7 * 86_400_000)
    assert [request.params["interval"] for request in transport.requests] == ["M", "W"]


def test_a_span_in_which_no_candle_opens_costs_no_request():
    client, transport, _ = client_of(klines())
    assert len(client.get_kline_data("BTCUSDT", "1m", START + 1, START + MINUTE).candles) == 0
    assert transport.requests == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.get_kline_data("btcusdt", "1m", START, START + MINUTE),
        lambda client: client.get_kline_data("BTCUSDT&limit=1", "1m", START, START + MINUTE),
        lambda client: client.get_kline_data("BTCUSDT", "2m", START, START + MINUTE),
        lambda client: client.get_kline_data("BTCUSDT", "8h", START, START + MINUTE),
        lambda client: client.get_kline_data("BTCUSDT", "1m", START, START),
        lambda client: client.get_kline_data("BTCUSDT", "1m", START // 1000, START),
        lambda client: client.get_kline_data("BTCUSDT", "1m", datetime(2024, 1, 1), START),  # noqa: DTZ001
        lambda client: client.get_kline_data("BTCUSDT", "1m", START, START + MINUTE, category="futures"),
        lambda client: client.get_kline_data("BTCUSDT", "1m", START, START + MINUTE, price="bid"),
        lambda client: client.get_kline_data("BTCUSDT", "1m", START, START + MINUTE, category="spot", price="mark"),
        lambda client: client.get_kline_data(
            "BTCUSD", "1m", START, START + MINUTE, category="inverse", price="premium"
        ),
        lambda client: client.get_funding_rate_history("BTCUSDT", START, START + MINUTE, category="spot"),
        lambda client: client.get_risk_limits("spot"),
        lambda client: client.get_instruments("option"),
        lambda client: client.get_tickers("linear", "../x"),
    ],
)
def test_fault_23_and_42_what_the_venue_does_not_have_is_refused_before_any_request(ask):
    client, transport, _ = client_of(klines())
    with pytest.raises(InvalidInput):
        ask(client)
    assert transport.requests == []
    assert client.request_count == 0


@pytest.mark.parametrize(("symbol", "category"), [("ETHUSDT", "linear"), ("BTCUSDT", "inverse")])
def test_fault_17_a_page_about_something_else_is_discarded(symbol, category):
    client, _, _ = client_of(klines(row(START), symbol=symbol, category=category))
    with pytest.raises(MalformedResponse, match="asked for"):
        client.get_kline_data("BTCUSDT", "1m", START, START + MINUTE)


def test_the_time_of_the_venue_is_aware():
    client, _, clock = client_of(lambda request: clock_answer(clock)(request))
    assert client.server_time() == utc(NOW_MS)
    assert client.server_time().tzinfo is UTC


def funding_venue(rates: dict[int, str], page_size: int = 200):
    """A venue that keeps ``rates`` by hour and answers as v5 does: newest first, at most one page."""

    def answer(request):
        first, last = int(request.params["startTime"]), int(request.params["endTime"])
        hours = sorted((hour for hour in rates if first <= START + hour * 60 * MINUTE <= last), reverse=True)
        return ok({"category": "linear", "list": [settlement(hour, rates[hour]) for hour in hours[:page_size]]})

    return answer


def test_funding_is_asked_page_by_page_backwards_until_it_is_complete():
    rates = {hour: f"0.000{hour + 1}" for hour in range(0, 8 * 450, 8)}
    client, transport, _ = client_of(funding_venue(rates))
    found = client.get_funding_rate_history("BTCUSDT", START, START + 8 * 450 * 60 * MINUTE)
    assert [rate.funding_rate for rate in found] == [Decimal(text) for text in rates.values()]
    assert len(transport.requests) == 3
    assert transport.requests[0].params["endTime"] == str(START + 8 * 450 * 60 * MINUTE - 1)
    assert all("startTime" in request.params for request in transport.requests)


def test_fault_18_a_short_page_of_funding_does_not_end_the_walk():
    rates = {hour: "0.0001" for hour in range(0, 80, 8)}
    client, transport, _ = client_of(funding_venue(rates, page_size=3))
    assert len(client.get_funding_rate_history("BTCUSDT", START, START + 80 * 60 * MINUTE)) == 10
    assert len(transport.requests) == 4


def test_fault_25_funding_follows_whatever_times_the_venue_publishes():
    rates = dict.fromkeys([0, 8, 16, 20, 24, 25, 26, 34], "0.0001")
    client, _, _ = client_of(funding_venue(rates))
    assert len(client.get_funding_rate_history("BTCUSDT", START, START + 48 * 60 * MINUTE)) == 8


def test_funding_at_the_end_of_the_span_belongs_to_the_next():
    client, _, _ = client_of(funding_venue({0: "0.0001", 8: "0.0002"}))
    assert len(client.get_funding_rate_history("BTCUSDT", START, START + 8 * 60 * MINUTE)) == 1


def test_fault_17_a_funding_page_repeated_for_ever_does_not_loop():
    client, transport, _ = client_of(ok({"category": "linear", "list": [settlement(8), settlement(16)]}))
    found = client.get_funding_rate_history("BTCUSDT", START, START + 24 * 60 * MINUTE)
    assert len(found) == 2
    assert len(transport.requests) == 2


def test_funding_of_a_span_without_any_is_an_empty_list():
    client, _, _ = client_of(funding_venue({}))
    assert client.get_funding_rate_history("BTCUSDT", START, START + MINUTE) == []


def symbols(first: int, n: int) -> list[str]:
    return [f"C{i:04}USDT" for i in range(first, first + n)]


def instruments_venue(n: int, page_size: int, last_cursor: str = ""):
    names = symbols(0, n)

    def answer(request):
        cursor = request.params.get("cursor", "")
        first = int(cursor.removeprefix("first=")) if cursor else 0
        more = first + page_size < n
        rows = [instrument_row(symbol=name) for name in names[first : first + page_size]]
        # Cursors come encoded, as the venue sends them.
        return ok(
            {
                "category": "linear",
                "list": rows,
                "nextPageCursor": f"first%3D{first + page_size}" if more or (rows and last_cursor) else "",
            }
        )

    return answer


def test_fault_24_every_page_of_instruments_is_read_and_the_cursor_goes_back_as_it_came():
    client, transport, _ = client_of(instruments_venue(25, 10))
    found = client.get_instruments("linear")
    assert [instrument.symbol for instrument in found] == symbols(0, 25)
    assert found[0].as_of == utc(NOW_MS)
    assert [request.query.partition("cursor=")[2] for request in transport.requests] == ["", "first%3D10", "first%3D20"]
    assert transport.requests[0].params["limit"] == "1000"


def test_fault_24_a_cursor_on_the_last_page_leads_to_an_empty_one_and_ends():
    client, transport, _ = client_of(instruments_venue(20, 10, last_cursor="always"))
    assert len(client.get_instruments(Category.LINEAR)) == 20
    assert len(transport.requests) == 3


@pytest.mark.parametrize("cursors", [["a", "b", "a", "b"], ["a"] * 4, [f"c{i}" for i in range(9)]])
def test_fault_17_and_24_a_listing_that_loops_is_an_error(cursors):
    pages = [
        ok({"category": "linear", "list": [instrument_row(symbol=name)], "nextPageCursor": cursor})
        for cursor, name in zip(cursors, ["AAUSDT", "BBUSDT"] * 5, strict=False)
    ]
    client, transport, _ = client_of(*pages)
    with pytest.raises(MalformedResponse, match="truncated"):
        client.get_instruments("linear")
    assert len(transport.requests) == 3


def test_for_one_symbol_a_page_that_repeats_is_the_whole_answer():
    page = ok({"category": "linear", "list": [tier_row("2000000", "0.01", "0.005", "100", "")], "nextPageCursor": "x"})
    client, transport, _ = client_of(page)
    assert len(client.get_risk_limits("linear", "BTCUSDT")) == 1
    assert len(transport.requests) == 2


def test_spot_instruments_are_asked_without_a_limit():
    client, transport, _ = client_of(ok({"category": "spot", "list": []}))
    assert client.get_instruments("spot", status="PreLaunch") == []
    assert transport.requests[0].query == "category=spot&status=PreLaunch"


def test_an_unusable_instrument_is_left_out_of_a_listing_but_refused_when_asked_for(caplog):
    rows = [instrument_row(), instrument_row(symbol="ETHUSDT", priceFilter=None)]
    listing, single = (ok({"category": "linear", "list": part}) for part in (rows, rows[1:]))
    client, _, _ = client_of(listing, single)
    found = client.get_instruments("linear")
    assert [instrument.symbol for instrument in found] == ["BTCUSDT"]
    assert len(found.rejected) == 1
    assert "tickSize" in caplog.text
    with pytest.raises(MalformedResponse, match="tickSize"):
        client.get_instruments("linear", "ETHUSDT")


def test_fault_24_risk_limits_of_fifteen_symbols_a_page_are_all_read():
    names = symbols(0, 40)

    def answer(request):
        first = int(request.params.get("cursor", "0"))
        rows = [tier_row("2000000", "0.01", "0.005", "100", "", symbol=name) for name in names[first : first + 15]]
        cursor = str(first + 15) if first + 15 < len(names) else None
        return ok({"category": "linear", "list": rows, "nextPageCursor": cursor})

    client, transport, _ = client_of(answer)
    assert [tier.symbol for tier in client.get_risk_limits("linear", expected=names)] == names
    assert len(transport.requests) == 3
    with pytest.raises(MalformedResponse, match="lacks 1 symbols"):
        client.get_risk_limits("linear", expected=[*names, "BTCUSDT"])


@pytest.mark.parametrize("ask", ["get_instruments", "get_risk_limits", "get_tickers"])
def test_fault_17_a_record_of_another_symbol_than_the_one_asked_for_is_discarded(ask):
    both = instrument_row(symbol="ETHUSDT") | tier_row("2000000", "0.01", "0.005", "100", symbol="ETHUSDT")
    client, _, _ = client_of(ok({"category": "linear", "list": [both | {"lastPrice": "1"}]}))
    with pytest.raises(MalformedResponse, match="about ETHUSDT"):
        getattr(client, ask)("linear", "BTCUSDT")


def test_tickers_carry_the_time_of_the_reply():
    client, _, _ = client_of(ok({"category": "linear", "list": [{"symbol": "BTCUSDT", "lastPrice": "1"}]}, NOW_MS + 5))
    (ticker,) = client.get_tickers("linear", "BTCUSDT")
    assert ticker.time == utc(NOW_MS + 5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"api_key": "k"},
        {"api_secret": "s"},
        {"base_urls": []},
        {"base_urls": "https://one.example"},
        {"base_urls": ["one.example"]},
        {"base_urls": ["http://one.example"]},
        {"base_urls": ["https://user:word@one.example"]},
        {"base_urls": ["https://one.example/?x=1"]},
        {"recv_window_ms": 0},
    ],
)
def test_a_client_that_could_not_work_safely_is_refused(arguments):
    with pytest.raises(InvalidInput) as caught:
        BybitClient(**arguments)
    assert "word" not in str(caught.value).replace("password", "")


def test_the_test_network_is_the_default_and_plain_http_stays_on_this_machine():
    assert "api-testnet.bybit.com" in repr(BybitClient())
    assert "api.bytick.com" in repr(BybitClient(testnet=False))
    assert "8900" in repr(BybitClient(base_urls=["http://127.0.0.1:8900/"]))


def test_closing_the_client_closes_the_transport():
    client, transport, _ = client_of(klines())
    with client:
        pass
    assert transport.closed
