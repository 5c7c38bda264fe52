"""The market endpoints that no candle answers: the book, trades, open interest, and two lists of the venue's own."""

import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from bybit.rules.candles import Category
from bybit.rules.instruments import Instrument, round_qty
from bybit.sandbox.book import Book
from bybit.sandbox.market import Market
from bybit.sandbox.path import Tick
from bybit.sandbox.query import Query, Refusal
from bybit.sandbox.wire import decimal_text, decode_cursor, encode_cursor

_INTERVALS = {"5min": 5, "15min": 15, "30min": 30, "1h": 60, "4h": 240, "1d": 1_440}
_MINUTE_MS = 60_000
_TRADE_SPAN_MS = 3_600_000
_TRADED = (Category.LINEAR, Category.INVERSE, Category.SPOT)


class BookEndpoints:
    """Answers the rest of ``/v5/market/...``; every method takes the parameters and the instant, ms UTC."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self.routes: dict[str, Callable[[Query, int], Mapping[str, Any]]] = {
            "/v5/market/orderbook": self.orderbook,
            "/v5/market/recent-trade": self.recent_trades,
            "/v5/market/open-interest": self.open_interest,
            "/v5/market/insurance": self.insurance,
            "/v5/system/status": self.status,
        }

    def orderbook(self, query: Query, now_ms: int) -> Mapping[str, Any]:
        """Return the book made of the last price, bids from high to low, asks from low to high."""
        category = query.category_of(_TRADED)
        limit = query.limit(1 if category is Category.SPOT else 25, 1_000)
        instrument, tick = self._priced(category, query.required_symbol(), now_ms)
        return snapshot(instrument, tick, limit, now_ms)

    def recent_trades(self, query: Query, now_ms: int) -> Mapping[str, Any]:
        """Return trades of the last hour, newest first: one for each turn of the price, of an invented size."""
        category = query.category_of(_TRADED)
        limit = query.limit(*((60, 60) if category is Category.SPOT else (500, 1_000)))
        instrument, _ = self._priced(category, query.required_symbol(), now_ms)
        ticks = list(self._market.ticks(category, instrument.symbol, now_ms - _TRADE_SPAN_MS, now_ms))
        rows = []
        before: Tick | None = None
        for tick in ticks:
            rows.append(trade(instrument, tick, before))
            before = tick
        return {"category": category, "list": rows[::-1][:limit]}

    def open_interest(self, query: Query, now_ms: int) -> Mapping[str, Any]:
        """Return the open interest at each interval's start, newest first; nothing where none is known."""
        category = query.category_of((Category.LINEAR, Category.INVERSE))
        instrument = self._listed(category, query.required_symbol(), now_ms)
        step = _INTERVALS[query.choice("intervalTime", tuple(_INTERVALS))] * _MINUTE_MS
        window = query.window("startTime", "endTime", 50, 200)
        last = min(now_ms, now_ms if window.last_ms is None else window.last_ms)
        if cursor := query.text("cursor"):
            text = decode_cursor(cursor)
            if text is None or not text.isdigit():
                raise Refusal(10001, "params error: cursor is invalid")
            last = min(last, int(text) - 1)
        launch_ms = 0 if instrument.launch_time is None else int(instrument.launch_time.timestamp() * 1_000)
        first = max(window.first_ms or 0, launch_ms, 0)
        newest = last // step * step
        times = [time for time in range(newest, newest - window.limit * step, -step) if time >= first]
        values = self._market.open_interest(category, instrument.symbol, times)
        rows = [
            {"openInterest": decimal_text(value), "singleOpenInterest": decimal_text(value / 2), "timestamp": str(time)}
            for time, value in zip(times, values, strict=False)
        ]
        more = len(rows) == window.limit and times[-1] - step >= first
        cursor = encode_cursor(str(times[-1])) if more else ""
        return {"symbol": instrument.symbol, "category": category, "list": rows, "nextPageCursor": cursor}

    def insurance(self, query: Query, now_ms: int) -> Mapping[str, Any]:
        """Return the insurance pools: one of an invented million USDT."""
        pool = {"coin": "USDT", "symbols": "", "balance": "1000000", "value": "1000000"}
        rows = [pool] if query.text("coin") in ("", "USDT") else []
        return {"updatedTime": str(now_ms // 86_400_000 * 86_400_000), "list": rows}

    def status(self, query: Query, now_ms: int) -> Mapping[str, Any]:
        """Return the maintenances, newest first: each is announced from the beginning."""
        rows = [each.row(now_ms) for each in reversed(self._market.maintenances())]
        wanted = {name: query.text(name) for name in ("id", "state")}
        return {"list": [row for row in rows if all(row[name] == text for name, text in wanted.items() if text)]}

    def _listed(self, category: Category, symbol: str, now_ms: int) -> Instrument:
        for instrument in self._market.instruments(category, now_ms):
            if instrument.symbol == symbol:
                return instrument
        raise Refusal(10001, "Not supported symbols")

    def _priced(self, category: Category, symbol: str, now_ms: int) -> tuple[Instrument, Tick]:
        instrument = self._listed(category, symbol, now_ms)
        tick = self._market.tick(category, symbol, now_ms)
        if tick is None:
            raise Refusal(10001, "Not supported symbols")
        return instrument, tick


def snapshot(instrument: Instrument, tick: Tick, n_levels: int, now_ms: int) -> dict[str, Any]:
    """Return the book of a contract as REST and streams show it; ``u`` and ``seq`` grow with time."""
    book = Book(instrument, tick.last)

    def side(name: str) -> list[list[str]]:
        return [[decimal_text(price), decimal_text(size)] for price, size in book.levels(name, n_levels)]

    return {
        "s": instrument.symbol,
        "b": side("Buy"),
        "a": side("Sell"),
        "ts": now_ms,
        "u": now_ms,
        "seq": now_ms,
        "cts": now_ms,
    }


def trade(instrument: Instrument, tick: Tick, before: Tick | None) -> dict[str, Any]:
    """Return the trade that a tick of the price stands for; taker side by the way the price went."""
    fell = before is not None and tick.last < before.last
    share = Decimal(tick.time_ms // 20_000 % 9 + 1) / 10
    size = max(round_qty(Book(instrument, tick.last).first_size() * share, instrument.qty_step), instrument.qty_step)
    name = f"{instrument.symbol} {tick.time_ms} {tick.last} {before.last if before else ''}"
    return {
        "execId": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        "symbol": instrument.symbol,
        "price": decimal_text(tick.last),
        "size": decimal_text(size),
        "side": "Sell" if fell else "Buy",
        "time": str(tick.time_ms),
        "isBlockTrade": False,
        "isRPITrade": False,
        "seq": str(tick.time_ms),
    }
