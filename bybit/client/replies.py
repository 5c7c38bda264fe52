"""What the client returns: our words for the venue's replies, oldest first, with what was left out and why."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bybit.rules.candles import Category

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """One row of the venue that cannot be used: its texts as they came, and why."""

    raw: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two or more rows of one reply that name the same key and differ. None of them is used.

    ``key`` is the open time or settlement time in ms UTC, or the symbol of a listing (of
    a margin ladder: symbol and notional).
    """

    key: int | str
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class CandleColumns:
    """Candles as arrays of shape (n_candles,), open times strictly increasing.

    ``open_time_ms`` is int64 ms UTC, the rest float64. ``volume`` and ``turnover`` are as Bybit gives them, and NaN
    throughout for mark, index and premium candles, which have none.
    """

    open_time_ms: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    turnover: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.open_time_ms)


@dataclass(frozen=True, slots=True, eq=False)
class CandlePage:
    """One page of candles and an account of every row that is not among them.

    ``n_outside`` rows lay outside the span asked for, ``n_duplicate`` repeated a row with the same values.
    A time in ``conflicts`` has no candle in ``candles``: nobody knows which of its rows is right. ``raw`` is the
    venue's own result.
    """

    candles: CandleColumns
    n_outside: int = 0
    n_duplicate: int = 0
    conflicts: tuple[Conflict, ...] = ()
    rejected: tuple[RejectedRow, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Listing(list[T]):
    """A complete list of the venue, an account of every row that is not in it, and ``raw``: the rows as they came."""

    def __init__(
        self,
        rows: Iterable[T] = (),
        *,
        rejected: Iterable[RejectedRow] = (),
        conflicts: Iterable[Conflict] = (),
        n_outside: int = 0,
        n_duplicate: int = 0,
        raw: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(rows)
        self.rejected = tuple(rejected)
        self.conflicts = tuple(conflicts)
        self.n_outside = n_outside
        self.n_duplicate = n_duplicate
        self.raw = tuple(raw)


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """How one host answered the question for the time.

    ``seconds`` is the round trip; ``offset_s`` how far this machine's clock is ahead of the venue's, None with
    ``error``.
    """

    url: str
    seconds: float
    offset_s: float | None
    error: Exception | None


@dataclass(frozen=True, slots=True)
class Ticker:
    """The market of one symbol at ``time``. Prices in quote coin; None where the venue gave no figure.

    ``funding_rate`` is the estimate for the settlement at ``next_funding_time``: positive, longs pay shorts.
    ``volume_24h`` and ``turnover_24h`` as Bybit gives them.
    """

    category: Category
    symbol: str
    time: datetime
    last_price: Decimal
    mark_price: Decimal | None
    index_price: Decimal | None
    bid_price: Decimal | None
    bid_qty: Decimal | None
    ask_price: Decimal | None
    ask_qty: Decimal | None
    volume_24h: Decimal | None
    turnover_24h: Decimal | None
    open_interest: Decimal | None
    funding_rate: Decimal | None
    next_funding_time: datetime | None
    funding_interval: timedelta | None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
