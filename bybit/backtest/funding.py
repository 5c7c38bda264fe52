"""Settlements of funding as arrays, and the refusal of a position that was held where none is known."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from bybit.backtest.errors import UnusableData
from bybit.backtest.frames import Floats, Integers, index_ms
from bybit.backtest.records import FILL_COLUMNS, LIQUIDATION_COLUMNS, STEP_DOWN, Settlements
from bybit.rules.errors import NotEstablished
from bybit.rules.funding import FundingRate
from bybit.rules.periods import to_ms, utc
from bybit.strategies.protocol import DAY_MS


class SymbolSettlements(NamedTuple):
    """Funding of one symbol, oldest first, shape (n_settlements,); ``mark`` is NaN where nobody knows it."""

    time_ms: Integers
    rate: Floats
    mark: Floats


def funding_arrays(symbol: str, funding: Sequence[FundingRate] | pd.DataFrame) -> tuple[Integers, Floats]:
    """Return settlement times (ms UTC) and rates, oldest first, shape (n_settlements,).

    Raises
    ------
    UnusableData
        When two settlements share a time, are out of order, belong to another symbol or have no rate.
    """
    if isinstance(funding, pd.DataFrame):
        times = index_ms(funding, f"funding of {symbol}")
        rates = funding["funding_rate"].to_numpy(dtype=np.float64, copy=True)
    else:
        if others := {rate.symbol for rate in funding} - {symbol}:
            raise UnusableData(f"funding of {symbol} holds settlements of {', '.join(sorted(others))}")
        times = np.array([to_ms(rate.funding_time) for rate in funding], dtype=np.int64)
        rates = np.array([float(rate.funding_rate) for rate in funding], dtype=np.float64)
    if (np.diff(times) <= 0).any():
        at = utc(int(times[1:][np.diff(times) <= 0][0])).isoformat()
        raise UnusableData(f"funding of {symbol} has two settlements at {at}, or is not oldest first")
    if not np.isfinite(rates).all():
        raise UnusableData(f"funding of {symbol} has settlements without a rate: a missing rate is never zero")
    return times, rates


def without_funding(settlements: Settlements) -> Settlements:
    """Return no settlement at all, for the same symbols."""
    return Settlements(
        np.zeros_like(settlements.first), settlements.time_ms[:0], settlements.rate[:0], settlements.mark[:0]
    )


def check_known(symbol: str, settlements: SymbolSettlements) -> None:
    """Raise ``NotEstablished`` when no settlement of ``symbol`` is known at all."""
    if not len(settlements.time_ms):
        raise NotEstablished(
            f"no funding of {symbol} is known at all: fetch it, or ask for funding_policy='zero' by name"
        )


def check_settled(symbol: str, end_ms: int, settled_ms: Integers, fills: Floats, liquidations: Floats) -> None:
    """Refuse a position held for more than a day without a settlement: funding is missing there, not zero.

    ``fills`` and ``liquidations`` are the symbol's rows of the logs, ``end_ms`` its last close.

    Raises
    ------
    NotEstablished
        With the time from which the settlement is missing.
    """
    times = np.concatenate([[-np.inf], settled_ms.astype(np.float64), [np.inf]])
    silent = np.flatnonzero(np.diff(times) > DAY_MS)
    filled = fills[:, [FILL_COLUMNS.index(name) for name in ("event", "fill_time", "size_after")]]
    # A step-down leaves a position behind, and a fill or a takeover to end it.
    ended = liquidations[liquidations[:, LIQUIDATION_COLUMNS.index("kind")] != STEP_DOWN]
    ends_at = ended[:, [LIQUIDATION_COLUMNS.index(name) for name in ("event", "liquidation_time")]]
    held = np.concatenate([filled, np.column_stack([ends_at, np.zeros(len(ended))])])
    held = held[np.argsort(held[:, 0], kind="stable")]
    # Adding and reducing do not interrupt a holding: it lasts from a flat account to the next.
    changes = np.flatnonzero(np.diff(held[:, 2] != 0.0, prepend=False))
    bounds = np.append(held[changes, 1], float(end_ms))
    starts, ends = bounds[0 : len(changes) : 2], bounds[1 : len(changes) + 1 : 2]
    for k in silent:
        both = np.minimum(ends, times[k + 1]) - np.maximum(starts, times[k])
        if len(both) and both.max() > DAY_MS:
            start = max(starts[both.argmax()], times[k])
            raise NotEstablished(
                f"{symbol} is held for more than a day from {utc(int(start)).isoformat()} without a settlement: "
                "fetch the funding of that time, or ask for funding_policy='zero' by name"
            )
