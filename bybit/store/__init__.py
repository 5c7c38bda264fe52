"""SQL in and out: one ``Store`` per database, the same schema on SQLite and PostgreSQL."""

from bybit.store.candles import WriteCount
from bybit.store.coverage import (
    AFTER_DELISTING,
    BEFORE_LISTING,
    CONFLICTING,
    MAINTENANCE,
    REJECTED,
    VENUE_EMPTY,
    Hole,
)
from bybit.store.decisions import DecisionRecord
from bybit.store.engine import Store, open_store
from bybit.store.evidence import Conflict, Rejected
from bybit.store.leases import Lease
from bybit.store.quality import QualityRecord
from bybit.store.runs import RunRecord
from bybit.store.series import FundingKey

__all__ = [
    "AFTER_DELISTING",
    "BEFORE_LISTING",
    "CONFLICTING",
    "MAINTENANCE",
    "REJECTED",
    "VENUE_EMPTY",
    "Conflict",
    "DecisionRecord",
    "FundingKey",
    "Hole",
    "Lease",
    "QualityRecord",
    "Rejected",
    "RunRecord",
    "Store",
    "WriteCount",
    "open_store",
]
