"""Is the chosen parameter a plateau or a spike? What its neighbours in the grid that was tried did."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from statistics import median
from typing import Any

from bybit.rules.errors import InvalidInput
from validation.errors import NotComputable

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Scores around the chosen parameters, in the unit they were given in; larger is better."""

    chosen: float
    n_neighbours: int
    median: float
    worst: float
    share_positive: float
    """Share of the neighbours with a score above 0."""
    retained: float | None
    """``median`` over ``chosen``: 1 on a plateau, near 0 on a spike; None unless the chosen score is above 0."""


def neighbourhood(trials: Sequence[tuple[Params, float | None]], chosen: Params, *, radius: int = 1) -> Neighbourhood:
    """Return how the neighbours of ``chosen`` did.

    A neighbour differs in numbers only, in each by at most ``radius`` steps of the values that were tried for it; what
    is not a number (a mode, a symbol, a flag) must be the same.

    Parameters
    ----------
    trials : sequence of (parameters, score)
        Everything that was tried, each parameter set once, all with the same names.
    chosen : mapping
        One of them.

    Raises
    ------
    InvalidInput
        When ``chosen`` is not among the trials, a set appears twice, names differ, or the radius is below 1.
    NotComputable
        When it has no neighbour, or one of them or the chosen has no finite score: leaving it out would flatter.
    """
    if radius < 1:
        raise InvalidInput(f"a radius of {radius} steps has no neighbours: give 1 or more")
    if any(params.keys() != chosen.keys() for params, _ in trials):
        raise InvalidInput(f"trials have other parameters than {', '.join(sorted(chosen))}: compare like with like")
    here = [score for params, score in trials if dict(params) == dict(chosen)]
    if len(here) != 1:
        raise InvalidInput(f"{dict(chosen)} is among the trials {len(here)} times, expected once")
    places = {
        name: {value: place for place, value in enumerate(sorted({params[name] for params, _ in trials}))}
        for name, value in chosen.items()
        if _is_number(value)
    }
    around = [
        (params, score)
        for params, score in trials
        if dict(params) != dict(chosen) and _is_near(params, chosen, places, radius)
    ]
    if not around:
        raise NotComputable(f"no neighbour of {dict(chosen)} was tried: run the grid around it")
    if len({tuple(params[name] for name in chosen) for params, _ in around}) != len(around):
        raise InvalidInput(f"a neighbour of {dict(chosen)} is among the trials more than once")
    scores = [_finite(params, score) for params, score in around]
    own, middle = _finite(chosen, here[0]), median(scores)
    return Neighbourhood(
        chosen=own,
        n_neighbours=len(scores),
        median=middle,
        worst=min(scores),
        share_positive=sum(score > 0.0 for score in scores) / len(scores),
        retained=middle / own if own > 0.0 else None,
    )


def _is_near(params: Params, chosen: Params, places: Mapping[str, Mapping[Any, int]], radius: int) -> bool:
    return all(
        abs(places[name][params[name]] - places[name][value]) <= radius if name in places else params[name] == value
        for name, value in chosen.items()
    )


def _is_number(value: Any) -> bool:
    # A flag is an int to Python, but not a step on a scale.
    return isinstance(value, Real) and not isinstance(value, bool)


def _finite(params: Params, score: float | None) -> float:
    if score is None or not math.isfinite(score):
        raise NotComputable(f"the trial {dict(params)} has the score {score}")
    return float(score)
