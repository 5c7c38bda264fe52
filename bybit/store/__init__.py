"""SQL in and out: one ``Store`` per database, the same schema on SQLite and PostgreSQL."""

from bybit.store.candles import WriteCount
from bybit.store.coverage import AFTER_DELISTING, BEFORE_LISTING, REJECTED, VENUE_EMPTY, Hole
from bybit.store.evidence import Conflict, Rejected
from bybit.store.leases import Lease
from bybit.store.series import FundingKey
from bybit.store.store import Store, open_store

__all__ = [
    "AFTER_DELISTING",
    "BEFORE_LISTING",
    "REJECTED",
    "VENUE_EMPTY",
    "Conflict",
    "FundingKey",
    "Hole",
    "Lease",
    "Rejected",
    "Store",
    "WriteCount",
    "open_store",
]
