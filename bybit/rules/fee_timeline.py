"""All that is known of one symbol's fees, laid out over time: at each moment the strongest basis there is."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bybit.rules.fee_rates import Basis, FeeEra, FeeQuote, FeeSighting, FeeSnapshot


def timeline(eras: Sequence[FeeEra], seen: Sequence[FeeSighting], told: Sequence[FeeSnapshot]) -> list[FeeQuote]:
    """Return the quotes of one symbol and tier, oldest first, without overlaps.

    Parameters
    ----------
    eras : sequence of FeeEra
        Terms that hold for the symbol, no two at once.
    seen : sequence of FeeSighting
        Rates recorded on the symbol; each beats the terms on its own days.
    told : sequence of FeeSnapshot
        The account's own replies, oldest first; each beats everything until the next.
    """
    bounds = {era.valid_from for era in eras} | {era.valid_to for era in eras if era.valid_to is not None}
    bounds |= {bound for found in seen for bound in (found.seen_from, found.seen_to)}
    edges: list[datetime] = sorted(bounds | {snapshot.time for snapshot in told})
    quotes: list[FeeQuote] = []
    for start, end in itertools.zip_longest(edges, edges[1:]):
        quote = _strongest(eras, seen, told, start)
        if quote is None:
            continue
        if quotes and quotes[-1].valid_to == start and _continues(quotes[-1], quote):
            quotes[-1] = replace(quotes[-1], valid_to=end)
        else:
            quotes.append(replace(quote, valid_from=start, valid_to=end))
    return quotes


def _strongest(
    eras: Sequence[FeeEra], seen: Sequence[FeeSighting], told: Sequence[FeeSnapshot], time: datetime
) -> FeeQuote | None:
    """Return the quote at ``time``, None when nothing is known; its span is the caller's to set."""
    for snapshot in reversed(told):
        if snapshot.time <= time:
            source = f"the account's own fee-rate reply of {snapshot.time:%Y-%m-%dT%H:%M:%SZ}"
            return FeeQuote(snapshot.rates, Basis.ACCOUNT, source, "high", time, None)
    general = next((era for era in eras if era.covers(time)), None)
    for found in seen:
        if found.covers(time):
            rates = found.rates(general.rates if general is not None else None)
            return FeeQuote(rates, Basis.SYMBOL, found.source, found.confidence, time, None)
    if general is None:
        return None
    basis = Basis.GROUP if general.symbols else Basis.ERA
    return FeeQuote(general.rates, basis, general.source, general.confidence, time, None)


def _continues(earlier: FeeQuote, later: FeeQuote) -> bool:
    same = (earlier.rates, earlier.basis, earlier.source, earlier.confidence)
    return same == (later.rates, later.basis, later.source, later.confidence)
