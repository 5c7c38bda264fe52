"""What the simulation refuses.

BacktestError             the simulation refuses                       not retryable
└── UnusableData          candles, marks or signals that cannot be simulated

Facts that nobody knows (a fee era, a settlement, a mark price) raise ``bybit.rules.errors.NotEstablished``.
"""

from bybit.rules.errors import PerpflowError


class BacktestError(PerpflowError):
    """Base of everything the simulation refuses; the same input is refused again, so never retryable."""


class UnusableData(BacktestError):
    """Candles, mark prices or signals that cannot be simulated: gaps, NaN, wrong shapes."""
