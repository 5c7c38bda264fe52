"""One symbol's market as the simulation needs it: checked, cut to the period, as contiguous arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from bybit.backtest.detail import Detail, detail_rows, opens_inside
from bybit.backtest.errors import UnusableData
from bybit.backtest.frames import PRICES, Floats, Integers, candle_columns, column, digest, open_times
from bybit.backtest.funding import SymbolSettlements, funding_arrays
from bybit.backtest.lifetime import TradedSpan, traded_span
from bybit.backtest.marks import MarkPolicy, MarkSource, marks, settlement_marks
from bybit.backtest.records import NOTHING
from bybit.rules.candles import Interval
from bybit.rules.errors import InvalidInput
from bybit.rules.funding import FundingRate
from bybit.rules.instruments import Instrument
from bybit.rules.margin import RiskTier
from bybit.rules.periods import Period, utc
from bybit.strategies.protocol import DAY_MS, MarketView

__all__ = ["MarkPolicy", "MarketData", "Prepared", "SymbolCandles", "prepare"]


@dataclass(frozen=True)
class MarketData:
    """What a run reads of one symbol.

    Attributes
    ----------
    candles : DataFrame
        Last-price candles (index open_time UTC; open high low close volume), warm-up before the period included.
    mark, mark_interval : DataFrame or None, Interval or None
        Mark-price candles and their length; finer than ``interval`` is as exact as the same.
    funding : sequence of FundingRate or DataFrame
        Settlements as recorded, oldest first; a frame has index funding_time and column funding_rate.
    instrument, risk_tiers : Instrument, sequence of RiskTier
        Contract rules and margin ladder, lowest tier first. Tiers of several ``as_of`` days are dated ladders: each
        holds from its day on, the first one before it as well, which the result says. Nothing is traded before the
        instrument's launch and after its delivery.
    gaps : tuple of Period
        Where candles are allowed to be absent; each absent one is counted in the result.
    closed : tuple of Period
        When the venue was closed: candles are absent there because nobody could trade. Told apart in the result.
    data_version : str or None
        Hash of the data as the store knows it; None computes one from the arrays that are used.
    detail, detail_interval : DataFrame or None, Interval or None
        Shorter last-price candles of the traded period. Orders then meet these, while the strategy goes on deciding
        at the closes of ``candles``; mark candles should be as short.
    quotes : DataFrame or None
        Recorded quotes (index open_time UTC; bid, ask) at candle opens, for ``Slippage.quotes``.
    """

    symbol: str
    interval: Interval
    candles: pd.DataFrame
    mark: pd.DataFrame | None
    mark_interval: Interval | None
    funding: Sequence[FundingRate] | pd.DataFrame
    instrument: Instrument
    risk_tiers: Sequence[RiskTier]
    gaps: tuple[Period, ...] = ()
    data_version: str | None = None
    detail: pd.DataFrame | None = None
    detail_interval: Interval | None = None
    quotes: pd.DataFrame | None = None
    closed: tuple[Period, ...] = ()


class SymbolCandles(NamedTuple):
    """The candles that orders of one symbol meet, shape (n_candles,); quote coin, times in ms UTC.

    ``row`` is the strategy's candle that each belongs to, counted from the first traded one; without detail candles
    each is its own. ``volume``, ``bid`` and ``ask`` have length 1 (NaN) when nobody asked for them.
    """

    open_ms: Integers
    close_ms: Integers
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    mark_open: Floats
    mark_high: Floats
    mark_low: Floats
    mark_close: Floats
    row: Integers
    bid: Floats
    ask: Floats


@dataclass(frozen=True)
class Prepared:
    """A market cut to one period: what the strategy sees, what the kernel trades and what had to be assumed.

    The view holds ``n_before`` warm-up candles and then the traded ones, whose closes are ``close_ms``;
    ``n_warmup_absent`` of the wanted warm-up were not there, ``n_absent`` candles of the period lie in allowed gaps,
    ``n_closed`` where the venue was closed.
    """

    market: MarketData
    view: MarketView
    candles: SymbolCandles
    close_ms: Integers
    settlements: SymbolSettlements
    span: TradedSpan
    n_before: int
    n_warmup_absent: int
    n_absent: int
    n_closed: int
    detail: Detail | None
    mark_is_coarser: bool
    data_version: str

    @property
    def symbol(self) -> str:
        """The contract's name."""
        return self.market.symbol

    @property
    def n_rows(self) -> int:
        """How many of the strategy's candles are traded."""
        return len(self.close_ms)


