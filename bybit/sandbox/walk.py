"""The seeded random walk behind the synthetic market: daily anchors for decades, minutes bridged between them.

A day's minutes depend on the seed, the symbol and the day alone, so any minute is computed without the ones before
it, and two servers with one seed agree. The days follow regimes (trends, ranges, volatility clusters, crashes with a
rebound, quiet weekends), and the premium leans the way of the last days' return, so that funding differs as well.
"""

import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bybit.sandbox.market import Rows

Array = NDArray[np.float64]

DAY_MS = 86_400_000
MINUTES = 1_440
ORIGIN_DAY = 18_261
"""2019-12-31, counted in days since 1970: the walk starts there."""
_N_DAYS = 14_600
_CRASH_MINUTES = 45


@dataclass(frozen=True, slots=True)
class Profile:
    """What one synthetic contract is like.

    ``daily_volatility`` and ``beta`` (to the common factor) are fractions and multiples of log return; ``volume`` is
    base coin per ordinary minute; decimals are those of the text on the wire.
    """

    symbol: str
    base_price: float
    daily_volatility: float
    beta: float
    price_decimals: int
    qty_decimals: int
    volume: float


class DayBlock:
    """The finished minutes of one UTC day, oldest first; each price is worked out when it is first asked for.

    ``index`` and ``slow``, ``premium`` (fractions) stand at the minutes' edges, shape (1441,); ``sigma`` and
    ``activity`` are per minute, shape (1440,).
    """

    def __init__(
        self,
        profile: Profile,
        day: int,
        seeds: np.random.SeedSequence,
        edges: tuple[Array, Array, Array],
        minutes: tuple[Array, Array],
    ) -> None:
        self._profile = profile
        self._times = day * DAY_MS + np.arange(MINUTES, dtype=np.float64) * 60_000
        self._seeds = seeds.spawn(4)
        self._index, self._slow, self._premium = edges
        self._sigma, self._activity = minutes

    @cached_property
    def last(self) -> Rows:
        """Last-price minutes, shape (1440, 7)."""
        random, profile = np.random.default_rng(self._seeds[0]), self._profile
        # Both neighbours of a midnight agree on its price, so the jitter is nil there.
        jitter = np.concatenate(([0.0], random.standard_normal(MINUTES - 1) * 3e-5, [0.0]))
        edges = self._index * (1 + self._premium) * (1 + jitter)
        rows = self._prices(random, edges, self._sigma * 0.45 + 2e-5, profile.price_decimals, 7)
        volume = profile.volume * self._activity * np.exp(0.7 * random.standard_normal(MINUTES))
        rows[:, 5] = np.maximum(np.round(volume, profile.qty_decimals), 10.0**-profile.qty_decimals)
        rows[:, 6] = np.round(rows[:, 5] * rows[:, 1:5].mean(axis=1), 4)
        return rows

    @cached_property
    def mark(self) -> Rows:
        """Mark-price minutes, shape (1440, 5): the index and the premium without its quick part."""
        random = np.random.default_rng(self._seeds[1])
        return self._prices(
            random, self._index * (1 + self._slow), self._sigma * 0.36, self._profile.price_decimals + 1, 5
        )

    @cached_property
    def index(self) -> Rows:
        """Index-price minutes, shape (1440, 5)."""
        random = np.random.default_rng(self._seeds[2])
        return self._prices(random, self._index, self._sigma * 0.36, self._profile.price_decimals + 1, 5)

    @cached_property
    def premium(self) -> Rows:
        """Premium-index minutes, fractions, shape (1440, 5)."""
        random = np.random.default_rng(self._seeds[3])
        edges = np.round(self._premium, 6)
        wicks = np.abs(random.standard_normal((2, MINUTES))) * 2e-5
        rows = np.empty((MINUTES, 5))
        rows[:, 0], rows[:, 1], rows[:, 4] = self._times, edges[:-1], edges[1:]
        rows[:, 2] = np.round(np.maximum(edges[:-1], edges[1:]) + wicks[0], 6)
        rows[:, 3] = np.round(np.minimum(edges[:-1], edges[1:]) - wicks[1], 6)
        # Adding zero turns -0.0 into 0.0: the venue writes no minus before a zero.
        return rows + 0.0

    def _prices(self, random: np.random.Generator, edges: Array, span: Array, decimals: int, width: int) -> Rows:
        # A minute opens where the one before closed; rounding is monotone, so the extremes stay extremes.
        wicks = np.abs(random.standard_normal((2, MINUTES))) * span
        rounded = np.round(edges, decimals)
        rows = np.empty((MINUTES, width))
        rows[:, 0], rows[:, 1], rows[:, 4] = self._times, rounded[:-1], rounded[1:]
        rows[:, 2] = np.round(np.maximum(rounded[:-1], rounded[1:]) * (1 + wicks[0]), decimals)
        rows[:, 3] = np.round(np.minimum(rounded[:-1], rounded[1:]) * (1 - wicks[1]), decimals)
        return rows


def _seeds(seed: int, *words: str | int) -> np.random.SeedSequence:
    parts = [zlib.crc32(word.encode()) if isinstance(word, str) else word for word in words]
    return np.random.SeedSequence([seed, *parts])


def _generator(seed: int, *words: str | int) -> np.random.Generator:
    return np.random.default_rng(_seeds(seed, *words))


