"""The client against the sandbox on its bad days: whatever goes wrong, answers are whole and orders placed once."""

import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bybit.client import BybitClient, BybitError, RetryPolicy, StreamEvent, Timeout
from bybit.rules.candles import Interval
from bybit.sandbox import SandboxConfig
from tests.sandbox import running

# Short deadlines: a request the sandbox never answers costs a second here, not ten.
TIMEOUT = Timeout(connect_s=1.0, read_s=1.0, total_s=2.0)


def open_client(url: str) -> BybitClient:
    # Nobody listens at the second address: one host of the two is dead.
    return BybitClient(
        "sandbox-key",
        "sandbox-secret",
        base_urls=[url, "http://127.0.0.1:9"],
        timeout=TIMEOUT,
        retry=RetryPolicy(base_s=0.02, cap_s=0.2, n_tries=8),
        recv_window_ms=1000,
    )


@pytest.mark.parametrize(
    "fault",
    [
        "reset=0.2",
        "truncated-json=0.2",
        "html=0.2",
        "server-error=0.2",
        "rate-limit=0.1",
        "duplicate-rows=0.3",
        "overlapping-page=0.3",
        "out-of-order=0.3",
        "looping-cursor=0.3",
    ],
)
def test_reads_are_whole_under_every_fault_and_with_one_host_dead(fault):
    n_minutes, n_failed = 120, 0
    with running(SandboxConfig(address_limit=None, faults=(fault,))) as url, open_client(url) as client:
        end = client.server_time().replace(second=0, microsecond=0) - timedelta(minutes=1)
        for _ in range(10):
            page = client.get_kline_data("BTCUSDT", Interval.MINUTE_1, end - timedelta(minutes=n_minutes), end)
            assert len(page.candles) == n_minutes
            assert page.conflicts == ()
            end -= timedelta(minutes=n_minutes)
            try:
                assert len(client.get_instruments("linear")) >= 3
                assert client.get_wallet_balance().coin("USDT").wallet_balance == Decimal(10000)
            except BybitError:
                n_failed += 1
    assert n_failed == 0


@pytest.mark.parametrize("fault", ["lost-answer=0.3", "reset=0.2", "server-error=0.15", "storm=0.2"])
def test_fault_29_no_order_is_lost_or_doubled_under_faults(fault):
    n_orders = 8
    with running(SandboxConfig(address_limit=None, faults=(fault,))) as url, open_client(url) as client:
        tick = client.get_instruments("linear", "BTCUSDT")[0].tick_size
        price = (client.get_tickers("linear", "BTCUSDT")[0].last_price * Decimal("0.95")).quantize(tick)
        order = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.001"}
        acks = [client.place_order(**order, price=price) for _ in range(n_orders)]
        placed = client.get_open_orders("linear", "BTCUSDT")
        assert sorted(found.order_id for found in placed) == sorted(ack.order_id for ack in acks)
        assert len({found.order_link_id for found in placed}) == n_orders
        for ack in acks[:4]:
            client.cancel_order(category="linear", symbol="BTCUSDT", orderId=ack.order_id)
        client.cancel_all_orders(category="linear", symbol="BTCUSDT")
        assert client.get_open_orders("linear", "BTCUSDT") == []


def test_fault_7_a_venue_clock_that_jumps_is_followed():
    with running(SandboxConfig(address_limit=None, faults=("clock=0.1",))) as url, open_client(url) as client:
        for _ in range(20):
            client.get_wallet_balance()


def test_the_sandboxs_candles_have_no_hole_although_its_streams_drop():
    # A minute of the sandbox is half a second here.
    now = datetime(2026, 3, 2, 12, tzinfo=UTC)
    events: list[StreamEvent] = []
    done = threading.Event()

    def handler(event: StreamEvent) -> None:
        events.append(event)
        if sum(found.kind == "candle" for found in events) >= 10:
            done.set()

    faults = ("stream-drop=0.03", "stream-duplicate=0.1", "delta-first=0.5")
    config = SandboxConfig(address_limit=None, now=now, speed=120.0, faults=faults)
    topics = ("kline.1.BTCUSDT", "tickers.BTCUSDT", "orderbook.50.BTCUSDT")
    with running(config) as url, open_client(url) as client, client.public_stream(handler, *topics) as stream:
        assert done.wait(30)
    opens = [event.data.open_time for event in events if event.kind == "candle"]
    assert opens == [opens[0] + i * timedelta(minutes=1) for i in range(len(opens))]
    books = [event.data for event in events if event.kind == "book"]
    assert all(book.bids[0] < book.asks[0] for book in books)
    assert stream.n_connections > 1


def test_the_sandboxs_private_stream_tells_what_the_lists_tell():
    events: list[StreamEvent] = []
    with running(SandboxConfig(address_limit=None)) as url, open_client(url) as client:
        connected, filled = threading.Event(), threading.Event()

        def handler(event: StreamEvent) -> None:
            events.append(event)
            {"connected": connected, "fill": filled}.get(event.kind, threading.Event()).set()

        with client.private_stream(handler) as stream:
            assert connected.wait(10)
            # Subscribed a moment after the connection stands.
            deadline = time.monotonic() + 10
            while not stream.is_subscribed and time.monotonic() < deadline:
                time.sleep(0.01)
            order = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.01"}
            ack = client.place_order(**order)
            assert filled.wait(10)
        (fill,) = (event.data for event in events if event.kind == "fill")
        assert [fill] == client.get_executions("linear", "BTCUSDT")
        assert fill.order_id == ack.order_id
