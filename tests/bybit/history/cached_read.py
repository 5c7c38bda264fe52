"""Reads a stored series through the cache, in a process of its own: python -m … database folder n_minutes."""

import sys
from pathlib import Path

import pandas as pd

from bybit.history.cache import CandleCache
from bybit.history.reader import CandleReader
from bybit.store import open_store
from tests.bybit.store.examples import KEY, minutes

if __name__ == "__main__":
    url, folder, n_minutes = sys.argv[1:]
    with open_store(url) as store:
        reader = CandleReader(store, CandleCache(Path(folder)))
        frame, _ = reader.read(reader.look(KEY), minutes(0, int(n_minutes)))
        print(len(frame), pd.util.hash_pandas_object(frame).sum())
