"""Everything the store raises.

StoreError
├── StoreUnavailable     locked, deadlocked or disconnected for longer than the store waits    retryable
├── LeaseHeld            somebody else is fetching that range                                  retryable
├── LeaseLost            the lease went to somebody else: a late write is refused              retryable
├── CoverageClaim        rows and holes do not fill what is said to be complete                not retryable
├── AlreadyRecorded      an append-only record of that key exists with other content           not retryable
├── OtherOrigin          the database holds another source's market data                       not retryable
├── StoreFull            disk full or read-only; nothing half-written is left                  not retryable
├── CorruptStore         the file is damaged, or is no database                                not retryable
└── NewerSchema          written by a newer perpflow than this one                             not retryable
"""

from bybit.rules.errors import PerpflowError


class StoreError(PerpflowError):
    """The database refused, or is not what it should be; the transaction was rolled back."""


class StoreUnavailable(StoreError):
    """The store's own bounded retries are used up; the same call may work later."""

    retryable = True


class LeaseHeld(StoreError):
    """Another owner holds the lease and has not let it expire."""

    retryable = True


class LeaseLost(StoreError):
    """The lease's token is no longer the newest: nothing of this write was applied."""

    retryable = True


class CoverageClaim(StoreError):
    """A span was to be marked complete although candles in it are neither stored nor explained."""


class AlreadyRecorded(StoreError):
    """An append-only record exists under the same key and says something else."""


class OtherOrigin(StoreError):
    """The database holds the market data of another source."""


class StoreFull(StoreError):
    """No room or no right to write; stored data is whole and work resumes from it."""


class CorruptStore(StoreError):
    """The database file is damaged or is not a database."""


class NewerSchema(StoreError):
    """The schema is newer than this code knows; going back is refused."""
