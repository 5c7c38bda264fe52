"""Two markets side by side: how far apart, how deep, and whether the difference pays after fees.

Prices are quote coin per base coin, quantities base coin, all ``Decimal``: whether a level lies inside a band, or an
edge survives its fees, is decided to the last digit. A figure that a book cannot give is None, never 0. The two books
must be quoted in the same coin. What a transfer between venues costs, how long it takes, and the smallest order are
outside.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from bybit.rules.errors import InvalidInput

Level = tuple[Decimal, Decimal]
"""Price and quantity; of a book or of a trade."""

_BPS = Decimal(10_000)
_PERCENT = Decimal(100)


@dataclass(frozen=True, slots=True)
class Book:
    """One market at one instant, best first: bids from the highest down, asks from the lowest up; a side may be empty.

    Raises
    ------
    InvalidInput
        For a price or quantity that is not above 0, levels out of order, or a bid at or above an ask.
    """

    bids: Sequence[Level]
    asks: Sequence[Level]

    def __post_init__(self) -> None:
        """Refuse what is no book: every figure below relies on its order."""
        for side, levels, sign in (("bids", self.bids, -1), ("asks", self.asks, 1)):
            _check_levels(side, levels)
            prices = [sign * price for price, _ in levels]
            if any(price >= further for price, further in pairwise(prices)):
                raise InvalidInput(f"{side} are not in order: expected the best price first and each price once")
        if self.bids and self.asks and self.bids[0][0] >= self.asks[0][0]:
            raise InvalidInput(f"the best bid {self.bids[0][0]} is not below the best ask {self.asks[0][0]}")

    @property
    def mid(self) -> Decimal | None:
        """Halfway between best bid and ask; None when a side is empty, as for all that follow from it."""
        return (self.bids[0][0] + self.asks[0][0]) / 2 if self.bids and self.asks else None

    @property
    def spread(self) -> Decimal | None:
        """Best ask less best bid, quote coin, > 0."""
        return self.asks[0][0] - self.bids[0][0] if self.bids and self.asks else None

    @property
    def spread_bps(self) -> Decimal | None:
        """Spread in hundredths of a per cent of the mid."""
        spread, mid = self.spread, self.mid
        return None if spread is None or mid is None else spread / mid * _BPS

    def depth(self, band: Decimal) -> "Depth | None":
        """Return what lies within ``band`` (a fraction of the mid, its edges included) of the mid."""
        mid = self.mid
        if mid is None:
            return None
        lowest, highest = mid * (1 - band), mid * (1 + band)
        return Depth(
            bid=sum((price * qty for price, qty in self.bids if price >= lowest), Decimal(0)),
            ask=sum((price * qty for price, qty in self.asks if price <= highest), Decimal(0)),
        )

    def liquidity_score(self, band: Decimal) -> Decimal | None:
        """Return depth within ``band`` over 1 + spread in bps (ours to choose: deep and tight is more), quote coin."""
        depth, spread_bps = self.depth(band), self.spread_bps
        return None if depth is None or spread_bps is None else depth.total / (1 + spread_bps)


@dataclass(frozen=True, slots=True)
class Depth:
    """What lies on each side of a book within a band, quote coin."""

    bid: Decimal
    ask: Decimal

    @property
    def total(self) -> Decimal:
        """Both sides."""
        return self.bid + self.ask

    @property
    def imbalance(self) -> Decimal | None:
        """(bid - ask) / (bid + ask), from -1 (only sellers) to 1 (only buyers); None when both are empty."""
        return (self.bid - self.ask) / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class Arbitrage:
    """Buying from one book's asks and selling into another's bids at once, taker on both."""

    net_per_unit: Decimal
    """At the best prices after both fees, quote coin per base coin."""
    net_bps: Decimal
    """The same in hundredths of a per cent of what buying costs with its fee."""
    qty: Decimal
    """Base coin that both books trade while each further unit still earns; 0 when there is no opportunity."""
    net_profit: Decimal
    """Of ``qty``, quote coin."""
    gross_profit: Decimal
    """Of ``qty`` before fees, quote coin."""

    @property
    def is_opportunity(self) -> bool:
        """Whether the first unit earns more than its fees."""
        return self.net_per_unit > 0


def price_difference(a: Book, b: Book) -> Decimal | None:
    """Return the mid of ``a`` less the mid of ``b``, quote coin."""
    return difference(a.mid, b.mid)


def deviation_pct(a: Book, b: Book) -> Decimal | None:
    """Return how far the mid of ``a`` lies from the mid of ``b``, per cent of ``b`` (ours to choose: the reference)."""
    return difference_pct(a.mid, b.mid)


def depth_ratio(a: Book, b: Book, band: Decimal) -> Decimal | None:
    """Return how many times as deep as ``b`` the book ``a`` is within ``band`` of its own mid."""
    of_a, of_b = a.depth(band), b.depth(band)
    return None if of_a is None or of_b is None or not of_b.total else of_a.total / of_b.total


def fill_price(levels: Sequence[Level], qty: Decimal) -> Decimal | None:
    """Return the average price of taking ``qty`` (base coin, > 0) from one side; None when it holds less."""
    if not (qty.is_finite() and qty > 0):
        raise InvalidInput(f"quantity is {qty}, expected more than 0")
    left, paid = qty, Decimal(0)
    for price, available in levels:
        taken = min(left, available)
        paid += price * taken
        left -= taken
        if not left:
            return paid / qty
    return None


def vwap(trades: Iterable[Level]) -> Decimal | None:
    """Return the volume-weighted average price of (price, quantity) of a window's trades; None when there are none."""
    rows = list(trades)
    _check_levels("trades", rows)
    volume = sum((qty for _, qty in rows), Decimal(0))
    return sum((price * qty for price, qty in rows), Decimal(0)) / volume if volume else None


