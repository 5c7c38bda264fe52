"""The contract's rules before an order leaves: tick, step, bounds, least value, leverage; in the venue's words."""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from bybit.client.clock import Clock
from bybit.client.errors import InvalidOrder
from bybit.client.positions import Position
from bybit.client.replies import Ticker
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.instruments import Instrument, OrderProblem, check_leverage, check_order
from bybit.rules.margin import RiskTier
from bybit.rules.positions import notional

T = TypeVar("T")

# Largest quantities are set anew twice a month, ladders when the venue likes; prices move.
_RULES_LAST_S = 600.0
_PRICE_LASTS_S = 5.0
_ZERO = Decimal(0)

_WORDS = {
    110013: "cannot set leverage due to risk limit level",
    110090: "order placement failed as your position may exceed the max limit",
    110094: "Order does not meet minimum order value",
    170124: "Order quantity too large.",
    170134: "Order price has too many decimals.",
    170136: "Order quantity exceeded lower limit.",
    170137: "Order volume decimal too long.",
    170140: "Order value exceeded lower limit.",
}
# 10001 is the one code of many derivatives refusals: its text depends on what is wrong.
_PARAMETER_WORDS = (
    (re.compile("^price "), "params error: Price invalid"),
    (re.compile("is not a positive multiple of step"), "Qty invalid"),
    (re.compile("below the least"), "The number of contracts exceeds minimum limit allowed"),
    (re.compile("above the largest"), "The number of contracts exceeds maximum limit allowed: too large"),
)


class RuleSource(Protocol):
    """Where the rules come from; ``BybitClient`` is one."""

    def get_instruments(self, category: Category | str, symbol: str | None = None) -> Sequence[Instrument]:
        """Return the contracts."""

    def get_risk_limits(self, category: Category | str, symbol: str | None = None) -> Sequence[RiskTier]:
        """Return the margin ladders."""

    def get_tickers(self, category: Category | str, symbol: str | None = None) -> Sequence[Ticker]:
        """Return the current market."""

    def get_positions(
        self, category: Category | str = Category.LINEAR, symbol: str | None = None
    ) -> Sequence[Position]:
        """Return the positions held."""


