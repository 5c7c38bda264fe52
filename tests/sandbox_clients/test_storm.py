"""Half an hour of bad weather: one request in twenty goes wrong, one host of two is dead, and nothing is lost."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from bybit.client import Breaker, BybitClient, BybitError, TokenBucket
from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.periods import to_ms
from bybit.sandbox import SandboxConfig
from bybit.sandbox.config import DEFAULT_KEY, DEFAULT_SECRET
from bybit.sandbox.faults import Fault, FaultPlan
from bybit.sandbox.market import Market, Window
from tests.sandbox_clients.simulated import ALIVE, DEAD, InProcessTransport, SimulatedTime

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
STORM_S = 1_800
READ_KINDS = ("latency", "timeout", "reset", "server-error", "rate-limit", "truncated-json", "html")
ORDERS = {"path": "/v5/order/*", "method": "POST"}
SHARE, ORDER_SHARE = 0.05, 0.1
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def storm(seed: int) -> FaultPlan:
    """One read in twenty meets one of seven faults, one order in ten one of six, four of them after it acted."""
    reads = [Fault(kind, SHARE / len(READ_KINDS), method="GET") for kind in READ_KINDS]
    reads.append(Fault("duplicate-rows", SHARE, method="GET", path="/v5/market/kline"))
    applied = {"applied": True}
    orders = [
        Fault("lost-answer", ORDER_SHARE / 6, **ORDERS),
        Fault("timeout", ORDER_SHARE / 6, settings=applied, **ORDERS),
        Fault("timeout", ORDER_SHARE / 6, **ORDERS),
        Fault("server-error", ORDER_SHARE / 6, settings=applied, **ORDERS),
        Fault("server-error", ORDER_SHARE / 6, **ORDERS),
        Fault("reset", ORDER_SHARE / 6, **ORDERS),
    ]
    return FaultPlan([*reads, *orders], seed)


class Storm:
    """A client at work for some simulated seconds: a read about every other one, an order at each third read."""

    def __init__(self, seed: int, length_s: float = STORM_S) -> None:
        self.length_s = length_s
        self.time = SimulatedTime(NOW)
        self.plan = storm(seed)
        self.transport = InProcessTransport(self.time, self.plan, SandboxConfig(now=NOW, speed=0.0, balance="1000000"))
        self.random = random.Random(seed)
        self.client = BybitClient(
            DEFAULT_KEY,
            DEFAULT_SECRET,
            base_urls=[ALIVE, DEAD],
            transport=self.transport,
            clock=self.time,
            limiter=TokenBucket(clock=self.time),
            breaker=Breaker(clock=self.time),
            rng=random.Random(seed),
        )
        self.n_reads = self.n_unread = self.n_lost_answers = 0
        self.placed: dict[str, str] = {}
        self.refused: list[str] = []

    @property
    def market(self) -> Market:
        return self.transport.exchange.market

    def run(self) -> None:
        began_s, turn = self.time.monotonic(), 0
        while self.time.monotonic() - began_s < self.length_s:
            self.read(turn)
            if turn % 3 == 0:
                self.order(turn)
            turn += 1
            self.time.sleep(self.random.uniform(0.7, 1.7))

    def read(self, turn: int) -> None:
        symbol = SYMBOLS[turn // 5 % len(SYMBOLS)]
        kinds: list[Callable[[str], None]] = [self.candles, self.funding, self.contract, self.wallet, self.ticker]
        self.n_reads += 1
        try:
            kinds[turn % len(kinds)](symbol)
        except BybitError:
            self.n_unread += 1

    def candles(self, symbol: str) -> None:
        end = datetime.fromtimestamp(self.time.wall_ms() // 60_000 * 60, UTC)
        start = end - timedelta(minutes=60)
        page = self.client.get_kline_data(symbol, Interval.MINUTE_1, start, end)
        key = SeriesKey(Category.LINEAR, symbol, PriceType.LAST, Interval.MINUTE_1)
        truth = self.market.candles(key, Window(to_ms(start), to_ms(end) - 1, 1_000), self.time.wall_ms())
        assert np.array_equal(page.candles.close, truth[:, 4])

    def funding(self, symbol: str) -> None:
        rates = self.client.get_funding_rate_history(symbol, NOW - timedelta(days=3), NOW)
        assert len(rates) == 9

    def contract(self, symbol: str) -> None:
        (item,) = self.client.get_instruments("linear", symbol)
        assert item.symbol == symbol

    def wallet(self, symbol: str) -> None:
        assert self.client.get_wallet_balance().coin("USDT").wallet_balance > 0

    def ticker(self, symbol: str) -> None:
        (ticker,) = self.client.get_tickers("linear", symbol)
        assert ticker.symbol == symbol

    def order(self, turn: int) -> None:
        symbol, link_id = SYMBOLS[turn // 3 % len(SYMBOLS)], f"storm-{turn}"
        tick = self.market.tick(Category.LINEAR, symbol, self.time.wall_ms())
        assert tick is not None
        order: dict[str, Any] = {"category": "linear", "symbol": symbol, "side": "Buy", "orderLinkId": link_id}
        qty = {"BTCUSDT": "0.01", "ETHUSDT": "0.1", "SOLUSDT": "1"}[symbol]
        if turn % 2:
            order |= {"orderType": "Market", "qty": qty}
        else:
            price = (tick.last * Decimal("0.9")).quantize(Decimal("1"))
            order |= {"orderType": "Limit", "qty": qty, "price": str(price)}
        try:
            ack = self.client.place_order(**order)
        except BybitError:
            self.refused.append(link_id)
            return
        self.n_lost_answers += ack.was_lost
        self.placed[link_id] = ack.order_id


def weathered(seed: int, length_s: float = STORM_S) -> Storm:
    run = Storm(seed, length_s)
    with run.client:
        run.run()
    return run


@pytest.fixture(scope="module")
def past() -> Storm:
    """A storm that is over."""
    return weathered(11)


def test_the_storm_is_one(past: Storm) -> None:
    share = past.plan.n_injected / (past.client.request_count - past.transport.n_dialled_dead)
    assert 0.04 < share < 0.09
    assert past.transport.n_dialled_dead > 10
    assert {one.fault for one in past.plan.injected} >= {fault.name for fault in past.plan.faults}
    assert past.n_lost_answers > 5


def test_reads_are_answered(past: Storm) -> None:
    assert past.n_reads > 1_000
    assert past.n_unread / past.n_reads <= 0.001


def test_no_order_is_doubled_or_lost(past: Storm) -> None:
    there = past.transport.exchange.accounts[0].orders
    link_ids = [order.link_id for order in there.values()]
    assert len(link_ids) == len(set(link_ids))
    assert {order.link_id: order_id for order_id, order in there.items()} == past.placed
    assert not set(past.refused) & set(link_ids)
    assert len(past.placed) + len(past.refused) > 350


def test_a_storm_happens_again_by_its_seed() -> None:
    first, again, other = (weathered(seed, 120) for seed in (5, 5, 6))
    assert len(first.plan.injected) > 3
    assert first.plan.injected == again.plan.injected
    assert (first.client.request_count, first.placed) == (again.client.request_count, again.placed)
    assert other.plan.injected != first.plan.injected
