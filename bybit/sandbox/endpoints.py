"""The market endpoints: parameters in, the venue's result out. No HTTP in here."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from bybit.rules.candles import Category, PriceType, SeriesKey
from bybit.rules.instruments import Instrument
from bybit.rules.margin import RiskTier
from bybit.rules.periods import to_ms
from bybit.sandbox.book import Book
from bybit.sandbox.market import Market, Quote
from bybit.sandbox.path import price_of
from bybit.sandbox.query import Query, Refusal
from bybit.sandbox.wire import MAX_PRICE_TICKS, decimal_text, decode_cursor, encode_cursor, rows_json

Result = bytes | Mapping[str, Any]
Endpoint = Callable[[Query, int], Result]

_DERIVATIVES = (Category.LINEAR, Category.INVERSE)
_SYMBOLS_PER_RISK_PAGE = 15


class MarketEndpoints:
    """Answers ``/v5/market/...`` from a market; every method takes the parameters and the instant, ms UTC."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self.routes: dict[str, Endpoint] = {
            "/v5/market/kline": self._candles(PriceType.LAST, tuple(Category)),
            "/v5/market/mark-price-kline": self._candles(PriceType.MARK, _DERIVATIVES),
            "/v5/market/index-price-kline": self._candles(PriceType.INDEX, _DERIVATIVES),
            "/v5/market/premium-index-price-kline": self._candles(PriceType.PREMIUM, (Category.LINEAR,)),
            "/v5/market/funding/history": self.funding_history,
            "/v5/market/instruments-info": self.instruments,
            "/v5/market/risk-limit": self.risk_limits,
            "/v5/market/tickers": self.tickers,
        }

    def _candles(self, price: PriceType, categories: Sequence[Category]) -> Endpoint:
        def candles(query: Query, now_ms: int) -> Result:
            category = query.category_of(categories, default="linear")
            symbol = self._listed(category, query.required_symbol(), now_ms).symbol
            window = query.window("start", "end", 200, 1000)
            rows = self._market.candles(SeriesKey(category, symbol, price, query.interval()), window, now_ms)
            head = orjson.dumps({"symbol": symbol, "category": category})
            return head[:-1] + b',"list":' + rows_json(rows) + b"}"

        return candles

    def _listed(self, category: Category, symbol: str, now_ms: int) -> Instrument:
        for instrument in self._market.instruments(category, now_ms):
            if instrument.symbol == symbol:
                return instrument
        raise Refusal(10001, "Not supported symbols")

    def funding_history(self, query: Query, now_ms: int) -> Result:
        """Return settlements newest first; ``startTime`` without ``endTime`` is an error."""
        category = query.category_of(_DERIVATIVES)
        symbol = self._listed(category, query.required_symbol(), now_ms).symbol
        window = query.window("startTime", "endTime", 200, 200)
        if window.forward:
            raise Refusal(10001, "Time is invalid")
        rates = self._market.funding(category, symbol, window, now_ms)
        rows = [
            {
                "symbol": rate.symbol,
                "fundingRate": decimal_text(rate.funding_rate),
                "fundingRateTimestamp": str(to_ms(rate.funding_time)),
            }
            for rate in reversed(rates)
        ]
        return {"category": category, "list": rows}

    def instruments(self, query: Query, now_ms: int) -> Result:
        """Return contracts by symbol, a page at a time; in status Trading unless asked otherwise."""
        category = query.category(["spot", "linear", "inverse", "option"])
        limit = query.limit(500, 1000)
        symbol, status, base = query.symbol(), query.text("status"), query.text("baseCoin")
        # Options are not served: none are listed.
        listed = [] if category == "option" else list(self._market.instruments(Category(category), now_ms))
        if symbol is not None:
            listed = [instrument for instrument in listed if instrument.symbol == symbol]
            if not listed:
                raise Refusal(10001, "Not supported symbols")
        if status or symbol is None:
            listed = [instrument for instrument in listed if instrument.status == (status or "Trading")]
        if base:
            listed = [instrument for instrument in listed if instrument.base_coin == base]
        if category == "spot":
            return {"category": category, "list": [_spot_row(instrument) for instrument in listed]}
        page, cursor = _page(query, [instrument.symbol for instrument in listed], limit)
        rows = [_instrument_row(listed[place]) for place in page]
        return {"category": category, "list": rows, "nextPageCursor": cursor}

    def risk_limits(self, query: Query, now_ms: int) -> Result:
        """Return margin ladders, those of 15 symbols a page."""
        category = query.category_of(_DERIVATIVES)
        symbol = query.symbol()
        if symbol is not None:
            symbols, cursor = [self._listed(category, symbol, now_ms).symbol], ""
        else:
            every = [instrument.symbol for instrument in self._market.instruments(category, now_ms)]
            page, cursor = _page(query, every, _SYMBOLS_PER_RISK_PAGE)
            symbols = [every[place] for place in page]
        rows = [_tier_row(tier) for name in symbols for tier in self._market.risk_tiers(category, name, now_ms)]
        return {"category": category, "list": rows, "nextPageCursor": cursor}

    def tickers(self, query: Query, now_ms: int) -> Result:
        """Return the current market of one symbol or of all that have a price."""
        category = query.category(["spot", "linear", "inverse", "option"])
        symbol, base = query.symbol(), query.text("baseCoin")
        if category == "option":
            if symbol is None and not base:
                raise Refusal(10001, "params error: symbol or baseCoin is required")
            return {"category": category, "list": []}
        ours = Category(category)
        if symbol is not None:
            listed: Sequence[Instrument] = [self._listed(ours, symbol, now_ms)]
        else:
            listed = [item for item in self._market.instruments(ours, now_ms) if not base or item.base_coin == base]
        quotes = [(item, self._market.quote(ours, item.symbol, now_ms)) for item in listed]
        make = _spot_ticker if ours is Category.SPOT else _ticker
        return {"category": category, "list": [make(item, quote) for item, quote in quotes if quote is not None]}


