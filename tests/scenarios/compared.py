"""Many scenarios in a row."""

from collections import Counter

from tests.scenarios.draw import draw
from tests.scenarios.ledger import replay


def compare_all(n: int, seed: int, first: int = 0) -> tuple[float, Counter, list[tuple[int, str]]]:
    """Return the worst relative difference, events by kind, and every scenario that failed with the reason."""
    worst, events, failed = 0.0, Counter(), []
    for number in range(first, first + n):
        try:
            found = replay(draw(seed, number))
        except AssertionError as error:
            failed.append((number, str(error).splitlines()[0][:400]))
            continue
        worst = max(worst, found.worst)
        events.update(found.events)
        rules = found.scenario.inputs.rules
        events["cross" if rules.cross else "isolated"] += 1
        events["inverse" if rules.inverse else "linear"] += 1
        events["ruined"] += int(found.outcome.ruined >= 0)
    return worst, events, failed
