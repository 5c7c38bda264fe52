"""From a ``result`` of the venue to our types. Never does I/O, so recorded payloads test it."""

import dataclasses
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from bybit.client.errors import MalformedResponse
from bybit.client.fields import (
    MAX_NUMBER_CHARS,
    BadRow,
    Gathering,
    number,
    optional,
    optional_time,
    part,
    symbol,
    text,
    time_ms,
)
from bybit.client.replies import CandleColumns, CandlePage, Conflict, Listing, RejectedRow, Ticker
from bybit.rules.candles import Category, PriceType
from bybit.rules.funding import FundingRate
from bybit.rules.instruments import Instrument
from bybit.rules.margin import RiskTier
from bybit.rules.periods import Span, utc

__all__ = [
    "CandleColumns",
    "CandlePage",
    "Conflict",
    "Listing",
    "RejectedRow",
    "Ticker",
    "candle_page",
    "check_echo",
    "cursor_of",
    "distinct_rows",
    "funding_rates",
    "instruments",
    "risk_tiers",
    "rows_of",
    "tickers",
    "venue_time_ms",
]

# A page of ordinary rows checked in one look, before the careful way row by row.
_PLAIN_PAGE = re.compile(r"(?:(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?,)*")
_PLAIN_SIGNED_PAGE = re.compile(r"(?:-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?,)*")
_CANDLE_FIELDS = ("open", "high", "low", "close", "volume", "turnover")
_PRICE_FIELDS = _CANDLE_FIELDS[:4]


def rows_of(result: dict[str, Any], expected: type) -> list[Any]:
    """Return ``result["list"]`` when it is a list of ``expected`` (list or dict) items.

    Raises
    ------
    MalformedResponse
        When it is missing, null, or holds anything else.
    """
    rows = result.get("list")
    if not isinstance(rows, list):
        raise MalformedResponse(f"the reply's list is {type(rows).__name__}, expected a list; not a v5 listing")
    for row in rows:
        if not isinstance(row, expected):
            raise MalformedResponse(
                f"the reply's list holds a {type(row).__name__}, expected only {expected.__name__}; not a v5 listing"
            )
    return rows


