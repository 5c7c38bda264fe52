"""Indicators as pure functions of arrays: each value uses its own candle and older ones, never a later one.

Every function takes float64 arrays of shape (n_candles,), oldest first, returns the same shape and costs O(n).
NaN stands wherever the window is not full yet: an indicator that is not known is not zero.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bybit.rules.errors import InvalidInput

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def ema(values: Floats, n_candles: int) -> Floats:
    """Return the exponential moving average with weight 2 / (n_candles + 1) on the newest value.

    The recursion starts at the first value that is not NaN; the first ``n_candles - 1`` results after it are NaN.
    """
    _check_window(n_candles)
    return _array(pd.Series(values).ewm(span=n_candles, adjust=False, min_periods=n_candles).mean())


def rolling_mean(values: Floats, n_candles: int) -> Floats:
    """Return the mean of the last ``n_candles`` values, this one included."""
    _check_window(n_candles)
    return _array(pd.Series(values).rolling(n_candles).mean())


def rolling_std(values: Floats, n_candles: int) -> Floats:
    """Return the standard deviation (ddof 1) of the last ``n_candles`` values, this one included."""
    _check_window(n_candles, at_least=2)
    return _array(pd.Series(values).rolling(n_candles).std())


def rolling_max(values: Floats, n_candles: int) -> Floats:
    """Return the largest of the last ``n_candles`` values, this one included."""
    _check_window(n_candles)
    return _array(pd.Series(values).rolling(n_candles).max())


def rolling_min(values: Floats, n_candles: int) -> Floats:
    """Return the smallest of the last ``n_candles`` values, this one included."""
    _check_window(n_candles)
    return _array(pd.Series(values).rolling(n_candles).min())


def previous(values: Floats, n_candles: int = 1) -> Floats:
    """Return ``values`` moved ``n_candles`` later, NaN in front: what was known that many candles ago."""
    _check_window(n_candles)
    moved = np.full(values.shape, np.nan)
    moved[n_candles:] = values[:-n_candles]
    return moved


def zscore(values: Floats, n_candles: int) -> Floats:
    """Return the distance of each value from its rolling mean in rolling standard deviations.

    NaN where the window does not move at all: a deviation of zero has no scale.
    """
    mean, deviation = rolling_mean(values, n_candles), rolling_std(values, n_candles)
    # Below this the running sums hold only their own rounding.
    flat = ~(deviation > 1e-12 * np.maximum(1.0, np.abs(mean)))
    score = np.full(values.shape, np.nan)
    np.divide(values - mean, deviation, out=score, where=~flat)
    return score


def log_returns(close: Floats) -> Floats:
    """Return ln(close / previous close); NaN at the first candle."""
    returns = np.full(close.shape, np.nan)
    returns[1:] = np.diff(np.log(close))
    return returns


def volatility(close: Floats, n_candles: int) -> Floats:
    """Return the exponentially weighted root mean square of log returns, per candle (not annualised).

    The mean is taken as zero: over hours and days it is smaller than its own error.
    """
    variance: Floats = ema(np.square(log_returns(close)), n_candles)
    return np.sqrt(variance)


def true_range(high: Floats, low: Floats, close: Floats, n_candles: int = 1) -> Floats:
    """Return the range of the last ``n_candles`` candles, the close before them included, in quote coin.

    With ``n_candles`` of one day this is a day's true range at every candle, whatever the candle's length.
    """
    before = previous(close, n_candles)
    top = np.maximum(rolling_max(high, n_candles), before)
    return top - np.minimum(rolling_min(low, n_candles), before)


def atr(high: Floats, low: Floats, close: Floats, n_average: int, n_candles: int = 1) -> Floats:
    """Return the exponential average over ``n_average`` candles of ``true_range`` over ``n_candles``, in quote coin."""
    return ema(true_range(high, low, close, n_candles), n_average)


def rsi(close: Floats, n_candles: int) -> Floats:
    """Return Wilder's relative strength index, 0 to 100; NaN where the price did not move at all."""
    _check_window(n_candles)
    moves = np.full(close.shape, np.nan)
    moves[1:] = np.diff(close)
    # Wilder smooths with 1 / n, not with 2 / (n + 1).
    up, down = (
        _array(pd.Series(part).ewm(alpha=1 / n_candles, adjust=False, min_periods=n_candles).mean())
        for part in (np.maximum(moves, 0.0), np.maximum(-moves, 0.0))
    )
    total = up + down
    index = np.full(close.shape, np.nan)
    np.divide(100.0 * up, total, out=index, where=total > 0.0)
    return index


def latch(on: Flags, off: Flags) -> Flags:
    """Return a switch: True from an ``on`` until the next ``off``; starts False, ``on`` wins when both are True."""
    last_event = np.maximum.accumulate(np.where(on | off, np.arange(len(on)), -1))
    return np.where(last_event >= 0, on[np.maximum(last_event, 0)], False)


def held_since_change(values: Floats, state: Floats) -> Floats:
    """Return each candle's ``values`` as they stood when ``state`` last changed (or began)."""
    changed = np.ones(len(state), dtype=np.bool_)
    changed[1:] = state[1:] != state[:-1]
    return values[np.maximum.accumulate(np.where(changed, np.arange(len(state)), 0))]


def _check_window(n_candles: int, at_least: int = 1) -> None:
    if n_candles < at_least:
        raise InvalidInput(f"a window of {n_candles} candles: expected {at_least} or more")


def _array(series: "pd.Series[float]") -> Floats:
    return np.array(series, dtype=np.float64)
