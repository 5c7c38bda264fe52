"""Margin ladders for the sandbox: the recorded one, or that of a like contract, said aloud."""

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


# A ladder is parsed from text each time; a tape of all the venue's contracts asks thousands of times.
@lru_cache(maxsize=4096)
def _recorded(symbol: str, as_of: date) -> tuple[RiskTier, ...]:
    try:
        return recorded_risk_tiers(symbol, as_of, allow_later=True)
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


def _names(names: list[str], traded: Collection[str]) -> str:
    named = [name for name in names if name in traded]
    n_others = len(names) - len(named)
    return ", ".join([*named, *([f"{n_others} without prices here"] if n_others else [])])
