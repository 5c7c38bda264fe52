"""Arithmetic of candles: coarser ones from finer ones, and the one that is still forming."""

import numpy as np
from numpy.typing import NDArray

from bybit.rules.candles import Interval
from bybit.sandbox.market import Rows


def buckets(times_ms: NDArray[np.int64], interval: Interval) -> NDArray[np.int64]:
    """Return the open time (ms UTC) of the ``interval`` candle that covers each time, shape (n,)."""
    if interval is Interval.MONTH_1:
        months = times_ms.astype("datetime64[ms]").astype("datetime64[M]")
        return np.asarray(months.astype("datetime64[ms]").astype(np.int64))
    # floor_ms(0) is 0 or, for weeks that start on Monday, the grid's offset.
    offset = interval.floor_ms(0)
    return np.asarray((times_ms - offset) // interval.ms * interval.ms + offset)


def aggregate(rows: Rows, interval: Interval) -> Rows:
    """Return the ``interval`` candles made of finer ``rows`` (oldest first, times distinct), from what is present.

    Volume and turnover are sums rounded at 15 digits and 8 decimals, so that float addition leaves no dust in the text.
    """
    if not len(rows):
        return rows
    opens = buckets(rows[:, 0].astype(np.int64), interval)
    starts = np.flatnonzero(np.concatenate(([True], opens[1:] != opens[:-1])))
    last = np.concatenate((starts[1:], [len(rows)])) - 1
    coarse = np.empty((len(starts), rows.shape[1]))
    coarse[:, 0] = opens[starts]
    coarse[:, 1] = rows[starts, 1]
    coarse[:, 2] = np.maximum.reduceat(rows[:, 2], starts)
    coarse[:, 3] = np.minimum.reduceat(rows[:, 3], starts)
    coarse[:, 4] = rows[last, 4]
    if rows.shape[1] == 7:
        coarse[:, 5:] = _clean(np.add.reduceat(rows[:, 5:], starts, axis=0))
    return coarse


def _clean(sums: Rows) -> Rows:
    # Number by number, so that a sum does not depend on its neighbours. Both integer and power of ten are exact, and
    # their quotient is then the float nearest to the decimal: its shortest text has no tail.
    digits = np.floor(np.log10(np.maximum(np.abs(sums), 1e-300)))
    scale = 10.0 ** np.clip(14 - digits, 0, 8)
    return np.asarray(np.rint(sums * scale) / scale)


def aggregate_whole(rows: Rows, fine: Interval, interval: Interval) -> Rows:
    """Return only those ``interval`` candles of which every ``fine`` candle is present, each exactly once."""
    if not len(rows):
        return rows
    times = rows[:, 0].astype(np.int64)
    opens = buckets(times, interval)
    names, n_rows = np.unique(opens, return_counts=True)
    _, first = np.unique(times, return_index=True)
    on_grid = first[buckets(times[first], fine) == times[first]]
    kept, n_distinct = np.unique(opens[on_grid], return_counts=True)
    found = dict(zip(kept.tolist(), n_distinct.tolist(), strict=True))
    whole = [
        open_ms
        for open_ms, n in zip(names.tolist(), n_rows.tolist(), strict=True)
        if n == found.get(open_ms) == (interval.close_ms(open_ms) - open_ms) // fine.ms
    ]
    return aggregate(rows[np.isin(opens, whole)], interval)


def forming(row: Rows, now_ms: int, length_ms: int, price_decimals: int, volume_decimals: int) -> Rows:
    """Return one candle as it stands at ``now_ms``, on a fixed path through the prices of its finished ``row``.

    The path goes from the open over the nearer extreme, the other one, to the close, a third of the time each, so
    that the candle only ever widens and ends as the finished one. ``row`` has shape (5,) or (7,).
    """
    open_ms, open_price, high, low, close = row[:5]
    part = min(max((now_ms - open_ms) / length_ms, 0.0), 1.0)
    turns = [open_price, low, high, close] if close >= open_price else [open_price, high, low, close]
    marks = np.array([0.0, 1.0, 2.0, 3.0])
    price = round(float(np.interp(part * 3, marks, turns)), price_decimals)
    seen = [*turns[: int(part * 3) + 1], price]
    so_far = row.copy()
    so_far[2], so_far[3], so_far[4] = max(seen), min(seen), price
    if len(row) == 7 and part < 1:
        so_far[5] = np.floor(row[5] * part * 10**volume_decimals) / 10**volume_decimals
        so_far[6] = np.round(so_far[5] * so_far[1:5].mean(), 4)
    return so_far
