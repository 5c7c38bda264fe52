"""The account's own fee rates, kept as of the moment they were asked for."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fees import FeeRates, FeeSnapshot
from bybit.rules.periods import to_ms, utc
from bybit.store import Store


class SymbolRates(Protocol):
    """The account's rates of one symbol."""

    @property
    def symbol(self) -> str:
        """The contract or pair."""
        ...

    @property
    def rates(self) -> FeeRates:
        """What the account pays for it."""
        ...


@runtime_checkable
class FeeVenue(Protocol):
    """A client that can ask for the account's fee rates; it needs a key."""

    def get_fee_rates(self, category: Category, symbol: str | None = None) -> Sequence[SymbolRates]:
        """Return the account's rates of every symbol, or of one."""
        ...


def ingest_fee_rates(
    venue: object, store: Store, category: Category, symbols: Sequence[str] | None, now: datetime
) -> list[FeeSnapshot]:
    """Store what the account pays for ``symbols`` (None: for all) as of ``now``; return it in that order.

    ``now`` is the venue's clock just before: a rate that changes meanwhile is recorded too early by one request. One
    request for all of them. Repeating adds a later record and changes none.

    Raises
    ------
    NotEstablished
        When the reply leaves out a symbol that was asked for; nothing is stored then.
    InvalidInput
        When ``venue`` cannot ask for an account.
    """
    if not isinstance(venue, FeeVenue):
        raise InvalidInput(f"{type(venue).__name__} asks for no account's fee rates: use a BybitClient with a key")
    only = symbols[0] if symbols is not None and len(symbols) == 1 else None
    found = {each.symbol: each.rates for each in venue.get_fee_rates(category, only)}
    wanted = sorted(found) if symbols is None else list(symbols)
    if missing := [symbol for symbol in wanted if symbol not in found]:
        raise NotEstablished(f"the venue gives the account no {category} fee rate for {', '.join(missing)}")
    # Milliseconds are what the database keeps: what is returned is what will be read.
    time = utc(to_ms(now))
    snapshots = [FeeSnapshot(category, symbol, found[symbol], time) for symbol in wanted]
    store.fees.record(snapshots)
    return snapshots
