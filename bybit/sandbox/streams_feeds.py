"""What a public topic tells and when: one feed per subscription, asked again and again with the clock's instant."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.sandbox.endpoints import Endpoint
from bybit.sandbox.market import Market, Rows, Window
from bybit.sandbox.query import Query, Refusal
from bybit.sandbox.wire import decimal_text

Message = dict[str, Any]

_DEPTHS = ("1", "50", "200", "1000")
_BOOK_MS = {"1": 10, "50": 20, "200": 100, "1000": 200}
_RESEND_MS = 3_000
_CANDLE_MS = 1_000
_TICKER_MS = 100
_TRADE_MS = 100
_LIQUIDATION_MS = 500
_MAX_TRADES = 1_024
_BOOK, _TRADES, _TICKERS = "/v5/market/orderbook", "/v5/market/recent-trade", "/v5/market/tickers"


class Feed(Protocol):
    """One topic of one subscription."""

    def poll(self, now_ms: int) -> list[Message]:
        """Return what there is to tell since the last time, oldest first."""
        ...


class _Paced:
    # Nothing more often than the venue's push frequency; the first time at once.
    def __init__(self, every_ms: int) -> None:
        self._every_ms = every_ms
        self._asked_ms: int | None = None

    def is_due(self, now_ms: int) -> bool:
        if self._asked_ms is not None and now_ms < self._asked_ms + self._every_ms:
            return False
        self._asked_ms = now_ms
        return True


class CandleFeed:
    """``kline.{interval}.{symbol}``: the forming candle at most every second, and each one once more as it closes."""

    def __init__(self, market: Market, topic: str, key: SeriesKey) -> None:
        self._market, self._topic, self._key = market, topic, key
        self._pace = _Paced(_CANDLE_MS)
        self._open_ms: int | None = None
        self._told: list[float] = []

    def poll(self, now_ms: int) -> list[Message]:
        """Return a message for every candle that closed since the last time, and one for the forming one."""
        closes = self._open_ms is not None and now_ms >= self._key.interval.close_ms(self._open_ms)
        if not closes and not self._pace.is_due(now_ms):
            return []
        window = Window(None, None, 1) if self._open_ms is None else Window(self._open_ms, None, 1_000)
        rows = self._market.candles(self._key, window, now_ms)
        messages = [self._message(row, now_ms) for row in rows if row.tolist() != self._told]
        if len(rows):
            self._open_ms, self._told = int(rows[-1, 0]), rows[-1].tolist()
        return messages

    def _message(self, row: Rows, now_ms: int) -> Message:
        open_ms = int(row[0])
        close_ms = self._key.interval.close_ms(open_ms)
        names = ("open", "high", "low", "close", "volume", "turnover")
        prices = {name: decimal_text(value) for name, value in zip(names, row[1:].tolist(), strict=True)}
        span = {"start": open_ms, "end": close_ms - 1, "interval": self._key.interval.wire}
        data = {**span, **prices, "confirm": now_ms >= close_ms, "timestamp": min(now_ms, close_ms)}
        return {"topic": self._topic, "data": [data], "ts": now_ms, "type": "snapshot"}


class TickerFeed:
    """``tickers.{symbol}``: everything once, then what has changed; spot tells everything every time."""

    def __init__(self, endpoint: Endpoint, topic: str, category: Category, symbol: str) -> None:
        self._endpoint, self._topic, self._category = endpoint, topic, category
        self._query = Query({"category": category.value, "symbol": symbol})
        self._pace = _Paced(_TICKER_MS)
        self._told: dict[str, str] = {}
        self._direction = "ZeroPlusTick"

    def poll(self, now_ms: int) -> list[Message]:
        """Return the ticker or its changes, if there are any."""
        if not self._pace.is_due(now_ms):
            return []
        answer = _answer(self._endpoint, self._query, now_ms)
        if answer is None or not answer["list"]:
            return []
        row, before = dict(answer["list"][0]), self._told
        if self._category is not Category.SPOT:
            row["tickDirection"] = self._tick_direction(row["lastPrice"])
        changes = {name: value for name, value in row.items() if before.get(name) != value}
        if not changes:
            return []
        self._told = row
        is_whole = not before or self._category is Category.SPOT
        data = row if is_whole else {"symbol": row["symbol"], **changes}
        kind = "snapshot" if is_whole else "delta"
        # The venue's cross sequence only ever grows.
        return [{"topic": self._topic, "type": kind, "data": data, "cs": now_ms, "ts": now_ms}]

    def _tick_direction(self, price: str) -> str:
        before = self._told.get("lastPrice")
        if before is not None and price != before:
            self._direction = "PlusTick" if float(price) > float(before) else "MinusTick"
        elif before is not None and not self._direction.startswith("Zero"):
            self._direction = f"Zero{self._direction}"
        return self._direction


class BookFeed:
    """``orderbook.{depth}.{symbol}``: a snapshot, then deltas; the best prices alone (depth 1) as snapshots only."""

    def __init__(self, endpoint: Endpoint, topic: str, category: Category, depth: str, symbol: str) -> None:
        self._endpoint, self._topic, self._depth = endpoint, topic, depth
        self._query = Query({"category": category.value, "symbol": symbol, "limit": depth})
        self._pace = _Paced(_BOOK_MS[depth])
        self._told: tuple[list[list[str]], list[list[str]]] | None = None
        self._u, self._told_ms = 0, 0

    def poll(self, now_ms: int) -> list[Message]:
        """Return the book or its changes, if there are any."""
        if not self._pace.is_due(now_ms):
            return []
        book = _answer(self._endpoint, self._query, now_ms)
        if book is None:
            return []
        sides, before = (book["b"], book["a"]), self._told
        if sides == before:
            if self._depth != "1" or now_ms < self._told_ms + _RESEND_MS:
                return []
        else:
            # A delta follows on its predecessor: the numbers must grow even where the book's own stands still.
            self._u = max(self._u + 1, int(book["u"]))
        self._told, self._told_ms = sides, now_ms
        kind, shown = "snapshot", sides
        if before is not None and self._depth != "1":
            kind, shown = "delta", (_changed(before[0], sides[0]), _changed(before[1], sides[1]))
        data = {"s": book["s"], "b": shown[0], "a": shown[1], "u": self._u, "seq": book["seq"]}
        return [{"topic": self._topic, "type": kind, "ts": now_ms, "data": data, "cts": book["cts"]}]


def _changed(before: Sequence[list[str]], after: Sequence[list[str]]) -> list[list[str]]:
    # Levels that are new or of another size, and those that are gone with size "0".
    old, new = {level[0]: level[1] for level in before}, {level[0]: level[1] for level in after}
    gone = [[price, "0"] for price in old if price not in new]
    return gone + [[price, size] for price, size in new.items() if old.get(price) != size]


class TradeFeed:
    """``publicTrade.{symbol}``: trades after the subscription, oldest first."""

    def __init__(self, endpoint: Endpoint, topic: str, category: Category, symbol: str) -> None:
        self._endpoint, self._topic = endpoint, topic
        # Spot serves no more than 60 at a time.
        limit = "60" if category is Category.SPOT else "1000"
        self._query = Query({"category": category.value, "symbol": symbol, "limit": limit})
        self._pace = _Paced(_TRADE_MS)
        # The trades of the newest millisecond told: a later one of the same millisecond is still news.
        self._seen: set[str] | None = None
        self._newest_ms = 0
        self._price: float | None = None
        self._direction = "ZeroPlusTick"

    def poll(self, now_ms: int) -> list[Message]:
        """Return the new trades, if there are any."""
        if not self._pace.is_due(now_ms):
            return []
        answer = _answer(self._endpoint, self._query, now_ms)
        if answer is None:
            return []
        rows = answer["list"]
        if self._seen is None:
            self._price = float(rows[0]["price"]) if rows else None
            self._note(rows)
            return []
        # What is older than the newest one told has been told, or happened before the subscription.
        fresh = [
            row for row in reversed(rows) if int(row["time"]) >= self._newest_ms and row["execId"] not in self._seen
        ]
        self._note(rows)
        parts = [fresh[at : at + _MAX_TRADES] for at in range(0, len(fresh), _MAX_TRADES)]
        return [
            {"topic": self._topic, "type": "snapshot", "ts": now_ms, "data": [self._trade(row) for row in part]}
            for part in parts
        ]

    def _note(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._newest_ms = max([self._newest_ms, *(int(row["time"]) for row in rows[:1])])
        self._seen = {row["execId"] for row in rows if int(row["time"]) == self._newest_ms}

    def _trade(self, row: Mapping[str, Any]) -> Message:
        price = float(row["price"])
        if self._price is not None and price != self._price:
            self._direction = "PlusTick" if price > self._price else "MinusTick"
        elif not self._direction.startswith("Zero"):
            self._direction = f"Zero{self._direction}"
        self._price = price
        return {
            "T": int(row["time"]),
            "s": row["symbol"],
            "S": row["side"],
            "v": row["size"],
            "p": row["price"],
            "L": self._direction,
            "i": row["execId"],
            "BT": row["isBlockTrade"],
            "RPI": row.get("isRPITrade", False),
            "seq": int(row["seq"]),
        }


class LiquidationFeed:
    """``allLiquidation.{symbol}``: liquidations among the sandbox's own accounts; nobody else is recorded."""

    def __init__(self, topic: str, symbol: str) -> None:
        self.symbol = symbol
        self._topic = topic
        self._pace = _Paced(_LIQUIDATION_MS)
        self._waiting: list[Message] = []

    def add(self, execution: Mapping[str, Any]) -> None:
        """Take up the execution that closed a position for want of margin."""
        # The venue names the position's side: a long that is sold off is "Buy".
        side = "Buy" if execution["side"] == "Sell" else "Sell"
        self._waiting.append(
            {
                "T": int(execution["execTime"]),
                "s": execution["symbol"],
                "S": side,
                "v": execution["execQty"],
                # The bankruptcy price, whatever it was closed at.
                "p": execution["orderPrice"],
            }
        )

    def poll(self, now_ms: int) -> list[Message]:
        """Return the liquidations since the last time."""
        if not self._waiting or not self._pace.is_due(now_ms):
            return []
        data, self._waiting = self._waiting, []
        return [{"topic": self._topic, "type": "snapshot", "ts": now_ms, "data": data}]


