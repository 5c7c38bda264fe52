"""Half an hour of bad weather on a simulated clock: one host dead, one request in twenty spoiled."""

import random
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from bybit.client import Breaker, BybitClient, BybitError, NoResponse, OrderStateUnknown, TokenBucket
from tests.bybit.client.fakes import HOST, KEY, OTHER, SECRET, FakeClock, Reply, Request, coded, http, ok
from tests.bybit.client.test_orders import GOOD, Venue

HALF_AN_HOUR_S = 1800
SHARE = 0.05


class Weather:
    """A way to the venue that spoils a share of the requests, before or after the venue acted."""

    def __init__(self, venue: Venue, clock: FakeClock, seed: int) -> None:
        self.venue, self.clock = venue, clock
        self.rng = random.Random(seed)
        self.faults: Counter[str] = Counter()

    def send(self, method: str, url: str, headers: Any, body: bytes | None, timeout: Any) -> Reply:
        request = Request(method, url, headers, body)
        if request.host == OTHER:
            self.clock.sleep(timeout.connect_s)
            raise NoResponse("no connection", maybe_sent=False)
        self.clock.sleep(0.03)
        if self.rng.random() >= SHARE:
            return self.pass_on(request)
        # Only a signature has a time that could be wrong.
        clocks = ["10002"] if "X-BAPI-SIGN" in headers else []
        kind = self.rng.choice(["timeout", "reset", "502", "10016", "10006", "torn", "html", *clocks])
        self.faults[kind] += 1
        reset = str(self.clock.venue_ms() + 700)
        # The venue refuses for pace and clock before it acts; of the others nobody knows.
        if kind == "10006":
            return coded(10006, "Too many visits!", x_bapi_limit_reset_timestamp=reset)
        if kind == "10002":
            return coded(10002, "invalid request timestamp")
        reply = self.pass_on(request) if self.rng.random() < 0.5 else None
        if kind in ("timeout", "reset"):
            self.clock.sleep(timeout.read_s if kind == "timeout" else 0)
            raise NoResponse(kind)
        whole = b'{"retCode":0,"result":{}}' if reply is None else reply.body
        return {
            "502": http(502, "<html>bad gateway</html>"),
            "10016": coded(10016, "internal error"),
            "torn": Reply(200, {}, whole[: len(whole) // 2]),
            "html": http(200, "<html>maintenance</html>"),
        }[kind]

    def pass_on(self, request: Request) -> Reply:
        if request.path == "/v5/market/time":
            return ok({"timeNano": f"{self.clock.venue_ms()}000000"})
        reply = self.venue(request)
        assert isinstance(reply, Reply)
        return reply

    def close(self) -> None:
        pass


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_half_an_hour_of_storm_loses_no_order_doubles_none_and_answers_nearly_every_read(seed):
    clock, venue = FakeClock(), Venue()
    weather = Weather(venue, clock, seed)
    client = BybitClient(
        KEY,
        SECRET,
        base_urls=[HOST, OTHER],
        transport=weather,
        clock=clock,
        limiter=TokenBucket(clock=clock),
        breaker=Breaker(clock=clock),
        rng=random.Random(seed),
    )
    began_s, n_reads, n_failed = clock.now_s, 0, 0
    placed: list[Decimal] = []
    refused: list[Decimal] = []
    unknown: list[Decimal] = []
    while clock.now_s - began_s < HALF_AN_HOUR_S:
        clock.sleep(0.2)
        for read in (lambda: client.get_tickers("linear", "BTCUSDT"), client.get_positions):
            n_reads += 1
            try:
                read()
            except BybitError:
                n_failed += 1
        # Every order has a price of its own, by which it is known again whatever its id.
        price = Decimal(20000) + len(placed + refused + unknown)
        try:
            ack = client.place_order(**(GOOD | {"price": price}))
            placed.append(price)
            client.cancel_order(
                category="linear", symbol="BTCUSDT", orderId=ack.order_id, orderLinkId=ack.order_link_id
            )
        except OrderStateUnknown:
            unknown.append(price)
        except BybitError:
            refused.append(price)
    found = Counter(Decimal(row["price"]) for row in venue.orders.values())
    assert n_reads > 2500
    assert sum(weather.faults.values()) > 200
    assert n_failed <= n_reads / 1000
    assert max(found.values()) == 1
    assert set(placed) <= set(found)
    assert not set(refused) - set(placed) & set(found)
    assert unknown == []
    assert {row["orderStatus"] for row in venue.orders.values()} == {"Cancelled"}
