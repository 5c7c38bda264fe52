"""From the messages of one topic to our records: snapshots and deltas merged, gaps found, only closed candles."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from bybit.client import parse
from bybit.client.errors import BybitError, MalformedResponse
from bybit.client.fields import BadRow, each, moment, number, symbol, whole
from bybit.client.market import Level, MarketLiquidation, OrderBook, PublicTrade, levels, side
from bybit.client.orders import fill, order
from bybit.client.positions import position
from bybit.client.wallet import wallet_of
from bybit.rules.candles import Candle, Category, Interval
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period, to_ms, utc

Backfill = Callable[[str, Interval, int, int], list[Candle]]
"""Symbol, interval, and [start, end) in ms UTC to the candles that open there, from the venue's lists."""

_N_REMEMBERED = 5000
# So many update ids in a row that follow each other show that they count.
_N_COUNTED = 3


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """Something a stream handed on.

    ``kind`` says what ``data`` is: "candle" a closed ``Candle``, "ticker" a ``Ticker``, "book" an ``OrderBook``,
    "trade" a ``PublicTrade``, "liquidation" a ``MarketLiquidation``; "order", "fill", "position" and "wallet" their
    records; "gap" the ``Period`` of candles that is missing, or None where other messages were lost; "connected",
    "disconnected", "refused" and "failed" the error or None. ``backfilled`` marks candles that were asked for after
    a hole.
    """

    kind: str
    topic: str
    data: Any
    time: datetime | None = None
    backfilled: bool = False
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


class Feed(Protocol):
    """One topic. ``needs_snapshot`` asks for a new subscription; ``n_dropped`` counts what could not be used."""

    needs_snapshot: bool
    n_dropped: int

    def take(self, message: dict[str, Any]) -> Iterator[StreamEvent]:
        """Yield what a message amounts to."""

    def restart(self) -> None:
        """Forget what a new connection invalidates."""


class TickerFeed:
    """Tickers: a delta holds only what changed."""

    def __init__(self, topic: str, category: Category) -> None:
        self._topic, self._category = topic, category
        self._state: dict[str, Any] | None = None
        self._sequence = -1
        self.needs_snapshot = False
        self.n_dropped = 0

    def restart(self) -> None:
        """Wait for a snapshot again."""
        self._state, self._sequence, self.needs_snapshot = None, -1, False

    def take(self, message: dict[str, Any]) -> Iterator[StreamEvent]:
        """Yield the whole ticker after each message."""
        data, sequence = message.get("data"), message.get("cs")
        if not isinstance(data, dict):
            raise MalformedResponse(f"{self._topic}: data is {type(data).__name__}, expected an object")
        is_delta = message.get("type") == "delta"
        if is_delta and (self._state is None or (type(sequence) is int and sequence < self._sequence)):
            # Before the snapshot, or from before the state it would change.
            self.n_dropped += 1
            return
        self._state = {**(self._state or {}), **data} if is_delta else dict(data)
        self._sequence = sequence if type(sequence) is int else self._sequence
        time = _time_of(message, self._topic)
        found = parse.tickers([self._state], self._category, time)
        if found.rejected:
            raise MalformedResponse(f"{self._topic}: {found.rejected[0].reason}")
        yield StreamEvent("ticker", self._topic, found[0], time, raw=message)


