"""The venue's rules as the kernel's numbers: contracts, dated margin ladders and fee rates."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from bybit.backtest.records import NEVER, Contracts, Fees, Floats, Ladders
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fee_tiers import VolumeTiers
from bybit.rules.fees import FeeQuote, FeeSchedule
from bybit.rules.instruments import Instrument
from bybit.rules.margin import RiskTier, max_notional_at
from bybit.rules.periods import Period, to_ms

LIMITS = ("min_notional", "max_market_order_qty", "max_order_qty")
"""What an instrument may leave open: such a limit limits nothing, which the result says."""


@dataclass(frozen=True)
class DatedLadder:
    """The margin ladders of one symbol that matter to a period, oldest first, by the time from which each holds."""

    symbol: str
    ladders: tuple[tuple[RiskTier, ...], ...]

    @property
    def from_ms(self) -> list[int]:
        """The time of each ladder, ms UTC."""
        return [to_ms(tiers[0].as_of) for tiers in self.ladders]

    def max_position_value(self, leverage: float) -> float:
        """Return the largest position that every ladder allows at ``leverage``; infinite when none limits it.

        Raises
        ------
        InvalidInput
            When a ladder has no tier that allows the leverage.
        """
        bounds = [_or_unlimited(max_notional_at(tiers, Decimal(str(leverage)))) for tiers in self.ladders]
        return min(bounds)


def dated_ladder(symbol: str, tiers: Sequence[RiskTier], period: Period) -> DatedLadder:
    """Return the ladders of ``symbol`` in force in ``period``.

    The first known one also holds before its day; one that begins after the period is left out, so that what is
    learnt later changes nothing.

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
    by_day = sorted(tiers, key=lambda tier: tier.as_of)
    ladders = [tuple(group) for _, group in itertools.groupby(by_day, key=lambda tier: tier.as_of)]
    known = [ladder for ladder in ladders if ladder[0].as_of < period.end] or ladders[:1]
    while len(known) > 1 and known[1][0].as_of <= period.start:
        del known[0]
    for ladder in known:
        upper, rates, _ = _tier_arrays(ladder)
        if (upper[1:] <= upper[:-1]).any() or not ((rates > 0.0) & (rates < 1.0)).all():
            raise InvalidInput(
                f"the margin ladder of {symbol} of {ladder[0].as_of:%Y-%m-%d} needs rising notionals and maintenance "
                "rates in (0, 1)"
            )
    return DatedLadder(symbol, tuple(known))


def ladder_arrays(dated: Sequence[DatedLadder]) -> Ladders:
    """Return all ladders in one shape; the last tier goes on, for the mark can carry a position above it."""
    n_eras = max(len(one.ladders) for one in dated)
    n_tiers = max(len(tiers) for one in dated for tiers in one.ladders)
    shape = (len(dated), n_eras, n_tiers)
    arrays = Ladders(
        np.full((len(dated), n_eras), NEVER, dtype=np.int64), np.full(shape, math.inf), np.zeros(shape), np.zeros(shape)
    )
    for s, one in enumerate(dated):
        arrays.from_ms[s, : len(one.ladders)] = one.from_ms
        # Nothing is older than the first ladder known.
        arrays.from_ms[s, 0] = 0
        for era in range(n_eras):
            tiers = _tier_arrays(one.ladders[min(era, len(one.ladders) - 1)])
            n = len(tiers[0])
            for array, values in zip(arrays[1:], tiers, strict=True):
                array[s, era, :n] = values
                array[s, era, n:] = values[-1]
    return arrays


def contract_arrays(
    instruments: Sequence[Instrument],
    dated: Sequence[DatedLadder],
    leverage: float,
    allocations: Mapping[str, float],
) -> Contracts:
    """Return the contracts' limits as numbers, infinite where the venue gave no figure.

    Raises
    ------
    InvalidInput
        When a contract or one of its ladders does not allow ``leverage``.
    """
    for instrument in instruments:
        if instrument.max_leverage is not None and leverage > instrument.max_leverage:
            raise InvalidInput(
                f"leverage {leverage} is above the maximum of {instrument.symbol}, {instrument.max_leverage}"
            )
    rows = [
        (
            float(instrument.qty_step),
            float(instrument.tick_size),
            *_least_order(instrument),
            _or_unlimited(instrument.max_market_order_qty),
            _or_unlimited(instrument.max_order_qty),
            ladder.max_position_value(leverage),
            leverage,
            allocations[instrument.symbol],
        )
        for instrument, ladder in zip(instruments, dated, strict=True)
    ]
    return Contracts(*(np.array(values, dtype=np.float64) for values in zip(*rows, strict=True)))