class OrderRules:
    """Checks orders against the venue's rules, which it asks for and remembers. Thread-safe."""

    def __init__(self, source: RuleSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str, str], tuple[float, Any]] = {}
        self._leverage: dict[tuple[Category, str], Decimal] = {}

    def check(self, params: Mapping[str, Any]) -> None:
        """Refuse an order the venue would refuse.

        Parameters
        ----------
        params : mapping
            An order as it goes on the wire.

        Raises
        ------
        InvalidOrder
            With the venue's code and text.
        """
        category, symbol = Category(params["category"]), params["symbol"]
        is_market = params["orderType"] == "Market"
        if not is_market and "price" not in params:
            raise InvalidInput("price missing: a limit order needs one")
        instrument = self.instrument(category, symbol)
        reduces = bool(params.get("reduceOnly"))
        qty = Decimal(params["qty"])
        if qty == 0 and reduces and params.get("closeOnTrigger"):
            # The venue's way to say: all of it.
            return
        if (
            category is Category.SPOT
            and is_market
            and params["side"] == "Buy"
            and params.get("marketUnit") != "baseCoin"
        ):
            self._check_spend(instrument, qty)
            return
        price = Decimal(params["price"]) if not is_market else self._price_of(category, symbol, params)
        problems = check_order(instrument, qty, price, is_market=is_market, reduce_only=reduces)
        if problems:
            raise _refusal(instrument, problems)
        if category is not Category.SPOT and not reduces:
            self._check_size(category, symbol, qty if params["side"] == "Buy" else -qty, price)

    def note_leverage(self, category: Category, symbol: str, leverage: Decimal) -> None:
        """Remember the leverage of a symbol, as it was set or listed."""
        with self._lock:
            self._leverage[category, symbol] = leverage

    def check_leverage(self, category: Category, symbol: str, leverage: Decimal, held: Decimal) -> None:
        """Refuse a leverage no tier allows, or not the one of a position of notional ``held`` (settle coin)."""
        problem = check_leverage(self._tiers(category, symbol), held, leverage)
        if problem is not None:
            raise _refusal(self.instrument(category, symbol), (problem,))
        instrument = self.instrument(category, symbol)
        if instrument.leverage_step and leverage % instrument.leverage_step:
            reason = f"leverage {leverage} is not a multiple of step {instrument.leverage_step}"
            raise _refusal(instrument, (OrderProblem(10001, reason),))

    def instrument(self, category: Category, symbol: str) -> Instrument:
        """Return the contract's rules, at most some minutes old."""

        def ask() -> Instrument:
            found = self._source.get_instruments(category, symbol)
            if not found:
                raise InvalidInput(f"{category} has no symbol {symbol} that is trading: see get_instruments")
            return found[0]

        return self._remembered(("instrument", category, symbol), _RULES_LAST_S, ask)

    def _check_spend(self, instrument: Instrument, spend: Decimal) -> None:
        # A spot market buy counts its quantity in quote coin: the step is another one.
        least = instrument.min_notional
        if not spend > 0 or (least is not None and spend < least):
            problem = OrderProblem(170140, f"{spend} {instrument.quote_coin} is below the least {least}")
            raise _refusal(instrument, (problem,))

    def _check_size(self, category: Category, symbol: str, size: Decimal, price: Decimal) -> None:
        # Only when the leverage is known and the order alone is too large for it is the position worth a question.
        leverage = self._leverage.get((category, symbol))
        if leverage is None:
            return
        tiers = self._tiers(category, symbol)
        if check_leverage(tiers, notional(category, size, price), leverage) is None:
            return
        held = sum((position.size for position in self._source.get_positions(category, symbol)), _ZERO)
        after = held + size
        problem = check_leverage(tiers, notional(category, after, price), leverage) if after else None
        if problem is not None:
            raise _refusal(self.instrument(category, symbol), (problem,))

    def _tiers(self, category: Category, symbol: str) -> Sequence[RiskTier]:
        return self._remembered(
            ("tiers", category, symbol), _RULES_LAST_S, lambda: self._source.get_risk_limits(category, symbol)
        )

    def _price_of(self, category: Category, symbol: str, params: Mapping[str, Any]) -> Decimal:
        if "triggerPrice" in params:
            # A conditional market order is worth its trigger price.
            return Decimal(params["triggerPrice"])

        def ask() -> Decimal:
            tickers = self._source.get_tickers(category, symbol)
            if not tickers:
                raise InvalidInput(f"{category} {symbol} has no market price now: its value cannot be checked")
            return tickers[0].mark_price or tickers[0].last_price

        return self._remembered(("price", category, symbol), _PRICE_LASTS_S, ask)

    def _remembered(self, key: tuple[str, str, str], lasts_s: float, ask: Callable[[], T]) -> T:
        now_s = self._clock.monotonic()
        with self._lock:
            known = self._known.get(key)
        if known is not None and now_s - known[0] < lasts_s:
            value: T = known[1]
            return value
        value = ask()
        with self._lock:
            self._known[key] = (now_s, value)
        return value


def _refusal(instrument: Instrument, problems: tuple[OrderProblem, ...]) -> InvalidOrder:
    first = problems[0]
    said = _WORDS.get(first.ret_code, "params error")
    if first.ret_code == 10001:
        said = next((words for pattern, words in _PARAMETER_WORDS if pattern.search(first.reason)), said)
    if first.ret_code == 110094:
        said = f"{said} {instrument.min_notional}{instrument.quote_coin}"
    reasons = "; ".join(problem.reason for problem in problems)
    return InvalidOrder(
        f"{instrument.symbol}: retCode {first.ret_code} ({said}), found here before sending: {reasons}",
        first.ret_code,
        said,
    )
