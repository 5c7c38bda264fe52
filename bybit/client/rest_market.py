"""Market data over HTTP: one method per call. Needs no key."""

import logging
from collections.abc import Collection
from datetime import datetime
from typing import Any, TypeVar

from bybit.client import parse
from bybit.client.arguments import (
    Time,
    check_candle_count,
    check_category,
    check_price_type,
    check_span,
    optional_symbol,
)
from bybit.client.calls import Caller, Value
from bybit.client.errors import MalformedResponse
from bybit.client.fields import each
from bybit.client.market import (
    InsurancePool,
    OpenInterest,
    OrderBook,
    PublicTrade,
    SystemNotice,
    insurance_pools,
    open_interest,
    order_book,
    public_trades,
    system_notice,
)
from bybit.client.pages import OPEN_INTERESTS, records
from bybit.client.replies import CandlePage, Listing, Ticker
from bybit.rules.candles import Category, Interval, PriceType, check_symbol
from bybit.rules.errors import InvalidInput
from bybit.rules.funding import FundingRate
from bybit.rules.instruments import Instrument
from bybit.rules.margin import RiskTier
from bybit.rules.periods import to_ms, utc

T = TypeVar("T", Instrument, RiskTier, Ticker)

_log = logging.getLogger(__name__)

MAX_CANDLES = 1000
"""Most candles in one kline page."""

MAX_SETTLEMENTS = 200
"""Most settlements in one funding history page."""

OPEN_INTEREST_INTERVALS = ("5min", "15min", "30min", "1h", "4h", "1d")
"""The venue's words for the steps of open interest."""

_MAX_PAGES = 2000
_HOUR_MS = 3_600_000
_KLINE_PATHS = {
    PriceType.LAST: "/v5/market/kline",
    PriceType.MARK: "/v5/market/mark-price-kline",
    PriceType.INDEX: "/v5/market/index-price-kline",
    PriceType.PREMIUM: "/v5/market/premium-index-price-kline",
}


