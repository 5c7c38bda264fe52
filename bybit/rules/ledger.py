"""The records of the ledger: contracts and events that go in, positions, totals and log rows that come out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from bybit.rules.candles import Category, check_symbol
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fees import Liquidity
from bybit.rules.margin import MaintenanceTerms
from bybit.rules.positions import check_price

_ZERO = Decimal(0)

LogRow = dict[str, Decimal | int | str | bool | None]
"""One line of the ledger: ``i`` (event number), ``t`` (ms), ``kind``, ``symbol`` and what the kind adds."""


class Unmarked(StrEnum):
    """What a held contract is worth before its first mark price: nothing anybody knows, or what it last traded at."""

    REFUSE = "refuse"
    LAST_FILL = "last_fill"


@dataclass(frozen=True, slots=True)
class Contract:
    """What the ledger needs of one contract.

    Parameters
    ----------
    symbol : str
        Its name.
    category : Category
        LINEAR or INVERSE.
    leverage : Decimal
        Chosen by the holder, 1 or more.
    tiers : sequence of MaintenanceTerms
        The maintenance ladder, lowest tier first, when one holds at all times.
    ladders : sequence of (int, sequence of MaintenanceTerms)
        Instead of ``tiers``: dated ladders, (from ms UTC, tiers); the last one with from <= t holds.
    tick_size : Decimal, optional
        Rounds liquidation and bankruptcy price to the tick, against the holder; the rounded price is the trigger.
        None rounds nothing.
    qty_step : Decimal, optional
        What a step-down leaves is rounded down to it. None rounds nothing.

    Raises
    ------
    InvalidInput
        For spot, leverage below 1, a step that is none, an empty ladder, and both or none of ``tiers`` and ``ladders``.
    """

    symbol: str
    category: Category
    leverage: Decimal
    tiers: Sequence[MaintenanceTerms] = ()
    ladders: Sequence[tuple[int, Sequence[MaintenanceTerms]]] = ()
    tick_size: Decimal | None = None
    qty_step: Decimal | None = None

    def __post_init__(self) -> None:
        """Refuse terms that no position could be judged by."""
        check_symbol(self.symbol)
        if self.category is Category.SPOT:
            raise InvalidInput(f"{self.symbol} is spot, which has no margin: the ledger takes linear or inverse")
        if bool(self.tiers) == bool(self.ladders) or not all(tiers for _, tiers in self.ladders):
            raise InvalidInput(f"{self.symbol} needs one margin ladder of at least one tier, or dated ones: not both")
        if not self.leverage >= 1:
            raise InvalidInput(f"leverage {self.leverage} of {self.symbol} is below 1")
        for step in (self.tick_size, self.qty_step):
            if step is not None:
                check_price(step)
        # Sorted once, so that the ladder of an instant is the last that began.
        object.__setattr__(self, "ladders", tuple(sorted(self.ladders, key=lambda dated: dated[0])))

    def tiers_at(self, time_ms: int) -> Sequence[MaintenanceTerms]:
        """Return the ladder in force.

        Raises
        ------
        NotEstablished
            Before the first dated ladder.
        """
        if self.tiers:
            return self.tiers
        for from_ms, tiers in reversed(self.ladders):
            if from_ms <= time_ms:
                return tiers
        raise NotEstablished(f"no margin ladder of {self.symbol} is known at {time_ms}: first {self.ladders[0][0]}")


@dataclass(frozen=True, slots=True)
class Position:
    """One contract's position. ``size`` 0 is flat: then prices are None and ``margin`` is 0.

    In cross margin the account is lost as a whole, so that both prices are always None.
    """

    size: Decimal = _ZERO
    entry_price: Decimal | None = None
    margin: Decimal = _ZERO
    liquidation_price: Decimal | None = None
    bankruptcy_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums since the start, settle coin; fees and funding: positive is paid, ``fees`` is both kinds together.

    ``fund`` is what the insurance fund gained (+) or paid (-) by this account's liquidations; it is no part of cash.
    """

    fees: Decimal = _ZERO
    maker_fees: Decimal = _ZERO
    taker_fees: Decimal = _ZERO
    funding: Decimal = _ZERO
    realized: Decimal = _ZERO
    liquidation_loss: Decimal = _ZERO
    fund: Decimal = _ZERO


@dataclass(frozen=True, slots=True)
class MarkCandle:
    """Four mark prices of one candle."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal

    def __post_init__(self) -> None:
        """Refuse prices that are none, and a high or low inside the others."""
        for price in (self.open, self.high, self.low, self.close):
            check_price(price)
        if self.high < max(self.open, self.low, self.close) or self.low > min(self.open, self.close):
            raise InvalidInput(f"no candle: open {self.open} high {self.high} low {self.low} close {self.close}")

    def adverse(self, size: Decimal) -> Decimal:
        """Return the extreme that hurts a position of signed ``size``: the low for a long, else the high."""
        return self.low if size > 0 else self.high


@dataclass(frozen=True, slots=True)
class FillEvent:
    """``qty`` signed: buy +."""

    rank: ClassVar[int] = 1
    time_ms: int
    symbol: str
    qty: Decimal
    price: Decimal
    liquidity: Liquidity


@dataclass(frozen=True, slots=True)
class FundingEvent:
    """``rate`` positive: longs pay shorts; ``mark`` is the mark price at the settlement."""

    rank: ClassVar[int] = 0
    time_ms: int
    symbol: str
    rate: Decimal
    mark: Decimal


@dataclass(frozen=True, slots=True)
class BackingEvent:
    """``value`` is what other coins count as collateral from now on, settle coin, haircut taken; cross only."""

    rank: ClassVar[int] = 0
    time_ms: int
    value: Decimal


@dataclass(frozen=True, slots=True)
class BarEvent:
    """One candle of the mark price; ``time_ms`` is its open time."""

    rank: ClassVar[int] = 2
    time_ms: int
    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


@dataclass(frozen=True, slots=True)
class BarsEvent:
    """Candles of several contracts that share an open time: they move together."""

    rank: ClassVar[int] = 2
    time_ms: int
    candles: Mapping[str, MarkCandle]


@dataclass(frozen=True, slots=True)
class MarkEvent:
    """One mark price."""

    rank: ClassVar[int] = 2
    time_ms: int
    symbol: str
    price: Decimal


@dataclass(frozen=True, slots=True)
class MarksEvent:
    """Mark prices of several contracts at one instant: the account is judged once, at all of them."""

    rank: ClassVar[int] = 2
    time_ms: int
    prices: Mapping[str, Decimal]


Event = FillEvent | FundingEvent | BackingEvent | BarEvent | BarsEvent | MarkEvent | MarksEvent
