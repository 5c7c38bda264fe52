"""Several symbols as one account: flat arrays for the kernel, and the grids of time that they share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bybit.backtest.decisions import PRICED, Orders
from bybit.backtest.frames import index_ms
from bybit.backtest.market import MarketData, Prepared
from bybit.backtest.marks import Marks
from bybit.backtest.records import NOTHING, POST_ONLY, Candles, Decisions, Floats, Integers, Settlements
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.periods import utc

_Number = TypeVar("_Number", np.float64, np.int64)


@dataclass(frozen=True)
class Portfolio:
    """The markets of one account on common grids.

    Attributes
    ----------
    parts : tuple of Prepared
        One a symbol, in the order given.
    candles, settlements : Candles, Settlements
        Flat arrays of all symbols, one after another.
    step_ms : ndarray of shape (n_steps,)
        Sorted opens of all candles that orders meet.
    close_ms : ndarray of shape (n_closes,)
        Sorted closes of the strategy's candles: where equity is reported.
    """

    parts: tuple[Prepared, ...]
    candles: Candles
    settlements: Settlements
    step_ms: Integers
    close_ms: Integers

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols in order."""
        return tuple(part.symbol for part in self.parts)

    def at_closes(self, equity: Floats, initial: float) -> Floats:
        """Return ``equity`` of every step, shape (n_steps,), as it stood at the reported closes, shape (n_closes,)."""
        length = int(self.candles.close_ms[0] - self.candles.open_ms[0])
        if len(self.step_ms) == len(self.close_ms) and (self.step_ms + length == self.close_ms).all():
            return equity
        n_known = np.searchsorted(self.step_ms + length, self.close_ms, side="right")
        return np.concatenate([[initial], equity])[n_known]

    def reported(self, candles: Integers) -> Integers:
        """Return at which reported close each flat candle is seen first, shape as given."""
        return np.searchsorted(self.close_ms, self.candles.open_ms[candles], side="right")

    def backing(self, given: "pd.Series[float] | float | None") -> Floats:
        """Return the collateral value of other coins at each step, shape (n_steps,) or (1,).

        Raises
        ------
        NotEstablished
            When a series begins after the first step.
        InvalidInput
            For values that are no amounts.
        """
        if not isinstance(given, pd.Series):
            values = np.array([0.0 if given is None else float(given)])
        else:
            times = index_ms(given.to_frame(), "backing")
            if (np.diff(times) <= 0).any():
                raise InvalidInput("backing is not strictly oldest first: sort it and keep one value a time")
            n_known = np.searchsorted(times, self.step_ms, side="right")
            if not n_known[0]:
                raise NotEstablished(
                    f"backing is not known at {utc(int(self.step_ms[0])).isoformat()}, where trading starts: give its "
                    "value from then on"
                )
            values = given.to_numpy(dtype=np.float64)[n_known - 1]
        if not ((values >= 0.0) & np.isfinite(values)).all():
            raise InvalidInput("backing holds values that are no amounts: expected finite ones, zero or more")
        return values


def portfolio(parts: Sequence[Prepared]) -> Portfolio:
    """Return the prepared markets as one portfolio."""
    candles = [part.candles for part in parts]
    first, first_row = _starts([len(one.open_ms) for one in candles]), _starts([part.n_rows for part in parts])
    prices: dict[str, Floats] = {
        name: _joined([getattr(one, name) for one in candles])
        for name in ("open", "high", "low", "close", *Marks._fields)
    }
    lengths = np.diff(first).tolist()
    optional = {name: _optional([getattr(one, name) for one in candles], lengths) for name in ("volume", "bid", "ask")}
    # Without detail candles each one is its own row, in every symbol alike.
    row = np.zeros(1, dtype=np.int64)
    if any(part.detail is not None for part in parts):
        row = _joined([one.row + start for one, start in zip(candles, first_row[:-1].tolist(), strict=True)])
    settled = [part.settlements for part in parts]
    return Portfolio(
        parts=tuple(parts),
        candles=Candles(
            first=first,
            open_ms=_joined([one.open_ms for one in candles]),
            close_ms=_joined([one.close_ms for one in candles]),
            **prices,
            **optional,
            row=row,
        ),
        settlements=Settlements(
            first=_starts([len(one.time_ms) for one in settled]),
            time_ms=_joined([one.time_ms for one in settled]),
            rate=_joined([one.rate for one in settled]),
            mark=_joined([one.mark for one in settled]),
        ),
        step_ms=reduce(np.union1d, [one.open_ms for one in candles]),
        close_ms=reduce(np.union1d, [part.close_ms for part in parts]),
    )


