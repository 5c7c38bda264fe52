"""One store and one client for all tasks of a process, so that they share one pool and one rate limit."""

from functools import lru_cache
from typing import Any

from bybit.client.limits import Breaker
from bybit.client.rest import BybitClient
from bybit.history.cache import CandleCache
from bybit.history.manager import HistoricalDataManager
from bybit.history.reader import CandleReader
from bybit.store.engine import Store, open_store
from tasks.settings import settings

LIVE_URL = "https://api.bybit.com"
LIVE_ORIGIN = "bybit"
_BAN_PATIENCE_S = 1200.0
_connected: list[str] = []


def connect(origin: str) -> Store:
    """Open the database of one market, make it this process's store, and return it.

    Each market has a file of its own unless PERPFLOW_DATABASE_URL says otherwise; the last one connected to is what
    later commands look into.

    Raises
    ------
    OtherOrigin
        When the database named by PERPFLOW_DATABASE_URL holds another market.
    """
    url = settings().remember_database(origin)
    opened = _store(url)
    opened.origin.claim(origin)
    _connected[:] = [url]
    return opened


def store() -> Store:
    """Return this process's store: the one connected to, else that of the last market; opened on first use."""
    return _store(_connected[0] if _connected else settings().database_url)


def client(base_url: str) -> BybitClient:
    """Return this process's client of one v5 endpoint; no keys, public data only."""
    return _client(base_url)


def history(base_url: str) -> HistoricalDataManager:
    """Return the door to the past that fetches from ``base_url`` and keeps in this process's store."""
    return HistoricalDataManager(client(base_url), store(), cache=_cache())


def reader() -> CandleReader:
    """Return the door to the stored candles: through copies on disk that all threads and processes share."""
    return CandleReader(store(), _cache())


def is_retryable(_task: Any, _run: Any, state: Any) -> bool:
    """Return whether a failed task may be tried again: the error itself knows."""
    try:
        state.result()
    except Exception as error:  # noqa: BLE001 - any error is asked, none is swallowed: Prefect raises it again
        return bool(getattr(error, "retryable", False))
    return False


# A second thread asking at the same moment would open a second pool: these are called first from the main thread.
@lru_cache(maxsize=4)
def _store(url: str) -> Store:
    return open_store(url)


@lru_cache(maxsize=1)
def _cache() -> CandleCache:
    # One a process: it holds the open maps. The folder may be deleted at any time; copies are made again.
    return CandleCache(settings().home / "cache")


@lru_cache(maxsize=8)
def _client(base_url: str) -> BybitClient:
    if base_url != LIVE_URL:
        return BybitClient(base_urls=[base_url])
    # The end of a ban is kept in a file: a run that is started again waits too. A thread may sleep a ban out, since
    # nothing else would: the retries of a task end after a minute.
    ban = Breaker(settings().home / "bybit-ban.json", patience_s=_BAN_PATIENCE_S)
    return BybitClient(testnet=False, breaker=ban)
