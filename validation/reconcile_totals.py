"""Sums of a reconciliation: rows by verdict and reason, money by coin, year, month and symbol."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from bybit.rules.candles import Category
from bybit.rules.periods import utc
from validation.reconcile import Reconciliation
from validation.reconcile_bookings import Booking, Kind, Source
from validation.reconcile_rows import Judgement, Verdict

_QUOTES = ("USDT", "USDC", "USDE", "EUR", "BRL", "TRY", "BTC", "ETH", "MNT", "USD")
_LOGS = (Source.TRANSACTION_LOG, Source.ASSET_CHANGES)
_ZERO = Decimal(0)


@dataclass(slots=True)
class Money:
    """Amounts of one coin, each event once: fees and funding paid and received, and how far the rules give them.

    All >= 0 but ``difference`` (booked less recomputed), ``unexplained`` (booked amounts nothing explains, by size)
    and ``realized_pnl`` (price gains and losses before fees and funding).
    """

    fees_paid: Decimal = _ZERO
    rebates: Decimal = _ZERO
    funding_paid: Decimal = _ZERO
    funding_received: Decimal = _ZERO
    realized_pnl: Decimal = _ZERO
    difference: Decimal = _ZERO
    unexplained: Decimal = _ZERO
    n_rows: int = 0

    @property
    def costs(self) -> Decimal:
        """Fees and funding paid less rebates and funding received."""
        return self.fees_paid - self.rebates + self.funding_paid - self.funding_received

    @property
    def net(self) -> Decimal:
        """Realized P&L less costs."""
        return self.realized_pnl - self.costs

    def add(self, judgement: Judgement) -> None:
        """Count one judged row's money."""
        booking = judgement.booking
        amount = booking.fee or _ZERO
        self.n_rows += 1
        if booking.kind is Kind.FUNDING:
            self.funding_paid += max(amount, _ZERO)
            self.funding_received += max(-amount, _ZERO)
        else:
            self.fees_paid += max(amount, _ZERO)
            self.rebates += max(-amount, _ZERO)
        if judgement.verdict is Verdict.UNEXPLAINED:
            self.unexplained += abs(amount)
        self.difference += judgement.difference or _ZERO


@dataclass(frozen=True, slots=True)
class Totals:
    """What a reconciliation comes to.

    Attributes
    ----------
    rows, reasons : dict
        Rows by verdict, and by reason within each verdict; ``rows`` includes those whose money another row counts.
    unknowable : int
        Unexplained rows that do not show what their amount depends on; the others contradict every known rate.
    row_accuracy, money_accuracy : float or None
        Shares of the rows whose rate can be known: explained ones, and of their money the part recomputed (the
        lowest of all coins). None without such rows.
    by_coin, by_year, by_month, by_symbol : dict
        Keyed by coin, or by (year | month | symbol, coin).
    others : dict
        Change of the wallet by (venue's kind, coin) of rows without fee or funding.
    """

    rows: dict[str, int]
    reasons: dict[str, dict[str, int]]
    unknowable: int
    row_accuracy: float | None
    money_accuracy: float | None
    by_coin: dict[str, Money] = field(default_factory=dict)
    by_year: dict[tuple[str, str], Money] = field(default_factory=dict)
    by_month: dict[tuple[str, str], Money] = field(default_factory=dict)
    by_symbol: dict[tuple[str, str], Money] = field(default_factory=dict)
    others: dict[tuple[str, str], tuple[int, Decimal]] = field(default_factory=dict)


def totals_of(found: Reconciliation) -> Totals:
    """Return the sums of ``found``."""
    reasons: dict[str, Counter[str]] = {verdict.value: Counter() for verdict in Verdict}
    for judgement in found.judgements:
        reasons[judgement.verdict.value][judgement.reason] += 1
    known = [judgement for judgement in found.judgements if not judgement.is_unknowable]
    n_explained = sum(judgement.verdict is not Verdict.UNEXPLAINED for judgement in known)
    totals = Totals(
        rows={name: counter.total() for name, counter in reasons.items()},
        reasons={name: dict(counter.most_common()) for name, counter in reasons.items()},
        unknowable=len(found.judgements) - len(known),
        row_accuracy=n_explained / len(known) if known else None,
        money_accuracy=_money_accuracy(known),
    )
    for judgement in found.judgements:
        if judgement.same_as is None and judgement.booking.fee is not None:
            for money in _places(totals, judgement.booking):
                money.add(judgement)
    for booking, gain in realized(found):
        for money in _places(totals, booking):
            money.realized_pnl += gain
    for booking in found.others:
        key = (booking.kind_text, booking.coin or "?")
        n_rows, change = totals.others.get(key, (0, _ZERO))
        totals.others[key] = (n_rows + 1, change + (booking.change or _ZERO))
    return totals


def realized(found: Reconciliation) -> Iterable[tuple[Booking, Decimal]]:
    """Yield the rows that realize a profit, each profit once, before fees and funding.

    A log's cash flow of derivatives trades where there is a log of the symbol, else the closed positions.
    """
    logged = {judgement.booking.symbol for judgement in found.judgements if judgement.booking.source in _LOGS}
    for judgement in found.judgements:
        booking, closing = judgement.booking, judgement.booking.closing
        if booking.kind is Kind.TRADE and booking.source in _LOGS and booking.category is not Category.SPOT:
            if booking.cash_flow and judgement.same_as is None:
                yield booking, booking.cash_flow
        elif closing is not None and booking.symbol not in logged:
            yield booking, (closing.pnl or _ZERO) + (booking.fee or _ZERO)


def coin_of(booking: Booking) -> str:
    """Return the coin a row's amount is in: the one it names, else the one its contract settles in."""
    if booking.coin:
        return booking.coin
    symbol = (booking.symbol or "?").split("-")[0]
    if booking.category is Category.INVERSE:
        return symbol.removesuffix("USD")
    if symbol.endswith("PERP"):
        return "USDC"
    quote = next((coin for coin in _QUOTES if symbol.endswith(coin) and symbol != coin), "?")
    if booking.category is Category.SPOT and booking.side == "Buy" and quote != "?":
        return symbol.removesuffix(quote)
    return quote


def _places(totals: Totals, booking: Booking) -> Iterable[Money]:
    coin = coin_of(booking)
    time = None if booking.time_ms is None else utc(booking.time_ms)
    yield totals.by_coin.setdefault(coin, Money())
    yield totals.by_year.setdefault(("?" if time is None else f"{time:%Y}", coin), Money())
    yield totals.by_month.setdefault(("?" if time is None else f"{time:%Y-%m}", coin), Money())
    yield totals.by_symbol.setdefault((booking.symbol or "?", coin), Money())


def _money_accuracy(judgements: Iterable[Judgement]) -> float | None:
    booked: dict[str, Decimal] = {}
    missed: dict[str, Decimal] = {}
    for judgement in judgements:
        coin, amount = coin_of(judgement.booking), abs(judgement.booking.fee or _ZERO)
        booked[coin] = booked.get(coin, _ZERO) + amount
        off = amount if judgement.difference is None else abs(judgement.difference)
        missed[coin] = missed.get(coin, _ZERO) + off
    shares = [1 - missed[coin] / amount for coin, amount in booked.items() if amount]
    return float(max(min(shares), _ZERO)) if shares else None
