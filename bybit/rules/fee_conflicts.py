"""What fee records may not say at once."""

import itertools
from collections.abc import Iterable, Sequence

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.fee_rates import FeeEra, FeeSighting, FeeSnapshot


def check_era(era: FeeEra, known: Sequence[FeeEra]) -> None:
    """Refuse an era that ends before it begins, or overlaps one of the ``known`` of its market and tier."""
    if era.valid_to is not None and era.valid_to <= era.valid_from:
        raise InvalidInput(f"fee era {era} of {era.market} {era.tier} ends before it begins")
    for other in known:
        overlap = other.valid_to is None or other.valid_to > era.valid_from
        shared = not era.symbols or not other.symbols or set(era.symbols) & set(other.symbols)
        if overlap and shared:
            raise InvalidInput(f"fee eras of {era.market} {era.tier} overlap: {other} and {era}")


def check_sightings(sightings: Sequence[FeeSighting]) -> None:
    """Refuse sightings that end before they begin, or give one symbol two rates for one day."""
    for found in sightings:
        if found.seen_to <= found.seen_from:
            raise InvalidInput(f"the sighting of {found.symbol} ends at {found.seen_to}, not after its start")
    for one, other in itertools.combinations(sightings, 2):
        same = one.symbol == other.symbol and one.tier == other.tier
        either = one.category is None or other.category is None or one.category is other.category
        if same and either and one.seen_from < other.seen_to and other.seen_from < one.seen_to:
            raise InvalidInput(f"two sightings of {one.symbol} overlap: give one for each day")


def replies_by_symbol(snapshots: Iterable[FeeSnapshot]) -> dict[tuple[Category, str], tuple[FeeSnapshot, ...]]:
    """Return the account's replies by category and symbol, oldest first; refuse two that differ at one time."""
    found: dict[tuple[Category, str], dict[int, FeeSnapshot]] = {}
    for snapshot in sorted(snapshots, key=lambda each: (each.category, each.symbol, each.time)):
        of_symbol = found.setdefault((snapshot.category, snapshot.symbol), {})
        earlier = of_symbol.setdefault(snapshot.time_ms, snapshot)
        if earlier.rates != snapshot.rates:
            raise InvalidInput(
                f"two fee-rate replies of {snapshot.category} {snapshot.symbol} at {snapshot.time.isoformat()} differ: "
                "keep those of one account"
            )
    return {key: tuple(each.values()) for key, each in found.items()}
