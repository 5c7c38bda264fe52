"""The course of prices between two instants: what orders, triggers and liquidations are held against."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from bybit.sandbox.market import Rows

Point = tuple[int, int, float, bool]
"""Time in ms, which price (0 last, 1 mark, 2 index), the price, whether it was reached by a jump."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Prices of one contract at an instant, quote coin.

    ``jumps`` tells that the last price was not reached through the prices between it and the one before.
    """

    time_ms: int
    last: Decimal
    mark: Decimal
    index: Decimal
    jumps: bool = False


def price_of(number: float) -> Decimal:
    """Return the decimal that the shortest text of ``number`` shows."""
    return Decimal(repr(number)).normalize() + 0


def turning_points(rows: Rows) -> NDArray[np.float64]:
    """Return the first three turns of each candle's path, shape (n, 3): open, nearer extreme, other extreme.

    The path is that of ``bars.forming``: a third of the candle's time each, then to the close.
    """
    rises = rows[:, 4] >= rows[:, 1]
    return np.column_stack(
        (rows[:, 1], np.where(rises, rows[:, 3], rows[:, 2]), np.where(rises, rows[:, 2], rows[:, 3]))
    )


def candle_points(rows: Rows, closes_ms: Iterable[int], price: int, after_ms: int, now_ms: int) -> Iterator[Point]:
    """Give what recorded candles show and when: the open as they open, their extremes and the close as they close."""
    turns = turning_points(rows)
    for row, turn, close_ms in zip(rows, turns, closes_ms, strict=True):
        open_ms = int(row[0])
        if after_ms < open_ms <= now_ms and np.isfinite(row[1]):
            yield open_ms, price, float(row[1]), True
        if after_ms < close_ms <= now_ms:
            for value in (turn[1], turn[2], row[4]):
                if np.isfinite(value):
                    yield close_ms, price, float(value), False


def merged(points: Iterable[Point], start: Tick) -> Iterator[Tick]:
    """Give a tick for each change of the last price, mark or index, from points in the order in which they show."""
    values = [start.last, start.mark, start.index]
    for time_ms, which, number, jumps in points:
        price = price_of(number)
        values[which] = price
        yield Tick(time_ms, values[0], values[1], values[2], jumps and which == 0)
