"""One door to the past: fetch what is missing, keep it, hand it out."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from bybit.history.cache import CandleCache
from bybit.history.candles import CandleIngest, Tally
from bybit.history.closures import Closures, unexplained
from bybit.history.fees import ingest_fee_rates
from bybit.history.funding import FundingIngest
from bybit.history.lease import held, waiting
from bybit.history.lifetime import Lifetime, by_life
from bybit.history.pages import next_open, whole_candles
from bybit.history.reader import CandleReader
from bybit.history.report import IngestReport
from bybit.history.run import Run
from bybit.history.venue import Venue
from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fees import FeeSnapshot
from bybit.rules.instruments import Instrument
from bybit.rules.periods import Period, Span, subtract_spans, to_ms, utc
from bybit.store import FundingKey, Store
from bybit.store.series import AnyKey

__all__ = ["HistoricalDataManager", "IngestReport"]

# What is missing this shortly after it was due may only be late; it stays missing instead of becoming a hole.
_FRESH = timedelta(minutes=10)
# The venue publishes a settlement within seconds; calling the last minutes complete could lose one for good.
_FUNDING_SETTLES = timedelta(minutes=5)
# Recorded: WIFUSDT has a settlement four hours before its first candle. A day more costs no question more.
_FUNDED_EARLY_MS = 86_400_000

_PRICES = {
    Category.SPOT: (PriceType.LAST,),
    Category.LINEAR: tuple(PriceType),
    Category.INVERSE: (PriceType.LAST, PriceType.MARK, PriceType.INDEX),
}


class HistoricalDataManager:
    """Fetches, stores and hands out candles and funding.

    Safe to repeat and to share between threads: what is stored is not asked for again, and one series is fetched by
    one at a time, whoever else tries.

    Parameters
    ----------
    client : Venue
        The market data, e.g. a ``BybitClient``.
    store : Store
        Where it is kept.
    clock : callable, optional
        The venue's time, aware UTC; the client's ``server_time`` when None. Asked once per ingest.
    workers : int
        Requests in flight at once, per ingest.
    confirmations : int
        How often a gap is asked for again before it counts as empty at the venue.
    lease_ttl : timedelta
        After how long without a sign of life another process may take a series over.
    lease_wait_s : float
        How long to wait for another process that is fetching the same series.
    cache : CandleCache, optional
        Where copies of stored candles are kept for fast reading; None reads SQL every time. What comes back is equal.
    """

    def __init__(
        self,
        client: Venue,
        store: Store,
        *,
        clock: Callable[[], datetime] | None = None,
        workers: int = 8,
        confirmations: int = 2,
        lease_ttl: timedelta = timedelta(seconds=30),
        lease_wait_s: float = 120.0,
        cache: CandleCache | None = None,
    ) -> None:
        if workers < 1 or confirmations < 1:
            raise InvalidInput(f"workers ({workers}) and confirmations ({confirmations}) must be 1 or more")
        self._venue = client
        self._store = store
        self._clock = client.server_time if clock is None else clock
        self._workers = workers
        self._confirmations = confirmations
        self._lease_ttl = lease_ttl
        self._lease_wait_s = lease_wait_s
        self._reader = CandleReader(store, cache)

    def ingest_candles(
        self, key: SeriesKey, period: Period, *, on_progress: Callable[[int, int], None] | None = None
    ) -> IngestReport:
        """Store the candles of ``key`` that open in ``period`` and are not stored yet.

        Idempotent and resumable: every commit holds rows and coverage together, oldest first. The period is cut to
        candles that are closed by the venue's clock; before the listing nothing is asked.

        Parameters
        ----------
        key : SeriesKey
            What to fetch.
        period : Period
            Half-open; candles are chosen by their open time.
        on_progress : callable, optional
            Told (candles settled, candles to settle) after each commit.

        Raises
        ------
        InvalidInput
            When the venue has no such symbol, or no such price for its category.
        LeaseHeld
            When another process keeps fetching the series for longer than ``lease_wait_s``.
        BybitError, StoreError
            As they come; what was committed stays.
        """
        if key.price not in _PRICES[key.category]:
            allowed = ", ".join(price.value for price in _PRICES[key.category])
            raise InvalidInput(f"the venue serves no {key.price.value} candles of {key.category}: use one of {allowed}")
        run = self._begin()
        end_ms = min(period.end_ms, key.interval.floor_ms(run.now_ms))
        wanted = whole_candles(key.interval, period.start_ms, max(end_ms, period.start_ms))
        clipped = utc(end_ms) if end_ms < period.end_ms else None
        if wanted[0] >= wanted[1]:
            return self._nothing(key, run, clipped)
        lifetime = self._lifetime(key.category, key.symbol, run)
        # The candle that covers the listing is the first there is, and the one that covers the end is the last.
        first_ms = None if lifetime.launch_ms is None else key.interval.floor_ms(lifetime.launch_ms)
        last_ms = None if lifetime.delivery_ms is None else next_open(key.interval, lifetime.delivery_ms)
        with held(self._store, f"candles {key.exchange} {key}", self._lease_ttl, self._lease_wait_s) as lease:
            missing = self._missing(key, wanted)
            total = sum(len(key.interval.open_times(*span)) for span in missing)
            done = 0

            def settled(n_candles: int) -> None:
                nonlocal done
                done += n_candles
                if on_progress is not None:
                    on_progress(done, total)

            closures = Closures(self._venue, self._store, key.category, run.asked)
            ingest = CandleIngest(
                self._venue,
                self._store,
                key,
                lease,
                workers=self._workers,
                confirmations=self._confirmations,
                now=run.now,
                fresh_ms=run.now_ms - _FRESH // timedelta(milliseconds=1),
                closures=closures,
                wait=waiting(self._store, lease),
                on_settled=settled,
            )
            ingest.reconsider(unexplained(self._store, key, wanted, run.now_ms))
            before, alive, after = by_life(missing, first_ms, last_ms)
            ingest.explain(before, lifetime.before)
            ingest.fetch(alive)
            ingest.explain(after, lifetime.after)
            run.requests += closures.requests
        n_rows = self._store.candles.count(key, Period.from_ms(*wanted))
        return self._report(key, run, wanted, clipped, ingest.tally, n_rows)

    def ingest_funding(self, category: Category, symbol: str, period: Period) -> IngestReport:
        """Store the settlements of ``symbol`` in ``period`` that are not stored yet.

        Idempotent and resumable like ``ingest_candles``. The last five minutes before the venue's clock are stored but
        not called complete.

        Raises
        ------
        InvalidInput
            When the venue has no such symbol, or its category pays no funding.
        """
        if category is Category.SPOT:
            raise InvalidInput("spot pays no funding: use linear or inverse")
        key = FundingKey(category, symbol)
        run = self._begin()
        settled_ms = run.now_ms - _FUNDING_SETTLES // timedelta(milliseconds=1)
        wanted = (period.start_ms, min(period.end_ms, settled_ms))
        clipped = utc(settled_ms) if settled_ms < period.end_ms else None
        asked = (period.start_ms, min(period.end_ms, run.now_ms + 1))
        if wanted[0] >= wanted[1]:
            return self._nothing(key, run, clipped)
        lifetime = self._lifetime(category, symbol, run)
        with held(self._store, f"funding {key.exchange} {key}", self._lease_ttl, self._lease_wait_s) as lease:
            missing = self._missing(key, wanted)
            if missing and missing[-1][1] == wanted[1]:
                # What was published since counts as stored already, though not as complete.
                missing[-1] = (missing[-1][0], asked[1])
            ingest = FundingIngest(
                self._venue,
                self._store,
                key,
                lease,
                workers=self._workers,
                confirmations=self._confirmations,
                now=run.now,
                fresh_ms=settled_ms,
                launch_ms=lifetime.launch_ms,
                wait=waiting(self._store, lease),
            )
            first_ms = None if lifetime.launch_ms is None else lifetime.launch_ms - _FUNDED_EARLY_MS
            before, alive, after = by_life(missing, first_ms, lifetime.delivery_ms)
            ingest.explain(before, lifetime.before)
            ingest.fetch(alive)
            ingest.explain(after, lifetime.after)
        n_rows = self._store.funding.count(category, symbol, Period.from_ms(*wanted))
        return self._report(key, run, wanted, clipped, ingest.tally, n_rows)

    def ingest_instruments(self, category: Category, symbols: Sequence[str]) -> list[Instrument]:
        """Store the contract rules of ``symbols`` as the venue gives them now; return them in that order.

        Raises
        ------
        InvalidInput
            When the venue lists one of them not.
        """
        found = [self._instrument(category, symbol) for symbol in symbols]
        self._store.instruments.write(found)
        return found

    def ingest_risk_tiers(self, symbols: Sequence[str], *, category: Category = Category.LINEAR) -> None:
        """Store the margin ladders of ``symbols`` as the venue gives them now.

        Raises
        ------
        NotEstablished
            When the venue gives none for one of them.
        """
        for symbol in symbols:
            tiers = [tier for tier in self._venue.get_risk_limits(category, symbol) if tier.symbol == symbol]
            if not tiers:
                raise NotEstablished(f"the venue gives no margin ladder for {category} {symbol}")
            self._store.risk_tiers.write(tiers)

    def ingest_fee_rates(self, category: Category, symbols: Sequence[str] | None = None) -> list[FeeSnapshot]:
        """Store what the account pays for ``symbols`` (None: for all) now: ``history.fees``. Needs a key."""
        return ingest_fee_rates(self._venue, self._store, category, symbols, self._clock())

    def fetch_ohlcv(
        self,
        symbol: str,
        interval: Interval | str,
        start: datetime | int,
        end: datetime | int,
        *,
        category: Category = Category.LINEAR,
        price: PriceType = PriceType.LAST,
        fetch: bool = True,
    ) -> pd.DataFrame:
        """Return the candles that open in [start, end), fetching first what is not stored.

        Parameters
        ----------
        symbol, interval, category, price
            The series; ``interval`` also as text such as "1h".
        start, end : datetime or int
            Aware datetimes or ms UTC, half-open.
        fetch : bool
            False: only what is stored, without a request.

        Returns
        -------
        DataFrame of shape (n_candles, 6)
            As ``Store.candles.read``. Candles that do not exist are not there; ``attrs["missing"]`` lists as text the
            spans that are neither stored nor explained.
        """
        length = interval if isinstance(interval, Interval) else Interval.parse(interval)
        key = SeriesKey(category, symbol, price, length)
        period = _period(start, end)
        aligned = whole_candles(length, *period.span_ms)
        glance = self._reader.look(key)
        if fetch and subtract_spans([aligned], glance.known):
            self.ingest_candles(key, period)
            glance = self._reader.look(key)
        frame, known = self._reader.read(glance, period)
        frame.attrs["missing"] = [str(Period.from_ms(*span)) for span in subtract_spans([aligned], known)]
        return frame

    def fetch_funding_history(
        self,
        symbol: str,
        start: datetime | int,
        end: datetime | int,
        *,
        category: Category = Category.LINEAR,
        fetch: bool = True,
    ) -> pd.DataFrame:
        """Return the settlements in [start, end), fetching first what is not stored.

        Returns
        -------
        DataFrame of shape (n_settlements, 2)
            As ``Store.funding.read``; ``attrs["missing"]`` lists as text the spans not known to be complete.
        """
        key, period = FundingKey(category, symbol), _period(start, end)
        if fetch and self._missing(key, period.span_ms):
            self.ingest_funding(category, symbol, period)
        frame = self._store.funding.read(category, symbol, period)
        frame.attrs["missing"] = [str(Period.from_ms(*span)) for span in self._missing(key, period.span_ms)]
        return frame

    def fetch_ohlcv_with_funding(
        self,
        symbol: str,
        interval: Interval | str,
        start: datetime | int,
        end: datetime | int,
        *,
        category: Category = Category.LINEAR,
        fetch: bool = True,
    ) -> pd.DataFrame:
        """Return candles with the funding rate settled at their open.

        Returns
        -------
        DataFrame of shape (n_candles, 7)
            As ``fetch_ohlcv`` with ``funding_rate`` (fraction, positive when longs pay shorts): NaN except on a candle
            that opens at a settlement. Settlements at any other time (inside a long candle, or where a candle does not
            exist) are in ``attrs["funding_between"]`` as (time, rate) texts: none is lost and none is moved.
        """
        frame = self.fetch_ohlcv(symbol, interval, start, end, category=category, fetch=fetch)
        settled = self.fetch_funding_history(symbol, start, end, category=category, fetch=fetch)
        at_open = settled.index.isin(frame.index)
        rates = np.full(len(frame), np.nan)
        rates[frame.index.get_indexer(settled.index[at_open])] = settled["funding_rate"].to_numpy()[at_open]
        frame["funding_rate"] = rates
        frame.attrs["funding_missing"] = settled.attrs["missing"]
        frame.attrs["funding_between"] = [
            (moment.isoformat(), text)
            for moment, text in zip(settled.index[~at_open], settled["funding_rate_text"][~at_open], strict=True)
        ]
        return frame

    def _begin(self) -> Run:
        return Run(self._clock(), time.monotonic())

    def _missing(self, key: AnyKey, span: Span) -> list[Span]:
        return subtract_spans([span], self._store.coverage.known(key))

    def _instrument(self, category: Category, symbol: str) -> Instrument:
        for instrument in self._venue.get_instruments(category, symbol):
            if instrument.symbol == symbol:
                return instrument
        raise InvalidInput(f"the venue lists no {category} contract {symbol}: check the symbol and its category")

    def _lifetime(self, category: Category, symbol: str, run: Run) -> Lifetime:
        run.requests += 1
        try:
            instrument = self._instrument(category, symbol)
        except InvalidInput as unlisted:
            # A contract that has ended may no longer be listed, and still have a history.
            try:
                return Lifetime.of(self._store.instruments.get(category, symbol))
            except NotEstablished:
                raise unlisted from None
        self._store.instruments.write([instrument])
        return Lifetime.of(instrument)

    def _nothing(self, key: AnyKey, run: Run, clipped: datetime | None) -> IngestReport:
        return IngestReport(key, None, 0, 0, run.requests, run.seconds, (), (), 0, 0, clipped_at=clipped)

    def _report(
        self, key: AnyKey, run: Run, wanted: Span, clipped: datetime | None, tally: Tally, n_rows: int
    ) -> IngestReport:
        period = Period.from_ms(*wanted)
        return IngestReport(
            key=key,
            period=period,
            rows_written=tally.rows_written,
            rows_total=n_rows,
            requests=tally.requests + run.requests,
            seconds=run.seconds,
            missing=tuple(Period.from_ms(*span) for span in self._missing(key, wanted)),
            holes=tuple(hole for hole in self._store.coverage.holes(key, period) if hole.period.overlap(period)),
            conflicts=tally.conflicts,
            rejected=tally.rejected,
            n_outside=tally.n_outside,
            n_duplicate=tally.n_duplicate,
            clipped_at=clipped,
        )


def _period(start: datetime | int, end: datetime | int) -> Period:
    return Period.from_ms(to_ms(to_ms(start)), to_ms(to_ms(end)))