class BookFeed:
    """Order books: a delta sets sizes, zero removes.

    That update ids count by one is not documented. So a jump is a gap only once some in a row did count by one; a book
    whose bids reach its asks is broken in any case.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._symbol = topic.rsplit(".", 1)[1]
        self._sides: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] | None = None
        self._update_id = -1
        self._n_counted = 0
        self.needs_snapshot = False
        self.n_dropped = 0

    def restart(self) -> None:
        """Wait for a snapshot again."""
        self._sides, self._update_id, self.needs_snapshot = None, -1, False

    def take(self, message: dict[str, Any]) -> Iterator[StreamEvent]:
        """Yield the whole book after each message, or a gap when one is missing."""
        data = message.get("data")
        if not isinstance(data, dict) or data.get("s") != self._symbol:
            raise MalformedResponse(f"{self._topic}: not a book of {self._symbol}")
        try:
            changes, update_id = (levels(data.get("b"), "b"), levels(data.get("a"), "a")), whole(data, "u")
            sequence = whole(data, "seq")
            if update_id is None:
                raise BadRow("u: missing")
        except BadRow as error:
            self._lose()
            raise MalformedResponse(f"{self._topic}: {error}") from None
        # An id of 1 starts anew after a restart of the venue, whatever the message calls itself.
        if message.get("type") == "snapshot" or update_id == 1:
            self._sides, self.needs_snapshot = ({}, {}), False
        elif self._sides is None or update_id <= self._update_id:
            self.n_dropped += 1
            return
        elif update_id != self._update_id + 1 and self._n_counted >= _N_COUNTED:
            yield self._gap(message)
            return
        else:
            self._n_counted = self._n_counted + 1 if update_id == self._update_id + 1 else 0
        self._update_id = update_id
        bids, asks = self._merge(changes)
        if bids and asks and bids[0][0] >= asks[0][0]:
            # Bids above asks never rest: something is missing.
            yield self._gap(message)
            return
        time = _time_of(message, self._topic)
        book = OrderBook(self._symbol, time, bids, asks, update_id, sequence, raw=data)
        yield StreamEvent("book", self._topic, book, time, raw=message)

    def _merge(self, changes: tuple[tuple[Level, ...], tuple[Level, ...]]) -> tuple[tuple[Level, ...], ...]:
        assert self._sides is not None
        for levels_of_side, changed in zip(self._sides, changes, strict=True):
            for price, size in changed:
                if size:
                    levels_of_side[price] = size
                else:
                    levels_of_side.pop(price, None)
        return tuple(sorted(self._sides[0].items(), reverse=True)), tuple(sorted(self._sides[1].items()))

    def _gap(self, message: dict[str, Any]) -> StreamEvent:
        self._lose()
        return StreamEvent("gap", self._topic, None, _time_of(message, self._topic), raw=message)

    def _lose(self) -> None:
        self._sides, self.needs_snapshot, self._n_counted = None, True, 0


class CandleFeed:
    """Candles: only closed ones, each once, in order; holes are filled from the venue's lists."""

    def __init__(self, topic: str, backfill: Backfill | None) -> None:
        _, wire, self._symbol = topic.split(".", 2)
        self._topic, self._interval = topic, Interval.parse(wire)
        self._backfill = backfill
        # The open time of the next candle to hand on; None before the first message.
        self._next_ms: int | None = None
        self._is_suspect = False
        self._holes: list[tuple[int, int]] = []
        self._told: set[tuple[int, int]] = set()
        self.needs_snapshot = False
        self.n_dropped = 0

    def restart(self) -> None:
        """Suspect a hole between the last candle and the first message of the new connection."""
        self._is_suspect, self.needs_snapshot = True, False

    def take(self, message: dict[str, Any]) -> Iterator[StreamEvent]:
        """Yield the closed candle of a message, those that are missing before it first."""
        rows = message.get("data")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise MalformedResponse(f"{self._topic}: data is not a list of candles")
        for row in rows:
            try:
                open_ms, is_closed = to_ms(moment(row, "start")), row.get("confirm")
            except BadRow as error:
                raise MalformedResponse(f"{self._topic}: {error}") from None
            if type(is_closed) is not bool:
                raise MalformedResponse(f"{self._topic}: confirm is {str(is_closed)[:20]!r}, expected true or false")
            if self._next_ms is None:
                self._next_ms = open_ms
            # The candle before an open one may still be on its way, unless the connection is new.
            if open_ms > self._next_ms and (is_closed or self._is_suspect):
                self._holes.append((self._next_ms, open_ms))
                self._next_ms = open_ms
                yield from self._fill()
            elif is_closed and self._holes:
                yield from self._fill()
            self._is_suspect = False
            if is_closed and open_ms < self._next_ms:
                self.n_dropped += 1
            elif is_closed:
                candle = each([row], _candle, f"candle of {self._topic}")[0]
                self._next_ms = self._interval.close_ms(open_ms)
                yield StreamEvent("candle", self._topic, candle, utc(self._next_ms), raw=row)

    def _fill(self) -> Iterator[StreamEvent]:
        # A hole the venue cannot be asked about now is tried again with the next closed candle.
        for hole in list(self._holes):
            found: list[Candle] | None = []
            try:
                if self._backfill is not None:
                    found = self._backfill(self._symbol, self._interval, *hole)
            except BybitError:
                found = None
            n_missing = len(self._interval.open_times(*hole)) - len(found or ())
            if n_missing and hole not in self._told:
                self._told.add(hole)
                yield StreamEvent("gap", self._topic, Period.from_ms(*hole))
            if found is not None:
                self._holes.remove(hole)
                self._told.discard(hole)
            for candle in found or ():
                closed = utc(self._interval.close_ms(to_ms(candle.open_time)))
                yield StreamEvent("candle", self._topic, candle, closed, backfilled=True)


