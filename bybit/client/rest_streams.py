"""Streams that belong to a client: its hosts, its key, and its lists to fill holes from."""

from decimal import Decimal
from typing import Any

from bybit.client.arguments import check_category
from bybit.client.calls import Caller
from bybit.client.rest_market import MAX_CANDLES, MarketCalls
from bybit.client.sockets import Connect, WebSocket
from bybit.client.stream import Handler, Stream, stream_url
from bybit.rules.candles import Candle, Category, Interval
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import utc

# How long a signature of the stream holds: the venue only wants it to lie ahead.
_EXPIRES_MS = 10_000


class StreamCalls(MarketCalls):
    """The methods of ``BybitClient`` that open streams."""

    _caller: Caller

    def public_stream(
        self,
        handler: Handler,
        *topics: str,
        category: Category | str = Category.LINEAR,
        url: str | None = None,
        connect: Connect = WebSocket,
        **seams: Any,
    ) -> Stream:
        """Return a stream of market topics, not started yet: ``kline.1.BTCUSDT``, ``tickers.``, ``orderbook.50.``, ...

        Missing candles are asked for with this client. ``url`` is another address than the one of its hosts.
        """
        category = check_category(category)
        url = url or stream_url(self._caller.hosts.urls[0], f"/v5/public/{category.value}")

        def backfill(symbol: str, interval: Interval, start_ms: int, end_ms: int) -> list[Candle]:
            return self._candles(category, symbol, interval, start_ms, end_ms)

        stream = Stream(url, handler, category=category, backfill=backfill, connect=connect, **seams)
        stream.subscribe(*topics)
        return stream

    def private_stream(
        self, handler: Handler, *topics: str, url: str | None = None, connect: Connect = WebSocket, **seams: Any
    ) -> Stream:
        """Return a stream of the account, not started yet: ``order``, ``execution``, ``position``, ``wallet``.

        What happens while it is not connected is lost to it: a "gap" event says so, and the lists have it.
        """
        if not self._caller.has_key:
            raise InvalidInput("the private stream needs a key: give api_key and api_secret")
        url = url or stream_url(self._caller.hosts.urls[0], "/v5/private")
        stream = Stream(url, handler, category=None, authenticate=self._auth_message, connect=connect, **seams)
        stream.subscribe(*(topics or ("order", "execution", "position", "wallet")))
        return stream

    def _auth_message(self) -> dict[str, Any]:
        return self._caller.stream_auth(self._caller.now_ms() + _EXPIRES_MS)

    def _candles(self, category: Category, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> list[Candle]:
        opens = interval.open_times(start_ms, end_ms)
        candles: list[Candle] = []
        for first in range(0, len(opens), MAX_CANDLES):
            chunk = opens[first : first + MAX_CANDLES]
            page = self.get_kline_data(
                symbol, interval, int(chunk[0]), interval.close_ms(int(chunk[-1])), category=category
            )
            # The arrays are float64; what a stream hands on is exact.
            texts = {str(row[0]): row for row in page.raw.get("list", ())}
            candles.extend(candle_of(texts[str(open_ms)]) for open_ms in page.candles.open_time_ms.tolist())
        return candles


def candle_of(row: list[str]) -> Candle:
    """Return the candle of a kline row that passed its checks."""
    open_price, high, low, close, volume, turnover = (Decimal(text) for text in row[1:7])
    return Candle(utc(row[0]), open_price, high, low, close, volume, turnover)
