"""A recorded market: the tape is history, and its last prices stand as the current market."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.errors import InvalidInput
from bybit.rules.funding import FundingRate
from bybit.rules.instruments import Instrument
from bybit.rules.margin import RiskTier
from bybit.rules.periods import to_ms, utc
from bybit.sandbox.bars import aggregate, aggregate_whole
from bybit.sandbox.closed import Maintenance
from bybit.sandbox.ladders import borrowed_ladders, inverse_ladder, ladder, short_ladders
from bybit.sandbox.market import Gap, Quote, Rows, Window, cut, no_rows
from bybit.sandbox.path import Point, Tick, candle_points, merged, price_of
from bybit.sandbox.tape_files import Recording, read_tape
from bybit.sandbox.tape_rules import contract_rules

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_N_NAMED = 60


def load_tape(path: Path, *, symbols: Sequence[str] | None = None, gaps: Sequence[Gap] = ()) -> "TapeMarket":
    """Return the market recorded under ``path``; see ``read_tape`` for what may stand there.

    Parameters
    ----------
    path : Path
        Folder, or one Parquet file.
    symbols : sequence of str or None
        Contracts to list; None lists all.
    gaps : sequence of Gap
        Candles that open in one are not served, nor coarser ones built over them.

    Raises
    ------
    InvalidInput
        When the tape cannot be read, or lacks a symbol that was asked for.
    """
    recording = read_tape(path)
    if symbols is not None:
        known = {key.symbol for key in recording.candles} | {symbol for _, symbol in recording.funding}
        if unknown := sorted(set(symbols) - known):
            raise InvalidInput(f"the tape has no {', '.join(unknown)}: it has {', '.join(sorted(known))}")
        recording.candles = {key: rows for key, rows in recording.candles.items() if key.symbol in symbols}
        recording.funding = {key: rates for key, rates in recording.funding.items() if key[1] in symbols}
        recording.instruments = {key: item for key, item in recording.instruments.items() if key[1] in symbols}
    for key, rows in recording.candles.items():
        for gap in gaps:
            if gap.applies_to(key.symbol, key.price):
                rows = rows[[not gap.hides(int(open_ms), key.interval) for open_ms in rows[:, 0]]]
        recording.candles[key] = rows
    return TapeMarket(recording)


class TapeMarket:
    """What was recorded, as the venue would serve it at the clock's instant; nothing after that instant shows.

    An interval on the tape is served as recorded: holes, conflicting duplicates and all. An interval that is not is
    built from the finer ones, the coarsest first: only candles of which every finer candle is present; a coarse
    candle that lacks one is absent, never invented. The candle that covers the instant is made of the finer candles
    closed so far and the open of the one still running; where no finer ones are recorded it shows its open alone,
    with volume 0 so far.

    A missing turnover is served as volume x mean of open, high, low and close (inverse: volume / mean, coin), since the
    venue always sends a number and 0 would deny a trade that took place; ``assumptions`` says for which series. A
    missing price or volume is served as "".
    """

    def __init__(self, recording: Recording) -> None:
        self._recorded = {key: _with_turnover(key, rows) for key, rows in recording.candles.items() if len(rows)}
        estimated = [str(key) for key, rows in recording.candles.items() if _lacks_turnover(rows)]
        self._built: dict[SeriesKey, Rows] = {}
        self._funding = recording.funding
        self._instruments, notes = contract_rules(recording)
        self._assumptions = tuple(self._notes(recording, estimated, notes))

    @property
    def assumptions(self) -> tuple[str, ...]:
        """One sentence for everything served that no record backs."""
        return self._assumptions

    def _notes(self, recording: Recording, estimated: Sequence[str], notes: Iterable[str]) -> Iterable[str]:
        yield from (f"{name} tells no category: served as linear" for name in recording.unnamed)
        if estimated:
            yield f"turnover is volume x mean price (inverse: / mean price), none is recorded: {_named(estimated)}"
        yield from notes
        priced = {(key.category, key.symbol) for key in self._recorded if key.price is PriceType.LAST}
        marked = {(key.category, key.symbol) for key in self._recorded if key.price is PriceType.MARK}
        if unmarked := sorted(symbol for category, symbol in priced - marked if category is not Category.SPOT):
            yield f"tickers: the last price stands in for the mark and index price of {_named(unmarked)}"
        if indexless := sorted(symbol for category, symbol in priced & marked if not self._has_index(category, symbol)):
            yield f"tickers: the mark price stands in for the index price of {_named(indexless)}"
        if priced:
            yield "tickers: bid and ask lie one tick apart around the last price; open interest is left empty"
        if self._funding:
            yield "tickers: the funding estimate is the last one settled, the interval that of the last two settlements"
        traded = {symbol for category, symbol in priced if category is Category.LINEAR}
        newest = max((rows[-1, 0] for rows in self._recorded.values()), default=0.0)
        day = utc(int(newest)).date()
        yield from borrowed_ladders(self.instruments(Category.LINEAR, 0), day, traded)
        yield from short_ladders(self.instruments(Category.INVERSE, 0), day)

    def _has_index(self, category: Category, symbol: str) -> bool:
        return any(
            (key.category, key.symbol, key.price) == (category, symbol, PriceType.INDEX) for key in self._recorded
        )

    def instruments(self, category: Category, now_ms: int) -> Sequence[Instrument]:
        """Return the contracts of one category, sorted by symbol."""
        return self._instruments.get(category, ())

    def risk_tiers(self, category: Category, symbol: str, now_ms: int) -> tuple[RiskTier, ...]:
        """Return the margin ladder of one contract, lowest tier first; spot has none."""
        if category is Category.SPOT:
            return ()
        if category is Category.INVERSE:
            return inverse_ladder(symbol, utc(now_ms).date())[0]
        leverage = next((item.max_leverage for item in self.instruments(category, 0) if item.symbol == symbol), None)
        return ladder(symbol, leverage, utc(now_ms).date())[0]

    def candles(self, key: SeriesKey, window: Window, now_ms: int) -> Rows:
        """Return candles oldest first; the last one may still be forming."""
        rows = self._series(key)
        current_ms = key.interval.floor_ms(now_ms)
        closed = rows[: np.searchsorted(rows[:, 0], current_ms, side="left")]
        if len(closed) == len(rows) and (key in self._recorded or not self._goes_on(key, current_ms)):
            return cut(rows, window)
        return cut(np.concatenate((closed, self._forming(key, current_ms, now_ms))), window)

    def _finer(self, key: SeriesKey) -> list[SeriesKey]:
        # The recorded series that candles of ``key`` can be made of, finest first.
        found = [replace(key, interval=interval) for interval in Interval if _divides(interval, key.interval)]
        return [finer for finer in found if finer in self._recorded]

    def _series(self, key: SeriesKey) -> Rows:
        if key in self._recorded:
            return self._recorded[key]
        if key not in self._built:
            rows = no_rows(key.price)
            for finer in reversed(self._finer(key)):
                more = aggregate_whole(self._recorded[finer], finer.interval, key.interval)
                rows = np.concatenate((rows, more[~np.isin(more[:, 0], rows[:, 0])]))
            self._built[key] = rows[np.argsort(rows[:, 0], kind="stable")]
        return self._built[key]

    def _goes_on(self, key: SeriesKey, current_ms: int) -> bool:
        # Whether finer candles reach into the current one, of which the whole is not on the tape.
        return any(self._recorded[finer][-1, 0] >= current_ms for finer in self._finer(key))

    def _forming(self, key: SeriesKey, current_ms: int, now_ms: int) -> Rows:
        if key in self._recorded and current_ms not in self._recorded[key][:, 0]:
            return no_rows(key.price)
        for finer in [*self._finer(key), key]:
            rows = self._series(finer)
            start, stop = np.searchsorted(rows[:, 0], [current_ms, now_ms + 1])
            part = rows[start:stop].copy()
            running_ms = finer.interval.floor_ms(now_ms)
            if not np.array_equal(part[:, 0], finer.interval.open_times(current_ms, running_ms + 1)):
                continue
            part[-1, 2:5] = part[-1, 1]
            part[-1, 5:] = 0
            return aggregate(part, key.interval)
        return no_rows(key.price)

    def funding(self, category: Category, symbol: str, window: Window, now_ms: int) -> Sequence[FundingRate]:
        """Return settlements at or before ``now_ms``, oldest first."""
        rates = self._funding.get((category, symbol), [])
        first = 0 if window.first_ms is None else window.first_ms
        last = now_ms if window.last_ms is None else min(window.last_ms, now_ms)
        found = [rate for rate in rates if first <= to_ms(rate.funding_time) <= last]
        return found[: window.limit] if window.forward else found[-window.limit :]

    def quote(self, category: Category, symbol: str, now_ms: int) -> Quote | None:
        """Return the last known market, or None before the first price."""
        last = self._known(category, symbol, PriceType.LAST, now_ms)
        if last is None:
            return None
        known_ms, price = last
        mark = self._known(category, symbol, PriceType.MARK, now_ms)
        index = self._known(category, symbol, PriceType.INDEX, now_ms)
        mark_price = price if mark is None else mark[1]
        day = self._recent(category, symbol, known_ms)
        hour = day[day[:, 0] >= known_ms - _HOUR_MS]
        rates = self.funding(category, symbol, Window(None, None, 2), now_ms)
        step = rates[1].funding_time - rates[0].funding_time if len(rates) == 2 else None
        return Quote(
            time_ms=known_ms,
            last_price=price,
            mark_price=mark_price,
            index_price=mark_price if index is None else index[1],
            price_1h_ago=float(hour[0, 1]) if len(hour) else None,
            price_24h_ago=float(day[0, 1]) if len(day) else None,
            high_24h=float(day[:, 2].max(initial=price)),
            low_24h=float(day[:, 3].min(initial=price)),
            volume_24h=round(float(day[:, 5].sum()), 8),
            turnover_24h=round(float(day[:, 6].sum()), 4),
            funding_rate=format(rates[-1].funding_rate, "f") if rates else None,
            next_funding=None if step is None else rates[-1].funding_time + _steps(rates[-1], step, now_ms) * step,
            funding_interval_hours=None if step is None else step // timedelta(hours=1),
        )

    def tick(self, category: Category, symbol: str, now_ms: int) -> Tick | None:
        """Return the last known prices, or None before the first; stand-ins as in ``quote``."""
        last = self._known(category, symbol, PriceType.LAST, now_ms)
        if last is None:
            return None
        mark = self._known(category, symbol, PriceType.MARK, now_ms) or last
        index = self._known(category, symbol, PriceType.INDEX, now_ms) or mark
        return Tick(now_ms, price_of(last[1]), price_of(mark[1]), price_of(index[1]))

    def ticks(self, category: Category, symbol: str, after_ms: int, now_ms: int) -> Iterator[Tick]:
        """Give the prices that candles show in (after_ms, now_ms]: their opens as such, their ranges as they close."""
        points: list[Point] = []
        for which, price in enumerate((PriceType.LAST, PriceType.MARK, PriceType.INDEX)):
            points += self._points(category, symbol, price, which, after_ms, now_ms)
        # Stable: at one instant a candle's range comes before the open of the next.
        points.sort(key=lambda point: (point[0], point[3]))
        last = next((point for point in points if point[1] == 0), None)
        start = self.tick(category, symbol, after_ms)
        if start is None and last is not None:
            first = price_of(last[2])
            start = Tick(last[0], first, first, first)
        if start is not None:
            yield from self._with_stand_ins(category, symbol, merged(points, start))

    def _with_stand_ins(self, category: Category, symbol: str, ticks: Iterable[Tick]) -> Iterator[Tick]:
        recorded = {key.price for key in self._recorded if (key.category, key.symbol) == (category, symbol)}
        for tick in ticks:
            mark = tick.mark if PriceType.MARK in recorded else tick.last
            yield replace(tick, mark=mark, index=tick.index if PriceType.INDEX in recorded else mark)

    def _points(
        self, category: Category, symbol: str, price: PriceType, which: int, after_ms: int, now_ms: int
    ) -> list[Point]:
        # The finest candles there are at each time; a coarser one only where no finer one lies inside.
        points: list[Point] = []
        covered: list[tuple[int, int]] = []
        for interval in Interval:
            rows = self._recorded.get(SeriesKey(category, symbol, price, interval))
            if rows is None:
                continue
            start = int(np.searchsorted(rows[:, 0], interval.floor_ms(after_ms)))
            part = rows[start : int(np.searchsorted(rows[:, 0], now_ms, side="right"))]
            spans = [(int(open_ms), interval.close_ms(int(open_ms))) for open_ms in part[:, 0]]
            free = [not any(a < end and begin < b for a, b in covered) for begin, end in spans]
            kept = part[np.array(free, dtype=bool)]
            ends = [end for (_, end), is_free in zip(spans, free, strict=True) if is_free]
            points += candle_points(kept, ends, which, after_ms, now_ms)
            if len(part):
                covered.append((spans[0][0], spans[-1][1]))
        return points

    def maintenances(self) -> Sequence[Maintenance]:
        """Return nothing: no tape records them."""
        return ()

    def open_interest(self, category: Category, symbol: str, times_ms: Sequence[int]) -> Sequence[float]:
        """Return nothing: a tape holds no open interest."""
        return []

    def _known(self, category: Category, symbol: str, price: PriceType, now_ms: int) -> tuple[int, float] | None:
        # When which price was seen last: the latest close of any interval, or the open of a candle still running.
        best: tuple[int, float] | None = None
        for interval in Interval:
            rows = self._recorded.get(SeriesKey(category, symbol, price, interval))
            if rows is None or not (place := int(np.searchsorted(rows[:, 0], now_ms, side="right"))):
                continue
            open_ms = int(rows[place - 1, 0])
            close_ms = interval.close_ms(open_ms)
            seen = (close_ms, rows[place - 1, 4]) if close_ms <= now_ms else (open_ms, rows[place - 1, 1])
            if best is None or seen[0] > best[0]:
                best = seen[0], float(seen[1])
        return best

    def _recent(self, category: Category, symbol: str, known_ms: int) -> Rows:
        # The candles of the 24 hours up to ``known_ms`` in the interval that covers most of them.
        best, covered = no_rows(PriceType.LAST), 0
        for interval in Interval:
            rows = self._recorded.get(SeriesKey(category, symbol, PriceType.LAST, interval))
            if rows is None or interval in (Interval.WEEK_1, Interval.MONTH_1):
                continue
            part = cut(rows, Window(known_ms - _DAY_MS, known_ms - interval.ms, 2 * _DAY_MS))
            if len(part) * interval.ms > covered:
                best, covered = part, len(part) * interval.ms
        return best


def _divides(fine: Interval, coarse: Interval) -> bool:
    if fine is coarse or fine is Interval.MONTH_1:
        return False
    if coarse is Interval.MONTH_1:
        return fine is not Interval.WEEK_1
    return coarse.ms > fine.ms and coarse.ms % fine.ms == 0


def _lacks_turnover(rows: Rows) -> bool:
    return rows.shape[1] == 7 and bool(np.isnan(rows[:, 6]).any())


def _with_turnover(key: SeriesKey, rows: Rows) -> Rows:
    if not _lacks_turnover(rows):
        return rows
    filled = rows.copy()
    missing = np.isnan(rows[:, 6])
    price, volume = rows[missing, 1:5].mean(axis=1), rows[missing, 5]
    # Inverse volume is counted in USD, and its turnover in coin.
    filled[missing, 6] = (
        np.round(volume / price, 8) if key.category is Category.INVERSE else np.round(volume * price, 4)
    )
    return filled


def _steps(last: FundingRate, step: timedelta, now_ms: int) -> int:
    return (now_ms - to_ms(last.funding_time)) // (step // timedelta(milliseconds=1)) + 1


def _named(names: Sequence[str]) -> str:
    rest = len(names) - _N_NAMED
    return ", ".join(names[:_N_NAMED]) + (f" and {rest} more" if rest > 0 else "")
