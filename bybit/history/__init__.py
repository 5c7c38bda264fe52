"""One door to the past: ``HistoricalDataManager`` fetches what is missing, keeps it and hands it out."""

from bybit.history.cache import CandleCache
from bybit.history.manager import HistoricalDataManager
from bybit.history.report import IngestReport

__all__ = ["CandleCache", "HistoricalDataManager", "IngestReport"]
