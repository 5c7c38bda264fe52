"""One symbol's market as the simulation needs it: checked, cut to the period, as contiguous arrays."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bybit.backtest.errors import UnusableData
from bybit.backtest.kernel import Candles, Settlements
from bybit.rules.candles import Interval
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.funding import FundingRate
from bybit.rules.instruments import Instrument
from bybit.rules.margin import RiskTier
from bybit.rules.periods import Period, to_ms, utc
from bybit.strategies.protocol import DAY_MS, MarketView

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
MarkPolicy = Literal["exact", "coarser", "last"]
PRICES = ("open", "high", "low", "close")


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
        holds from its day on, the first one before it as well, which the result says.
    gaps : tuple of Period
        Where candles are allowed to be absent; each absent one is counted in the result.
    data_version : str or None
        Hash of the data as the store knows it; None computes one from the arrays that are used.
    detail, detail_interval : DataFrame or None, Interval or None
        Shorter last-price candles of the traded period. Orders then meet these, while the strategy goes on deciding
        at the closes of ``candles``.
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


@dataclass(frozen=True)
class Prepared:
    """A market cut to one period: what the strategy sees, what the kernel trades and what had to be assumed.

    The view holds ``n_before`` warm-up candles and then the traded ones; ``n_warmup_absent`` of the wanted warm-up
    were not there, ``n_absent`` candles of the period lie in allowed gaps.
    """

    view: MarketView
    candles: Candles
    settlements: Settlements
    n_before: int
    n_warmup_absent: int
    n_absent: int
    mark_is_coarser: bool
    data_version: str


def prepare(market: MarketData, period: Period, n_warmup: int, mark_policy: MarkPolicy) -> Prepared:
    """Return ``market`` ready for the kernel.

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
    times = _open_times(market.candles, f"candles of {market.symbol}")
    first, last = np.searchsorted(times, [period.start_ms, period.end_ms - step + 1])
    begin = max(0, int(first) - n_warmup)
    part = market.candles.iloc[begin:last]
    times = times[begin:last]
    n_before = int(first) - begin
    columns = {name: _prices(part, name, f"candles of {market.symbol}") for name in PRICES}
    _check_shape(columns, times, f"candles of {market.symbol}")
    if n_before == len(times):
        raise UnusableData(f"no candle of {market.symbol} lies in {period}: fetch {market.interval.value} candles")
    n_absent = _n_absent(market, times[n_before:], period)
    if n_before:
        # The warm-up has to reach the period without a hole as well; what a gap allows there needs no count.
        _n_absent(market, times[:n_before], Period.from_ms(int(times[0]), period.start_ms))

    traded = {name: values[n_before:] for name, values in columns.items()}
    candles, mark_is_coarser = _with_mark(market, times[n_before:], traded, mark_policy)
    funding_ms, funding_rate = funding_arrays(market)
    settlements = Settlements(funding_ms, funding_rate, _settlement_marks(market, candles, funding_ms, mark_policy))
    view = _view(market, part, times, columns, funding_ms, funding_rate)
    return Prepared(
        view=view,
        candles=candles,
        settlements=settlements,
        n_before=n_before,
        n_warmup_absent=n_warmup - n_before,
        n_absent=n_absent,
        mark_is_coarser=mark_is_coarser,
        data_version=market.data_version or _digest([times, *columns.values(), *candles, *settlements]),
    )


def funding_arrays(market: MarketData) -> tuple[Integers, Floats]:
    """Return settlement times (ms UTC) and rates, oldest first, shape (n_settlements,).

    Raises
    ------
    UnusableData
        When two settlements share a time, are out of order, belong to another symbol or have no rate.
    """
    if isinstance(market.funding, pd.DataFrame):
        times = _index_ms(market.funding, f"funding of {market.symbol}")
        rates = market.funding["funding_rate"].to_numpy(dtype=np.float64, copy=True)
    else:
        if others := {rate.symbol for rate in market.funding} - {market.symbol}:
            raise UnusableData(f"funding of {market.symbol} holds settlements of {', '.join(sorted(others))}")
        times = np.array([to_ms(rate.funding_time) for rate in market.funding], dtype=np.int64)
        rates = np.array([float(rate.funding_rate) for rate in market.funding], dtype=np.float64)
    if (np.diff(times) <= 0).any():
        at = utc(int(times[1:][np.diff(times) <= 0][0])).isoformat()
        raise UnusableData(f"funding of {market.symbol} has two settlements at {at}, or is not oldest first")
    if not np.isfinite(rates).all():
        raise UnusableData(f"funding of {market.symbol} has settlements without a rate: a missing rate is never zero")
    return times, rates


