"""The exact ledger of one account: what every fill, funding settlement and price does to cash and positions.

This is the reference that the back-test kernel and the sandbox are held to. Amounts are ``Decimal`` in settle coin,
times milliseconds UTC, sizes signed (long +). Its conventions, in the order in which they bite:

- at one instant funding comes first, then fills, then prices; ``replay`` sorts, the single methods refuse to go back;
- funding is charged on the position held just before the settlement, at the mark price given, and comes from cash, so
  that it moves no isolated margin and no liquidation price;
- a fill against the position closes first and opens the rest the other way at its price; one fee on the whole fill;
- the initial margin of an opening part is value / leverage; reducing releases margin in proportion;
- an opening fill whose margin and fee exceed free cash (plus what its closing part frees; cross: less the unrealized
  loss of what is held, plus backing) is rejected as a whole;
- an isolated position is taken over when margin + unrealized P&L <= maintenance at the mark; it loses its margin,
  exactly, at the bankruptcy price, and pays no further fee (or it is stepped down: ``bybit.rules.stepdown``);
- a cross account is lost when cash + backing + unrealized P&L <= the maintenance of all positions: all are closed at
  their marks, each pays the taker fee, and what would take cash below zero (below -backing) is the insurance fund's;
- inside a bar of mark prices the open comes first (a gap: the open is the trigger), then the adverse extreme (the
  liquidation price is the trigger; cross: the first marks on the way at which the account is lost), then the close.

Always: starting cash + realized - fees - funding - liquidation loss = cash.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Context, Decimal, localcontext

from bybit.rules.book import Book
from bybit.rules.errors import InvalidInput, UnsupportedMarginMode
from bybit.rules.fees import FeeRates, Liquidity, Rounding
from bybit.rules.funding import funding_payment
from bybit.rules.holdings import after_fill, split
from bybit.rules.judgement import judge_cross, judge_cross_bars, judge_isolated
from bybit.rules.ledger import (
    BackingEvent,
    BarEvent,
    BarsEvent,
    Contract,
    Event,
    FillEvent,
    FundingEvent,
    LogRow,
    MarkCandle,
    MarkEvent,
    MarksEvent,
    Position,
    Totals,
    Unmarked,
)
from bybit.rules.liquidation import LiquidationMode, MarginBasis
from bybit.rules.positions import check_price

# Enough that no amount of a long run loses a digit that 18 printed decimals would show.
_PRECISE = Context(prec=50)
_ZERO = Decimal(0)


class Account:
    """One account in one settle coin.

    Parameters
    ----------
    cash : Decimal
        Starting wallet balance.
    contracts : iterable of Contract
        Everything that may be traded; all linear or all inverse (they settle in different coins).
    fees : FeeRates or sequence of (int, FeeRates)
        One pair of rates, or pairs of (from ms UTC, rates): the last one with from <= t applies.
    margin_mode : str
        "isolated" or "cross".
    rounding : Rounding
        How fees and funding are booked.
    basis : MarginBasis
        Which price maintenance is reckoned on; BY_DATE follows the venue's change.
    liquidation : LiquidationMode
        What happens to an isolated position that is lost.
    unmarked : Unmarked
        What a held contract counts at before its first mark price.

    Raises
    ------
    UnsupportedMarginMode
        For portfolio margin.
    InvalidInput
        For cash that is no number, no contract, or contracts of both kinds.
    """

    def __init__(
        self,
        cash: Decimal,
        *,
        contracts: Iterable[Contract],
        fees: FeeRates | Sequence[tuple[int, FeeRates]],
        margin_mode: str = "isolated",
        rounding: Rounding = Rounding.EXACT,
        basis: MarginBasis = MarginBasis.MARK,
        liquidation: LiquidationMode = LiquidationMode.TAKEOVER,
        unmarked: Unmarked = Unmarked.REFUSE,
    ) -> None:
        if margin_mode not in ("isolated", "cross"):
            raise UnsupportedMarginMode(f"margin mode {margin_mode!r} is not accounted for: use 'isolated' or 'cross'")
        self._book = Book(
            cash,
            contracts,
            fees,
            is_cross=margin_mode == "cross",
            rounding=rounding,
            basis=basis,
            unmarked=unmarked,
        )
        self._liquidation = liquidation

    @property
    def cash(self) -> Decimal:
        """Wallet balance, locked margin included."""
        return self._book.cash

    @property
    def backing(self) -> Decimal:
        """What other coins count as collateral (cross), settle coin; set by ``back``."""
        return self._book.backing

    @property
    def log(self) -> list[LogRow]:
        """One row per event, oldest first; a liquidation's rows take the place of its price's row."""
        return self._book.log

    @property
    def liquidations(self) -> list[LogRow]:
        """The rows of ``log`` of kind "liquidation"."""
        return self._book.liquidations

    @property
    def positions(self) -> Mapping[str, Position]:
        """Every contract's position, flat ones too."""
        return self._book.positions

    @property
    def totals(self) -> Totals:
        """Sums since the start."""
        return self._book.totals

    @property
    def locked_margin(self) -> Decimal:
        """Initial margin of all positions."""
        with localcontext(_PRECISE):
            return sum((position.margin for position in self._book.positions.values()), _ZERO)

    @property
    def unrealized(self) -> Decimal:
        """Unrealized P&L of all positions at their last mark prices.

        Raises
        ------
        NotEstablished
            When a held position has had no mark price yet and nothing may stand in for it.
        """
        with localcontext(_PRECISE):
            return self._book.unrealized(self._book.positions)

    @property
    def equity(self) -> Decimal:
        """Cash plus unrealized P&L, backing left out; errors as ``unrealized``."""
        with localcontext(_PRECISE):
            return self.cash + self.unrealized

    def replay(self, events: Iterable[Event]) -> None:
        """Apply ``events`` by time, at one instant funding, fills, prices, else as given; rows keep the given number.

        Errors as the single methods.
        """
        for index, event in sorted(enumerate(events), key=lambda item: (item[1].time_ms, item[1].rank)):
            match event:
                case FillEvent():
                    self.fill(event.time_ms, event.symbol, event.qty, event.price, event.liquidity, index=index)
                case FundingEvent():
                    self.funding(event.time_ms, event.symbol, event.rate, event.mark, index=index)
                case BackingEvent():
                    self.back(event.time_ms, event.value, index=index)
                case BarEvent():
                    self.bar(event.time_ms, event.symbol, event.open, event.high, event.low, event.close, index=index)
                case BarsEvent():
                    self.bars(event.time_ms, event.candles, index=index)
                case MarkEvent():
                    self.mark(event.time_ms, event.symbol, event.price, index=index)
                case MarksEvent():
                    self.marks(event.time_ms, event.prices, index=index)

    def fill(
        self,
        time_ms: int,
        symbol: str,
        qty: Decimal,
        price: Decimal,
        liquidity: Liquidity,
        *,
        index: int | None = None,
    ) -> LogRow:
        """Apply an execution of signed ``qty`` (buy +) at ``price``; return its row.

        The row's kind is "fill" (fee, realized, qty, entry, margin, liq_price, cash after it) or, when free cash does
        not suffice to open, "rejected" (needed, available, and the unchanged cash); a rejection changes nothing.

        Raises
        ------
        InvalidInput
            For an unknown symbol, a quantity of 0, a price that is none, or a time before the last event.
        NotEstablished
            When no fee rate or margin ladder is known for the time, or, in cross, no mark price of what is held.
        """
        with localcontext(_PRECISE):
            book, contract = self._book, self._book.contract(symbol)
            check_price(price)
            if not qty.is_finite() or not qty:
                raise InvalidInput(f"a fill of {qty} {symbol} is none: give a signed quantity other than 0")
            if liquidity not in list(Liquidity):
                raise InvalidInput(f"liquidity {liquidity!r} is neither maker nor taker")
            row = book.enter("fill", time_ms, symbol, index)
            old = book.positions[symbol]
            fee = book.fee(time_ms, symbol, qty, price, liquidity)
            parts = split(contract, old, qty, price)
            if parts.opening:
                available = book.available(symbol, parts)
                if parts.needed + fee > available:
                    row |= {"kind": "rejected", "fee": _ZERO, "realized": _ZERO}
                    return self._finish_fill(row | {"needed": parts.needed + fee, "available": available}, old)
            new = book.hold(symbol, time_ms, after_fill(contract.category, old, parts, price))
            book.book(realized=parts.realized, fee=fee, liquidity=liquidity)
            book.past_funding[symbol] = time_ms
            book.last_fills[symbol] = price
            return self._finish_fill(row | {"fee": fee, "realized": parts.realized}, new)

    def funding(
        self, time_ms: int, symbol: str, rate: Decimal, mark: Decimal, *, judge: bool = True, index: int | None = None
    ) -> LogRow:
        """Settle funding on the position held; return its row (``paid``: positive is paid).

        A cross account is judged after it, at this mark, unless ``judge`` is false.

        Raises
        ------
        InvalidInput
            As ``fill``; also when a fill or price of this very instant came first, which the venue settles after.
        """
        with localcontext(_PRECISE):
            book, contract = self._book, self._book.contract(symbol)
            check_price(mark)
            if not rate.is_finite():
                raise InvalidInput(f"funding rate {rate} of {symbol} is not a number: a missing rate is never zero")
            if book.past_funding.get(symbol, -1) >= time_ms:
                raise InvalidInput(
                    f"funding of {symbol} at {time_ms} comes after a fill or price of that instant: settle it first"
                )
            row = book.enter("funding", time_ms, symbol, index)
            size = book.positions[symbol].size
            paid = book.rounded(-funding_payment(size, mark, rate, contract.category))
            book.pay_funding(paid)
            book.marks[symbol] = mark
            row |= {"paid": paid, "qty": size, "cash": book.cash}
            book.log.append(row)
            if judge and book.is_cross:
                judge_cross(book, row, time_ms, gap=False)
            return row

    def back(self, time_ms: int, value: Decimal, *, judge: bool = True, index: int | None = None) -> LogRow:
        """Set what other coins count as collateral (>= 0, settle coin, haircut taken); return the row.

        It counts when the account is judged and in what an opening may bind, and lets cash fall to -value. The account
        is judged after it unless ``judge`` is false.

        Raises
        ------
        InvalidInput
            In isolated margin, where a position stands on its own; for a value that is none.
        """
        with localcontext(_PRECISE):
            book = self._book
            if not book.is_cross:
                raise InvalidInput("backing by other coins is for cross margin: an isolated position has its own")
            if not value.is_finite() or value < 0:
                raise InvalidInput(f"backing of {value} is none: give 0 or more in settle coin")
            row = book.enter("backing", time_ms, None, index)
            book.backing = value
            row |= {"backing": value, "cash": book.cash}
            book.log.append(row)
            if judge:
                judge_cross(book, row, time_ms, gap=False)
            return row

    def bar(
        self,
        time_ms: int,
        symbol: str,
        open: Decimal,
        high: Decimal,
        low: Decimal,
        close: Decimal,
        *,
        index: int | None = None,
    ) -> LogRow:
        """Apply one candle of the mark price; return its last row, kind "bar" or "liquidation".

        Raises
        ------
        InvalidInput
            As ``fill``; also when the high is below, or the low above, another price of the candle.
        """
        return self._bars("bar", time_ms, {symbol: MarkCandle(open, high, low, close)}, index)

    def bars(self, time_ms: int, candles: Mapping[str, MarkCandle], *, index: int | None = None) -> LogRow:
        """Apply candles of several contracts that share an open time; return the last row.

        In cross they move together: opens, then toward the extremes that hurt what is held, then closes.
        """
        return self._bars("bars", time_ms, candles, index)

    def mark(self, time_ms: int, symbol: str, price: Decimal, *, index: int | None = None) -> LogRow:
        """Apply one mark price; return its last row, kind "mark" or "liquidation". Errors as ``fill``."""
        return self._mark("mark", time_ms, {symbol: price}, judge=True, index=index)

    def marks(
        self, time_ms: int, prices: Mapping[str, Decimal], *, judge: bool = True, index: int | None = None
    ) -> LogRow:
        """Apply mark prices of several contracts at one instant and judge once; return the last row.

        Without ``judge`` they are only noted: fills at this instant then know what is held is worth.
        """
        return self._mark("marks", time_ms, prices, judge=judge, index=index)

    def _mark(
        self, kind: str, time_ms: int, prices: Mapping[str, Decimal], *, judge: bool, index: int | None
    ) -> LogRow:
        with localcontext(_PRECISE):
            book = self._book
            for symbol, price in prices.items():
                book.contract(symbol)
                check_price(price)
            row = book.enter(kind, time_ms, next(iter(prices)) if kind == "mark" else None, index)
            book.marks.update(prices)
            is_lost = False
            if judge:
                book.past_funding.update(dict.fromkeys(prices, time_ms))
                if book.is_cross:
                    is_lost = judge_cross(book, row, time_ms, gap=False)
                else:
                    for symbol, price in prices.items():
                        moves = [(price, False)]
                        is_lost |= judge_isolated(book, row, time_ms, symbol, moves, self._liquidation)
            return book.log[-1] if is_lost else book.close_row(row)

    def _bars(self, kind: str, time_ms: int, candles: Mapping[str, MarkCandle], index: int | None) -> LogRow:
        with localcontext(_PRECISE):
            book = self._book
            for symbol in candles:
                book.contract(symbol)
            row = book.enter(kind, time_ms, next(iter(candles)) if kind == "bar" else None, index)
            book.past_funding.update(dict.fromkeys(candles, time_ms))
            if book.is_cross:
                is_lost = judge_cross_bars(book, row, time_ms, candles)
            else:
                is_lost = False
                for symbol, candle in candles.items():
                    extreme = candle.adverse(book.positions[symbol].size)
                    moves = [(candle.open, True), (extreme, None)]
                    is_lost |= judge_isolated(book, row, time_ms, symbol, moves, self._liquidation)
            book.marks.update({symbol: candle.close for symbol, candle in candles.items()})
            return book.log[-1] if is_lost else book.close_row(row)

    def _finish_fill(self, row: LogRow, position: Position) -> LogRow:
        row |= {
            "qty": position.size,
            "entry": position.entry_price,
            "margin": position.margin,
            "liq_price": position.liquidation_price,
            "cash": self.cash,
        }
        self.log.append(row)
        return row
