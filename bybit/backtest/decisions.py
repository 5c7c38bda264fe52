"""What a strategy decided, checked and moved to the candle that follows: nothing is known before its close."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bybit.backtest.errors import UnusableData
from bybit.backtest.frames import Floats, Integers
from bybit.backtest.market import Prepared
from bybit.backtest.records import POST_ONLY, REDUCE_ONLY
from bybit.strategies.protocol import Signals

PRICED = ("limit", "trigger", "stop", "take_profit", "trail")
"""Names of the optional prices, as the kernel has them."""


@dataclass(frozen=True)
class Orders:
    """The decisions in force in each traded candle of one symbol, shape (n_rows,).

    ``close`` is the price that sizes them. ``prices`` holds those of ``PRICED`` that were given, NaN for none;
    ``flags`` is None when every limit is post-only and no order reduces only.
    """

    target: Floats
    close: Floats
    prices: dict[str, Floats]
    flags: Integers | None


def orders(signals: Signals, prepared: Prepared) -> Orders:
    """Return what ``signals`` decided for the traded candles of ``prepared``.

    The first candle knows the last warm-up close. A contract that is delivered in the period is left by a market
    order at the open of its last candle: the day is announced long before.

    Raises
    ------
    UnusableData
        For shapes, infinities and prices that cannot be traded, and for a limit and a trigger at once.
    """
    shape = (len(prepared.view),)
    target = _checked("target", signals.target, shape)
    given = {
        "limit": signals.limit_price,
        "trigger": signals.trigger_price,
        "stop": signals.stop_price,
        "take_profit": signals.take_profit_price,
        "trail": signals.trailing_distance,
    }
    prices = {name: _checked(name, array, shape) for name, array in given.items() if array is not None}
    if "limit" in prices and "trigger" in prices:
        both = np.isfinite(prices["limit"]) & np.isfinite(prices["trigger"])
        if both.any():
            raise UnusableData(
                f"the strategy's limit and trigger stand together at {int(both.sum())} candles: give one"
            )
    post_only = _flag("post_only", signals.post_only, shape)
    reduce_only = _flag("reduce_only", signals.reduce_only, shape)
    flags = None
    if not post_only.all() or reduce_only.any():
        flags = POST_ONLY * post_only.astype(np.int64) + REDUCE_ONLY * reduce_only.astype(np.int64)
    n_before, nothing = prepared.n_before, np.full(1, np.nan)

    def moved(values: Floats) -> Floats:
        return np.concatenate([nothing, values])[n_before:-1]

    target, prices = moved(target), {name: moved(values) for name, values in prices.items()}
    if flags is not None:
        flags = np.concatenate([np.full(1, POST_ONLY), flags])[n_before:-1]
    if prepared.span.delivered_ms is not None:
        target[-1] = 0.0
        for name in ("limit", "trigger"):
            if name in prices:
                prices[name][-1] = np.nan
    return Orders(target, moved(prepared.view.close), prices, flags)


def _checked(name: str, array: Floats, shape: tuple[int]) -> Floats:
    values = np.asarray(array, dtype=np.float64)
    if values.shape != shape:
        raise UnusableData(f"the strategy's {name} has shape {values.shape}, expected {shape}")
    if np.isinf(values).any() or (name != "target" and (values <= 0.0).any()):
        raise UnusableData(f"the strategy's {name} holds infinite or negative values: use NaN for none")
    return values


def _flag(name: str, given: NDArray[np.bool_] | bool, shape: tuple[int]) -> NDArray[np.bool_]:
    values = np.asarray(given)
    if values.dtype != np.bool_ or values.shape not in ((), shape):
        raise UnusableData(f"the strategy's {name} is {values.dtype} of shape {values.shape}, expected bool of {shape}")
    return np.broadcast_to(values, shape)
