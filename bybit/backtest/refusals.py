"""What the simulation could not know when it needed it: refused by name, time and symbol."""

import numpy as np

from bybit.backtest.errors import UnusableData
from bybit.backtest.portfolio import Portfolio
from bybit.backtest.records import (
    DONE,
    FEE_MISSING,
    FILL_COLUMNS,
    MARK_MISSING,
    NO_QUOTE,
    TAKER,
    VOLUME_MISSING,
    Integers,
)
from bybit.backtest.simulation import Outcome
from bybit.backtest.slippage import Slippage
from bybit.rules.errors import NotEstablished
from bybit.rules.periods import utc


def check_outcome(outcome: Outcome, book: Portfolio, slippage: Slippage) -> None:
    """Raise what stopped the simulation, if anything did.

    Raises
    ------
    NotEstablished
        For a mark price, a fee rate or a quote that was needed and is not known.
    UnusableData
        For a volume that was needed and is none.
    """
    if outcome.status == MARK_MISSING:
        symbol, at = _place(book, book.settlements.first, book.settlements.time_ms, outcome.where)
        raise NotEstablished(
            f"{symbol} is held at the settlement of {at} but no mark candle opens at that instant: give "
            "mark candles that do, or ask for mark_policy='last' by name"
        )
    symbol, at = _place(book, book.candles.first, book.candles.open_ms, outcome.where)
    if outcome.status == FEE_MISSING:
        raise NotEstablished(
            f"the fee rate of a fill of {symbol} at {at} is not established for the tier that the account has then: "
            "choose another tier or period, or give a schedule of your own"
        )
    if outcome.status == VOLUME_MISSING:
        raise UnusableData(
            f"the candle of {symbol} at {at} has no volume, by which an order's fill is limited: fetch candles with "
            "volume, or run without participation_rate and volume_share"
        )
    if outcome.status != DONE:
        raise AssertionError(f"the simulation stopped with status {outcome.status}, which nobody knows")
    if slippage.kind == "quotes" and slippage.rate is None and outcome.counts[NO_QUOTE]:
        fills = outcome.logs.fills
        candles = fills[fills[:, FILL_COLUMNS.index("taker")] == TAKER, FILL_COLUMNS.index("candle")].astype(np.int64)
        first = int(candles[np.isnan(book.candles.bid[candles])][0])
        symbol, at = _place(book, book.candles.first, book.candles.open_ms, first)
        raise NotEstablished(
            f"{int(outcome.counts[NO_QUOTE])} fills that take have no recorded quote, the first of {symbol} at {at}: "
            "give quotes of that time, or name a rate that stands in: quotes:RATE"
        )


def _place(book: Portfolio, first: Integers, times: Integers, where: int) -> tuple[str, str]:
    # The symbol and the time of a flat row; a run that went through ends behind the last one.
    row = min(where, len(times) - 1)
    symbol = book.symbols[int(np.searchsorted(first, row, side="right")) - 1]
    return symbol, utc(int(times[row])).isoformat()
