"""Two ways of doing one thing, timed turn by turn."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """How much of ``base`` ours takes; both in ``unit``, ``reach`` is the most it may be, None when none is set."""

    name: str
    ours: float
    base: float
    base_name: str
    reach: float | None = None
    unit: str = "ms"

    @property
    def value(self) -> float:
        return self.ours / self.base

    def __str__(self) -> str:
        reach = "" if self.reach is None else f"  (at most {self.reach:g})"
        each = f"{self.ours:,.3f} {self.unit} / {self.base_name} {self.base:,.3f} {self.unit}"
        return f"{self.name:<52} {self.value:8.3f}{reach}  {each}"


def minima(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return each way's best time in ms; they take turns, so that a busy moment hits all of them."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            held = way()
            best[name] = min(best[name], (time.perf_counter() - started) * 1000)
            # What is let go costs time of its own, and not the other's.
            del held
    return best


def show(ratios: Iterator[Ratio]) -> list[Ratio]:
    """Print the ratios as they are found; return them."""
    found = []
    for ratio in ratios:
        print(ratio, flush=True)
        found.append(ratio)
    return found