class Feeds:
    """Opens feeds by topic.

    Parameters
    ----------
    market : Market
        Where candles come from.
    routes : mapping
        The market endpoints by path: streams tell what the endpoints answer.
    """

    def __init__(self, market: Market, routes: Mapping[str, Endpoint]) -> None:
        self._market, self._routes = market, routes

    def open(self, category: Category, topic: str, now_ms: int) -> Feed:
        """Return the feed of a topic.

        Raises
        ------
        Refusal
            For a topic, symbol, interval or depth that is not served in this category.
        """
        kind, *words = topic.split(".")
        listed = {item.symbol for item in self._market.instruments(category, now_ms)}
        feed = self._feed(category, topic, kind, words) if words and words[-1] in listed else None
        if feed is None:
            raise Refusal(10001, f"error:handler not found,topic:{topic}")
        return feed

    def _feed(self, category: Category, topic: str, kind: str, words: Sequence[str]) -> Feed | None:
        symbol, routes = words[-1], self._routes
        match kind, len(words):
            case "kline", 2:
                interval = next((interval for interval in Interval if interval.wire == words[0]), None)
                if interval is not None:
                    return CandleFeed(self._market, topic, SeriesKey(category, symbol, PriceType.LAST, interval))
            case "tickers", 1:
                return TickerFeed(routes[_TICKERS], topic, category, symbol)
            case "orderbook", 2:
                if words[0] in _DEPTHS and _BOOK in routes:
                    return BookFeed(routes[_BOOK], topic, category, words[0], symbol)
            case "publicTrade", 1:
                if _TRADES in routes:
                    return TradeFeed(routes[_TRADES], topic, category, symbol)
            case "allLiquidation", 1:
                if category is not Category.SPOT:
                    return LiquidationFeed(topic, symbol)
        return None


def _answer(endpoint: Endpoint, query: Query, now_ms: int) -> Mapping[str, Any] | None:
    # None while the endpoint refuses: a contract that is listed but has no price yet is silent until it has one.
    try:
        result = endpoint(query, now_ms)
    except Refusal:
        return None
    if not isinstance(result, Mapping):
        raise TypeError(f"an endpoint that feeds a stream returned {type(result).__name__}, expected a mapping")
    return result