def distinct_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the objects in ``result["list"]``, each once: the same row twice says nothing new."""
    return list({orjson.dumps(row): row for row in rows_of(result, dict)}.values())


def check_echo(result: dict[str, Any], **asked: str) -> None:
    """Refuse a reply that names another symbol or category than the one ``asked`` for."""
    for name, value in asked.items():
        found = result.get(name, value)
        if found not in (value, ""):
            raise MalformedResponse(f"asked for {name} {value}, the reply is about {str(found)[:40]!r}; discarded")


def venue_time_ms(result: dict[str, Any]) -> int:
    """Return ms since 1970 of a ``/v5/market/time`` result."""
    nano = result.get("timeNano")
    if not isinstance(nano, str) or not re.fullmatch("[0-9]{19}", nano):
        raise MalformedResponse(f"timeNano is {str(nano)[:40]!r}, expected 19 digits; not a v5 clock")
    return int(nano) // 1_000_000


def cursor_of(result: dict[str, Any]) -> str:
    """Return the cursor of the next page, "" when there is none."""
    cursor = result.get("nextPageCursor")
    if cursor is None:
        return ""
    if not isinstance(cursor, str) or len(cursor) > 2000:
        raise MalformedResponse(f"nextPageCursor is {str(cursor)[:80]!r}, expected a short text")
    return cursor


def candle_page(result: dict[str, Any], price: PriceType, span: Span) -> CandlePage:
    """Return the candles of a kline result that open inside ``span`` (half-open, ms UTC), oldest first.

    The order of the rows does not matter. A row is rejected for a number that is not one, a negative one, or a
    price of zero (premium prices are signed and may be zero); a high below the low is kept for the quality checks.
    """
    rows = rows_of(result, list)
    n_fields = 7 if price is PriceType.LAST else 5
    plain = _plain_columns(rows, n_fields, price, span)
    page = _careful_page(rows, n_fields, price, span) if plain is None else CandlePage(plain)
    return dataclasses.replace(page, raw=result)


def _plain_columns(rows: list[list[Any]], n_fields: int, price: PriceType, span: Span) -> CandleColumns | None:
    # Nearly every page is faultless, and checked as a whole takes a fraction of the time. None sends the page
    # to the careful way, which finds out what is wrong.
    signed = price is PriceType.PREMIUM
    if any(len(row) != n_fields for row in rows):
        return None
    flat = list(chain.from_iterable(rows))
    try:
        text_of_page = ",".join(flat)
    except TypeError:
        return None
    if flat and not (_PLAIN_SIGNED_PAGE if signed else _PLAIN_PAGE).fullmatch(text_of_page + ","):
        return None
    # What the pattern lets through is JSON too, whose parser makes the same floats as float() in a third of the time.
    numbers = orjson.loads(f"[{text_of_page}]")
    if len(numbers) != len(flat):
        return None
    table = np.array(numbers, dtype=np.float64).reshape(len(rows), n_fields)[::-1]
    times = table[:, 0].astype(np.int64)
    inside = len(times) == 0 or (times[0] >= span[0] and times[-1] < span[1])
    ordered = not np.any(np.diff(times) <= 0) and np.array_equal(times, table[:, 0])
    priced = signed or not np.any(table[:, 1:5] == 0)
    return _columns(times, table[:, 1:]) if inside and ordered and priced else None


def _columns(times: NDArray[np.int64], values: NDArray[np.float64]) -> CandleColumns:
    columns = [np.ascontiguousarray(values[:, i]) for i in range(values.shape[1])]
    columns += [np.full(len(times), np.nan) for _ in range(len(_CANDLE_FIELDS) - len(columns))]
    return CandleColumns(times, *columns)


def _careful_page(rows: list[list[Any]], n_fields: int, price: PriceType, span: Span) -> CandlePage:
    rejected: list[RejectedRow] = []
    n_outside = n_duplicate = 0
    found: dict[int, dict[tuple[float, ...], tuple[str, ...]]] = {}
    for row in rows:
        raw = tuple(str(field)[: 2 * MAX_NUMBER_CHARS] for field in row[:10])
        try:
            open_ms, values = _candle(row, n_fields, price)
        except BadRow as error:
            rejected.append(RejectedRow(raw, str(error)))
            continue
        versions = found.setdefault(open_ms, {}) if span[0] <= open_ms < span[1] else None
        if versions is None:
            n_outside += 1
        elif values in versions:
            n_duplicate += 1
        else:
            versions[values] = raw
    agreed = [(open_ms, *next(iter(found[open_ms]))) for open_ms in sorted(found) if len(found[open_ms]) == 1]
    conflicts = tuple(
        Conflict(open_ms, tuple(versions.values())) for open_ms, versions in sorted(found.items()) if len(versions) > 1
    )
    # Times of 13 digits are exact in a float64.
    table = np.array(agreed, dtype=np.float64).reshape(len(agreed), n_fields)
    columns = _columns(table[:, 0].astype(np.int64), table[:, 1:])
    return CandlePage(columns, n_outside, n_duplicate, conflicts, tuple(rejected))


def _candle(row: list[Any], n_fields: int, price: PriceType) -> tuple[int, tuple[float, ...]]:
    if len(row) < n_fields:
        raise BadRow(f"{len(row)} fields, expected {n_fields}")
    values = []
    for name, field in zip(_CANDLE_FIELDS, row[1:n_fields], strict=False):
        # A premium is a difference of prices over a price: zero and negative are ordinary.
        value = float(number(field, name, signed=price is PriceType.PREMIUM))
        if value == 0 and name in _PRICE_FIELDS and price is not PriceType.PREMIUM:
            raise BadRow(f"{name}: a price of zero")
        values.append(value)
    return time_ms(row[0], "start"), tuple(values)


def funding_rates(rows: Iterable[dict[str, Any]], of_symbol: str, span: Span) -> Listing[FundingRate]:
    """Return the settlements inside ``span`` (half-open, ms UTC) of funding history rows, oldest first.

    The order of the rows does not matter. Rates stay exact; several rows of one time must agree.
    """
    found = Gathering[FundingRate]()
    for row in rows:
        with found.row(row):
            if row.get("symbol") != of_symbol:
                raise BadRow(f"symbol: {str(row.get('symbol'))[:MAX_NUMBER_CHARS]!r}, asked for {of_symbol}")
            settled_ms = time_ms(row.get("fundingRateTimestamp"), "fundingRateTimestamp")
            rate = number(row.get("fundingRate"), "fundingRate", signed=True)
            if abs(rate) >= 1:
                raise BadRow(f"fundingRate: {rate} is no fraction of a notional")
            if span[0] <= settled_ms < span[1]:
                found.add(settled_ms, FundingRate(of_symbol, utc(settled_ms), rate), row)
            else:
                found.n_outside += 1
    return found.listing()


def instruments(rows: Iterable[dict[str, Any]], category: Category, as_of: datetime) -> Listing[Instrument]:
    """Return the contracts of instruments-info rows, by symbol; a symbol's rows must agree."""
    found = Gathering[Instrument]()
    for row in rows:
        with found.row(row):
            instrument = _instrument(row, category, as_of)
            found.add(instrument.symbol, instrument, row)
    return found.listing()