def flat_decisions(orders: Sequence[Orders]) -> Decisions:
    """Return the orders of all symbols as flat arrays; what no symbol asked for has length 1."""
    n_rows = [len(one.target) for one in orders]
    prices = {name: _optional([one.prices.get(name, NOTHING) for one in orders], n_rows) for name in PRICED}
    flags = np.full(1, POST_ONLY, dtype=np.int64)
    if any(one.flags is not None for one in orders):
        flags = _joined(
            [
                np.full(n, POST_ONLY, dtype=np.int64) if one.flags is None else one.flags
                for one, n in zip(orders, n_rows, strict=True)
            ]
        )
    return Decisions(
        target=_joined([one.target for one in orders]), close=_joined([one.close for one in orders]), **prices,
        flags=flags,
    )  # fmt: skip


def checked_allocations(markets: Sequence[MarketData], given: Mapping[str, float] | None) -> dict[str, float]:
    """Return the share of account equity by symbol; None shares it equally.

    Raises
    ------
    InvalidInput
        For symbols without a share or shares without a symbol, outside (0, 1], or of more than the whole.
    """
    symbols = [market.symbol for market in markets]
    if given is None:
        return dict.fromkeys(symbols, 1.0 / len(symbols))
    if set(given) != set(symbols):
        raise InvalidInput(f"allocations name {', '.join(sorted(given))}: expected exactly {', '.join(symbols)}")
    if any(not 0.0 < share <= 1.0 for share in given.values()) or sum(given.values()) > 1.0 + 1e-12:
        raise InvalidInput(f"allocations are {dict(given)}: expected shares in (0, 1] of 1 in total at most")
    return {symbol: float(given[symbol]) for symbol in symbols}


def backing_words(given: "pd.Series[float] | float | None") -> Any:
    """Return the collateral of other coins as plain values: None, an amount, or [ms UTC, amount] pairs."""
    if not isinstance(given, pd.Series):
        return None if given is None else float(given)
    times = index_ms(given.to_frame(), "backing").tolist()
    return [[ms, float(value)] for ms, value in zip(times, given.to_numpy(dtype=np.float64), strict=True)]


def check_markets(markets: Sequence[MarketData], category: Category) -> None:
    """Raise ``InvalidInput`` unless ``markets`` can share one account.

    That is: at least one, none twice, the rules of the same contracts, one settle coin, candles of one length.
    """
    if not markets:
        raise InvalidInput("nothing to trade: give at least one market")
    symbols = [market.symbol for market in markets]
    if len(set(symbols)) < len(symbols):
        raise InvalidInput(f"a symbol stands twice among {', '.join(symbols)}")
    for market in markets:
        if market.instrument.symbol != market.symbol or market.instrument.category is not category:
            raise InvalidInput(
                f"the instrument is {market.instrument.category} {market.instrument.symbol}, the candles are "
                f"{category} {market.symbol}: give that contract's rules"
            )
    coins = sorted({market.instrument.settle_coin for market in markets})
    if len(coins) > 1:
        raise InvalidInput(f"one account counts in one coin, these settle in {', '.join(coins)}: run them apart")
    for name in ("interval", "detail_interval"):
        lengths = {getattr(market, name) for market in markets if market.detail is not None or name == "interval"}
        without = any(market.detail is None for market in markets) and name == "detail_interval"
        if len(lengths) > 1 or (lengths and without):
            raise InvalidInput(
                f"the {name} differs among {', '.join(symbols)}: one account needs candles of one length"
            )


def _starts(lengths: Sequence[int]) -> Integers:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _joined(arrays: Sequence[NDArray[_Number]]) -> NDArray[_Number]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _optional(arrays: Sequence[Floats], lengths: Sequence[int]) -> Floats:
    # Length 1 only when every symbol goes without.
    if all(array is NOTHING for array in arrays):
        return NOTHING
    return _joined(
        [np.full(n, np.nan) if array is NOTHING else array for array, n in zip(arrays, lengths, strict=True)]
    )
