"""The mark price of every candle: liquidation is judged by it, never by the last price."""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from bybit.backtest.errors import UnusableData
from bybit.backtest.frames import PRICES, Floats, Integers, candle_columns, index_ms, open_times
from bybit.rules.candles import Interval
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.periods import utc

MarkPolicy = Literal["exact", "coarser", "last"]


class Marks(NamedTuple):
    """Mark prices of candles, each shape (n_candles,).

    ``mark_open`` is NaN where the mark at the open is not known: inside a longer mark candle.
    """

    mark_open: Floats
    mark_high: Floats
    mark_low: Floats
    mark_close: Floats


class MarkSource(NamedTuple):
    """What is known of a symbol's mark, and what may stand in for it."""

    symbol: str
    frame: pd.DataFrame | None
    interval: Interval | None
    policy: MarkPolicy


def marks(source: MarkSource, times: Integers, interval: Interval, last: dict[str, Floats]) -> tuple[Marks, bool]:
    """Return a mark for each candle of ``interval`` that opens at ``times``, and whether longer mark candles served.

    Raises
    ------
    NotEstablished
        When a mark is missing that the policy asks for.
    UnusableData, InvalidInput
        For mark candles that are none, or that do not fit the grid.
    """
    if source.policy == "last":
        return Marks(*(last[name] for name in PRICES)), False
    if source.frame is None or source.interval is None:
        raise NotEstablished(
            f"no mark prices of {source.symbol}: liquidation is judged by the mark; give mark candles, or ask for "
            "mark_policy='last' by name"
        )
    what = f"mark candles of {source.symbol}"
    mark_times = open_times(source.frame, what)
    mark = candle_columns(source.frame, mark_times, what)
    step, mark_step = interval.ms, source.interval.ms
    if mark_step <= step:
        if (mark_times % mark_step).any():
            raise UnusableData(f"{what} lie off the {source.interval.value} grid")
        if step % mark_step:
            raise InvalidInput(f"{source.interval.value} mark candles do not fill {interval.value} ones")
        where = _places(source, mark_times, times, step // mark_step)
        rows = where[:, None] + np.arange(step // mark_step)
        exact = Marks(
            mark["open"][where],
            mark["high"][rows].max(axis=1),
            mark["low"][rows].min(axis=1),
            mark["close"][rows[:, -1]],
        )
        return exact, False
    if source.policy == "exact":
        raise NotEstablished(
            f"mark candles of {source.symbol} are {source.interval.value}, longer than the candles "
            f"({interval.value}): give mark candles of that length, or ask for mark_policy='coarser' by name"
        )
    if mark_step % step:
        raise InvalidInput(f"{interval.value} candles do not fill {source.interval.value} mark candles")
    cover = (times - mark_times[0]) // mark_step * mark_step + mark_times[0] if len(mark_times) else times
    where = _places(source, mark_times, cover, 1)
    low, high = mark["low"][where], mark["high"][where]
    ends = mark_times[where] + mark_step == times + step
    longer = Marks(
        # Inside a longer candle the mark at the open is not known; its extremes hold for every candle inside.
        np.where(mark_times[where] == times, mark["open"][where], np.nan),
        high.copy(),
        low.copy(),
        np.where(ends, mark["close"][where], np.clip(last["close"], low, high)),
    )
    return longer, True


def settlement_marks(source: MarkSource, settled: Integers, times: Integers, opens: Floats) -> Floats:
    """Return the mark at each settlement, NaN where nobody knows it.

    It is the open of a mark candle at exactly that instant; by policy ``last`` the open of the candle there, of those
    that open at ``times``.
    """
    if source.policy != "last" and source.frame is not None:
        times, opens = index_ms(source.frame, "mark"), source.frame["open"].to_numpy(dtype=np.float64)
    where = np.minimum(np.searchsorted(times, settled), len(times) - 1)
    return np.where(times[where] == settled, opens[where], np.nan)


def _places(source: MarkSource, mark_times: Integers, wanted: Integers, n_each: int) -> Integers:
    """Return the row of each wanted mark candle; all ``n_each`` from there on have to be present."""
    assert source.interval is not None  # the caller looked
    where = np.searchsorted(mark_times, wanted)
    span = (n_each - 1) * source.interval.ms
    inside = where + n_each <= len(mark_times)
    present = inside.copy()
    first = where[inside]
    present[inside] = (mark_times[first] == wanted[inside]) & (mark_times[first + n_each - 1] == wanted[inside] + span)
    if not present.all():
        at = utc(int(wanted[~present][0])).isoformat()
        raise NotEstablished(
            f"mark prices of {source.symbol} are missing for {int((~present).sum())} of {len(wanted)} candles, the "
            f"first at {at}: fetch them, choose a period that has them, or ask for mark_policy='last' by name"
        )
    return where.astype(np.int64)
