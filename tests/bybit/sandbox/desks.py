"""A sandbox account without HTTP: requests go straight to the endpoints, time moves only when told."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from decimal import Decimal as D
from typing import Any

from bybit.rules.candles import Category
from bybit.rules.funding import FundingRate
from bybit.rules.periods import to_ms, utc
from bybit.sandbox.account_endpoints import AccountEndpoints
from bybit.sandbox.closed import Maintenance
from bybit.sandbox.exchange import AccountEvent, Exchange
from bybit.sandbox.market import Market, Window
from bybit.sandbox.order_endpoints import Answer, OrderEndpoints, Request
from bybit.sandbox.path import Tick
from bybit.sandbox.query import Query, Refusal
from bybit.sandbox.synthetic import SyntheticMarket

HOUR = 3_600_000
NOW_MS = 1_778_075_220_000  # 2026-05-06T13:47Z, a minute's edge
SYNTHETIC = SyntheticMarket(7)


class ScriptedMarket:
    """The synthetic market's contracts on prices of our own: (ms after NOW_MS, last, mark), every symbol alike."""

    def __init__(self, *course: tuple[int, str, str], jumps: bool = False, rate: str = "0.0001") -> None:
        self._course = [Tick(NOW_MS + ms, D(last), D(mark), D(mark), jumps and ms > 0) for ms, last, mark in course]
        self._rate = D(rate)
        self.assumptions = ()
        self.instruments = SYNTHETIC.instruments
        self.risk_tiers = SYNTHETIC.risk_tiers

    def tick(self, category: Category, symbol: str, now_ms: int) -> Tick | None:
        return replace([tick for tick in self._course if tick.time_ms <= now_ms][-1], time_ms=now_ms, jumps=False)

    def ticks(self, category: Category, symbol: str, after_ms: int, now_ms: int) -> Iterator[Tick]:
        return iter([tick for tick in self._course if after_ms < tick.time_ms <= now_ms])

    def maintenances(self) -> tuple[Maintenance, ...]:
        return ()

    def funding(self, category: Category, symbol: str, window: Window, now_ms: int) -> list[FundingRate]:
        hours = range(-(-(window.first_ms or 0) // HOUR), now_ms // HOUR + 1)
        return [FundingRate(symbol, utc(hour * HOUR), self._rate) for hour in hours]


class Desk:
    """One account on a market that stands still until ``advance``."""

    def __init__(self, market: Market = SYNTHETIC, now_ms: int = NOW_MS, balance: str = "10000", **terms: Any) -> None:
        self.exchange = Exchange(market, to_ms(now_ms))
        self.account = self.exchange.open_account("key", "secret", Decimal(balance), **terms)
        self.events: list[AccountEvent] = []
        self.exchange.listen(self.events.append)
        orders, accounts = OrderEndpoints(self.exchange), AccountEndpoints(self.exchange)
        self._routes = {**orders.reads, **orders.writes, **accounts.reads, **accounts.writes}

    def send(self, path: str, *, settle: bool = True, quota: int = 100, **params: Any) -> Answer:
        """Ask an endpoint; with ``settle`` the acknowledged takes effect before this returns."""
        query = Query.of_object({name: value for name, value in params.items() if name != "request"})
        answer = self._routes[f"/v5/{path}"](Request(self.account, query, params, quota))
        if settle:
            self.exchange.advance(self.exchange.now_ms)
        return answer

    def ask(self, path: str, **params: Any) -> dict[str, Any]:
        return dict(self.send(path, **params).result)

    def rows(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """Return every row of a listing, following its cursor."""
        found, cursor = [], ""
        while True:
            result = self.ask(path, **params, **({"cursor": cursor} if cursor else {}))
            found += result["list"]
            if not (cursor := result["nextPageCursor"]):
                return found

    def refusal(self, path: str, **params: Any) -> int:
        """Return the code an endpoint refuses with, 0 when it does not."""
        try:
            self.send(path, **params)
        except Refusal as refusal:
            return refusal.ret_code
        return 0

    def place(self, side: str, qty: str, price: str | None = None, symbol: str = "BTCUSDT", **more: Any) -> str:
        """Send an order and return its id."""
        kind = {"orderType": "Market"} if price is None else {"orderType": "Limit", "price": price}
        sent = self.ask("order/create", category="linear", symbol=symbol, side=side, qty=qty, **kind, **more)
        return sent["orderId"]

    def order(self, order_id: str) -> dict[str, Any]:
        row = self.account.orders[order_id].row()
        assert row["orderId"] == order_id
        return row

    def position(self, symbol: str = "BTCUSDT") -> dict[str, Any]:
        return self.ask("position/list", category="linear", symbol=symbol)["list"][0]

    def wallet(self) -> dict[str, Any]:
        return self.ask("account/wallet-balance", accountType="UNIFIED")["list"][0]

    def advance(self, ms: int) -> None:
        self.exchange.advance(self.exchange.now_ms + ms)

    def last(self, symbol: str = "BTCUSDT") -> Decimal:
        return self.exchange.tick(symbol).last
