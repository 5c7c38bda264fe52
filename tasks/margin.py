"""Margin ladders: what the venue told, and what was recorded before it was asked."""

from dataclasses import replace

from bybit.rules.errors import NotEstablished
from bybit.rules.margin import RiskTier, recorded_ladders
from tasks.connections import LIVE_ORIGIN, store

# Elsewhere prices are made up, or nobody knows whose they are: the venue's own past says nothing of them.
_OF_THE_VENUE = (LIVE_ORIGIN, "tape-")


def dated_tiers(symbol: str) -> tuple[RiskTier, ...]:
    """Return the margin ladders of ``symbol``, each from its day on: oldest day first, lowest tier first.

    Those stored from the market in use, and for the venue's own market the complete ones of our dated table that are
    older than the first of them.

    Raises
    ------
    NotEstablished
        When none is stored.
    """
    stored = store().risk_tiers.history(symbol)
    if not stored:
        raise NotEstablished(f"no margin ladder of {symbol} is stored: ingest the risk tiers first")
    if not str(store().origin.get()).startswith(_OF_THE_VENUE):
        return stored
    try:
        recorded = recorded_ladders(symbol)
    except NotEstablished:
        return stored
    first = stored[0].as_of
    older = [ladder for ladder in recorded if ladder.complete and ladder.tiers[0].as_of < first]
    if older and [replace(tier, as_of=first) for tier in older[-1].tiers] == [t for t in stored if t.as_of == first]:
        # The venue still says what was recorded: the same ladder does not begin a second time.
        stored = tuple(tier for tier in stored if tier.as_of != first)
    return (*(tier for ladder in older for tier in ladder.tiers), *stored)
