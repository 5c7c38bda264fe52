"""An order book made of the last price: one tick between bid and ask, finite sizes behind them.

Nothing of it is recorded. The best bid is the last price and the best ask one tick above; each further level lies one
tick away and is a quarter of the first one's size larger. What is taken is there again for the next order.
"""

from dataclasses import dataclass
from decimal import Decimal

from bybit.rules.instruments import Instrument, round_qty

N_LEVELS = 1_000
_FIRST_LEVEL_VALUE = Decimal(20_000)
_BAND = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class Book:
    """The book of one contract around ``last``, quote coin."""

    instrument: Instrument
    last: Decimal

    def level(self, side: str, place: int) -> tuple[Decimal, Decimal]:
        """Return (price, quantity) of a level; ``side`` is "Buy" for bids, ``place`` 0 the best."""
        tick = self.instrument.tick_size
        price = self.last - place * tick if side == "Buy" else self.last + (place + 1) * tick
        return price, self._size(place)

    def levels(self, side: str, n_levels: int) -> list[tuple[Decimal, Decimal]]:
        """Return the best levels of one side, at most ``N_LEVELS``; bids end above a price of 0."""
        found = [self.level(side, place) for place in range(min(n_levels, N_LEVELS))]
        return [level for level in found if level[0] > 0]

    def best(self, side: str) -> Decimal:
        """Return the best price of one side."""
        return self.level(side, 0)[0]

    def crosses(self, side: str, price: Decimal) -> bool:
        """Return whether an order of ``side`` at ``price`` would take."""
        return price >= self.best("Sell") if side == "Buy" else price <= self.best("Buy")

    def band(self, side: str) -> Decimal:
        """Return the worst price a market order accepts: 5 % beyond the last, on the tick."""
        tick = self.instrument.tick_size
        price = self.last * (1 + _BAND if side == "Buy" else 1 - _BAND)
        return max(price // tick * tick, tick)

    def take(self, side: str, qty: Decimal, limit: Decimal) -> list[tuple[Decimal, Decimal]]:
        """Return the (price, quantity) fills of an order of ``side`` taking up to ``qty`` within ``limit``."""
        other = "Sell" if side == "Buy" else "Buy"
        fills = []
        for place in range(N_LEVELS):
            price, size = self.level(other, place)
            if not qty or price <= 0 or (price > limit if side == "Buy" else price < limit):
                break
            part = min(qty, size)
            fills.append((price, part))
            qty -= part
        return fills

    def first_size(self) -> Decimal:
        """Return the quantity of the best levels: what an order that is touched, not passed, gets at most."""
        return self._size(0)

    def _size(self, place: int) -> Decimal:
        step = self.instrument.qty_step
        first = max(round_qty(_FIRST_LEVEL_VALUE / self.last, step), step)
        return max(round_qty(first * (4 + place) / 4, step), step)
