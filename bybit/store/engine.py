"""The door to one database."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from bybit.store.candles import CandleTable
from bybit.store.closures import ClosureTable
from bybit.store.coverage import CoverageTable
from bybit.store.database import BUSY_TIMEOUT_MS, Database
from bybit.store.decisions import DecisionTable
from bybit.store.evidence import ConflictTable, RejectedTable
from bybit.store.fees import FeeTable
from bybit.store.funding import FundingTable
from bybit.store.instruments import InstrumentTable
from bybit.store.leases import LeaseTable
from bybit.store.margin import RiskTierTable
from bybit.store.matrices import MatrixTable
from bybit.store.origin import OriginTable
from bybit.store.quality import QualityTable
from bybit.store.runs import RunTable
from bybit.store.series import SeriesTable


class Store:
    """Everything that is stored, by kind; safe to share between threads.

    Made by ``open_store``. Database faults that pass (a lock, a deadlock, a dropped connection) are retried in here
    and nowhere else; what still fails after that is a ``StoreError`` that says whether a later try may work.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.series = SeriesTable(database)
        self.leases = LeaseTable(database)
        self.coverage = CoverageTable(database, self.series)
        self.candles = CandleTable(database, self.series)
        self.funding = FundingTable(database, self.series)
        self.conflicts = ConflictTable(database, self.series)
        self.rejected = RejectedTable(database, self.series)
        self.instruments = InstrumentTable(database)
        self.closures = ClosureTable(database)
        self.risk_tiers = RiskTierTable(database)
        self.fees = FeeTable(database)
        self.runs = RunTable(database)
        self.quality = QualityTable(database)
        self.decisions = DecisionTable(database)
        self.matrices = MatrixTable(database)
        self.origin = OriginTable(database)

    @property
    def address(self) -> str:
        """Where the data is, without a password."""
        return self.database.address

    def close(self) -> None:
        """Give every connection back."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_store(
    url: str,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    busy_timeout_ms: int = BUSY_TIMEOUT_MS,
) -> Store:
    """Open the database at ``url``, making or upgrading it as needed.

    Parameters
    ----------
    url : str
        ``sqlite:///path/to/file.db`` (the folder is created) or ``postgresql+psycopg://user@host/database``.
    clock, sleep : callables
        Seconds since 1970, and waiting for some: for tests.
    busy_timeout_ms : int
        How long one try waits for another process to let go of a SQLite file.

    Raises
    ------
    InvalidInput
        For another kind of address.
    CorruptStore, NewerSchema
        For a file that is damaged or no database, and for one written by a newer perpflow.
    StoreUnavailable, StoreFull
        When it cannot be reached or written now.
    """
    return Store(Database(url, clock=clock, sleep=sleep, busy_timeout_ms=busy_timeout_ms))
