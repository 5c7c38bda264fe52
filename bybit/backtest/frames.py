"""Tables of prices as contiguous arrays, or a refusal that names the first row that is none."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bybit.backtest.errors import UnusableData
from bybit.rules.periods import utc

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PRICES = ("open", "high", "low", "close")


def index_ms(frame: pd.DataFrame, what: str) -> Integers:
    """Return the index in ms UTC, shape (n_rows,); a naive one is refused."""
    if not isinstance(frame.index, pd.DatetimeIndex) or frame.index.tz is None:
        raise UnusableData(f"{what} need an index of aware UTC times, found {frame.index.dtype}")
    return np.array(frame.index.as_unit("ms").asi8, dtype=np.int64)


def open_times(frame: pd.DataFrame, what: str) -> Integers:
    """Return the index in ms UTC, oldest first without a time twice; anything else is refused."""
    times = index_ms(frame, what)
    if (np.diff(times) <= 0).any():
        at = utc(int(times[1:][np.diff(times) <= 0][0])).isoformat()
        raise UnusableData(f"{what} are not strictly oldest first at {at}: sort them and keep one a time")
    return times


def column(frame: pd.DataFrame, name: str, what: str, expected: Sequence[str] = PRICES) -> Floats:
    """Return one column as its own array, shape (n_rows,); an absent one is refused."""
    if name not in frame.columns:
        raise UnusableData(f"{what} have no column {name!r}: expected {', '.join(expected)}")
    return np.ascontiguousarray(frame[name].to_numpy(dtype=np.float64, copy=True))


def candle_columns(frame: pd.DataFrame, times: Integers, what: str) -> dict[str, Floats]:
    """Return open, high, low and close of candles, each shape (n_rows,).

    Raises
    ------
    UnusableData
        For prices that are NaN or not positive, and for an open or close outside low and high.
    """
    columns = {name: column(frame, name, what) for name in PRICES}
    high, low = columns["high"], columns["low"]
    bad = ~((low > 0.0) & np.isfinite(high))
    for price in (columns["open"], columns["close"]):
        bad |= ~((low <= price) & (price <= high))
    if bad.any():
        at = utc(int(times[bad][0])).isoformat()
        raise UnusableData(
            f"{int(bad.sum())} {what} are none (NaN, not positive, or open or close outside low and high), the first "
            f"at {at}: run the quality checks and fetch them again"
        )
    return columns


def digest(arrays: Sequence[NDArray[np.generic]]) -> str:
    """Return the first 16 hex digits of the SHA-256 of the arrays' bytes."""
    content = hashlib.sha256()
    for array in arrays:
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()[:16]
