"""Listings of an account are whole: cursors and windows to the end, loops and conflicts found."""

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bybit.client import MalformedResponse
from bybit.rules.errors import InvalidInput
from bybit.rules.fees import Liquidity
from tests.bybit.client.fakes import NOW_MS, client_of, clock_answer, ok

DAY = 86_400_000


def execution(number: int, time_ms: int = NOW_MS, **change: Any) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "orderId": f"o{number}",
        "orderLinkId": "",
        "side": "Buy",
        "execId": f"e{number}",
        "execPrice": "30000",
        "execQty": "0.01",
        "execValue": "300",
        "execFee": "0.165",
        "feeRate": "0.00055",
        "execType": "Trade",
        "execTime": str(time_ms),
        "isMaker": False,
        "leavesQty": "0",
        "seq": number,
        **change,
    }


def page(rows: list[dict[str, Any]], cursor: str | None = "") -> Any:
    return ok({"category": "linear", "list": rows, "nextPageCursor": cursor})


def test_every_cursor_is_followed_and_goes_back_as_it_came():
    full = [execution(number) for number in range(103, 3, -1)]
    pages = [page(full, "a%3D1%262"), page([execution(2), execution(1)])]
    client, transport, _ = client_of(*pages, signed=True)
    fills = client.get_executions()
    assert [fill.exec_id for fill in fills[:3]] == ["e1", "e10", "e100"]
    assert len(fills) == 102
    assert "cursor=a%3D1%262" in transport.requests[1].query
    assert transport.requests[0].params == {"category": "linear", "limit": "100"}


def test_a_last_page_may_carry_a_cursor_that_leads_nowhere():
    client, transport, _ = client_of(
        *[page([execution(1)], "a")] * 2, *[page([], "b")] * 2, page([execution(9)]), signed=True
    )
    assert [fill.exec_id for fill in client.get_executions()] == ["e1"]
    assert len(transport.requests) == 4


@pytest.mark.parametrize("torn", [page([], "a"), page([execution(3)], "a")])
def test_faults_18_19_a_short_or_empty_page_before_others_is_asked_for_twice(torn):
    whole = page([execution(3), execution(2)], "a")
    client, _, _ = client_of(torn, whole, page([execution(1)]), signed=True)
    assert [fill.exec_id for fill in client.get_executions()] == ["e1", "e2", "e3"]


def test_a_long_span_is_cut_into_windows_of_seven_days_oldest_first():
    start = NOW_MS - 20 * DAY

    def answer(request):
        first, last = int(request.params["startTime"]), int(request.params["endTime"])
        assert last - first < 7 * DAY
        return page([execution(number, ms) for number in range(40) if first <= (ms := start + number * DAY) <= last])

    client, transport, _ = client_of(answer, signed=True)
    fills = client.get_executions("linear", "BTCUSDT", start, NOW_MS)
    assert [fill.sequence for fill in fills] == list(range(20))
    assert [fill.time for fill in fills] == sorted(fill.time for fill in fills)
    bounds = [(int(r.params["startTime"]), int(r.params["endTime"])) for r in transport.requests]
    assert bounds == [
        (start, start + 7 * DAY - 1),
        (start + 7 * DAY, start + 14 * DAY - 1),
        (start + 14 * DAY, NOW_MS - 1),
    ]


def test_a_start_alone_means_until_now_and_not_seven_days():
    client, transport, clock = client_of(ok({}), signed=True)
    transport.answers[0] = lambda request: clock_answer(clock)(request) if request.path.endswith("time") else page([])
    client.get_executions(start=NOW_MS - 10 * DAY)
    windows = [request.params for request in transport.requests if "startTime" in request.params]
    assert len(windows) == 2
    assert windows[-1]["endTime"] == str(NOW_MS)


def test_bounds_are_aware_datetimes_or_ms_and_never_empty():
    client, transport, _ = client_of(page([]), signed=True)
    end = datetime(2023, 11, 14, tzinfo=UTC)
    client.get_closed_pnl(start=end - timedelta(days=1), end=end)
    for bad in ((end, end), (end, end - timedelta(days=1)), (datetime(2023, 1, 1), end), (1_700_000_000, end)):  # noqa: DTZ001
        with pytest.raises(InvalidInput):
            client.get_closed_pnl(start=bad[0], end=bad[1])
    assert len(transport.requests) == 1


@pytest.mark.parametrize(
    "pages",
    [
        [page([execution(1)], "a"), page([execution(1)], "a")],
        [page([execution(1)], "a"), page([execution(2)], "b"), page([execution(1)], "a")],
        [page([execution(1)], "a"), page([execution(2)], "a")],
    ],
)
def test_fault_17_a_listing_whose_pages_loop_is_an_error_and_never_a_shorter_list(pages):
    client, transport, _ = client_of(*pages, signed=True)
    with pytest.raises(MalformedResponse, match="truncated"):
        client.get_executions()
    assert len(transport.requests) <= 12


