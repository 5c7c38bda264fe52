"""Ingests in child processes that a test may kill at any moment.

``python -m tests.bybit.history.ingest_process DATABASE_URL BASE_URL SYMBOL START_MS END_MS``: for every line on
standard input one child is forked that ingests the span from a v5 endpoint. Printed are ``pid N``, ``commit N`` after
every commit of the child, and ``exit CODE`` when it has ended, negative for a signal. Forking spares each of them the
seconds that the imports take; the parent opens nothing that a child could inherit.
"""

import os
import sys
from datetime import timedelta

from bybit.client import BybitClient
from bybit.client.limits import TokenBucket
from bybit.history import HistoricalDataManager
from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.periods import Period
from bybit.store import open_store


def ingest(database_url: str, base_url: str, symbol: str, start_ms: int, end_ms: int) -> None:
    key = SeriesKey(Category.LINEAR, symbol, PriceType.LAST, Interval.MINUTE_1)
    client = BybitClient(base_urls=[base_url], limiter=TokenBucket(20_000, paced=10_000))
    with open_store(database_url) as store:
        # A long lease: if dead holders were not recognised, the test would take minutes.
        manager = HistoricalDataManager(client, store, workers=2, lease_ttl=timedelta(minutes=10))
        manager.ingest_candles(
            key, Period.from_ms(start_ms, end_ms), on_progress=lambda done, _n: say(f"commit {done}")
        )
    client.close()


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def main(arguments: list[str]) -> None:
    database_url, base_url, symbol, start, end = arguments
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            ingest(database_url, base_url, symbol, int(start), int(end))
            os._exit(0)
        say(f"pid {pid}")
        _, status = os.waitpid(pid, 0)
        say(f"exit {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main(sys.argv[1:])