class RowFeed:
    """Topics whose messages stand for themselves; ``key`` fields tell one that comes twice."""

    def __init__(
        self, kind: str, topic: str, record: Callable[[dict[str, Any], datetime], Any], key: tuple[str, ...] = ()
    ) -> None:
        self._kind, self._topic, self._record, self._key = kind, topic, record, key
        self._seen: set[tuple[Any, ...]] = set()
        self._order: deque[tuple[Any, ...]] = deque()
        self.needs_snapshot = False
        self.n_dropped = 0

    def restart(self) -> None:
        """Remember what came: it may come again."""

    def take(self, message: dict[str, Any]) -> Iterator[StreamEvent]:
        """Yield one event per row."""
        rows = message.get("data")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise MalformedResponse(f"{self._topic}: data is not a list of objects")
        time = _time_of(message, self._topic)
        found = each(rows, lambda row: self._record(row, time), f"message of {self._topic}")
        for row, record in zip(rows, found, strict=True):
            if self._is_repeated(row):
                self.n_dropped += 1
            else:
                yield StreamEvent(self._kind, self._topic, record, time, raw=row)

    def _is_repeated(self, row: dict[str, Any]) -> bool:
        if not self._key:
            return False
        key = tuple(row.get(name) for name in self._key)
        if key in self._seen:
            return True
        self._seen.add(key)
        self._order.append(key)
        if len(self._order) > _N_REMEMBERED:
            self._seen.discard(self._order.popleft())
        return False


def feed_of(topic: str, category: Category | None, backfill: Backfill | None = None) -> Feed:
    """Return the feed of a topic: ``category`` of a public connection, None of the private one.

    Raises
    ------
    InvalidInput
        For a topic the client cannot read.
    """
    name = topic.split(".", 1)[0]
    if category is None:
        kinds: dict[str, tuple[str, Callable[[dict[str, Any], datetime], Any], tuple[str, ...]]] = {
            "order": ("order", lambda row, _: order(row), ()),
            "execution": ("fill", lambda row, _: fill(row), ("execId", "orderId", "leavesQty")),
            "position": ("position", lambda row, _: position(row), ()),
            "wallet": ("wallet", wallet_of, ()),
        }
        if name in kinds:
            kind, record, key = kinds[name]
            return RowFeed(kind, topic, record, key)
    elif name == "kline" and topic.count(".") == 2:
        return CandleFeed(topic, backfill)
    elif name == "tickers" and topic.count(".") == 1:
        return TickerFeed(topic, category)
    elif name == "orderbook" and topic.count(".") == 2:
        return BookFeed(topic)
    elif name == "publicTrade" and topic.count(".") == 1:
        return RowFeed("trade", topic, _public_trade, ("i",))
    elif name == "allLiquidation" and topic.count(".") == 1:
        return RowFeed("liquidation", topic, _liquidation)
    private = "order, execution, position, wallet"
    public = "kline.1.BTCUSDT, tickers.BTCUSDT, orderbook.50.BTCUSDT, publicTrade.BTCUSDT, allLiquidation.BTCUSDT"
    raise InvalidInput(f"topic {topic[:60]!r} is none this stream reads: {private if category is None else public}")


def _candle(row: dict[str, Any]) -> Candle:
    prices = [number(row.get(name), name) for name in ("open", "high", "low", "close")]
    if not all(prices):
        raise BadRow("a price of zero")
    amounts = [number(row.get(name), name) for name in ("volume", "turnover")]
    return Candle(moment(row, "start"), *prices, *amounts)


def _public_trade(row: dict[str, Any], _: datetime) -> PublicTrade:
    is_block = row.get("BT")
    return PublicTrade(
        symbol=symbol({"symbol": row.get("s")}),
        exec_id=str(row.get("i")),
        time=moment(row, "T"),
        side=side(row, "S"),
        price=number(row.get("p"), "p"),
        qty=number(row.get("v"), "v"),
        is_block_trade=is_block if isinstance(is_block, bool) else None,
        raw=row,
    )


def _liquidation(row: dict[str, Any], _: datetime) -> MarketLiquidation:
    return MarketLiquidation(
        symbol=symbol({"symbol": row.get("s")}),
        time=moment(row, "T"),
        # The side is the position's: Buy was a long.
        is_long=side(row, "S") == "Buy",
        qty=number(row.get("v"), "v"),
        bankruptcy_price=number(row.get("p"), "p"),
        raw=row,
    )


def _time_of(message: dict[str, Any], topic: str) -> datetime:
    try:
        return moment(message, "ts" if "ts" in message else "creationTime")
    except BadRow as error:
        raise MalformedResponse(f"{topic}: {error}") from None
