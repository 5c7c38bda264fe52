"""What callers give: checked before anything is sent, and put into the venue's spelling."""

import math
import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from bybit.rules.candles import Category, Interval, PriceType, check_symbol
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Span, to_ms, utc

Time = datetime | int
"""A bound: an aware datetime or ms since 1970."""

_KLINE_CATEGORIES = {
    PriceType.LAST: tuple(Category),
    PriceType.MARK: (Category.LINEAR, Category.INVERSE),
    PriceType.INDEX: (Category.LINEAR, Category.INVERSE),
    PriceType.PREMIUM: (Category.LINEAR,),
}
_LINK_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")
_PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
# The venue takes these as texts; what else is a number stays one (positionIdx, triggerDirection).
_AMOUNTS = frozenset(
    {
        "qty",
        "price",
        "triggerPrice",
        "takeProfit",
        "stopLoss",
        "trailingStop",
        "activePrice",
        "tpSize",
        "slSize",
        "tpLimitPrice",
        "slLimitPrice",
        "buyLeverage",
        "sellLeverage",
        "slippageTolerance",
    }
)
_MAX_FIELDS = 60


def check_category(category: Category | str) -> Category:
    """Return the category, or raise ``InvalidInput`` with those there are."""
    try:
        return Category(category)
    except ValueError:
        raise InvalidInput(f"category {category!r} is not one of {', '.join(Category)}") from None


def check_price_type(price: PriceType | str, category: Category) -> PriceType:
    """Return the price type when ``category`` has candles of it."""
    try:
        price = PriceType(price)
    except ValueError:
        raise InvalidInput(f"price type {price!r} is not one of {', '.join(PriceType)}") from None
    if category not in _KLINE_CATEGORIES[price]:
        allowed = ", ".join(_KLINE_CATEGORIES[price])
        raise InvalidInput(f"{category} has no {price} candles: the venue serves them for {allowed}")
    return price


def check_span(start: Time, end: Time) -> Span:
    """Return [start, end) in ms UTC; an empty one is refused."""
    span = to_ms(start), to_ms(end)
    if span[0] >= span[1]:
        raise InvalidInput(f"the span ends at {span[1]}, not after its start {span[0]} (ms UTC): [start, end) is empty")
    return span


def check_candle_count(interval: Interval, span: Span, most: int) -> int:
    """Return how many candles of ``interval`` open in ``span``; more than ``most`` are refused."""
    if interval is Interval.MONTH_1:
        n_candles = len(interval.open_times(*span))
    else:
        # Opens on the grid before each bound: no array for a span of years.
        first, last = (interval.floor_ms(bound - 1) for bound in span)
        n_candles = (last - first) // interval.ms
    if n_candles > most:
        raise InvalidInput(
            f"{utc(span[0]).isoformat()} to {utc(span[1]).isoformat()} holds {n_candles} candles of "
            f"{interval.value}, one page at most {most}: ask for a shorter span"
        )
    return n_candles


def optional_symbol(symbol: str | None) -> str | None:
    """Return the symbol, checked when there is one."""
    return None if symbol is None else check_symbol(symbol)


def new_link_id() -> str:
    """Return an ``orderLinkId`` nobody used before: 32 hex digits of chance."""
    return uuid.uuid4().hex


def order_params(given: Mapping[str, Any], *required: str) -> dict[str, Any]:
    """Return an order's parameters as they go on the wire: amounts as plain decimal texts, None left out.

    Raises
    ------
    InvalidInput
        When one of ``required`` is missing, an amount is no number, or category, symbol, side, type or
        ``orderLinkId`` are none the venue takes.
    """
    if len(given) > _MAX_FIELDS:
        raise InvalidInput(f"{len(given)} parameters, expected at most {_MAX_FIELDS}")
    params: dict[str, Any] = {name: amount(name, value) if name in _AMOUNTS else value for name, value in given.items()}
    params = {name: value for name, value in params.items() if value is not None}
    missing = [name for name in required if params.get(name) in (None, "")]
    if missing:
        raise InvalidInput(f"{', '.join(missing)} missing: give them by the venue's names, e.g. qty='0.001'")
    if "category" in params:
        params["category"] = check_category(params["category"]).value
    if "symbol" in params:
        check_symbol(str(params["symbol"]))
    for name, allowed in (("side", ("Buy", "Sell")), ("orderType", ("Market", "Limit"))):
        if name in params and params[name] not in allowed:
            raise InvalidInput(f"{name} {str(params[name])[:40]!r} is not one of {', '.join(allowed)}")
    if "orderLinkId" in params:
        check_link_id(params["orderLinkId"])
    return params


def check_link_id(text: Any) -> str:
    """Return an ``orderLinkId`` that the venue takes: up to 36 letters, digits, - and _."""
    if not isinstance(text, str) or not _LINK_ID.fullmatch(text):
        raise InvalidInput(f"orderLinkId {str(text)[:50]!r} is not one: at most 36 letters, digits, - and _")
    return text


def amount(name: str, value: Any) -> str | None:
    """Return a number as the plain decimal text the venue wants; None and "" pass."""
    if value is None or value == "":
        return value  # type: ignore[no-any-return]
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise InvalidInput(f"{name} is a {type(value).__name__}, expected a text, a Decimal or a number")
    if isinstance(value, str):
        text = value
    elif isinstance(value, float) and not math.isfinite(value):
        text = str(value)
    else:
        # repr is the shortest text of a float: 0.001 stays 0.001.
        found = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        text = f"{found:f}" if found.is_finite() else str(found)
    if not _PLAIN.fullmatch(text) or len(text) > 40:
        raise InvalidInput(f"{name} {text[:50]!r} is not a plain decimal number such as 0.001")
    return text
