"""Compare ``--n`` random scenarios from ``--seed`` on; the last line is one JSON object."""

import argparse
import json
import sys
import time
from collections import Counter

from tests.scenarios.compared import compare_all


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios", description=__doc__)
    parser.add_argument("--n", type=int, default=10_000, help="how many scenarios")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same scenarios")
    parser.add_argument("--first", type=int, default=0, help="number of the first scenario")
    given = parser.parse_args()
    begun = time.perf_counter()
    worst, events, failed = compare_all(given.n, given.seed, given.first)
    for number, why in failed[:20]:
        print(f"scenario {number} of seed {given.seed}: {why}")
    print(
        json.dumps(
            {
                "n": given.n,
                "seed": given.seed,
                "failed": len(failed),
                "worst_relative_difference": worst,
                "seconds": round(time.perf_counter() - begun, 1),
                "events": dict(sorted(Counter(events).items())),
            }
        )
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
