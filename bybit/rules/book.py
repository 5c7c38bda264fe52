"""What an account's ledger knows at an instant: cash, positions, marks and sums, and the arithmetic on them.

The events that change it stand in ``bybit.rules.account``, liquidations in ``bybit.rules.judgement``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fees import FeeRates, Liquidity, Rounding
from bybit.rules.holdings import Parts, Terms
from bybit.rules.ledger import Contract, LogRow, Position, Totals, Unmarked
from bybit.rules.liquidation import MarginBasis
from bybit.rules.positions import notional, unrealized_pnl

_ZERO = Decimal(0)


class Book:
    """State of one account; parameters as in ``bybit.rules.account.Account``.

    Raises
    ------
    InvalidInput
        For cash that is no number, no contract, or contracts of both kinds.
    """

    def __init__(
        self,
        cash: Decimal,
        contracts: Iterable[Contract],
        fees: FeeRates | Sequence[tuple[int, FeeRates]],
        *,
        is_cross: bool,
        rounding: Rounding,
        basis: MarginBasis,
        unmarked: Unmarked,
    ) -> None:
        if not cash.is_finite():
            raise InvalidInput(f"starting cash {cash} is not a number")
        self.contracts = {contract.symbol: contract for contract in contracts}
        if len({contract.category for contract in self.contracts.values()}) != 1:
            raise InvalidInput("an account holds contracts that are all linear or all inverse, at least one")
        self._fees = [(0, fees)] if isinstance(fees, FeeRates) else sorted(fees, key=lambda step: step[0])
        self._rounding, self._basis, self._unmarked = rounding, basis, unmarked
        self._terms: dict[str, Terms] = {}
        self._n_events = self._clock = 0
        # Per symbol: the last instant at which something that comes after funding happened.
        self.past_funding: dict[str, int] = {}
        self.marks: dict[str, Decimal] = {}
        self.last_fills: dict[str, Decimal] = {}
        self.is_cross = is_cross
        self.cash = cash
        self.backing = _ZERO
        self.positions = {symbol: Position() for symbol in self.contracts}
        self.totals = Totals()
        self.log: list[LogRow] = []
        self.liquidations: list[LogRow] = []

    def contract(self, symbol: str) -> Contract:
        """Return a contract of the account; ``InvalidInput`` for another."""
        contract = self.contracts.get(symbol)
        if contract is None:
            raise InvalidInput(f"{symbol} is not a contract of this account: it has {', '.join(self.contracts)}")
        return contract

    def enter(self, kind: str, time_ms: int, symbol: str | None, index: int | None) -> LogRow:
        """Move the clock to an event and return the beginning of its row.

        What is held is priced again when another ladder or margin basis holds from here on.
        """
        if time_ms < self._clock:
            name = f"{kind} of {symbol}" if symbol else kind
            raise InvalidInput(f"{name} at {time_ms} lies before the last event at {self._clock}")
        for held, position in self.positions.items():
            if position.size and self._turns(held, time_ms):
                self.hold(held, time_ms, position)
        self._clock = time_ms
        number = self._n_events if index is None else index
        self._n_events += 1
        return {"i": number, "t": time_ms, "kind": kind, "symbol": symbol}

    def fee(self, time_ms: int, symbol: str, qty: Decimal, price: Decimal, liquidity: Liquidity) -> Decimal:
        """Return the fee of a fill as it is booked; ``NotEstablished`` when no rate is known for the time."""
        for from_ms, rates in reversed(self._fees):
            if from_ms <= time_ms:
                return self.rounded(rates.fee(notional(self.contracts[symbol].category, qty, price), liquidity))
        raise NotEstablished(f"no fee rate is known at {time_ms}: the first one begins at {self._fees[0][0]}")

    def rounded(self, amount: Decimal) -> Decimal:
        """Return a fee or funding payment as it is booked."""
        return self._rounding.book(amount)

    def book(
        self,
        *,
        realized: Decimal = _ZERO,
        fee: Decimal = _ZERO,
        liquidity: Liquidity = Liquidity.TAKER,
        loss: Decimal = _ZERO,
        fund: Decimal = _ZERO,
    ) -> None:
        """Move cash by ``realized`` - ``fee`` - ``loss`` and add to the sums; ``fund`` moves the fund's only."""
        self.cash += realized - fee - loss
        totals = self.totals
        is_maker = liquidity == Liquidity.MAKER
        self.totals = replace(
            totals,
            fees=totals.fees + fee,
            maker_fees=totals.maker_fees + (fee if is_maker else _ZERO),
            taker_fees=totals.taker_fees + (_ZERO if is_maker else fee),
            realized=totals.realized + realized,
            liquidation_loss=totals.liquidation_loss + loss,
            fund=totals.fund + fund,
        )

    def pay_funding(self, paid: Decimal) -> None:
        """Take a funding payment (positive is paid) from cash."""
        self.cash -= paid
        self.totals = replace(self.totals, funding=self.totals.funding + paid)

    def terms(self, symbol: str, time_ms: int) -> Terms:
        """Return what a position is judged by; ``NotEstablished`` before the first ladder."""
        if self._turns(symbol, time_ms):
            contract = self.contracts[symbol]
            basis = self._basis.at(time_ms)
            self._terms[symbol] = Terms(contract.category, contract.tiers_at(time_ms), basis, contract.tick_size)
        return self._terms[symbol]

    def hold(self, symbol: str, time_ms: int, position: Position) -> Position:
        """Keep a position under the terms of an instant, priced when it stands on its own; return it."""
        terms = self.terms(symbol, time_ms) if position.size else None
        self.positions[symbol] = position if terms is None or self.is_cross else terms.priced(position)
        return self.positions[symbol]

    def mark(self, symbol: str) -> Decimal:
        """Return the last mark price, or what stands in for it; ``NotEstablished`` when nothing may."""
        if symbol in self.marks:
            return self.marks[symbol]
        if self._unmarked is Unmarked.LAST_FILL and symbol in self.last_fills:
            return self.last_fills[symbol]
        raise NotEstablished(f"{symbol} is held but has had no mark price yet: give a bar or a mark first")

    def is_marked(self) -> bool:
        """Return whether everything held has a mark price, or something that stands in for it."""
        known = self.marks.keys() | (self.last_fills.keys() if self._unmarked is Unmarked.LAST_FILL else set())
        return all(symbol in known for symbol, position in self.positions.items() if position.size)

    def unrealized(self, positions: Mapping[str, Position]) -> Decimal:
        """Return the unrealized P&L of ``positions`` at the last marks; errors as ``mark``."""
        total = _ZERO
        for symbol, position in positions.items():
            if position.entry_price is not None:
                total += unrealized_pnl(
                    self.contracts[symbol].category, position.entry_price, position.size, self.mark(symbol)
                )
        return total

    def available(self, symbol: str, parts: Parts) -> Decimal:
        """Return what the opening part of a fill may bind, its closing part done.

        Cross: backing counts, and so does the unrealized loss of what stays, taken together; a gain does not.
        """
        locked = sum((position.margin for position in self.positions.values()), _ZERO)
        free = self.cash + parts.realized - locked + parts.released
        if not self.is_cross:
            return free
        old = self.positions[symbol]
        stays = {**self.positions, symbol: replace(old, size=old.size - parts.closing)}
        if not stays[symbol].size:
            del stays[symbol]
        return free + self.backing + min(self.unrealized(stays), _ZERO)

    def close_row(self, row: LogRow) -> LogRow:
        """End the row of a price: equity where it is known, cash."""
        # Another contract may be held that has had no mark price yet: then there is no equity to tell.
        equity = self.cash + self.unrealized(self.positions) if self.is_marked() else None
        self.log.append(row | {"equity": equity, "cash": self.cash})
        return self.log[-1]

    def _turns(self, symbol: str, time_ms: int) -> bool:
        terms = self._terms.get(symbol)
        return (
            terms is None
            or terms.basis is not self._basis.at(time_ms)
            or terms.tiers is not self.contracts[symbol].tiers_at(time_ms)
        )
