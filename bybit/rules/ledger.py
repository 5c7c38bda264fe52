"""The records of the ledger: contracts and events that go in, positions, totals and log rows that come out."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from bybit.rules.candles import Category, check_symbol
from bybit.rules.errors import InvalidInput
from bybit.rules.fees import Liquidity
from bybit.rules.margin import MaintenanceTerms

_ZERO = Decimal(0)

LogRow = dict[str, Decimal | int | str | bool | None]
"""One line of the ledger: ``i`` (event number), ``t`` (ms), ``kind``, ``symbol`` and what the kind adds."""


@dataclass(frozen=True, slots=True)
class Contract:
    """What the ledger needs of one contract: its kind, the leverage chosen and the maintenance ladder."""

    symbol: str
    category: Category
    leverage: Decimal
    tiers: Sequence[MaintenanceTerms]

    def __post_init__(self) -> None:
        """Refuse spot, an empty ladder and leverage below 1."""
        check_symbol(self.symbol)
        if self.category is Category.SPOT:
            raise InvalidInput(f"{self.symbol} is spot, which has no margin: the ledger takes linear or inverse")
        if not self.tiers:
            raise InvalidInput(f"{self.symbol} has no margin ladder: give at least one tier")
        if not self.leverage >= 1:
            raise InvalidInput(f"leverage {self.leverage} of {self.symbol} is below 1")


@dataclass(frozen=True, slots=True)
class Position:
    """One contract's position. ``size`` 0 is flat: then prices are None and ``margin`` is 0."""

    size: Decimal = _ZERO
    entry_price: Decimal | None = None
    margin: Decimal = _ZERO
    liquidation_price: Decimal | None = None
    bankruptcy_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums since the start, settle coin; fees and funding: positive is paid, ``fees`` is both kinds together."""

    fees: Decimal = _ZERO
    maker_fees: Decimal = _ZERO
    taker_fees: Decimal = _ZERO
    funding: Decimal = _ZERO
    realized: Decimal = _ZERO
    liquidation_loss: Decimal = _ZERO


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
class MarkEvent:
    """One mark price."""

    rank: ClassVar[int] = 2
    time_ms: int
    symbol: str
    price: Decimal


Event = FillEvent | FundingEvent | BarEvent | MarkEvent
