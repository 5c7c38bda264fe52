"""A back-test against reality, fill by fill: what was matched, what was missing, and where the money went.

A fill of signed quantity s at price p adds s x (m - p) to the result, m being the contract's last price of either side
(inverse: the same in coin): over all fills of an account that starts flat this is its profit and loss before fees and
funding. Reality less back-test therefore falls apart, without a rest, into price, quantity, missed and extra fills,
fees and funding.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from bybit.rules.candles import Category
from bybit.rules.positions import unrealized_pnl
from validation.reconcile_bookings import Booking, Kind

MAX_LAG_MS = 3_600_000
"""Two fills further apart in time than this are never the same one."""

_ZERO = Decimal(0)
# A quantity off by more than this is another trade rather than the same one in another size.
_MAX_QTY_RATIO = Decimal(2)
_SKIP_COST = 1.0


@dataclass(frozen=True, slots=True)
class Trade:
    """One order as filled, on either side: ``qty`` > 0 base coin, ``fee`` positive when paid, settle coin."""

    symbol: str
    side: str
    time_ms: int
    qty: Decimal
    price: Decimal
    fee: Decimal
    category: Category = Category.LINEAR
    n_fills: int = 1

    @property
    def size(self) -> Decimal:
        """Signed quantity: bought is positive."""
        return self.qty if self.side == "Buy" else -self.qty

    def gain(self, last_price: Decimal, qty: Decimal | None = None, price: Decimal | None = None) -> Decimal:
        """Return what the fill (or another quantity of it, at another price) adds up to ``last_price``."""
        size = self.size if qty is None else qty * (1 if self.side == "Buy" else -1)
        return unrealized_pnl(self.category, price or self.price, size, last_price)


@dataclass(frozen=True, slots=True)
class Pair:
    """A simulated and a real trade that are the same one; ``expected`` or ``real`` None where there is none.

    ``price_gain``, ``qty_gain`` and ``fee_gain`` are what reality was better by (negative: worse), settle coin; a
    missed or an extra trade has its whole result under ``qty_gain``.
    """

    expected: Trade | None
    real: Trade | None
    price_gain: Decimal
    qty_gain: Decimal
    fee_gain: Decimal

    @property
    def kind(self) -> str:
        """``matched``, ``missed`` (only in the back-test) or ``extra`` (only in reality)."""
        return "missed" if self.real is None else "extra" if self.expected is None else "matched"


@dataclass(frozen=True, slots=True)
class Gap:
    """Reality less back-test in settle coin, item by item; the items add up to ``total`` exactly."""

    price: Decimal
    quantity: Decimal
    missed: Decimal
    extra: Decimal
    fees: Decimal
    funding: Decimal
    backtest_net: Decimal
    reality_net: Decimal
    pairs: tuple[Pair, ...] = field(repr=False)

    @property
    def total(self) -> Decimal:
        """What reality made more than the back-test."""
        return self.reality_net - self.backtest_net


def orders_of(bookings: Iterable[Booking]) -> list[Trade]:
    """Return real executions as trades, the parts of one order together at their average price, oldest first."""
    parts: dict[tuple[object, ...], list[Booking]] = {}
    for booking in bookings:
        if booking.kind is Kind.TRADE and booking.qty and booking.price and booking.category is not Category.SPOT:
            order = booking.order_id or (booking.file, booking.time_ms)
            parts.setdefault((booking.symbol, booking.side, order), []).append(booking)
    trades = []
    for (symbol, side, _), rows in parts.items():
        qty = sum((row.qty or _ZERO for row in rows), _ZERO)
        category = rows[0].category or Category.LINEAR
        if category is Category.INVERSE:
            price = qty / sum(((row.qty or _ZERO) / (row.price or qty) for row in rows), _ZERO)
        else:
            price = sum(((row.qty or _ZERO) * (row.price or _ZERO) for row in rows), _ZERO) / qty
        fee = sum((row.fee or _ZERO for row in rows), _ZERO)
        time_ms = min(row.time_ms or 0 for row in rows)
        trades.append(Trade(str(symbol), str(side), time_ms, qty, price, fee, category, len(rows)))
    return sorted(trades, key=lambda trade: trade.time_ms)


def compare(
    expected: Sequence[Trade],
    real: Sequence[Trade],
    expected_funding: Decimal = _ZERO,
    real_funding: Decimal = _ZERO,
    max_lag_ms: int = MAX_LAG_MS,
) -> Gap:
    """Match trades by symbol, side, order in time and quantity, and account for the difference.

    Parameters
    ----------
    expected, real : sequence of Trade
        The back-test's and the account's, both from a flat start.
    expected_funding, real_funding : Decimal
        What entered the wallet by funding, settle coin: received is positive.
    max_lag_ms : int
        Trades further apart than this are not the same.
    """
    last: dict[str, tuple[int, Decimal]] = {}
    for trade in (*expected, *real):
        if trade.symbol not in last or trade.time_ms >= last[trade.symbol][0]:
            last[trade.symbol] = (trade.time_ms, trade.price)
    pairs: list[Pair] = []
    for symbol, side in sorted({(trade.symbol, trade.side) for trade in (*expected, *real)}):
        ours = sorted((t for t in expected if (t.symbol, t.side) == (symbol, side)), key=lambda t: t.time_ms)
        theirs = sorted((t for t in real if (t.symbol, t.side) == (symbol, side)), key=lambda t: t.time_ms)
        for ours_near, theirs_near in _near(ours, theirs, max_lag_ms):
            aligned = _aligned(ours_near, theirs_near, max_lag_ms)
            pairs += [_pair(one, other, last[symbol][1]) for one, other in aligned]
    pairs.sort(key=lambda pair: (pair.expected or pair.real or expected[0]).time_ms)

    def summed(kind: str, name: str) -> Decimal:
        return sum((getattr(pair, name) for pair in pairs if pair.kind == kind), _ZERO)

    def net(trades: Sequence[Trade], funding: Decimal) -> Decimal:
        return sum((trade.gain(last[trade.symbol][1]) - trade.fee for trade in trades), funding)

    return Gap(
        price=summed("matched", "price_gain"),
        quantity=summed("matched", "qty_gain"),
        missed=summed("missed", "qty_gain"),
        extra=summed("extra", "qty_gain"),
        fees=sum((pair.fee_gain for pair in pairs), _ZERO),
        funding=real_funding - expected_funding,
        backtest_net=net(expected, expected_funding),
        reality_net=net(real, real_funding),
        pairs=tuple(pairs),
    )


def _pair(expected: Trade | None, real: Trade | None, last_price: Decimal) -> Pair:
    if expected is None or real is None:
        trade, sign = (real, 1) if real is not None else (expected, -1)
        assert trade is not None
        return Pair(expected, real, _ZERO, sign * trade.gain(last_price), -sign * trade.fee)
    at_real_price = expected.gain(last_price, price=real.price)
    return Pair(
        expected,
        real,
        price_gain=at_real_price - expected.gain(last_price),
        qty_gain=real.gain(last_price) - at_real_price,
        fee_gain=expected.fee - real.fee,
    )


def _near(ours: Sequence[Trade], theirs: Sequence[Trade], max_lag_ms: int) -> Iterator[tuple[list[Trade], list[Trade]]]:
    """Yield stretches of both between pauses longer than any match: the work grows with a stretch, not with a year."""
    stretch: tuple[list[Trade], list[Trade]] = ([], [])
    until = 0
    for trade, side in sorted([(t, 0) for t in ours] + [(t, 1) for t in theirs], key=lambda item: item[0].time_ms):
        if trade.time_ms > until + max_lag_ms and any(stretch):
            yield stretch
            stretch = ([], [])
        stretch[side].append(trade)
        until = trade.time_ms
    if any(stretch):
        yield stretch


def _aligned(
    ours: Sequence[Trade], theirs: Sequence[Trade], max_lag_ms: int
) -> list[tuple[Trade | None, Trade | None]]:
    """Return the cheapest pairing that keeps the order of both: near in time, alike in quantity, few left over."""
    n_ours, n_theirs = len(ours), len(theirs)
    best = [[0.0] * (n_theirs + 1) for _ in range(n_ours + 1)]
    for i in range(n_ours, -1, -1):
        for j in range(n_theirs, -1, -1):
            if i == n_ours or j == n_theirs:
                best[i][j] = _SKIP_COST * (n_ours - i + n_theirs - j)
                continue
            skip = _SKIP_COST + min(best[i + 1][j], best[i][j + 1])
            apart = _distance(ours[i], theirs[j], max_lag_ms)
            best[i][j] = skip if apart is None else min(skip, apart + best[i + 1][j + 1])
    pairs: list[tuple[Trade | None, Trade | None]] = []
    i = j = 0
    while i < n_ours or j < n_theirs:
        if i < n_ours and j < n_theirs:
            apart = _distance(ours[i], theirs[j], max_lag_ms)
            if apart is not None and best[i][j] == apart + best[i + 1][j + 1]:
                pairs.append((ours[i], theirs[j]))
                i, j = i + 1, j + 1
                continue
        if j == n_theirs or (i < n_ours and best[i][j] == _SKIP_COST + best[i + 1][j]):
            pairs.append((ours[i], None))
            i += 1
        else:
            pairs.append((None, theirs[j]))
            j += 1
    return pairs


def _distance(one: Trade, other: Trade, max_lag_ms: int) -> float | None:
    lag = abs(one.time_ms - other.time_ms)
    low, high = sorted((one.qty, other.qty))
    if lag > max_lag_ms or high > low * _MAX_QTY_RATIO:
        return None
    return lag / max_lag_ms + float(1 - low / high)
