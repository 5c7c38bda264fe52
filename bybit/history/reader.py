"""Stored candles and what is known of them, through the cache where there is one."""

from dataclasses import dataclass

import pandas as pd

from bybit.history.cache import CandleCache, Copy
from bybit.rules.candles import SeriesKey
from bybit.rules.periods import Period, Span
from bybit.store import Store


@dataclass(frozen=True, slots=True)
class Glance:
    """What is known of a series now, with the copy that holds its candles when one is at hand.

    Parameters
    ----------
    key : SeriesKey
        The series.
    known : list of Span
        The spans (ms UTC) known in full.
    copy : Copy or None
        Its candles at the same moment.
    """

    key: SeriesKey
    known: list[Span]
    copy: Copy | None


class CandleReader:
    """Reads candles of one store; safe to share between threads.

    Parameters
    ----------
    store : Store
        Where they are.
    cache : CandleCache or None
        Where copies are kept; None reads SQL every time.
    """

    def __init__(self, store: Store, cache: CandleCache | None) -> None:
        self._store = store
        self._cache = cache

    def candles(self, key: SeriesKey, period: Period) -> pd.DataFrame:
        """Return the stored candles that open in ``period``: what ``CandleTable.read`` does, faster the second time."""
        return self.read(self.look(key), period)[0]

    def look(self, key: SeriesKey) -> Glance:
        """Return what is known of ``key`` at this moment."""
        if self._cache is not None:
            stamp = self._store.candles.stamp(key)
            copy = None if stamp is None else self._cache.find(key, stamp)
            if copy is not None:
                return Glance(key, copy.known, copy)
        return Glance(key, self._store.coverage.known(key), None)

    def read(self, glance: Glance, period: Period) -> tuple[pd.DataFrame, list[Span]]:
        """Return the candles that open in ``period`` as ``CandleTable.read``, and the spans known in full.

        Both are of one moment: that of ``glance`` when it holds a copy, else this one.
        """
        key, copy = glance.key, glance.copy
        if copy is None and self._cache is not None and self._cache.pays(key, glance.known, period):
            copy = self._copied(self._cache, key)
        if copy is None:
            return self._store.candles.read_known(key, period)
        return copy.read(period), copy.known

    def _copied(self, cache: CandleCache, key: SeriesKey) -> Copy | None:
        """Return a copy of the present moment, made out of an earlier one and what has changed since."""
        with cache.building(key):
            stamp = self._store.candles.stamp(key)
            if stamp is None:
                return None
            # Somebody else may have built it while this one waited.
            copy = cache.find(key, stamp)
            if copy is not None:
                return copy
            earlier = cache.latest(key)
            snapshot = self._store.candles.snapshot(key, None if earlier is None else earlier.stamp)
            return None if snapshot is None else cache.put(key, snapshot, earlier)