def _page(query: Query, names: Sequence[str], limit: int) -> tuple[range, str]:
    # Places of the page in sorted names, and the cursor of the next one ("" on the last).
    start = 0
    if cursor := query.text("cursor"):
        last = decode_cursor(cursor)
        if last is None:
            raise Refusal(10001, "params error: cursor is invalid")
        start = bisect_right(names, last)
    stop = min(start + limit, len(names))
    return range(start, stop), encode_cursor(names[stop - 1]) if stop < len(names) else ""


def _decimals(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _leverage(leverage: Decimal | None) -> str:
    return "" if leverage is None else format(leverage, ".2f")


def _instrument_row(item: Instrument) -> dict[str, Any]:
    return {
        "symbol": item.symbol,
        "contractType": item.contract_type,
        "status": item.status,
        "baseCoin": item.base_coin,
        "quoteCoin": item.quote_coin,
        "settleCoin": item.settle_coin,
        "symbolType": "",
        "launchTime": "0" if item.launch_time is None else str(to_ms(item.launch_time)),
        "deliveryTime": "0" if item.delivery_time is None else str(to_ms(item.delivery_time)),
        "deliveryFeeRate": "",
        "priceScale": str(_decimals(item.tick_size)),
        "leverageFilter": {
            "minLeverage": "1",
            "maxLeverage": _leverage(item.max_leverage),
            "leverageStep": decimal_text(item.leverage_step),
        },
        "priceFilter": {
            "minPrice": decimal_text(item.tick_size),
            "maxPrice": decimal_text(item.tick_size * MAX_PRICE_TICKS),
            "tickSize": decimal_text(item.tick_size),
        },
        "lotSizeFilter": {
            "maxOrderQty": decimal_text(item.max_order_qty),
            "minOrderQty": decimal_text(item.min_order_qty),
            "qtyStep": decimal_text(item.qty_step),
            "postOnlyMaxOrderQty": decimal_text(item.max_order_qty),
            "maxMktOrderQty": decimal_text(item.max_market_order_qty),
            "minNotionalValue": decimal_text(item.min_notional),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 0 if item.funding_interval is None else int(item.funding_interval.total_seconds()) // 60,
        "copyTrading": "none",
        "upperFundingRate": decimal_text(item.upper_funding_rate),
        "lowerFundingRate": decimal_text(item.lower_funding_rate),
        "displayName": "",
        "forbidUplWithdrawal": False,
        "riskParameters": {"priceLimitRatioX": "", "priceLimitRatioY": ""},
        "isPreListing": item.status == "PreLaunch",
        "preListingInfo": None,
    }


def _spot_row(item: Instrument) -> dict[str, Any]:
    return {
        "symbol": item.symbol,
        "baseCoin": item.base_coin,
        "quoteCoin": item.quote_coin,
        "innovation": "0",
        "status": item.status,
        "marginTrading": "none",
        "lotSizeFilter": {
            "basePrecision": decimal_text(item.qty_step),
            "quotePrecision": decimal_text(item.qty_step * item.tick_size),
            "minOrderQty": decimal_text(item.min_order_qty),
            "maxOrderQty": decimal_text(item.max_order_qty),
            "minOrderAmt": decimal_text(item.min_notional),
            "maxOrderAmt": "",
        },
        "priceFilter": {"tickSize": decimal_text(item.tick_size)},
        "riskParameters": {"priceLimitRatioX": "", "priceLimitRatioY": ""},
    }


def _tier_row(tier: RiskTier) -> dict[str, Any]:
    return {
        "id": tier.tier,
        "symbol": tier.symbol,
        "riskLimitValue": decimal_text(tier.max_notional),
        "maintenanceMargin": decimal_text(tier.maintenance_margin_rate),
        "initialMargin": decimal_text(tier.initial_margin_rate),
        "isLowestRisk": int(tier.tier == 1),
        "maxLeverage": _leverage(tier.max_leverage),
        # The venue writes nothing rather than 0 on the lowest tier.
        "mmDeduction": "" if tier.tier == 1 else decimal_text(tier.mm_deduction),
    }


def _change(now: float, before: float | None) -> str:
    return "" if not before else format(now / before - 1, ".6f")


def _spot_ticker(item: Instrument, quote: Quote) -> dict[str, Any]:
    return {
        "symbol": item.symbol,
        **_best_prices(item, quote),
        "lastPrice": decimal_text(quote.last_price),
        "prevPrice24h": decimal_text(quote.price_24h_ago),
        "price24hPcnt": _change(quote.last_price, quote.price_24h_ago),
        "highPrice24h": decimal_text(quote.high_24h),
        "lowPrice24h": decimal_text(quote.low_24h),
        "turnover24h": decimal_text(quote.turnover_24h),
        "volume24h": decimal_text(quote.volume_24h),
        "usdIndexPrice": decimal_text(quote.index_price),
    }


def _best_prices(item: Instrument, quote: Quote) -> dict[str, str]:
    book = Book(item, price_of(quote.last_price))
    (bid, bid_size), (ask, ask_size) = book.level("Buy", 0), book.level("Sell", 0)
    return {
        "bid1Price": decimal_text(bid),
        "bid1Size": decimal_text(bid_size),
        "ask1Price": decimal_text(ask),
        "ask1Size": decimal_text(ask_size),
    }


def _ticker(item: Instrument, quote: Quote) -> dict[str, Any]:
    hours = quote.funding_interval_hours
    return {
        "symbol": item.symbol,
        "lastPrice": decimal_text(quote.last_price),
        "indexPrice": decimal_text(quote.index_price),
        "markPrice": decimal_text(quote.mark_price),
        "prevPrice24h": decimal_text(quote.price_24h_ago),
        "price24hPcnt": _change(quote.last_price, quote.price_24h_ago),
        "highPrice24h": decimal_text(quote.high_24h),
        "lowPrice24h": decimal_text(quote.low_24h),
        "prevPrice1h": decimal_text(quote.price_1h_ago),
        "openInterest": "",
        "openInterestValue": "",
        "turnover24h": decimal_text(quote.turnover_24h),
        "volume24h": decimal_text(quote.volume_24h),
        "fundingRate": quote.funding_rate or "",
        "nextFundingTime": "" if quote.next_funding is None else str(to_ms(quote.next_funding)),
        "fundingIntervalHour": "" if hours is None else str(hours),
        "fundingCap": decimal_text(item.upper_funding_rate),
        "predictedDeliveryPrice": "",
        "basisRate": "",
        "basis": "",
        "deliveryFeeRate": "",
        "deliveryTime": "0",
        **_best_prices(item, quote),
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
    }
