"""The exact ledger of one account: what every fill, funding settlement and price does to cash and positions.

This is the reference that the back-test kernel and the sandbox are held to. Amounts are ``Decimal`` in settle coin,
times milliseconds UTC, sizes signed (long +). Its conventions, in the order in which they bite:

- at one instant funding comes first, then fills, then prices; ``replay`` sorts, the single methods refuse to go back;
- funding is charged on the position held just before the settlement, at the mark price given, and comes from cash, so
  that it moves no isolated margin and no liquidation price;
- a fill against the position closes first and opens the rest the other way at its price; one fee on the whole fill;
- the initial margin of an opening part is value / leverage; reducing releases margin in proportion;
- an opening fill whose margin and fee exceed free cash (plus what its closing part frees) is rejected as a whole;
- an isolated position is taken over when margin + unrealized P&L <= maintenance at the mark; it loses its margin,
  exactly, at the bankruptcy price, and pays no further fee;
- inside a bar of mark prices the open comes first (a gap: the open is the trigger), then the adverse extreme (the
  liquidation price is the trigger), then the close.

Always: starting cash + realized - fees - funding - liquidation loss = cash.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Context, Decimal, localcontext

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished, UnsupportedMarginMode
from bybit.rules.fees import FeeRates, Liquidity, Rounding
from bybit.rules.funding import funding_payment
from bybit.rules.ledger import BarEvent, Contract, Event, FillEvent, FundingEvent, LogRow, MarkEvent, Position, Totals
from bybit.rules.liquidation import bankruptcy_price, is_liquidated, liquidation_price
from bybit.rules.margin import initial_margin
from bybit.rules.positions import check_price, notional, unrealized_pnl

# Enough that no amount of a long run loses a digit that 18 printed decimals would show.
_PRECISE = Context(prec=50)
_ZERO = Decimal(0)


class Account:
    """One isolated-margin account in one settle coin.

    Parameters
    ----------
    cash : Decimal
        Starting wallet balance.
    contracts : iterable of Contract
        Everything that may be traded; all linear or all inverse (they settle in different coins).
    fees : FeeRates or sequence of (int, FeeRates)
        One pair of rates, or pairs of (from ms UTC, rates): the last one with from <= t applies.
    margin_mode : str
        "isolated".
    rounding : Rounding
        How fees and funding are booked.

    Attributes
    ----------
    cash : Decimal
        Wallet balance, locked margin included.
    log : list of LogRow
        One row per event, oldest first.
    liquidations : list of LogRow
        The rows of ``log`` of kind "liquidation".

    Raises
    ------
    UnsupportedMarginMode
        For cross and portfolio margin.
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
    ) -> None:
        if margin_mode != "isolated":
            raise UnsupportedMarginMode(
                f"margin mode {margin_mode!r} is not accounted for yet: only 'isolated' is, cross follows later"
            )
        if not cash.is_finite():
            raise InvalidInput(f"starting cash {cash} is not a number")
        self._contracts = {contract.symbol: contract for contract in contracts}
        if len({contract.category for contract in self._contracts.values()}) != 1:
            raise InvalidInput("an account holds contracts that are all linear or all inverse, at least one")
        self._fees = [(0, fees)] if isinstance(fees, FeeRates) else sorted(fees, key=lambda step: step[0])
        self._rounding = rounding
        self._positions = {symbol: Position() for symbol in self._contracts}
        self._marks: dict[str, Decimal] = {}
        self._totals = Totals()
        self._n_events = 0
        self._clock = 0
        # Per symbol: the last instant at which something that comes after funding happened.
        self._past_funding: dict[str, int] = {}
        self.cash = cash
        self.log: list[LogRow] = []
        self.liquidations: list[LogRow] = []

    @property
    def positions(self) -> Mapping[str, Position]:
        """Every contract's position, flat ones too."""
        return self._positions

    @property
    def totals(self) -> Totals:
        """Sums since the start."""
        return self._totals

    @property
    def locked_margin(self) -> Decimal:
        """Margin of all positions."""
        with localcontext(_PRECISE):
            return sum((position.margin for position in self._positions.values()), _ZERO)

    @property
    def unrealized(self) -> Decimal:
        """Unrealized P&L of all positions at their last mark prices.

        Raises
        ------
        NotEstablished
            When a held position has had no mark price yet.
        """
        with localcontext(_PRECISE):
            total = _ZERO
            for symbol, position in self._positions.items():
                if position.entry_price is None:
                    continue
                if symbol not in self._marks:
                    raise NotEstablished(f"{symbol} is held but has had no mark price yet: give a bar or a mark first")
                category = self._contracts[symbol].category
                total += unrealized_pnl(category, position.entry_price, position.size, self._marks[symbol])
            return total

    @property
    def equity(self) -> Decimal:
        """Cash plus unrealized P&L; errors as ``unrealized``."""
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
                case BarEvent():
                    self.bar(event.time_ms, event.symbol, event.open, event.high, event.low, event.close, index=index)
                case MarkEvent():
                    self.mark(event.time_ms, event.symbol, event.price, index=index)

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
            When no fee rate is known for the time.
        """
        with localcontext(_PRECISE):
            contract = self._contract(symbol)
            check_price(price)
            if not qty.is_finite() or not qty:
                raise InvalidInput(f"a fill of {qty} {symbol} is none: give a signed quantity other than 0")
            if liquidity not in list(Liquidity):
                raise InvalidInput(f"liquidity {liquidity!r} is neither maker nor taker")
            row = self._row("fill", time_ms, symbol, index)
            old = self._positions[symbol]
            fee = self._rounding.book(self._rates(time_ms).fee(notional(contract.category, qty, price), liquidity))
            closing = -_clip(qty, -old.size)
            opening = qty + closing
            released = old.margin * closing / old.size if closing else _ZERO
            realized = _ZERO
            if closing and old.entry_price is not None:
                realized = unrealized_pnl(contract.category, old.entry_price, closing, price)
            needed = (
                initial_margin(notional(contract.category, opening, price), contract.leverage) if opening else _ZERO
            )
            if opening:
                available = self.cash + realized - self.locked_margin + released
                if needed + fee > available:
                    row.update(kind="rejected", fee=_ZERO, realized=_ZERO, needed=needed + fee, available=available)
                    return self._finish_fill(row, old)
            self.cash += realized - fee
            self._count(realized=realized, fee=fee, liquidity=liquidity)
            new = self._after_fill(contract, old, opening, closing, released, needed, price)
            self._positions[symbol] = new
            self._past_funding[symbol] = time_ms
            row.update(fee=fee, realized=realized)
            return self._finish_fill(row, new)

    def funding(self, time_ms: int, symbol: str, rate: Decimal, mark: Decimal, *, index: int | None = None) -> LogRow:
        """Settle funding on the position held; return its row (``paid``: positive is paid).

        Raises
        ------
        InvalidInput
            As ``fill``; also when a fill or price of this very instant came first, which the venue settles after.
        """
        with localcontext(_PRECISE):
            contract = self._contract(symbol)
            check_price(mark)
            if not rate.is_finite():
                raise InvalidInput(f"funding rate {rate} of {symbol} is not a number: a missing rate is never zero")
            if self._past_funding.get(symbol, -1) >= time_ms:
                raise InvalidInput(
                    f"funding of {symbol} at {time_ms} comes after a fill or price of that instant: settle it first"
                )
            row = self._row("funding", time_ms, symbol, index)
            size = self._positions[symbol].size
            paid = self._rounding.book(-funding_payment(size, mark, rate, contract.category))
            self.cash -= paid
            self._totals = replace(self._totals, funding=self._totals.funding + paid)
            self._marks[symbol] = mark
            row.update(paid=paid, qty=size, cash=self.cash)
            self.log.append(row)
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
        """Apply one candle of the mark price; return its row, kind "bar" or "liquidation".

        Raises
        ------
        InvalidInput
            As ``fill``; also when the high is below, or the low above, another price of the candle.
        """
        with localcontext(_PRECISE):
            self._contract(symbol)
            for price in (open, high, low, close):
                check_price(price)
            if high < max(open, low, close) or low > min(open, close):
                raise InvalidInput(f"bar of {symbol} at {time_ms} is no candle: {open} {high} {low} {close}")
            row = self._row("bar", time_ms, symbol, index)
            self._past_funding[symbol] = time_ms
            position = self._positions[symbol]
            self._marks[symbol] = close
            if self._is_lost(symbol, open):
                return self._liquidate(row, trigger=open, gap=True)
            extreme = low if position.size > 0 else high
            if self._is_lost(symbol, extreme):
                return self._liquidate(row, trigger=position.liquidation_price or extreme, gap=False)
            return self._finish_mark(row)

    def mark(self, time_ms: int, symbol: str, price: Decimal, *, index: int | None = None) -> LogRow:
        """Apply one mark price; return its row, kind "mark" or "liquidation". Errors as ``fill``."""
        with localcontext(_PRECISE):
            self._contract(symbol)
            check_price(price)
            row = self._row("mark", time_ms, symbol, index)
            self._past_funding[symbol] = time_ms
            self._marks[symbol] = price
            if self._is_lost(symbol, price):
                return self._liquidate(row, trigger=price, gap=False)
            return self._finish_mark(row)

    def _contract(self, symbol: str) -> Contract:
        contract = self._contracts.get(symbol)
        if contract is None:
            raise InvalidInput(f"{symbol} is not a contract of this account: it has {', '.join(self._contracts)}")
        return contract

    def _rates(self, time_ms: int) -> FeeRates:
        for from_ms, rates in reversed(self._fees):
            if from_ms <= time_ms:
                return rates
        raise NotEstablished(f"no fee rate is known at {time_ms}: the first one begins at {self._fees[0][0]}")

    def _row(self, kind: str, time_ms: int, symbol: str, index: int | None) -> LogRow:
        if time_ms < self._clock:
            raise InvalidInput(f"{kind} of {symbol} at {time_ms} lies before the last event at {self._clock}")
        self._clock = time_ms
        number = self._n_events if index is None else index
        self._n_events += 1
        return {"i": number, "t": time_ms, "kind": kind, "symbol": symbol}

    def _count(self, *, realized: Decimal, fee: Decimal, liquidity: Liquidity) -> None:
        totals = replace(self._totals, realized=self._totals.realized + realized, fees=self._totals.fees + fee)
        if liquidity == Liquidity.MAKER:
            self._totals = replace(totals, maker_fees=totals.maker_fees + fee)
        else:
            self._totals = replace(totals, taker_fees=totals.taker_fees + fee)

    def _after_fill(
        self,
        contract: Contract,
        old: Position,
        opening: Decimal,
        closing: Decimal,
        released: Decimal,
        needed: Decimal,
        price: Decimal,
    ) -> Position:
        kept = old.size - closing
        size = kept + opening
        if not size:
            return Position()
        if not kept or old.entry_price is None:
            entry, margin = price, needed
        else:
            entry = _average(contract.category, kept, old.entry_price, opening, price) if opening else old.entry_price
            margin = old.margin - released + needed
        return Position(
            size,
            entry,
            margin,
            liquidation_price(contract.category, entry, size, margin, contract.tiers),
            bankruptcy_price(contract.category, entry, size, margin),
        )

    def _finish_fill(self, row: LogRow, position: Position) -> LogRow:
        row.update(
            qty=position.size,
            entry=position.entry_price,
            margin=position.margin,
            liq_price=position.liquidation_price,
            cash=self.cash,
        )
        self.log.append(row)
        return row

    def _finish_mark(self, row: LogRow) -> LogRow:
        # Another contract may be held that has had no mark price yet: then there is no equity to tell.
        known = all(not position.size or symbol in self._marks for symbol, position in self._positions.items())
        row.update(equity=self.equity if known else None, cash=self.cash)
        self.log.append(row)
        return row

    def _is_lost(self, symbol: str, price: Decimal) -> bool:
        position, contract = self._positions[symbol], self._contracts[symbol]
        if position.entry_price is None:
            return False
        return is_liquidated(
            contract.category, position.entry_price, position.size, position.margin, price, contract.tiers
        )

    def _liquidate(self, row: LogRow, *, trigger: Decimal, gap: bool) -> LogRow:
        symbol = str(row["symbol"])
        position = self._positions[symbol]
        self.cash -= position.margin
        loss = self._totals.liquidation_loss + position.margin
        self._totals = replace(self._totals, liquidation_loss=loss)
        self._positions[symbol] = Position()
        row.update(
            kind="liquidation",
            trigger_mark=trigger,
            liq_price=position.liquidation_price,
            bankruptcy_price=position.bankruptcy_price,
            qty=position.size,
            loss=position.margin,
            gap=gap,
            cash=self.cash,
        )
        self.log.append(row)
        self.liquidations.append(row)
        return row


def _clip(qty: Decimal, against: Decimal) -> Decimal:
    """Return the part of ``qty`` that goes the way of ``against``, no larger than it; 0 when they disagree."""
    if not against or (qty > 0) != (against > 0):
        return _ZERO
    return qty if abs(qty) <= abs(against) else against


def _average(category: Category, kept: Decimal, entry_price: Decimal, opening: Decimal, price: Decimal) -> Decimal:
    if category is Category.INVERSE:
        return (kept + opening) / (kept / entry_price + opening / price)
    return (kept * entry_price + opening * price) / (kept + opening)
