"""What a strategy is: one vectorised method from candles to target exposure, the same code in a back-test and live."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bybit.features.indicators import held_since_change
from bybit.rules.candles import Interval
from bybit.rules.errors import InvalidInput

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
YEAR_DAYS = 365


@dataclass(frozen=True, slots=True)
class MarketView:
    """What was known at each candle's close, oldest first; every array has shape (n_candles,).

    Prices are quote coin per base coin, volume base coin. ``funding_rate_known`` is the last rate published at or
    before the close (fraction per funding interval, + longs pay), NaN before the first;
    ``funding_interval_known_ms`` is the time between that settlement and the one before it, NaN before the second:
    the interval changes without notice, so it is measured and never assumed.
    """

    symbol: str
    interval: Interval
    open_time_ms: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    funding_rate_known: Floats
    funding_interval_known_ms: Floats

    def __len__(self) -> int:
        """Return the number of candles."""
        return len(self.open_time_ms)

    def prefix(self, n_candles: int) -> "MarketView":
        """Return the view as it stood at the close of candle ``n_candles - 1``."""
        arrays = {
            f.name: getattr(self, f.name)[:n_candles] for f in fields(self) if f.name not in ("symbol", "interval")
        }
        return MarketView(symbol=self.symbol, interval=self.interval, **arrays)

    def n_candles(self, hours: float, at_least: int = 1) -> int:
        """Return how many candles of the view last about ``hours``."""
        return n_candles(hours, self.interval, at_least)


@dataclass(frozen=True, slots=True)
class Signals:
    """What a strategy decides at each candle's close; arrays of shape (n_candles,).

    Attributes
    ----------
    target : ndarray
        Wanted exposure as a signed multiple of equity; NaN means no opinion yet, which is flat. An order follows
        only when the target changes, so a target that moves a little at every candle trades at every candle.
    limit_price : ndarray or None
        Price of a limit for the next candle, quote coin; NaN asks for a market order at the next open.
    stop_price : ndarray or None
        Trigger (last price) of a protective stop of the position decided here; NaN means none.
    trigger_price : ndarray or None
        Price at which an entry becomes a market order, NaN for none; not together with a limit at one candle. It
        waits like a limit until the target changes.
    take_profit_price : ndarray or None
        Trigger (last price) at which the position decided here is closed by a market order; NaN means none.
    trailing_distance : ndarray or None
        Distance in quote coin of a stop from the best last price since the entry; NaN means none.
    post_only : ndarray of bool, or bool
        Whether a limit may only rest: one that would take is refused and counted. Without it such a limit takes at
        the open, as taker, and the rest of it rests.
    reduce_only : ndarray of bool, or bool
        Whether the order may only make the position smaller.
    """

    target: Floats
    limit_price: Floats | None = None
    stop_price: Floats | None = None
    trigger_price: Floats | None = None
    take_profit_price: Floats | None = None
    trailing_distance: Floats | None = None
    post_only: Bools | bool = True
    reduce_only: Bools | bool = False


@dataclass(frozen=True, slots=True)
class StrategyParams:
    """Base of every strategy's parameters: frozen, numbers and flags only, times in hours."""


class Strategy(ABC):
    """One strategy with its parameters; candles of any length from one minute to one day.

    Parameters
    ----------
    params : StrategyParams or None
        The strategy's own parameters; None takes their defaults.

    Raises
    ------
    InvalidInput
        For the parameters of another strategy.
    """

    name: ClassVar[str]
    params_type: ClassVar[type[StrategyParams]]
    params: StrategyParams

    def __init__(self, params: StrategyParams | None = None) -> None:
        chosen = self.params_type() if params is None else params
        if not isinstance(chosen, self.params_type):
            raise InvalidInput(f"{self.name} takes {self.params_type.__name__}, not {type(chosen).__name__}")
        self.params = chosen

    @abstractmethod
    def warmup(self, interval: Interval) -> int:
        """Return how many candles of ``interval`` are needed before the first opinion."""

    @abstractmethod
    def signals(self, view: MarketView) -> Signals:
        """Return the decision at each candle's close.

        Element i may use elements 0..i of the view only: the signals of every prefix of the view equal the prefix of
        the signals, which the tests demand of every registered strategy.
        """

    def describe(self) -> dict[str, float | bool]:
        """Return the parameters by name, for provenance."""
        return asdict(self.params)


def n_candles(hours: float, interval: Interval, at_least: int = 1) -> int:
    """Return how many candles of ``interval`` last about ``hours``.

    Raises
    ------
    InvalidInput
        For candles longer than a day: hours say nothing about them.
    """
    if interval is Interval.MONTH_1 or interval.ms > DAY_MS:
        raise InvalidInput(f"strategies cannot trade {interval.value} candles: use one day or shorter")
    return max(at_least, round(hours * HOUR_MS / interval.ms))


def protective_stop(close: Floats, side: Floats, distance: Floats) -> Floats:
    """Return a stop ``distance`` against the position from the close at which ``side`` changed, fixed until it changes.

    Shape (n_candles,), quote coin; NaN while flat, or where the stop would not be a price.
    """
    stop = held_since_change(close - side * distance, side)
    stop[(side == 0.0) | ~(stop > 0.0)] = np.nan
    return stop


_REGISTRY: dict[str, type[Strategy]] = {}


def register(strategy: type[Strategy]) -> type[Strategy]:
    """Make a strategy known by its name; as a class decorator.

    Raises
    ------
    InvalidInput
        When the name is taken.
    """
    if strategy.name in _REGISTRY:
        raise InvalidInput(f"two strategies are named {strategy.name!r}: give one of them another name")
    _REGISTRY[strategy.name] = strategy
    return strategy


def registry() -> dict[str, type[Strategy]]:
    """Return every registered strategy by name, sorted."""
    return dict(sorted(_REGISTRY.items()))


def build(name: str, params: Mapping[str, Any] | None = None) -> Strategy:
    """Return the registered strategy ``name`` with ``params`` by name; absent ones keep their defaults.

    Raises
    ------
    InvalidInput
        When the strategy or a parameter is unknown, or a value is out of range.
    """
    if name not in _REGISTRY:
        raise InvalidInput(f"strategy {name!r} is not known: use one of {', '.join(registry())}")
    strategy = _REGISTRY[name]
    known = {f.name for f in fields(strategy.params_type)}
    given = dict(params or {})
    if unknown := sorted(set(given) - known):
        raise InvalidInput(f"{name} has no parameter {', '.join(unknown)}: it takes {', '.join(sorted(known))}")
    return strategy(strategy.params_type(**given))


def check_positive(params: StrategyParams, *names: str) -> None:
    """Raise ``InvalidInput`` when one of the named parameters is not a finite number above zero."""
    for name in names:
        value = getattr(params, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < value < float("inf"):
            raise InvalidInput(f"{type(params).__name__}.{name} is {value!r}: expected a finite number above zero")