def prepare(
    market: MarketData,
    period: Period,
    n_warmup: int,
    mark_policy: MarkPolicy,
    *,
    with_volume: bool = False,
    with_quotes: bool = False,
) -> Prepared:
    """Return ``market`` ready for the kernel.

    ``with_volume`` and ``with_quotes`` add what some models of slippage need; absent values are NaN.

    Raises
    ------
    UnusableData
        For candles off the grid, absent outside allowed gaps, unsorted, or with prices that are none.
    NotEstablished
        When a mark price is missing that ``mark_policy`` asks for.
    """
    step = market.interval.ms
    if step > DAY_MS:
        raise InvalidInput(f"{market.interval.value} candles cannot be back-tested: use one day or shorter")
    what = f"candles of {market.symbol}"
    span = traded_span(market.instrument, market.interval, period)
    times = open_times(market.candles, what)
    first, last = np.searchsorted(times, [span.start_ms, span.last_open_ms + 1])
    begin = max(0, int(first) - n_warmup)
    part = market.candles.iloc[begin:last]
    times = times[begin:last]
    n_before = int(first) - begin
    columns = candle_columns(part, times, what)
    if n_before == len(times):
        raise UnusableData(f"no candle of {market.symbol} lies in {period}: fetch {market.interval.value} candles")
    n_absent, n_closed = _n_absent(market, times[n_before:], span.start_ms, span.last_open_ms + step)
    if n_before:
        # The warm-up has to reach the period without a hole as well; what a gap allows there needs no count.
        _n_absent(market, times[:n_before], int(times[0]), span.start_ms)

    traded, detail = times[n_before:], None
    if market.detail is None:
        interval, opens, row = market.interval, traded, np.arange(len(traded))
        last_prices = {name: values[n_before:] for name, values in columns.items()}
        table = part.iloc[n_before:]
    else:
        coarse = {name: values[n_before:] for name, values in columns.items()}
        detail = detail_rows(market.symbol, market.detail, market.detail_interval, market.interval, traded, coarse)
        detail.check_absent((*market.gaps, *market.closed))
        interval, opens, row = detail.interval, detail.open_ms, detail.row
        last_prices, table = detail.prices, detail.table
    source = MarkSource(market.symbol, market.mark, market.mark_interval, mark_policy)
    of_mark, mark_is_coarser = marks(source, opens, interval, last_prices)
    bid, ask = _quotes(market, opens) if with_quotes else (NOTHING, NOTHING)
    candles = SymbolCandles(
        open_ms=opens,
        close_ms=opens + interval.ms,
        **last_prices,
        volume=column(table, "volume", what, (*PRICES, "volume")) if with_volume else NOTHING,
        **of_mark._asdict(),
        row=row,
        bid=bid,
        ask=ask,
    )
    funding_ms, funding_rate = funding_arrays(market.symbol, market.funding)
    marked = settlement_marks(source, funding_ms, candles.open_ms, candles.open)
    settlements = SymbolSettlements(funding_ms, funding_rate, marked)
    return Prepared(
        market=market,
        view=_view(market, part, times, columns, funding_ms, funding_rate),
        candles=candles,
        close_ms=traded + step,
        settlements=settlements,
        span=span,
        n_before=n_before,
        n_warmup_absent=n_warmup - n_before,
        n_absent=n_absent,
        n_closed=n_closed,
        detail=detail,
        mark_is_coarser=mark_is_coarser,
        data_version=market.data_version or digest([times, *columns.values(), *candles, *settlements]),
    )


def _quotes(market: MarketData, opens: Integers) -> tuple[Floats, Floats]:
    # The recorded bid and ask at each open, NaN where there is none.
    nothing = np.full(len(opens), np.nan)
    if market.quotes is None or market.quotes.empty:
        return nothing, nothing
    what = f"quotes of {market.symbol}"
    times = open_times(market.quotes, what)
    bid, ask = (column(market.quotes, name, what, ("bid", "ask")) for name in ("bid", "ask"))
    known = np.isfinite(bid) & np.isfinite(ask)
    if (bad := known & ~((bid > 0.0) & (bid <= ask))).any():
        at = utc(int(times[bad][0])).isoformat()
        raise UnusableData(f"{what} are none at {at}: expected 0 < bid <= ask; run the quality checks on them")
    where = np.minimum(np.searchsorted(times, opens), len(times) - 1)
    found = (times[where] == opens) & known[where]
    return np.where(found, bid[where], np.nan), np.where(found, ask[where], np.nan)


def _view(
    market: MarketData,
    part: pd.DataFrame,
    times: Integers,
    columns: dict[str, Floats],
    funding_ms: Integers,
    funding_rate: Floats,
) -> MarketView:
    n_known = np.searchsorted(funding_ms, times + market.interval.ms, side="right")
    rate = np.concatenate([[np.nan], funding_rate])[n_known]
    length = np.concatenate([[np.nan, np.nan], np.diff(funding_ms)]) if len(funding_ms) else np.full(1, np.nan)
    arrays = {
        "open_time_ms": times.copy(),
        **{name: values.copy() for name, values in columns.items()},
        "volume": part["volume"].to_numpy(dtype=np.float64, copy=True),
        "funding_rate_known": rate,
        "funding_interval_known_ms": length[n_known],
    }
    # A strategy reads; what it writes would change what the next one sees.
    for array in arrays.values():
        array.flags.writeable = False
    return MarketView(symbol=market.symbol, interval=market.interval, **arrays)


def _n_absent(market: MarketData, times: Integers, start_ms: int, end_ms: int) -> tuple[int, int]:
    """Return how many candles are absent in allowed gaps, and how many while the venue was closed."""
    expected = market.interval.open_times(start_ms, end_ms)
    expected = expected[expected + market.interval.ms <= end_ms]
    if len(expected) == len(times) and (expected == times).all():
        return 0, 0
    if off := np.setdiff1d(times, expected).tolist():
        raise UnusableData(f"candles of {market.symbol} lie off the {market.interval.value} grid, e.g. {utc(off[0])}")
    absent = np.setdiff1d(expected, times)
    closed = opens_inside(absent, market.interval, market.closed)
    allowed = closed | opens_inside(absent, market.interval, market.gaps)
    if not allowed.all():
        at = utc(int(absent[~allowed][0])).isoformat()
        raise UnusableData(
            f"{int((~allowed).sum())} of {len(expected)} {market.interval.value} candles of {market.symbol} are absent "
            f"in {Period.from_ms(start_ms, end_ms)}, the first at {at}: fetch them, or allow them by name in gaps"
        )
    return int((~closed).sum()), int(closed.sum())
