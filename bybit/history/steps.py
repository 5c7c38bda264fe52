"""Which steps between settlements look as if one had been left out; pure arithmetic.

The interval changes without notice and is never assumed: a step is judged by its neighbours alone. A change of the
interval makes a step that lasts; a settlement left out makes a peak.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bybit.rules.periods import Span

LONGEST_MS = 24 * 3_600_000
"""No interval as long as this has been seen; a span without a settlement for so long needs a reason, ms."""

# Settlements come late by milliseconds; a minute is far from the shortest interval.
_TOLERANCE_MS = 60_000
# A settlement due at the very bound of a span counts as due in it when it is this close.
_EDGE_MS = 1_000
# A longer step that comes twice between shorter ones may be two settlements left out; three times it is an interval.
_LASTS = 3


@dataclass(frozen=True, slots=True)
class Doubt:
    """A span in which a settlement may be missing.

    Parameters
    ----------
    span : Span
        Half-open, ms UTC, between two settlements or a settlement and the bound of what was asked for.
    until_ms : int
        Where the steps end that the doubt rests on.
    lone : bool
        Longer than everything around it; False where only the interval may have changed.
    first, last : bool
        Whether what comes before, or after, could end the doubt.
    """

    span: Span
    until_ms: int
    lone: bool
    first: bool = False
    last: bool = False


def doubts(times: Sequence[int], start_ms: int, end_ms: int | None) -> list[Doubt]:
    """Return the doubts about ``times``, oldest first.

    Parameters
    ----------
    times : sequence of int
        Settlements, ms UTC, increasing; those outside [start_ms, end_ms) are the neighbours.
    start_ms : int
        From where on settlements are due.
    end_ms : int or None
        Up to where they are; None when later ones are still to come.
    """
    if not times:
        if end_ms is None or start_ms >= end_ms:
            return []
        return [Doubt((start_ms, end_ms), end_ms, end_ms - start_ms >= LONGEST_MS, first=True, last=True)]
    steps = [b - a for a, b in itertools.pairwise(times)]
    found: list[Doubt] = []
    edge = times[0] - start_ms
    due = steps[0] - _EDGE_MS if steps else LONGEST_MS
    if edge > 0 and (edge >= due or not steps):
        found.append(Doubt((start_ms, times[0]), times[0], edge >= due, first=True, last=not steps))
    for a, b in _runs(steps):
        found += _of_run(times, steps, a, b, over=end_ms is not None)
    if end_ms is not None and times[-1] < end_ms:
        edge = end_ms - times[-1]
        due = steps[-1] + _EDGE_MS if steps else LONGEST_MS
        if edge > due or not steps:
            found.append(Doubt((times[-1] + 1, end_ms), end_ms, edge > due, first=not steps, last=True))
    return found


def decided_to(times: Sequence[int]) -> int | None:
    """Return the settlement (ms UTC) up to which no later one can change what ``doubts`` says; None when there is none.

    The last steps may turn out a peak as long as they are longer than those before them and have not lasted.
    """
    if not times:
        return None
    steps = [b - a for a, b in itertools.pairwise(times)]
    if not steps:
        return times[0]
    *_, (first, last) = _runs(steps)
    open_end = last - first < _LASTS and (first == 0 or steps[first] > steps[first - 1])
    return times[first] if open_end else times[-1]


def _runs(steps: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the half-open places of steps that are one interval."""
    first = 0
    for i in range(1, len(steps) + 1):
        if i == len(steps) or abs(steps[i] - steps[i - 1]) > _TOLERANCE_MS:
            yield first, i
            first = i


def _of_run(times: Sequence[int], steps: Sequence[int], first: int, last: int, *, over: bool) -> list[Doubt]:
    opens, ends = first == 0, last == len(steps)
    rises = not opens and steps[first] > steps[first - 1]
    falls = not ends and steps[last - 1] > steps[last]
    alone, short = last - first == 1, last - first < _LASTS
    # At the end of what is known half of the evidence must do, but only for a step that does not repeat itself.
    half = alone and ((rises and ends and over) or (opens and falls))
    lone = short if rises and falls else half
    if lone:
        places = set(range(first, last))
    elif opens and ends:
        places = {first} if alone and over else set()
    else:
        places = ({first} if rises else set()) | ({last - 1} if falls else set())
    return [
        Doubt((times[i] + 1, times[i + 1]), times[last], lone, first=opens and short, last=ends and over and short)
        for i in sorted(places)
    ]
