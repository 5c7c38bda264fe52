"""Prints the ratios of one area: ``python -m tests.bench history [--rows N] [--rounds N] [--no-postgres]``."""

import argparse
import tempfile
from pathlib import Path

from tests.bench import history
from tests.bench.ratio import show

AREAS = {"history": history.ratios}
TWO_YEARS_OF_MINUTES = 1_051_200


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("area", choices=sorted(AREAS))
    parser.add_argument("--rows", type=int, default=TWO_YEARS_OF_MINUTES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-postgres", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="perpflow-bench-") as folder:
        show(AREAS[asked.area](Path(folder), asked.rows, asked.rounds, postgres=not asked.no_postgres))


if __name__ == "__main__":
    main()
