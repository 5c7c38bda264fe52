"""The venue's rules as the kernel's numbers: contract, margin ladder and fee eras, checked against each other."""

import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from bybit.backtest.position import FeeEras, Ladder, Terms
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fees import FeeSchedule
from bybit.rules.instruments import Instrument
from bybit.rules.margin import RiskTier, max_notional_at
from bybit.rules.periods import Period, to_ms


def contract_terms(
    instrument: Instrument, tiers: Sequence[RiskTier], leverage: float, slippage_rate: float
) -> tuple[Terms, tuple[str, ...]]:
    """Return the contract's limits as numbers, and the names of those the venue gave no figure for.

    What is not known limits nothing, which the result has to say.

    Raises
    ------
    InvalidInput
        When the contract or its ladder does not allow ``leverage``.
    """
    if instrument.max_leverage is not None and leverage > instrument.max_leverage:
        raise InvalidInput(
            f"leverage {leverage} is above the maximum of {instrument.symbol}, {instrument.max_leverage}"
        )
    limits = ("min_notional", "max_market_order_qty", "max_order_qty")
    terms = Terms(
        qty_step=float(instrument.qty_step),
        tick_size=float(instrument.tick_size),
        min_qty=float(instrument.min_order_qty),
        min_notional=0.0 if instrument.min_notional is None else float(instrument.min_notional),
        max_market_qty=_or_unlimited(instrument.max_market_order_qty),
        max_limit_qty=_or_unlimited(instrument.max_order_qty),
        max_position_value=_or_unlimited(max_notional_at(tiers, Decimal(str(leverage)))),
        leverage=leverage,
        slippage_rate=slippage_rate,
    )
    return terms, tuple(name for name in limits if getattr(instrument, name) is None)


def margin_ladder(symbol: str, tiers: Sequence[RiskTier]) -> Ladder:
    """Return the maintenance ladder of ``symbol``; its last tier goes on, for the mark can carry a position above it.

    Raises
    ------
    NotEstablished
        Without tiers.
    InvalidInput
        For tiers of another symbol, notionals that do not rise, or rates that are no fractions.
    """
    if not tiers:
        raise NotEstablished(f"no margin ladder of {symbol} is known: liquidation cannot be judged without one")
    if others := {tier.symbol for tier in tiers} - {symbol}:
        raise InvalidInput(f"the margin ladder of {symbol} holds tiers of {', '.join(sorted(others))}")
    rates = np.array([float(tier.maintenance_margin_rate) for tier in tiers])
    upper = np.array([_or_unlimited(tier.max_notional) for tier in tiers])
    upper[-1] = math.inf
    if (upper[1:] <= upper[:-1]).any() or not ((rates > 0.0) & (rates < 1.0)).all():
        raise InvalidInput(f"the margin ladder of {symbol} needs rising notionals and maintenance rates in (0, 1)")
    return Ladder(upper, rates, np.array([float(tier.mm_deduction) for tier in tiers]))


def fee_eras(schedule: FeeSchedule, category: Category, tier: str, period: Period, symbol: str) -> FeeEras:
    """Return the rates of ``tier`` over the whole ``period``.

    Raises
    ------
    NotEstablished
        When any part of the period has no rate, or the tier's rates are not known for ``symbol``.
    """
    eras = schedule.eras(category, tier, period)
    for era in eras:
        # Pro rates differ by group of symbols: the schedule knows which.
        schedule.rates(category, tier, max(era.valid_from, period.start), symbol)
    return FeeEras(
        np.array([to_ms(era.valid_from) for era in eras], dtype=np.int64),
        np.array([float(era.rates.maker) for era in eras]),
        np.array([float(era.rates.taker) for era in eras]),
    )


def _or_unlimited(value: Decimal | None) -> float:
    return math.inf if value is None else float(value)
