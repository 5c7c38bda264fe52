"""Shorter candles inside the strategy's own: what a longer candle leaves open, they decide."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bybit.backtest.errors import UnusableData
from bybit.backtest.frames import Floats, Integers, candle_columns, open_times
from bybit.rules.candles import Interval
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period, utc


@dataclass(frozen=True)
class Detail:
    """The shorter candles of the traded rows, oldest first.

    Attributes
    ----------
    open_ms, row : ndarray of shape (n_candles,)
        When each opens, ms UTC, and to which of the strategy's candles it belongs.
    prices : dict of ndarray of shape (n_candles,)
        Open, high, low and close.
    table : DataFrame
        The same rows of the frame that was given.
    absent_ms : ndarray of shape (n_absent,)
        Opens of shorter candles that are not there although the longer one is.
    n_differing : int
        Complete longer candles whose prices are not those of the shorter ones inside.
    """

    symbol: str
    interval: Interval
    open_ms: Integers
    row: Integers
    prices: dict[str, Floats]
    table: pd.DataFrame
    absent_ms: Integers
    n_differing: int

    def n_absent(self, closed: Sequence[Period]) -> int:
        """Return how many candles are absent although the venue was not ``closed``."""
        return int((~opens_inside(self.absent_ms, self.interval, closed)).sum())

    def check_absent(self, gaps: Sequence[Period]) -> None:
        """Raise ``UnusableData`` when a candle is absent outside of ``gaps``."""
        allowed = opens_inside(self.absent_ms, self.interval, gaps)
        if not allowed.all():
            at = utc(int(self.absent_ms[~allowed][0])).isoformat()
            raise UnusableData(
                f"{int((~allowed).sum())} {self.interval.value} detail candles of {self.symbol} are absent, the first "
                f"at {at}: fetch them, run without detail, or allow them by name in gaps"
            )


def opens_inside(opens: Integers, interval: Interval, periods: Sequence[Period]) -> NDArray[np.bool_]:
    """Return which candles, given by their opens (ms UTC), touch one of ``periods``; shape of ``opens``."""
    inside = np.zeros(len(opens), dtype=np.bool_)
    for period in periods:
        inside |= (opens >= interval.floor_ms(period.start_ms)) & (opens < period.end_ms)
    return inside


def detail_rows(
    symbol: str,
    frame: pd.DataFrame,
    interval: Interval | None,
    longer: Interval,
    opens: Integers,
    coarse: dict[str, Floats],
) -> Detail:
    """Return the candles of ``frame`` inside the traded candles that open at ``opens`` with prices ``coarse``.

    Raises
    ------
    InvalidInput
        When the shorter candles do not fill the longer ones.
    UnusableData
        For candles that are none or lie off the grid, or without a single one inside.
    """
    if interval is None or longer.ms % interval.ms or interval.ms >= longer.ms:
        given = "no length" if interval is None else interval.value
        raise InvalidInput(f"detail candles of {given} do not fill {longer.value} ones: give detail_interval, shorter")
    what = f"detail candles of {symbol}"
    times = open_times(frame, what)
    begin, end = np.searchsorted(times, [opens[0], opens[-1] + longer.ms])
    times = times[begin:end]
    row = np.searchsorted(opens, times, side="right") - 1
    # What lies in a hole of the longer candles is not traded either.
    inside = times < opens[row] + longer.ms
    table = frame.iloc[begin:end] if inside.all() else frame.iloc[begin:end][inside]
    times, row = times[inside], row[inside]
    if not len(times):
        raise UnusableData(f"no {what} lie inside the traded candles: fetch {interval.value} candles, or run without")
    if ((times - opens[row]) % interval.ms).any():
        raise UnusableData(f"{what} lie off the {interval.value} grid")
    prices = candle_columns(table, times, what)
    n_each = longer.ms // interval.ms
    n_inside = np.bincount(row, minlength=len(opens))
    absent = np.zeros(0, dtype=np.int64)
    if (n_inside < n_each).any():
        short = opens[n_inside < n_each]
        absent = np.setdiff1d((short[:, None] + interval.ms * np.arange(n_each)).ravel(), times)
    return Detail(
        symbol, interval, times, row, prices, table, absent, _n_differing(prices, n_inside == n_each, n_inside, coarse)
    )


def _n_differing(
    prices: dict[str, Floats], complete: NDArray[np.bool_], n_inside: Integers, coarse: dict[str, Floats]
) -> int:
    if not complete.any():
        return 0
    starts = np.cumsum(n_inside) - n_inside
    # Each slice of reduceat ends where the next one begins, so rows without a candle are left out.
    held = n_inside > 0
    low, high = np.empty(len(n_inside)), np.empty(len(n_inside))
    low[held] = np.minimum.reduceat(prices["low"], starts[held])
    high[held] = np.maximum.reduceat(prices["high"], starts[held])
    first, last = starts[complete], (starts + n_inside - 1)[complete]
    same = (prices["open"][first] == coarse["open"][complete]) & (prices["close"][last] == coarse["close"][complete])
    same &= (low[complete] == coarse["low"][complete]) & (high[complete] == coarse["high"][complete])
    return int((~same).sum())
