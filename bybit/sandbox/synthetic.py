"""An endless seeded market: minutes computed when asked for, the same for every server with the same seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

import numpy as np

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.errors import InvalidInput
from bybit.rules.funding import FundingRate, average_premium, funding_rate_from_premium, interest_rate
from bybit.rules.instruments import Instrument
from bybit.rules.margin import RiskTier
from bybit.rules.periods import Span, to_ms, utc
from bybit.sandbox.bars import aggregate, forming
from bybit.sandbox.closed import Maintenance
from bybit.sandbox.ladders import borrowed_ladders, ladder
from bybit.sandbox.market import Gap, Quote, Rows, Window, cut, no_rows
from bybit.sandbox.path import Tick, price_of, turning_points
from bybit.sandbox.walk import DAY_MS, ORIGIN_DAY, DayBlock, Profile, Walk

_HOUR_MS, _MINUTE_MS = 3_600_000, 60_000
_EVERYTHING = 1 << 40
# Some 250 KB a day with all four prices: about 100 MB at most.
_N_BLOCKS = 400
_AS_OF = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Contract:
    profile: Profile
    launch: datetime
    max_leverage: Decimal
    funding_limit: Decimal
    # (days, hours) in turn from the first day of the walk: how long which funding interval is in force.
    funding_plan: tuple[tuple[int, int], ...]
    max_order_qty: Decimal
    base_coin: str

    def funding_hours(self, day: int) -> int:
        """Return the funding interval in force on ``day`` (days since 1970), hours."""
        place = (day - ORIGIN_DAY) % sum(days for days, _ in self.funding_plan)
        for days, hours in self.funding_plan:
            if place < days:
                return hours
            place -= days
        raise AssertionError("the remainder lies inside the plan")


def _contract(
    base_coin: str,
    price: float,
    volatility: float,
    decimals: tuple[int, int],
    volume: float,
    launch: tuple[int, int, int, int, int],
    terms: tuple[str, str, str],
    funding_plan: tuple[tuple[int, int], ...] = ((1, 8),),
) -> _Contract:
    leverage, limit, max_qty = (Decimal(text) for text in terms)
    beta = 1.0 if base_coin == "BTC" else 1.1
    profile = Profile(f"{base_coin}USDT", price, volatility, beta, decimals[0], decimals[1], volume)
    return _Contract(profile, datetime(*launch, tzinfo=UTC), leverage, limit, funding_plan, max_qty, base_coin)


_CONTRACTS = {
    contract.profile.symbol: contract
    for contract in (
        _contract("BTC", 62_000.0, 0.022, (1, 3), 60.0, (2020, 3, 25, 0, 0), ("100.00", "0.005", "1190.000")),
        _contract("ETH", 2_600.0, 0.028, (2, 2), 900.0, (2020, 10, 21, 0, 0), ("100.00", "0.005", "7240.00")),
        _contract("SOL", 140.0, 0.038, (2, 1), 6_000.0, (2021, 6, 29, 0, 0), ("100.00", "0.01", "79770.0")),
        # Listed in the middle of an hour, and settled every four.
        _contract("WIF", 1.2, 0.055, (4, 0), 90_000.0, (2023, 3, 1, 12, 30), ("75.00", "0.02", "1500000"), ((1, 4),)),
        # Moves between the intervals, as contracts of the venue do without notice.
        _contract(
            "XRP",
            0.9,
            0.034,
            (4, 0),
            400_000.0,
            (2021, 5, 13, 0, 0),
            ("75.00", "0.0058", "10965300"),
            ((40, 8), (18, 4), (3, 1)),
        ),
    )
}


class SyntheticMarket:
    """Linear perpetuals on a seeded random walk, from their launch to this instant and on.

    Premium and funding follow the documented rule (minute premiums weighted 1, 2, ..., n; damped interest; limits),
    rounded at 8 decimals. Coarser candles are made of the minutes. In a gap minutes are absent, and a coarser candle
    is made of the minutes left, absent only with all of them. The first settlement is the first that ends a whole
    interval after the launch.

    Parameters
    ----------
    seed : int
        Non-negative; the whole market follows from it.
    symbols : sequence of str or None
        Which of ``BTCUSDT ETHUSDT SOLUSDT WIFUSDT XRPUSDT``; None lists all.
    gaps : sequence of Gap
        Minutes that are never served.

    Raises
    ------
    InvalidInput
        For an unknown symbol, an empty list or a negative seed.
    """

    def __init__(self, seed: int = 7, symbols: Sequence[str] | None = None, gaps: Sequence[Gap] = ()) -> None:
        if seed < 0:
            raise InvalidInput(f"the seed is {seed}: give a whole number of 0 or more")
        chosen = list(_CONTRACTS) if symbols is None else list(dict.fromkeys(symbols))
        unknown = sorted(set(chosen) - set(_CONTRACTS))
        if unknown or not chosen:
            raise InvalidInput(f"no synthetic {', '.join(unknown) or 'symbol'}: choose among {', '.join(_CONTRACTS)}")
        self._contracts = {symbol: _CONTRACTS[symbol] for symbol in sorted(chosen)}
        self._walks = {symbol: Walk(seed, contract.profile) for symbol, contract in self._contracts.items()}
        self._gaps = {
            (symbol, price): [gap.period.span_ms for gap in gaps if gap.applies_to(symbol, price)]
            for symbol in self._contracts
            for price in PriceType
        }
        self._block = lru_cache(maxsize=_N_BLOCKS)(self._compute_block)
        self._whole_day = lru_cache(maxsize=20_000)(self._compute_whole_day)
        self._rate = lru_cache(maxsize=100_000)(self._compute_rate)
        self._assumptions = (
            f"synthetic market of seed {seed}: prices, volumes, funding, contract rules and launch times are made up",
            *borrowed_ladders(self.instruments(Category.LINEAR, to_ms(_AS_OF)), _AS_OF.date(), self._contracts),
        )

    @property
    def assumptions(self) -> tuple[str, ...]:
        """One sentence for everything served that no record backs."""
        return self._assumptions

    def instruments(self, category: Category, now_ms: int) -> Sequence[Instrument]:
        """Return the contracts of one category, sorted by symbol; there are linear ones only."""
        if category is not Category.LINEAR:
            return ()
        return [_instrument(contract, now_ms) for contract in self._contracts.values()]

    def risk_tiers(self, category: Category, symbol: str, now_ms: int) -> tuple[RiskTier, ...]:
        """Return the margin ladder of one symbol, lowest tier first; empty for a symbol that is not listed."""
        contract = self._contracts.get(symbol)
        if contract is None or category is not Category.LINEAR:
            return ()
        return ladder(symbol, contract.max_leverage, utc(now_ms).date())[0]

    def candles(self, key: SeriesKey, window: Window, now_ms: int) -> Rows:
        """Return candles oldest first; the last one may still be forming."""
        contract = self._contracts.get(key.symbol)
        if contract is None or key.category is not Category.LINEAR:
            return no_rows(key.price)
        launch_ms = key.interval.floor_ms(to_ms(contract.launch))
        first = max(launch_ms, window.first_ms if window.first_ms is not None else launch_ms)
        last = min(now_ms, window.last_ms if window.last_ms is not None else now_ms)
        if first > last:
            return no_rows(key.price)
        inside = Window(first, last, _EVERYTHING)
        chunk = key.interval if key.interval in (Interval.WEEK_1, Interval.MONTH_1) else Interval.DAY_1
        pieces: list[Rows] = []
        n_rows = 0
        at, stop = chunk.floor_ms(first), chunk.floor_ms(last)
        if not window.forward:
            at, stop = stop, at
        while n_rows < window.limit:
            piece = cut(self._chunk(key, chunk, at, now_ms), inside)
            pieces.append(piece)
            n_rows += len(piece)
            if at == stop:
                break
            at = chunk.close_ms(at) if window.forward else chunk.floor_ms(at - 1)
        rows = np.concatenate(pieces if window.forward else pieces[::-1])
        return cut(rows, replace(window, first_ms=first, last_ms=None if window.forward else last))

    def _chunk(self, key: SeriesKey, chunk: Interval, open_ms: int, now_ms: int) -> Rows:
        # Every candle that opens in one day, week or month.
        if chunk is Interval.DAY_1:
            return self._day(key.symbol, key.price, key.interval, open_ms // DAY_MS, now_ms)
        last_day = (min(chunk.close_ms(open_ms), now_ms + 1) - 1) // DAY_MS
        first_day = max(open_ms // DAY_MS, to_ms(self._contracts[key.symbol].launch) // DAY_MS)
        days = range(first_day, last_day + 1)
        daily = [self._day(key.symbol, key.price, Interval.DAY_1, day, now_ms) for day in days]
        return aggregate(np.concatenate(daily), chunk) if daily else no_rows(key.price)

    def _day(self, symbol: str, price: PriceType, interval: Interval, day: int, now_ms: int) -> Rows:
        start, end = day * DAY_MS, (day + 1) * DAY_MS
        launch_ms = to_ms(self._contracts[symbol].launch)
        gaps = self._gaps[symbol, price]
        if end <= now_ms and launch_ms <= start and not any(a < end and start < b for a, b in gaps):
            if interval is Interval.MINUTE_1:
                return _of(self._block(symbol, day), price)
            return self._whole_day(symbol, price, interval, day)
        return aggregate(self._minutes(symbol, price, day, now_ms, gaps), interval)

    def _minutes(self, symbol: str, price: PriceType, day: int, now_ms: int, gaps: Sequence[Span] = ()) -> Rows:
        # The minutes of a day as they stand at now_ms: launched, not in a gap, the last one still forming.
        contract = self._contracts[symbol]
        rows = _of(self._block(symbol, day), price)
        open_ms = rows[:, 0]
        shown = (open_ms >= to_ms(contract.launch)) & (open_ms <= now_ms)
        for start, end in gaps:
            shown &= (open_ms < start) | (open_ms >= end)
        rows = rows[shown]
        if len(rows) and now_ms < rows[-1, 0] + _MINUTE_MS:
            decimals = contract.profile.price_decimals
            digits = {PriceType.LAST: decimals, PriceType.PREMIUM: 6}.get(price, decimals + 1)
            rows[-1] = forming(rows[-1], now_ms, _MINUTE_MS, digits, contract.profile.qty_decimals)
        return rows

    def _compute_block(self, symbol: str, day: int) -> DayBlock:
        return self._walks[symbol].day(day)

    def _compute_whole_day(self, symbol: str, price: PriceType, interval: Interval, day: int) -> Rows:
        return aggregate(_of(self._block(symbol, day), price), interval)

    def funding(self, category: Category, symbol: str, window: Window, now_ms: int) -> Sequence[FundingRate]:
        """Return settlements at or before ``now_ms``, oldest first."""
        contract = self._contracts.get(symbol)
        if contract is None or category is not Category.LINEAR:
            return []
        launch_ms = to_ms(contract.launch)
        first = max(launch_ms, window.first_ms if window.first_ms is not None else launch_ms)
        last = min(now_ms, window.last_ms if window.last_ms is not None else now_ms)
        found: list[tuple[int, int]] = []
        # A settlement at midnight ends an interval of the day before it.
        days = range((first - 1) // DAY_MS, (last - 1) // DAY_MS + 1)
        for day in days if window.forward else reversed(days):
            hours = contract.funding_hours(day)
            times = [day * DAY_MS + n * hours * _HOUR_MS for n in range(1, 24 // hours + 1)]
            whole = [(t, hours) for t in times if first <= t <= last and t - hours * _HOUR_MS >= launch_ms]
            found.extend(whole)
            if len(found) >= window.limit:
                break
        found.sort()
        kept = found[: window.limit] if window.forward else found[-window.limit :]
        return [FundingRate(symbol, utc(time), self._rate(symbol, time, hours)) for time, hours in kept]

    def _compute_rate(self, symbol: str, time_ms: int, hours: int) -> Decimal:
        return self._rate_so_far(symbol, time_ms - hours * _HOUR_MS, time_ms, hours)

    def _rate_so_far(self, symbol: str, start_ms: int, now_ms: int, hours: int) -> Decimal:
        # Over the minutes closed by now_ms of the interval that began at start_ms, which lies inside one day.
        day = start_ms // DAY_MS
        rows = self._block(symbol, day).premium
        begin = (start_ms - day * DAY_MS) // _MINUTE_MS
        n_minutes = (now_ms - start_ms) // _MINUTE_MS
        # Before the first minute closes, the premium it opened with is all there is.
        known = rows[begin : begin + n_minutes, 4] if n_minutes else rows[begin : begin + 1, 1]
        closes = [Decimal(repr(premium)) for premium in known.tolist()]
        limit = self._contracts[symbol].funding_limit
        rate = funding_rate_from_premium(average_premium(closes), interest_rate(timedelta(hours=hours)), -limit, limit)
        return round(rate, 8).normalize() + 0

    def quote(self, category: Category, symbol: str, now_ms: int) -> Quote | None:
        """Return the current market, or None for a symbol that is not listed yet."""
        contract = self._contracts.get(symbol)
        if contract is None or category is not Category.LINEAR or now_ms < to_ms(contract.launch):
            return None
        day, hours = now_ms // DAY_MS, contract.funding_hours(now_ms // DAY_MS)
        first_day = max(day - 1, to_ms(contract.launch) // DAY_MS)
        rows = np.concatenate([self._minutes(symbol, PriceType.LAST, n, now_ms) for n in range(first_day, day + 1)])
        recent = rows[rows[:, 0] > now_ms - DAY_MS]
        hour = rows[rows[:, 0] > now_ms - _HOUR_MS]
        start_ms = now_ms // (hours * _HOUR_MS) * hours * _HOUR_MS
        return Quote(
            time_ms=now_ms,
            last_price=float(rows[-1, 4]),
            mark_price=float(self._minutes(symbol, PriceType.MARK, day, now_ms)[-1, 4]),
            index_price=float(self._minutes(symbol, PriceType.INDEX, day, now_ms)[-1, 4]),
            price_1h_ago=float(hour[0, 1]),
            price_24h_ago=float(recent[0, 1]),
            high_24h=float(recent[:, 2].max()),
            low_24h=float(recent[:, 3].min()),
            volume_24h=round(float(recent[:, 5].sum()), 8),
            turnover_24h=round(float(recent[:, 6].sum()), 4),
            funding_rate=format(self._rate_so_far(symbol, start_ms, now_ms, hours), "f"),
            next_funding=utc(start_ms + hours * _HOUR_MS),
            funding_interval_hours=hours,
        )

    def tick(self, category: Category, symbol: str, now_ms: int) -> Tick | None:
        """Return the current prices, or None for a symbol that is not listed yet."""
        contract = self._contracts.get(symbol)
        if contract is None or category is not Category.LINEAR or now_ms < to_ms(contract.launch):
            return None
        place = now_ms % DAY_MS // _MINUTE_MS
        block, decimals = self._block(symbol, now_ms // DAY_MS), contract.profile.price_decimals
        prices = [
            forming(_of(block, price)[place], now_ms, _MINUTE_MS, digits, contract.profile.qty_decimals)[4]
            for price, digits in _traded(decimals)
        ]
        last, mark, index = (price_of(float(price)) for price in prices)
        return Tick(now_ms, last, mark, index)

    def ticks(self, category: Category, symbol: str, after_ms: int, now_ms: int) -> Iterator[Tick]:
        """Give the turns of the minutes' paths in (after_ms, now_ms] and the prices at ``now_ms``."""
        contract = self._contracts.get(symbol)
        if contract is None or category is not Category.LINEAR:
            return
        first_ms = max(after_ms + 1, to_ms(contract.launch))
        for day in range(first_ms // DAY_MS, now_ms // DAY_MS + 1):
            block = self._block(symbol, day)
            times = np.arange(day * DAY_MS, (day + 1) * DAY_MS, _MINUTE_MS // 3)
            start, stop = np.searchsorted(times, [first_ms, now_ms])
            turns = [turning_points(_of(block, price)).ravel()[start:stop].tolist() for price, _ in _traded(0)]
            for time_ms, last, mark, index in zip(times[start:stop].tolist(), *turns, strict=True):
                yield Tick(time_ms, price_of(last), price_of(mark), price_of(index))
        if now_ms >= first_ms and (current := self.tick(category, symbol, now_ms)) is not None:
            yield current

    def maintenances(self) -> Sequence[Maintenance]:
        """Return nothing: it never closes by itself."""
        return ()

    def open_interest(self, category: Category, symbol: str, times_ms: Sequence[int]) -> Sequence[float]:
        """Return an invented open interest: some hours of ordinary volume, with a slow swing of a tenth."""
        contract = self._contracts.get(symbol)
        if contract is None or category is not Category.LINEAR:
            return []
        swing = 1 + 0.1 * np.sin(np.asarray(times_ms) / DAY_MS * 2 * np.pi / 5)
        return [
            float(value) for value in np.round(contract.profile.volume * 600 * swing, contract.profile.qty_decimals)
        ]


def _traded(decimals: int) -> tuple[tuple[PriceType, int], ...]:
    return (PriceType.LAST, decimals), (PriceType.MARK, decimals + 1), (PriceType.INDEX, decimals + 1)


def _of(block: DayBlock, price: PriceType) -> Rows:
    return {
        PriceType.LAST: lambda: block.last,
        PriceType.MARK: lambda: block.mark,
        PriceType.INDEX: lambda: block.index,
        PriceType.PREMIUM: lambda: block.premium,
    }[price]()


def _instrument(contract: _Contract, now_ms: int) -> Instrument:
    profile = contract.profile
    step = Decimal(1).scaleb(-profile.qty_decimals)
    return Instrument(
        category=Category.LINEAR,
        symbol=profile.symbol,
        contract_type="LinearPerpetual",
        base_coin=contract.base_coin,
        quote_coin="USDT",
        settle_coin="USDT",
        status="Trading" if now_ms >= to_ms(contract.launch) else "PreLaunch",
        tick_size=Decimal(1).scaleb(-profile.price_decimals),
        qty_step=step,
        min_order_qty=step,
        max_order_qty=contract.max_order_qty,
        max_market_order_qty=contract.max_order_qty / 5,
        min_notional=Decimal(5),
        max_leverage=contract.max_leverage,
        leverage_step=Decimal("0.01"),
        funding_interval=timedelta(hours=contract.funding_hours(now_ms // DAY_MS)),
        upper_funding_rate=contract.funding_limit,
        lower_funding_rate=-contract.funding_limit,
        launch_time=contract.launch,
        delivery_time=None,
        as_of=utc(now_ms),
    )