def fee_arrays(
    schedule: FeeSchedule,
    category: Category,
    tier: str,
    period: Period,
    symbols: Sequence[str],
    by_volume: VolumeTiers | None = None,
) -> Fees:
    """Return the rates of every symbol over the whole ``period``, NaN where one side is not established.

    Parameters
    ----------
    tier : str
        The account's tier; with ``by_volume`` the one it does not fall below.
    by_volume : VolumeTiers or None
        The tiers that traded volume lifts the account to.

    Raises
    ------
    NotEstablished
        When any part of the period has no rate of ``tier``; a tier above it is needed only once it is reached.
    InvalidInput
        When ``by_volume`` does not know ``tier``.
    """
    tiers, volumes = _tiers(tier, by_volume)
    eras: list[list[tuple[FeeQuote, ...]]] = []
    for symbol in symbols:
        eras.append([schedule.eras(category, tier, period, symbol)])
        eras[-1] += [_known_eras(schedule, category, above, period, symbol) for above in tiers[1:]]
    begins = [era.valid_from for of_symbol in eras for of_tier in of_symbol for era in of_tier]
    starts = sorted({max(to_ms(begin), period.start_ms) for begin in begins})
    shape = (len(symbols), len(tiers), len(starts))
    fees = Fees(np.array(starts, dtype=np.int64), np.full(shape, math.nan), np.full(shape, math.nan), volumes)
    for s, of_symbol in enumerate(eras):
        for t, of_tier in enumerate(of_symbol):
            for era in of_tier:
                # Rows are oldest first: the next one overwrites what comes after it.
                k = int(np.searchsorted(fees.start_ms, max(to_ms(era.valid_from), period.start_ms)))
                fees.maker[s, t, k:] = float(era.rates.maker)
                fees.taker[s, t, k:] = float(era.rates.taker)
    return fees


def _known_eras(
    schedule: FeeSchedule, category: Category, tier: str, period: Period, symbol: str
) -> tuple[FeeQuote, ...]:
    # Of a tier that volume may reach, the part of the period for which there are rates.
    try:
        known = max(schedule.known_from(category, tier, symbol), period.start)
        return schedule.eras(category, tier, Period(known, period.end), symbol) if known < period.end else ()
    except NotEstablished:
        return ()


def _tiers(tier: str, by_volume: VolumeTiers | None) -> tuple[list[str], Floats]:
    if by_volume is None:
        return [tier], np.zeros(1)
    if tier not in by_volume.tiers:
        raise InvalidInput(f"fee tier {tier!r} is none of those by volume: {', '.join(by_volume.tiers)}")
    first = by_volume.tiers.index(tier)
    volumes = np.array([float(volume) for volume in by_volume.min_volumes[first:]])
    volumes[0] = 0.0
    return list(by_volume.tiers[first:]), volumes


def _tier_arrays(tiers: Sequence[RiskTier]) -> tuple[Floats, Floats, Floats]:
    upper = np.array([_or_unlimited(tier.max_notional) for tier in tiers])
    upper[-1] = math.inf
    return (
        upper,
        np.array([float(tier.maintenance_margin_rate) for tier in tiers]),
        np.array([float(tier.mm_deduction) for tier in tiers]),
    )


def _least_order(instrument: Instrument) -> tuple[float, float]:
    """Return the least quantity and the least value, settle coin, of an order."""
    least = 0.0 if instrument.min_notional is None else float(instrument.min_notional)
    if instrument.category is Category.INVERSE:
        # The venue's bound is in USD, which is what a quantity of these counts; values are coin.
        return max(float(instrument.min_order_qty), least), 0.0
    return float(instrument.min_order_qty), least


def _or_unlimited(value: Decimal | None) -> float:
    return math.inf if value is None else float(value)
