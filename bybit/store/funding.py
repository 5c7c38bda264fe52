"""Funding settlements in and out; rates are stored as the venue's text and come back exact."""

import hashlib
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pandas as pd
from sqlalchemy import Connection, insert, select

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.funding import FundingRate
from bybit.rules.periods import Period, to_ms, utc
from bybit.store.candles import WriteCount
from bybit.store.changes import note_change
from bybit.store.coverage import Hole, covered_spans, record
from bybit.store.database import Database
from bybit.store.evidence import Conflict, note_conflicts
from bybit.store.leases import Lease, hold
from bybit.store.schema import funding, funding_revisions
from bybit.store.series import FundingKey, SeriesTable, lock_series

_ALL_TIME = (1_000_000_000_000, 10_000_000_000_000)


class FundingTable:
    """Stored settlements of every instrument."""

    def __init__(self, database: Database, series: SeriesTable) -> None:
        self._database = database
        self._series = series

    def write(
        self,
        category: Category,
        symbol: str,
        rates: Sequence[FundingRate],
        covered: Period | None,
        lease: Lease,
        *,
        holes: Sequence[Hole] = (),
        conflicts: Sequence[Conflict] = (),
    ) -> WriteCount:
        """Store settlements and the span they are complete for, in one transaction.

        Idempotent: rows are upserted on (instrument, funding_time); a rate that comes back different replaces the
        stored one, which is kept as a revision. Settlements have no grid, so ``covered`` rests on the caller's word.

        Raises
        ------
        InvalidInput
            For another symbol's rates, a time given twice with two rates, or a rate that is no number.
        LeaseLost
            When somebody else has taken the lease; nothing was written.
        """
        key = FundingKey(category, symbol)
        new = _checked(key, rates)
        series_id = self._series.add(key)

        def work(connection: Connection) -> WriteCount:
            now_ms = self._database.now_ms()
            hold(connection, lease, now_ms)
            lock_series(connection, series_id)
            count = self._upsert(connection, series_id, new, now_ms)
            span = None if covered is None else covered.span_ms
            filled = [(time, time + 1) for time in new]
            changed = record(connection, series_id, span, holes, filled)
            note_conflicts(self._database, connection, series_id, conflicts, now_ms)
            if changed or count.inserted or count.updated:
                written = bool(count.inserted or count.updated)
                note_change(connection, series_id, (min(new), max(new) + 1) if written else None)
            return count

        return self._database.write(work)

    def read(self, category: Category, symbol: str, period: Period) -> pd.DataFrame:
        """Return the settlements in ``period`` as a table.

        Returns
        -------
        DataFrame of shape (n_settlements, 2)
            Index ``funding_time`` (UTC, datetime64[ms]), increasing; funding_rate float64, a fraction per settlement,
            positive when longs pay shorts; funding_rate_text, the same exactly as published.
        """
        rows = self._rows(FundingKey(category, symbol), period.span_ms)
        times = np.asarray([time for time, _ in rows], dtype=np.int64).astype("datetime64[ms]")
        index = pd.DatetimeIndex(times, name="funding_time").tz_localize("UTC")
        texts = [text for _, text in rows]
        columns = {
            "funding_rate": np.asarray([float(text) for text in texts], dtype=np.float64),
            "funding_rate_text": pd.Series(texts, index=index, dtype="str"),
        }
        return pd.DataFrame(columns, index=index)

    def rates(self, category: Category, symbol: str, period: Period) -> list[FundingRate]:
        """Return the settlements in ``period``, exact, oldest first."""
        rows = self._rows(FundingKey(category, symbol), period.span_ms)
        return [FundingRate(symbol, utc(time), Decimal(text)) for time, text in rows]

    def count(self, category: Category, symbol: str, period: Period) -> int:
        """Return how many settlements in ``period`` are stored."""
        return len(self._rows(FundingKey(category, symbol), period.span_ms))

    def content_hash(self, category: Category, symbol: str, period: Period | None = None) -> str:
        """Return the sha256 of rows and coverage in ``period`` (None: ever); the same on every database."""
        key = FundingKey(category, symbol)
        start, end = _ALL_TIME if period is None else period.span_ms
        digest = hashlib.sha256(f"perpflow funding 1 {key.exchange} {key}\n".encode())
        series_id = self._series.find(key)
        if series_id is None:
            return digest.hexdigest()

        def work(connection: Connection) -> tuple[list[tuple[int, str]], list[tuple[int, int]]]:
            return _select(connection, series_id, start, end), covered_spans(connection, series_id)

        rows, spans = self._database.read(work)
        for time, text in rows:
            digest.update(f"{time} {Decimal(text).normalize():f}\n".encode())
        for a, b in spans:
            if a < end and start < b:
                digest.update(f"covered {max(a, start)} {min(b, end)}\n".encode())
        return digest.hexdigest()

    def _rows(self, key: FundingKey, span: tuple[int, int]) -> list[tuple[int, str]]:
        series_id = self._series.find(key)
        if series_id is None:
            return []
        return self._database.read(lambda connection: _select(connection, series_id, *span))

    def _upsert(self, connection: Connection, series_id: int, new: dict[int, str], now_ms: int) -> WriteCount:
        if not new:
            return WriteCount(0, 0, 0)
        stored = dict(_select(connection, series_id, min(new), max(new) + 1))
        # 0.0001 and 0.00010000 are one rate: the text that came first stays.
        changed = {t: text for t, text in new.items() if t in stored and Decimal(stored[t]) != Decimal(text)}
        fresh = {t: text for t, text in new.items() if t not in stored}
        if changed:
            old = [
                {"series_id": series_id, "funding_time_ms": t, "replaced_at_ms": now_ms, "funding_rate": stored[t]}
                for t in changed
            ]
            connection.execute(insert(funding_revisions), old)
        rows = [
            {"series_id": series_id, "funding_time_ms": t, "funding_rate": text}
            for t, text in sorted((changed | fresh).items())
        ]
        if rows:
            statement = self._database.insert(funding)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["series_id", "funding_time_ms"],
                    set_={"funding_rate": statement.excluded.funding_rate},
                ),
                rows,
            )
        return WriteCount(len(fresh), len(changed), len(new) - len(fresh) - len(changed))


def _select(connection: Connection, series_id: int, start_ms: int, end_ms: int) -> list[tuple[int, str]]:
    table = funding.c
    query = select(table.funding_time_ms, table.funding_rate).where(table.series_id == series_id)
    query = query.where(table.funding_time_ms >= start_ms, table.funding_time_ms < end_ms)
    return [(row[0], row[1]) for row in connection.execute(query.order_by(table.funding_time_ms))]


def _checked(key: FundingKey, rates: Sequence[FundingRate]) -> dict[int, str]:
    new: dict[int, str] = {}
    for rate in rates:
        if rate.symbol != key.symbol:
            raise InvalidInput(f"{key}: a rate of {rate.symbol} does not belong here")
        if not rate.funding_rate.is_finite():
            raise InvalidInput(f"{key}: the rate at {rate.funding_time.isoformat()} is {rate.funding_rate}, no number")
        time = to_ms(to_ms(rate.funding_time))
        text = f"{rate.funding_rate:f}"
        if time in new and Decimal(new[time]) != rate.funding_rate:
            raise InvalidInput(f"{key}: two rates for {rate.funding_time.isoformat()}: {new[time]} and {text}")
        new[time] = text
    return new
