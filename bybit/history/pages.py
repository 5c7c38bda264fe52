"""The grid of candles cut into questions; pure arithmetic."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from bybit.rules.candles import Interval
from bybit.rules.periods import Span
from bybit.store.bulk import Rows
from bybit.store.candles import filled_spans

PAGE_CANDLES = 1000
"""The most candles that the venue gives in one reply."""

NARROW_CANDLES = 900
"""The most that a hole is asked for again with: always another window than the page it was missing from."""


def whole_candles(interval: Interval, start_ms: int, end_ms: int) -> Span:
    """Return the span of the candles that open in [start_ms, end_ms); empty when both bounds are equal.

    A bound between two open times moves to the later one: that is where the first candle inside, and the first one
    no longer inside, opens.
    """
    return next_open(interval, start_ms), next_open(interval, end_ms)


def pages(interval: Interval, spans: Iterable[Span], n_candles: int = PAGE_CANDLES) -> Iterator[Span]:
    """Cut aligned ``spans`` into consecutive spans of at most ``n_candles``, oldest first."""
    for start, end in spans:
        times = interval.open_times(start, end)
        for first in range(0, len(times), n_candles):
            after = first + n_candles
            yield int(times[first]), int(times[after]) if after < len(times) else end


def absent(interval: Interval, span: Span, rows: Rows) -> NDArray[np.int64]:
    """Return the open times of ``span`` that ``rows`` has no candle for, increasing."""
    expected = interval.open_times(*span)
    return expected[~np.isin(expected, rows["open_time_ms"], assume_unique=True)]


def gaps(interval: Interval, span: Span, rows: Rows) -> list[Span]:
    """Return the spans inside ``span`` without a candle in ``rows``; neighbouring candles make one gap."""
    return filled_spans(interval, absent(interval, span, rows))


def next_open(interval: Interval, time_ms: int) -> int:
    """Return the first open time (ms UTC) at or after ``time_ms``."""
    opened = interval.floor_ms(time_ms)
    return opened if opened == time_ms else interval.close_ms(opened)