def _with_mark(
    market: MarketData, times: Integers, last: dict[str, Floats], policy: MarkPolicy
) -> tuple[Candles, bool]:
    # Returns the candles with a mark for each, and whether it came from longer mark candles.
    step = market.interval.ms
    close_ms = times + step
    if policy == "last":
        return Candles(times, close_ms, **last, **{f"mark_{name}": last[name] for name in PRICES}), False
    if market.mark is None or market.mark_interval is None:
        raise NotEstablished(
            f"no mark prices of {market.symbol}: liquidation is judged by the mark; give mark candles, or ask for "
            "mark_policy='last' by name"
        )
    what = f"mark candles of {market.symbol}"
    mark_step = market.mark_interval.ms
    mark_times = _open_times(market.mark, what)
    mark = {name: _prices(market.mark, name, what) for name in PRICES}
    _check_shape(mark, mark_times, what)
    if mark_step <= step:
        if (mark_times % mark_step).any():
            raise UnusableData(f"{what} lie off the {market.mark_interval.value} grid")
        if step % mark_step:
            raise InvalidInput(f"{market.mark_interval.value} mark candles do not fill {market.interval.value} ones")
        where = _places(market, mark_times, times, step // mark_step)
        rows = where[:, None] + np.arange(step // mark_step)
        return (
            Candles(
                times,
                close_ms,
                **last,
                mark_open=mark["open"][where],
                mark_high=mark["high"][rows].max(axis=1),
                mark_low=mark["low"][rows].min(axis=1),
                mark_close=mark["close"][rows[:, -1]],
            ),
            False,
        )
    if policy == "exact":
        raise NotEstablished(
            f"mark candles of {market.symbol} are {market.mark_interval.value}, longer than the candles "
            f"({market.interval.value}): give mark candles of that length, or ask for mark_policy='coarser' by name"
        )
    if mark_step % step:
        raise InvalidInput(f"{market.interval.value} candles do not fill {market.mark_interval.value} mark candles")
    cover = (times - mark_times[0]) // mark_step * mark_step + mark_times[0] if len(mark_times) else times
    where = _places(market, mark_times, cover, 1)
    low, high = mark["low"][where], mark["high"][where]
    ends = mark_times[where] + mark_step == close_ms
    return (
        Candles(
            times,
            close_ms,
            **last,
            # Inside a longer candle the mark at the open is not known; its extremes hold for every candle inside.
            mark_open=np.where(mark_times[where] == times, mark["open"][where], np.nan),
            mark_high=high.copy(),
            mark_low=low.copy(),
            mark_close=np.where(ends, mark["close"][where], np.clip(last["close"], low, high)),
        ),
        True,
    )


def _places(market: MarketData, mark_times: Integers, wanted: Integers, n_each: int) -> Integers:
    """Return the row of each wanted mark candle; all ``n_each`` from there on have to be present."""
    assert market.mark_interval is not None  # the caller looked
    where = np.searchsorted(mark_times, wanted)
    span = (n_each - 1) * market.mark_interval.ms
    inside = where + n_each <= len(mark_times)
    present = inside.copy()
    first = where[inside]
    present[inside] = (mark_times[first] == wanted[inside]) & (mark_times[first + n_each - 1] == wanted[inside] + span)
    if not present.all():
        at = utc(int(wanted[~present][0])).isoformat()
        raise NotEstablished(
            f"mark prices of {market.symbol} are missing for {int((~present).sum())} of {len(wanted)} candles, the "
            f"first at {at}: fetch them, choose a period that has them, or ask for mark_policy='last' by name"
        )
    return where.astype(np.int64)


def _settlement_marks(market: MarketData, candles: Candles, times: Integers, policy: MarkPolicy) -> Floats:
    # The mark at a settlement is the open of a mark candle at exactly that instant; anything else is not known.
    source_times, opens = candles.open_ms, candles.open
    if policy != "last" and market.mark is not None:
        source_times, opens = _index_ms(market.mark, "mark"), market.mark["open"].to_numpy(dtype=np.float64)
    where = np.minimum(np.searchsorted(source_times, times), len(source_times) - 1)
    return np.where(source_times[where] == times, opens[where], np.nan)


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


def _n_absent(market: MarketData, times: Integers, period: Period) -> int:
    expected = market.interval.open_times(period.start_ms, period.end_ms)
    expected = expected[expected + market.interval.ms <= period.end_ms]
    if len(expected) == len(times) and (expected == times).all():
        return 0
    if off := np.setdiff1d(times, expected).tolist():
        raise UnusableData(f"candles of {market.symbol} lie off the {market.interval.value} grid, e.g. {utc(off[0])}")
    absent = np.setdiff1d(expected, times)
    allowed = np.zeros(len(absent), dtype=np.bool_)
    for gap in market.gaps:
        allowed |= (absent >= market.interval.floor_ms(gap.start_ms)) & (absent < gap.end_ms)
    if not allowed.all():
        at = utc(int(absent[~allowed][0])).isoformat()
        raise UnusableData(
            f"{int((~allowed).sum())} of {len(expected)} {market.interval.value} candles of {market.symbol} are absent "
            f"in {period}, the first at {at}: fetch them, or allow them by name in gaps"
        )
    return len(absent)


def _open_times(frame: pd.DataFrame, what: str) -> Integers:
    times = _index_ms(frame, what)
    if (np.diff(times) <= 0).any():
        at = utc(int(times[1:][np.diff(times) <= 0][0])).isoformat()
        raise UnusableData(f"{what} are not strictly oldest first at {at}: sort them and keep one a time")
    return times


def _index_ms(frame: pd.DataFrame, what: str) -> Integers:
    if not isinstance(frame.index, pd.DatetimeIndex) or frame.index.tz is None:
        raise UnusableData(f"{what} need an index of aware UTC times, found {frame.index.dtype}")
    return np.array(frame.index.as_unit("ms").asi8, dtype=np.int64)


def _prices(frame: pd.DataFrame, name: str, what: str) -> Floats:
    if name not in frame.columns:
        raise UnusableData(f"{what} have no column {name!r}: expected {', '.join(PRICES)}")
    return np.ascontiguousarray(frame[name].to_numpy(dtype=np.float64, copy=True))


def _check_shape(columns: dict[str, Floats], times: Integers, what: str) -> None:
    high, low = columns["high"], columns["low"]
    bad = ~((low > 0.0) & np.isfinite(high))
    for price in (columns["open"], columns["close"]):
        bad |= ~((low <= price) & (price <= high))
    if bad.any():
        at = utc(int(times[bad][0])).isoformat()
        raise UnusableData(
            f"{int(bad.sum())} {what} are none (NaN, not positive, or open or close outside low and high), the first "
            f"at {at}: run the quality checks and fetch them again"
        )


def _digest(arrays: Sequence[NDArray[np.generic]]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