class MarketCalls:
    """The market data methods of ``BybitClient``."""

    _caller: Caller

    def server_time(self) -> datetime:
        """Return the venue's time."""
        return utc(self._caller.venue_time_ms())

    def get_kline_data(
        self,
        symbol: str,
        interval: Interval | str,
        start: Time,
        end: Time,
        *,
        category: Category | str = Category.LINEAR,
        price: PriceType | str = PriceType.LAST,
    ) -> CandlePage:
        """Return one page: the candles that open in [start, end), oldest first.

        The last one may still be forming: drop it when it closes after :meth:`server_time`.

        Raises
        ------
        InvalidInput
            Before any request: for a symbol, interval, category or price type the venue does not have, or a span
            of more than 1000 candles.
        BybitError
            When the venue or the way to it fails.
        """
        category = check_category(category)
        price, span = check_price_type(price, category), check_span(start, end)
        interval = Interval.parse(interval) if isinstance(interval, str) else interval
        n_candles = check_candle_count(interval, span, MAX_CANDLES)
        asked = {"category": category.value, "symbol": check_symbol(symbol)}
        if n_candles == 0:
            return parse.candle_page({"list": []}, price, span)
        # The venue's bounds are both inclusive and filter on the open time.
        bounds: dict[str, Value] = {
            "interval": interval.wire,
            "start": span[0],
            "end": span[1] - 1,
            "limit": MAX_CANDLES,
        }
        result = self._caller.get(_KLINE_PATHS[price], {**asked, **bounds}).result
        parse.check_echo(result, **asked)
        return parse.candle_page(result, price, span)

    def get_funding_rate_history(
        self, symbol: str, start_time: Time, end_time: Time, *, category: Category | str = Category.LINEAR
    ) -> Listing[FundingRate]:
        """Return every settlement in [start_time, end_time), oldest first; asks for as many pages as it takes.

        Raises
        ------
        InvalidInput
            For spot, which has no funding, and for bounds or symbols that are none.
        BybitError
            When the venue or the way to it fails, or its pages do not move on.
        """
        category, span = check_category(category), check_span(start_time, end_time)
        if category is Category.SPOT:
            raise InvalidInput("spot has no funding: use linear or inverse")
        asked = {"category": category.value, "symbol": check_symbol(symbol)}
        rows: list[dict[str, Any]] = []
        newest_ms = span[1] - 1
        for _ in range(_MAX_PAGES):
            # startTime alone is an error; with both, the newest rows of the span come first.
            bounds = {"startTime": span[0], "endTime": newest_ms, "limit": MAX_SETTLEMENTS}
            result = self._caller.get("/v5/market/funding/history", {**asked, **bounds}).result
            parse.check_echo(result, category=category.value)
            page = parse.rows_of(result, dict)
            rows.extend(page)
            times = [rate.funding_time for rate in parse.funding_rates(page, symbol, (span[0], newest_ms + 1))]
            # A short page proves nothing, so only an empty one ends the walk, or less room than any interval.
            if not times or to_ms(times[0]) - span[0] < _HOUR_MS:
                break
            newest_ms = to_ms(times[0]) - 1
        else:
            raise MalformedResponse(f"funding history of {symbol} did not end after {_MAX_PAGES} pages; try later")
        return parse.funding_rates(rows, symbol, span)

    def get_instruments(
        self, category: Category | str, symbol: str | None = None, *, status: str | None = None
    ) -> Listing[Instrument]:
        """Return the contracts of ``category``, or one of them, by symbol, from every page there is.

        The venue lists only those that are trading unless ``status`` names another ("PreLaunch", "Closed", ...).
        Rows that cannot be used are in ``.rejected``; when ``symbol`` is given they raise ``MalformedResponse``.
        """
        category = check_category(category)
        params = {"category": category.value, "symbol": optional_symbol(symbol), "status": status}
        # Spot knows neither pages nor a limit.
        limit = None if category is Category.SPOT else 1000
        rows, as_of_ms = self._caller.every_page("/v5/market/instruments-info", {**params, "limit": limit})
        return _usable(parse.instruments(rows, category, utc(as_of_ms)), symbol)

    def get_risk_limits(
        self, category: Category | str, symbol: str | None = None, *, expected: Collection[str] = ()
    ) -> Listing[RiskTier]:
        """Return the margin ladders of ``category``, or of one symbol, from every page there is.

        The venue sends 15 symbols a page: one request per symbol is cheaper for a few. A listing that breaks off is
        an error, and so is one without a symbol of ``expected``.
        """
        category = check_category(category)
        if category is Category.SPOT:
            raise InvalidInput("spot has no risk limits: use linear or inverse")
        params = {"category": category.value, "symbol": optional_symbol(symbol)}
        rows, as_of_ms = self._caller.every_page("/v5/market/risk-limit", params)
        tiers = _usable(parse.risk_tiers(rows, utc(as_of_ms)), symbol)
        missing = set(expected) - {tier.symbol for tier in tiers}
        if missing:
            raise MalformedResponse(
                f"the list of risk limits lacks {len(missing)} symbols expected in it, such as {min(missing)}: "
                "truncated; ask for them one by one"
            )
        return tiers

    def get_tickers(self, category: Category | str, symbol: str | None = None) -> Listing[Ticker]:
        """Return the current market of every symbol of ``category``, or of one."""
        category = check_category(category)
        envelope = self._caller.get(
            "/v5/market/tickers", {"category": category.value, "symbol": optional_symbol(symbol)}
        )
        parse.check_echo(envelope.result, category=category.value)
        rows = parse.rows_of(envelope.result, dict)
        return _usable(parse.tickers(rows, category, utc(self._caller.time_ms_of(envelope))), symbol)

    def get_order_book(self, symbol: str, depth: int = 50, *, category: Category | str = Category.LINEAR) -> OrderBook:
        """Return the book, at most ``depth`` (1 to 1000) levels a side."""
        category = check_category(category)
        if not 1 <= depth <= 1000:
            raise InvalidInput(f"depth is {depth}, expected 1 to 1000")
        params = {"category": category.value, "symbol": check_symbol(symbol), "limit": depth}
        return order_book(self._caller.get("/v5/market/orderbook", params).result, symbol)

    def get_recent_trades(
        self, symbol: str, limit: int | None = None, *, category: Category | str = Category.LINEAR
    ) -> list[PublicTrade]:
        """Return the latest trades of the market, oldest first: at most 1000, for spot 60."""
        category = check_category(category)
        most = 60 if category is Category.SPOT else 1000
        limit = most if limit is None else limit
        if not 1 <= limit <= most:
            raise InvalidInput(f"limit is {limit}, expected 1 to {most} for {category}")
        params = {"category": category.value, "symbol": check_symbol(symbol), "limit": limit}
        result = self._caller.get("/v5/market/recent-trade", params).result
        parse.check_echo(result, category=category.value)
        trades = public_trades(parse.distinct_rows(result))
        strangers = {trade.symbol for trade in trades} - {symbol}
        if strangers:
            raise MalformedResponse(f"asked for {symbol}, the reply is about {min(strangers)}; discarded")
        return trades

    def get_open_interest(
        self, symbol: str, interval: str, start: Time, end: Time, *, category: Category | str = Category.LINEAR
    ) -> list[OpenInterest]:
        """Return the open interest every ``interval`` in [start, end), oldest first, from every page there is.

        Parameters
        ----------
        interval : str
            One of 5min, 15min, 30min, 1h, 4h, 1d.
        """
        category, span = check_category(category), check_span(start, end)
        if category is Category.SPOT:
            raise InvalidInput("spot has no open interest: use linear or inverse")
        if interval not in OPEN_INTEREST_INTERVALS:
            raise InvalidInput(f"interval {interval!r} is not one of {', '.join(OPEN_INTEREST_INTERVALS)}")
        asked = {"category": category.value, "symbol": check_symbol(symbol), "intervalTime": interval}
        bounds = {"startTime": span[0], "endTime": span[1] - 1}
        return list(records(self._caller, OPEN_INTERESTS, {**asked, **bounds}, open_interest))

    def get_insurance(self, coin: str | None = None) -> list[InsurancePool]:
        """Return the pools of the insurance fund, or those of one coin."""
        return insurance_pools(self._caller.get("/v5/market/insurance", {"coin": coin}).result)

    def get_system_status(self) -> list[SystemNotice]:
        """Return the maintenances the venue announces or is in."""
        result = self._caller.get("/v5/system/status", {}).result
        return each(parse.distinct_rows(result), system_notice, "system status")


def _usable(listing: Listing[T], symbol: str | None) -> Listing[T]:
    strangers = {found.symbol for found in listing} - {symbol}
    if strangers and symbol is not None:
        raise MalformedResponse(f"asked for {symbol}, the reply is about {min(strangers)}; discarded")
    reasons = [row.reason for row in listing.rejected]
    reasons += [f"rows of {conflict.key} that differ" for conflict in listing.conflicts]
    if reasons and symbol is not None:
        raise MalformedResponse(f"the venue's record of {symbol} cannot be used: {reasons[0]}; look at the reply")
    for reason in reasons[:5]:
        _log.warning("left out of a listing of %d (%d left out): %s", len(listing), len(reasons), reason)
    return listing
