"""The root of everything perpflow raises.

PerpflowError
├── InvalidInput              what the caller gave cannot be used
│   ├── NotEstablished        nobody knows: no fee row, no risk tier, no rate for that date
│   └── UnsupportedMarginMode the ledger does not know portfolio margin
├── BybitError                the venue or the way to it           bybit.client.errors
├── StoreError                the database                         bybit.store.errors
├── BacktestError             the simulation refuses               bybit.backtest.errors
└── QualityError              data that failed its checks          validation.errors

Every message says what was found, what was expected, and the way out.
"""


class PerpflowError(Exception):
    """Base of every error of this project; ``retryable`` tells the owner of a retry whether to try again."""

    retryable: bool = False


class InvalidInput(PerpflowError, ValueError):
    """What the caller gave cannot be used; nothing was done."""


class NotEstablished(InvalidInput, LookupError):
    """The fact asked for is not known for that date: refused rather than extrapolated."""


class UnsupportedMarginMode(InvalidInput):
    """A margin mode that this version cannot account for; nothing was done."""