def difference(a: Decimal | None, b: Decimal | None) -> Decimal | None:
    """Return a - b; None when either is."""
    return None if a is None or b is None else a - b


def difference_pct(a: Decimal | None, b: Decimal | None) -> Decimal | None:
    """Return (a - b) / b in per cent; None when either is."""
    return None if a is None or b is None else (a - b) / b * _PERCENT


def arbitrage(buy: Book, sell: Book, *, buy_fee_rate: Decimal, sell_fee_rate: Decimal) -> Arbitrage | None:
    """Return what buying from ``buy`` and selling to ``sell`` brings; None when either side is empty.

    Both books are walked level by level for as long as the next unit earns more than its taker fees (fractions of
    the notional; a rebate is negative).
    """
    if not buy.asks or not sell.bids:
        return None

    def cost(ask: Decimal) -> Decimal:
        return ask * (1 + buy_fee_rate)

    def net(ask: Decimal, bid: Decimal) -> Decimal:
        return bid * (1 - sell_fee_rate) - cost(ask)

    qty = net_profit = gross_profit = Decimal(0)
    asks, bids = iter(buy.asks), iter(sell.bids)
    (ask, on_ask), (bid, on_bid) = next(asks), next(bids)
    best = net(ask, bid)
    best_bps = best / cost(ask) * _BPS
    while net(ask, bid) > 0:
        taken = min(on_ask, on_bid)
        qty += taken
        net_profit += net(ask, bid) * taken
        gross_profit += (bid - ask) * taken
        on_ask, on_bid = on_ask - taken, on_bid - taken
        # A side that has run out ends the walk.
        if not on_ask and (level := next(asks, None)) is not None:
            ask, on_ask = level
        if not on_bid and (level := next(bids, None)) is not None:
            bid, on_bid = level
        if not on_ask or not on_bid:
            break
    return Arbitrage(best, best_bps, qty, net_profit, gross_profit)


def _check_levels(what: str, levels: Sequence[Level]) -> None:
    for price, qty in levels:
        # A decimal NaN cannot even be compared.
        if not (price.is_finite() and qty.is_finite() and price > 0 and qty > 0):
            raise InvalidInput(f"{what} hold {qty} at {price}: expected a price and a quantity above 0")
