"""ccxt's streaming half, unmodified, listens to the sandbox."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import ccxt.pro
import pytest

from bybit.sandbox import Serving
from bybit.sandbox.config import DEFAULT_KEY, DEFAULT_SECRET

BTC = "BTC/USDT:USDT"

Watch = Callable[[Any], Awaitable[Any]]


def watched(running: Serving, watch: Watch) -> Any:
    def local(urls: Any, address: str) -> Any:
        if isinstance(urls, dict):
            return {name: local(inner, running.ws if name == "ws" else address) for name, inner in urls.items()}
        # Addresses of streams end in their path; those of calls have none.
        return address + ("/v5" + urls.partition("/v5")[2] if address == running.ws else "")

    async def run() -> Any:
        exchange = ccxt.pro.bybit({"apiKey": DEFAULT_KEY, "secret": DEFAULT_SECRET, "enableRateLimit": False})
        exchange.urls["api"] = local(exchange.urls["api"], running.url)
        try:
            await exchange.load_markets()
            return await asyncio.wait_for(watch(exchange), 10)
        finally:
            await exchange.close()

    return asyncio.run(run())


def test_a_ticker_is_watched(sandbox: Serving) -> None:
    ticker = watched(sandbox, lambda exchange: exchange.watch_ticker(BTC))
    assert ticker["symbol"] == BTC
    assert ticker["low"] <= ticker["last"] <= ticker["high"]


def test_a_book_is_watched_through_its_deltas(sandbox: Serving) -> None:
    async def watch(exchange: Any) -> Any:
        for _ in range(3):
            book = await exchange.watch_order_book(BTC, 200)
        return book

    book = watched(sandbox, watch)
    assert (len(book["bids"]), len(book["asks"])) == (200, 200)
    assert book["bids"][0][0] < book["asks"][0][0]


def test_candles_are_watched(sandbox: Serving) -> None:
    candles = watched(sandbox, lambda exchange: exchange.watch_ohlcv(BTC, "1m"))
    assert all(low <= close <= high for _, _, high, low, close, _ in candles)


def test_trades_are_watched(sandbox: Serving) -> None:
    trades = watched(sandbox, lambda exchange: exchange.watch_trades(BTC))
    assert {trade["symbol"] for trade in trades} == {BTC}


@pytest.mark.parametrize("topic", ["orders", "my_trades", "positions"])
def test_what_happens_to_the_account_is_watched(sandbox: Serving, topic: str) -> None:
    async def watch(exchange: Any) -> Any:
        arguments = [[BTC]] if topic == "positions" else [BTC]
        watching = asyncio.create_task(getattr(exchange, f"watch_{topic}")(*arguments))
        await asyncio.sleep(0.5)
        order = await exchange.create_order(BTC, "market", "buy", 0.01)
        return order["id"], await watching

    order_id, rows = watched(sandbox, watch)
    if topic == "positions":
        assert rows[-1]["side"] == "long"
        assert rows[-1]["contracts"] >= 0.01
    else:
        assert order_id in [row["id" if topic == "orders" else "order"] for row in rows]