def test_fault_17_a_cursor_that_comes_back_is_an_error_although_the_rows_are_new():
    numbers = itertools.count()
    endless = lambda _: page([execution(next(numbers)) for _ in range(100)], "a")  # noqa: E731
    client, transport, _ = client_of(endless, signed=True)
    with pytest.raises(MalformedResponse, match="truncated"):
        client.get_executions()
    assert len(transport.requests) <= 5


def test_fault_17_a_page_that_repeats_once_is_asked_again():
    looped = page([execution(2)], "a")
    client, _, _ = client_of(looped, looped, looped, page([execution(1)], ""), signed=True)
    assert [fill.exec_id for fill in client.get_executions()] == ["e1", "e2"]


def test_fault_15_rows_that_repeat_count_once_and_rows_that_differ_are_an_error():
    client, _, _ = client_of(page([execution(1), execution(1)], "a"), page([execution(1), execution(2)]), signed=True)
    assert len(client.get_executions()) == 2
    client, _, _ = client_of(page([execution(1), execution(1, execFee="9")]), signed=True)
    with pytest.raises(MalformedResponse, match="differ in execFee"):
        client.get_executions()


@pytest.mark.parametrize(
    "change", [{"execFee": ""}, {"execPrice": "NaN"}, {"side": "Long"}, {"isMaker": None}, {"execTime": "1700000000"}]
)
def test_fault_44_a_row_that_cannot_be_used_is_an_error(change):
    client, _, _ = client_of(page([execution(1, **change)]), signed=True)
    with pytest.raises(MalformedResponse, match="executions cannot be used"):
        client.get_executions()


@pytest.mark.parametrize("kind", ["Funding", "AdlTrade", "BustTrade", "Settle", "Delivery"])
def test_fault_28_events_of_the_venue_are_not_ordinary_fills(kind):
    client, _, _ = client_of(page([execution(1), execution(2, execType=kind, execFee="-0.1")]), signed=True)
    fill, event = client.get_executions()
    assert (fill.is_trade, event.is_trade) == (True, False)
    assert (fill.liquidity, event.fee) == (Liquidity.TAKER, Decimal("-0.1"))
    assert fill.raw["execId"] == "e1"


def test_positions_are_signed_and_nothing_is_not_zero():
    rows = [
        {"symbol": "BTCUSDT", "side": "Sell", "size": "0.5", "avgPrice": "30000", "liqPrice": "", "positionIdx": 0},
        {"symbol": "ETHUSDT", "side": "", "size": "0", "avgPrice": "0", "positionIM": "", "positionIdx": 0},
    ]
    client, transport, _ = client_of(page(rows), signed=True)
    short, flat = client.get_positions()
    assert transport.requests[0].params == {"category": "linear", "settleCoin": "USDT", "limit": "200"}
    assert (short.size, short.entry_price, short.liquidation_price) == (Decimal("-0.5"), Decimal(30000), None)
    assert (flat.size, flat.entry_price, flat.initial_margin) == (0, None, None)
    with pytest.raises(MalformedResponse, match="asked for SOLUSDT"):
        client.get_positions(symbol="SOLUSDT")


def test_the_transaction_log_adds_up_line_by_line():
    row = {
        "id": "t1",
        "type": "TRADE",
        "transactionTime": str(NOW_MS),
        "currency": "USDT",
        "change": "-1.5",
        "cashFlow": "",
        "funding": "-1",
        "fee": "0.5",
        "cashBalance": "998.5",
        "symbol": "BTCUSDT",
        "category": "linear",
        "side": "None",
    }
    client, transport, _ = client_of(page([row]), signed=True)
    (line,) = client.get_transactions(NOW_MS - DAY, NOW_MS + 1, category="linear", type="TRADE")
    assert line.adds_up
    assert (line.cash_flow, line.side, line.wallet_balance) == (None, None, Decimal("998.5"))
    assert transport.requests[0].params["accountType"] == "UNIFIED"
    client, _, _ = client_of(page([row | {"change": "-1.4"}]), signed=True)
    assert not client.get_transactions()[0].adds_up


def test_open_interest_follows_its_pages_without_a_key():
    rows = [{"openInterest": str(number), "timestamp": str(NOW_MS + number)} for number in range(4)]
    client, transport, _ = client_of(page(rows[2:], "a"), page(rows[:2]))
    found = client.get_open_interest("BTCUSDT", "5min", NOW_MS, NOW_MS + 300_000)
    assert [item.open_interest for item in found] == [0, 1, 2, 3]
    assert "X-BAPI-SIGN" not in transport.requests[0].headers
    with pytest.raises(InvalidInput, match="5min"):
        client.get_open_interest("BTCUSDT", "5m", NOW_MS, NOW_MS + 1)
