"""Margin ladders for the sandbox: the recorded one, or that of a like contract, said aloud.

Of inverse contracts only the lowest tiers of BTCUSD are recorded: they are served as they are, to every contract.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import lru_cache

from bybit.rules.errors import NotEstablished
from bybit.rules.instruments import Instrument
from bybit.rules.margin import RiskTier, recorded_risk_tiers

# Contracts whose whole ladder is recorded, for lending; liquid ones first, so that they win a tie.
_LENDERS = ("BTCUSDT", "ETHUSDT", "XRPUSDT", "BCHUSDT", "CELOUSDT", "INITUSDT", "BTRUSDT", "CLANKERUSDT", "FFUSDT")
_INVERSE_LENDER = "BTCUSD"


def ladder(symbol: str, max_leverage: Decimal | None, as_of: date) -> tuple[tuple[RiskTier, ...], str | None]:
    """Return the margin ladder of a linear contract and the symbol it was borrowed from (None: its own).

    A symbol without a recorded ladder borrows the one whose highest leverage is nearest to ``max_leverage``; nothing
    in it is scaled. The earliest record stands in for days before it. Empty when no ladder at all is recorded.
    """
    own = _recorded(symbol, as_of)
    if own:
        return own, None
    known = [(lender, tiers) for lender in _LENDERS if (tiers := _recorded(lender, as_of))]
    if not known:
        return (), None
    wanted = Decimal(50) if max_leverage is None else max_leverage
    lender, tiers = min(known, key=lambda pair: abs(pair[1][0].max_leverage - wanted))
    return tuple(replace(tier, symbol=symbol) for tier in tiers), lender


def inverse_ladder(symbol: str, as_of: date) -> tuple[tuple[RiskTier, ...], str | None]:
    """Return the margin ladder of an inverse contract, bounds in its base coin, and its lender (None: its own).

    Only the lowest tiers may be known. A borrowed one keeps its figures: bounds in BTC are read in the contract's coin.
    """
    own = _recorded(symbol, as_of, allow_incomplete=True)
    if own:
        return own, None
    lent = _recorded(_INVERSE_LENDER, as_of, allow_incomplete=True)
    return tuple(replace(tier, symbol=symbol) for tier in lent), _INVERSE_LENDER if lent else None


# A ladder is parsed from text each time; a tape of all the venue's contracts asks thousands of times.
@lru_cache(maxsize=4096)
def _recorded(symbol: str, as_of: date, *, allow_incomplete: bool = False) -> tuple[RiskTier, ...]:
    try:
        return recorded_risk_tiers(symbol, as_of, allow_later=True, allow_incomplete=allow_incomplete)
    except NotEstablished:
        return ()


def borrowed_ladders(instruments: Iterable[Instrument], as_of: date, traded: Collection[str]) -> list[str]:
    """Return one sentence for each lender: which of ``traded`` borrow its ladder by name, how many others."""
    borrowers: dict[str, list[str]] = {}
    for instrument in instruments:
        _, lender = ladder(instrument.symbol, instrument.max_leverage, as_of)
        if lender is not None:
            borrowers.setdefault(lender, []).append(instrument.symbol)
    return [f"risk ladder of {lender} stands in for {_names(names, traded)}" for lender, names in borrowers.items()]


def short_ladders(instruments: Iterable[Instrument], as_of: date) -> list[str]:
    """Return one sentence for each inverse contract: what of its margin ladder is recorded, or whose stands in."""
    told = []
    for instrument in instruments:
        tiers, lender = inverse_ladder(instrument.symbol, as_of)
        if not tiers:
            continue
        known = f"the lowest {len(tiers)} tiers, up to {tiers[-1].max_notional} {instrument.base_coin}"
        if lender is None:
            told.append(f"risk ladder of {instrument.symbol}: only {known}, are recorded")
        else:
            told.append(f"risk ladder of {lender} stands in for {instrument.symbol}: {known}, its figures unscaled")
    return told


def _names(names: list[str], traded: Collection[str]) -> str:
    named = [name for name in names if name in traded]
    n_others = len(names) - len(named)
    return ", ".join([*named, *([f"{n_others} without prices here"] if n_others else [])])