def _instrument(row: dict[str, Any], category: Category, as_of: datetime) -> Instrument:
    lot, prices, leverage = (part(row, name) for name in ("lotSizeFilter", "priceFilter", "leverageFilter"))
    spot = category is Category.SPOT
    step_field = "basePrecision" if spot else "qtyStep"
    tick_size, qty_step = number(prices.get("tickSize"), "tickSize"), number(lot.get(step_field), step_field)
    if tick_size == 0 or qty_step == 0:
        raise BadRow(f"tickSize {tick_size} or {step_field} {qty_step} is zero")
    # Futures with a delivery date pay no funding: the venue sends 0 minutes.
    minutes = optional(row, "fundingInterval")
    return Instrument(
        category=category,
        symbol=symbol(row),
        contract_type="Spot" if spot else text(row, "contractType"),
        base_coin=text(row, "baseCoin"),
        quote_coin=text(row, "quoteCoin"),
        settle_coin=text(row, "quoteCoin" if spot else "settleCoin"),
        status=text(row, "status"),
        tick_size=tick_size,
        qty_step=qty_step,
        min_order_qty=number(lot.get("minOrderQty"), "minOrderQty"),
        max_order_qty=optional(lot, "maxOrderQty"),
        max_market_order_qty=optional(lot, "maxMarketOrderQty" if spot else "maxMktOrderQty"),
        min_notional=optional(lot, "minOrderAmt" if spot else "minNotionalValue"),
        max_leverage=optional(leverage, "maxLeverage"),
        leverage_step=optional(leverage, "leverageStep"),
        funding_interval=timedelta(minutes=int(minutes)) if minutes else None,
        upper_funding_rate=optional(row, "upperFundingRate", signed=True),
        lower_funding_rate=optional(row, "lowerFundingRate", signed=True),
        launch_time=optional_time(row, "launchTime"),
        delivery_time=optional_time(row, "deliveryTime"),
        as_of=as_of,
    )


def risk_tiers(rows: Iterable[dict[str, Any]], as_of: datetime) -> Listing[RiskTier]:
    """Return the margin ladders of risk-limit rows, by symbol and upwards; tiers are numbered from 1.

    A ladder with a step that cannot be used is left out as a whole: half a ladder would pass for one.
    """
    found = Gathering[RiskTier]()
    for row in rows:
        with found.row(row):
            tier, max_notional = _risk_tier(row, as_of)
            found.add((tier.symbol, max_notional), tier, row)
    steps = found.listing()
    broken = {row.raw[0] for row in steps.rejected} | {conflict.rows[0][0] for conflict in steps.conflicts}
    ladders: list[RiskTier] = []
    for tier in steps:
        if tier.symbol not in broken:
            n_below = ladders[-1].tier if ladders and ladders[-1].symbol == tier.symbol else 0
            ladders.append(dataclasses.replace(tier, tier=n_below + 1))
    return Listing(
        ladders, rejected=steps.rejected, conflicts=steps.conflicts, n_duplicate=steps.n_duplicate, raw=steps.raw
    )


def _risk_tier(row: dict[str, Any], as_of: datetime) -> tuple[RiskTier, Decimal]:
    initial, maintenance, max_leverage, max_notional = (
        number(row.get(name), name) for name in ("initialMargin", "maintenanceMargin", "maxLeverage", "riskLimitValue")
    )
    # Leverage and initial margin say the same twice, up to rounding; per cent for fractions shows here.
    if not 0 < maintenance < initial <= 1 or abs(initial * max_leverage - 1) > Decimal("0.1"):
        raise BadRow(f"margin rates {initial} and {maintenance} do not belong to a leverage of {max_leverage}")
    # "" means zero; the field is missing only in replies older than it, where it means nothing.
    deduction = row.get("mmDeduction")
    mm_deduction = Decimal(0) if deduction == "" else number(deduction, "mmDeduction")
    # The venue's ids count over all symbols: the number in the ladder is given when it is complete.
    tier = RiskTier(symbol(row), 0, max_notional, initial, maintenance, mm_deduction, max_leverage, as_of)
    return tier, max_notional


def tickers(rows: Iterable[dict[str, Any]], category: Category, time: datetime) -> Listing[Ticker]:
    """Return the tickers of a tickers result as of ``time``, by symbol."""
    found = Gathering[Ticker]()
    for row in rows:
        with found.row(row):
            ticker = _ticker(row, category, time)
            found.add(ticker.symbol, ticker, row)
    return found.listing()


def _ticker(row: dict[str, Any], category: Category, time: datetime) -> Ticker:
    hours = optional(row, "fundingIntervalHour")
    return Ticker(
        category=category,
        symbol=symbol(row),
        time=time,
        last_price=number(row.get("lastPrice"), "lastPrice"),
        mark_price=optional(row, "markPrice"),
        index_price=optional(row, "indexPrice"),
        bid_price=optional(row, "bid1Price"),
        bid_qty=optional(row, "bid1Size"),
        ask_price=optional(row, "ask1Price"),
        ask_qty=optional(row, "ask1Size"),
        volume_24h=optional(row, "volume24h"),
        turnover_24h=optional(row, "turnover24h"),
        open_interest=optional(row, "openInterest"),
        funding_rate=optional(row, "fundingRate", signed=True),
        next_funding_time=optional_time(row, "nextFundingTime"),
        funding_interval=timedelta(hours=int(hours)) if hours else None,
        raw=row,
    )