def _regimes(random: np.random.Generator) -> tuple[Array, Array, NDArray[np.bool_]]:
    # Returns drift in daily volatilities, the pull back into a range, and the crash days, each of shape (n_days,).
    drift, pull, day = np.zeros(_N_DAYS), np.zeros(_N_DAYS), 0
    while day < _N_DAYS:
        length = 4 + int(random.exponential(12.0))
        kind = random.random()
        if kind < 0.5:
            drift[day : day + length] = random.choice([-1.0, 1.0]) * random.uniform(0.25, 0.7)
        else:
            pull[day : day + length] = random.uniform(0.25, 0.6)
        day += length
    return drift, pull, random.random(_N_DAYS) < 1 / 120


def _clustered(random: np.random.Generator, memory: float, spread: float) -> Array:
    # A first-order autoregression of stationary standard deviation ``spread``, shape (n_days,).
    values, value = np.empty(_N_DAYS), 0.0
    for day, shock in enumerate(random.standard_normal(_N_DAYS) * spread * np.sqrt(1 - memory**2)):
        value = memory * value + shock
        values[day] = value
    return values


class Walk:
    """All prices of one synthetic contract.

    Parameters
    ----------
    seed : int
        Non-negative; the whole market follows from it.
    profile : Profile
        The contract.
    """

    def __init__(self, seed: int, profile: Profile) -> None:
        self.profile = profile
        self._seed = seed

    @cached_property
    def _days(self) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
        # Log index and premium at each midnight, volatility and crash flag of each day.
        common = _generator(self._seed, "market")
        drift, pull, crash = _regimes(common)
        own_drift, own_pull, own_crash = _regimes(_generator(self._seed, self.profile.symbol, "regimes"))
        random = _generator(self._seed, self.profile.symbol, "days")
        weekday = (np.arange(_N_DAYS) + ORIGIN_DAY + 3) % 7
        calm = np.where(weekday >= 5, 0.6, 1.0)
        volatility = self.profile.daily_volatility * calm * np.exp(_clustered(common, 0.95, 0.35))
        share = 0.75
        shocks = share * common.standard_normal(_N_DAYS) + np.sqrt(1 - share**2) * random.standard_normal(_N_DAYS)
        lean = np.where(np.arange(_N_DAYS) // 30 % 2 == 0, drift, own_drift)
        pull = np.maximum(pull, own_pull) * (lean == 0)
        crash = crash | own_crash
        falls = -1.0 * crash * (3.5 + 2.5 * random.random(_N_DAYS))
        # The small constant drift makes up for the crashes, which only fall.
        level = np.zeros(_N_DAYS + 1)
        middle = value = 0.0
        moves = volatility * (0.05 + lean + shocks * np.where(pull > 0, 0.7, 1.0) + falls)
        rebound = np.concatenate(([0.0], -moves[:-1] * crash[:-1] * 0.35))
        for day in range(_N_DAYS):
            if pull[day] and not (day and pull[day - 1]):
                middle = value
            # The slow pull to the base price keeps decades of walking within a factor of a few.
            value += (
                self.profile.beta * (moves[day] + rebound[day]) - pull[day] * (value - middle) * 0.5 - 0.006 * value
            )
            level[day + 1] = value
        returns = np.diff(level)
        week = np.convolve(returns, np.ones(5))[:_N_DAYS]
        premium = 5e-5 + 0.006 * week + _clustered(random, 0.9, 2.5e-4)
        # A midnight's premium knows the days before the one that ends there: otherwise its course during a day would
        # give the day's return away.
        edges = np.clip(np.concatenate((premium[:1], premium[:1], premium[:-1])), -6e-3, 6e-3)
        return np.log(self.profile.base_price) + level, edges, volatility * self.profile.beta, crash

    def day(self, day: int) -> DayBlock:
        """Return the minutes of ``day`` (days since 1970).

        Raises
        ------
        IndexError
            When the day lies outside the forty years of the walk.
        """
        number = day - ORIGIN_DAY
        if not 0 <= number < _N_DAYS:
            raise IndexError(f"day {day} is outside the walk's {ORIGIN_DAY}..{ORIGIN_DAY + _N_DAYS - 1}")
        level, edges, volatilities, crashes = self._days
        random = _generator(self._seed, self.profile.symbol, day)
        minute = np.arange(MINUTES)
        hour = minute / 60
        # More trade when Europe and America are both awake, and bursts of an hour or so.
        burst = np.interp(minute, np.arange(25) * 60, random.standard_normal(25) * 0.35)
        activity = np.exp(burst) * (0.75 + 0.6 * np.exp(-(((hour - 14.5) / 3.0) ** 2)))
        crash_at = int(random.integers(60, MINUTES - 240))
        stress = np.zeros(MINUTES)
        if crashes[number]:
            stress[crash_at : crash_at + _CRASH_MINUTES] = 1.0
            activity = activity * (1 + 11 * stress)
        variance = activity**2
        weights = np.concatenate(([0.0], np.cumsum(variance) / variance.sum()))
        sigma = volatilities[number] * np.sqrt(np.diff(weights))
        noise = np.concatenate(([0.0], np.cumsum(sigma * random.standard_normal(MINUTES))))
        path = level[number] + noise + (level[number + 1] - level[number] - noise[-1]) * weights
        index = np.exp(path)
        slow = edges[number] + (edges[number + 1] - edges[number]) * np.arange(MINUTES + 1) / MINUTES
        edge = np.arange(MINUTES + 1)
        quick = np.interp(edge, np.arange(97) * 15, np.concatenate(([0], random.standard_normal(95), [0]))) * 1.5e-4
        # In a crash the contract trades below its index before the mark price follows.
        course = np.concatenate(([0.0], np.cumsum(stress) / _CRASH_MINUTES))
        premium = slow + quick - 2.5e-3 * np.sin(np.pi * course)
        seeds = _seeds(self._seed, self.profile.symbol, day, 1)
        return DayBlock(self.profile, day, seeds, (index, slow, premium), (sigma, activity))
