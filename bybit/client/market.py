"""The market beyond candles and tickers: books, trades, open interest, insurance, notices. Records and parsers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from bybit.client.errors import MalformedResponse
from bybit.client.fields import (
    BadRow,
    each,
    flag,
    label,
    moment,
    number,
    optional,
    optional_moment,
    symbol,
    text,
    whole,
)
from bybit.client.parse import distinct_rows
from bybit.rules.candles import Category

Level = tuple[Decimal, Decimal]
"""Price in quote coin and quantity at it."""


@dataclass(frozen=True, slots=True)
class OrderBook:
    """The book of one symbol at ``time``: bids from the highest down, asks from the lowest up.

    ``update_id`` counts the book's updates, ``sequence`` orders it against other depths. ``raw`` is the venue's own
    record, here and in every record of the client.
    """

    symbol: str
    time: datetime
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    update_id: int | None
    sequence: int | None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class PublicTrade:
    """One trade of the market; ``side`` is the taker's, "Buy" or "Sell"."""

    symbol: str
    exec_id: str
    time: datetime
    side: str
    price: Decimal
    qty: Decimal
    is_block_trade: bool | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class MarketLiquidation:
    """One liquidation of anybody: ``is_long`` tells which side was taken over, at its bankruptcy price."""

    symbol: str
    time: datetime
    is_long: bool
    qty: Decimal
    bankruptcy_price: Decimal
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class OpenInterest:
    """Open positions at ``time``: base coin (inverse: USD). ``single`` counts one side only."""

    time: datetime
    open_interest: Decimal
    single: Decimal | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class InsurancePool:
    """What the insurance fund holds in one coin, for ``symbols`` alone or, when empty, for all the others.

    ``usd_value`` is in US dollars; ``time`` is when the venue counted.
    """

    coin: str
    symbols: tuple[str, ...]
    balance: Decimal
    usd_value: Decimal | None
    time: datetime
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class SystemNotice:
    """One maintenance of the venue; ``state`` is its word: scheduled, ongoing, completed, canceled.

    ``services`` and ``products`` are its numbers for what is interrupted, as ``bybit.rules.availability`` names them;
    ``uid_suffixes`` are the last digits of the accounts concerned, empty for all.
    """

    notice_id: str
    title: str
    state: str
    begin: datetime | None
    end: datetime | None
    services: tuple[int, ...]
    products: tuple[int, ...]
    uid_suffixes: tuple[int, ...]
    is_demo: bool
    raw: Mapping[str, Any] = field(repr=False, compare=False)


def order_book(result: dict[str, Any], of_symbol: str) -> OrderBook:
    """Return the book of an orderbook result.

    Raises
    ------
    MalformedResponse
        When it is another symbol's, its levels are none, or they are not in order.
    """
    if result.get("s") != of_symbol:
        raise MalformedResponse(f"asked for {of_symbol}, the book is of {str(result.get('s'))[:40]!r}; discarded")
    try:
        bids, asks = levels(result.get("b"), "b"), levels(result.get("a"), "a")
        book = OrderBook(
            of_symbol, moment(result, "ts"), bids, asks, whole(result, "u"), whole(result, "seq"), raw=result
        )
    except BadRow as error:
        raise MalformedResponse(f"the book of {of_symbol} cannot be used: {error}; look at the reply") from None
    bid_prices, ask_prices = ([price for price, _ in side] for side in (bids, asks))
    if bid_prices != sorted(bid_prices, reverse=True) or ask_prices != sorted(ask_prices):
        raise MalformedResponse(f"the book of {of_symbol} is out of order; discarded")
    return book


def levels(rows: object, name: str) -> tuple[Level, ...]:
    """Return the levels of one side of a book as they came."""
    if not isinstance(rows, list):
        raise BadRow(f"{name}: a {type(rows).__name__}, expected a list")
    found = []
    for row in rows:
        if not isinstance(row, list) or len(row) != 2:
            raise BadRow(f"{name}: holds {str(row)[:40]!r}, expected pairs of price and size")
        found.append((number(row[0], f"{name} price"), number(row[1], f"{name} size")))
    return tuple(found)


def public_trades(rows: list[dict[str, Any]]) -> list[PublicTrade]:
    """Return recent-trade rows, oldest first."""
    return each(reversed(rows), _public_trade, "trade")


def _public_trade(row: dict[str, Any]) -> PublicTrade:
    return PublicTrade(
        symbol=symbol(row),
        exec_id=text(row, "execId"),
        time=moment(row, "time"),
        side=side(row),
        price=number(row.get("price"), "price"),
        qty=number(row.get("size"), "size"),
        is_block_trade=flag(row, "isBlockTrade"),
        raw=row,
    )


def side(row: dict[str, Any], name: str = "side") -> str:
    """Return the side in ``row[name]``, "Buy" or "Sell"."""
    found = text(row, name)
    if found not in ("Buy", "Sell"):
        raise BadRow(f"{name}: {found!r}, expected Buy or Sell")
    return found


def open_interest(row: dict[str, Any]) -> OpenInterest:
    """Return one open-interest row."""
    interest = number(row.get("openInterest"), "openInterest")
    return OpenInterest(moment(row, "timestamp"), interest, optional(row, "singleOpenInterest"), raw=row)


def insurance_pools(result: dict[str, Any]) -> list[InsurancePool]:
    """Return the pools of an insurance result."""

    def pool(row: dict[str, Any]) -> InsurancePool:
        return InsurancePool(
            coin=text(row, "coin"),
            symbols=tuple(name for name in str(row.get("symbols") or "").split(",") if name),
            balance=number(row.get("balance"), "balance", signed=True),
            usd_value=optional(row, "value", signed=True),
            time=moment(result, "updatedTime"),
            raw=row,
        )

    return each(distinct_rows(result), pool, "insurance pool")


def system_notice(row: dict[str, Any]) -> SystemNotice:
    """Return one system-status row."""
    return SystemNotice(
        notice_id=text(row, "id"),
        # Words for people, of any length: never a reason to do without the notice.
        title=str(row.get("title") or "")[:200],
        state=text(row, "state"),
        begin=optional_moment(row, "begin"),
        end=optional_moment(row, "end"),
        services=_numbers(row, "serviceTypes"),
        products=_numbers(row, "product"),
        uid_suffixes=_numbers(row, "uidSuffix"),
        is_demo=str(row.get("env")) == "2",
        raw=row,
    )


def _numbers(row: dict[str, Any], name: str) -> tuple[int, ...]:
    found = row.get(name) or []
    if not isinstance(found, list) or not all(str(item).isdecimal() for item in found):
        raise BadRow(f"{name}: {str(found)[:40]!r}, expected a list of numbers")
    return tuple(int(item) for item in found)


def category_of(row: dict[str, Any], asked: Category | None) -> Category:
    """Return the category a row names, else the one ``asked`` for; derivatives rows often name none."""
    found = label(row, "category") or (None if asked is None else asked.value)
    try:
        return Category(str(found))
    except ValueError:
        raise BadRow(f"category: {found!r} is not one of {', '.join(Category)}") from None
