"""One sandbox for each module, and the clients that talk to it: theirs, unmodified, pointed at another address."""

from collections.abc import Iterator
from typing import Any

import ccxt
import pytest
from pybit.unified_trading import HTTP

from bybit.sandbox import SandboxConfig, Serving, serving
from bybit.sandbox.config import DEFAULT_KEY, DEFAULT_SECRET

KEYS = {"api_key": DEFAULT_KEY, "api_secret": DEFAULT_SECRET}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Serving]:
    """A synthetic market in real time; without limits, so that no test waits for the one before it."""
    with serving(SandboxConfig(port=0, address_limit=None, account_limits=False)) as running:
        yield running


def pybit_http(url: str, **settings: Any) -> HTTP:
    """pybit's session; its ``endpoint`` is the address."""
    session = HTTP(**{**KEYS, "max_retries": 1, **settings})
    session.endpoint = url
    return session


@pytest.fixture(scope="module")
def session(sandbox: Serving) -> Iterator[HTTP]:
    """pybit, signed in."""
    http = pybit_http(sandbox.url)
    yield http
    http.client.close()


@pytest.fixture
def idle(session: HTTP) -> HTTP:
    """pybit, with an account that has no orders and no positions."""
    session.cancel_all_orders(category="linear", settleCoin="USDT")
    for position in session.get_positions(category="linear", settleCoin="USDT")["result"]["list"]:
        session.place_order(
            category="linear",
            symbol=position["symbol"],
            side="Sell" if position["side"] == "Buy" else "Buy",
            orderType="Market",
            qty=position["size"],
            reduceOnly=True,
        )
    return session


def ccxt_exchange(url: str, **settings: Any) -> ccxt.bybit:
    """ccxt's exchange; its ``urls`` are the address."""

    def local(urls: Any) -> Any:
        return {name: local(inner) for name, inner in urls.items()} if isinstance(urls, dict) else url

    exchange = ccxt.bybit({"apiKey": DEFAULT_KEY, "secret": DEFAULT_SECRET, "enableRateLimit": False, **settings})
    exchange.urls["api"] = local(exchange.urls["api"])
    return exchange


@pytest.fixture(scope="module")
def exchange(sandbox: Serving) -> Iterator[ccxt.bybit]:
    """ccxt, signed in and knowing the markets."""
    made = ccxt_exchange(sandbox.url)
    made.load_markets()
    yield made
    made.session.close()
