"""Writes docs/fidelity.md: ``python -m tests.fidelity --date YYYY-MM-DD``; exit code 1 when a figure does not hold."""

import argparse
import sys
from datetime import date
from pathlib import Path

from tests.fidelity.commands import ROOT, SHARED
from tests.fidelity.measure import Size, measure
from tests.fidelity.page import render
from tests.peers import ABSENT, PYTHON


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fidelity", description=__doc__)
    parser.add_argument("--date", required=True, help="the day to name on the page, YYYY-MM-DD")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/fidelity.md")
    parser.add_argument("--scenarios", type=int, default=10_000, help="random scenarios of the run that CI makes too")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longer", type=int, default=30_000, help="random scenarios of the longer run")
    parser.add_argument("--longer-seed", type=int, default=2)
    chosen = parser.parse_args(arguments)
    if not (SHARED / "data").is_dir():
        print("../shared is not here: the page needs its recorded data and reference cases", file=sys.stderr)
        return 2
    if not PYTHON.exists():
        print(ABSENT, file=sys.stderr)
        return 2
    size = Size(chosen.scenarios, chosen.seed, chosen.longer, chosen.longer_seed)
    measured = measure(size, tell=lambda words: print(words, file=sys.stderr, flush=True))
    text, verdicts = render(measured, size, date.fromisoformat(chosen.date).isoformat())
    chosen.out.write_text(text)
    for verdict in verdicts:
        print(f"{'ok    ' if verdict.holds else 'FAILED'} {verdict.asked}: {verdict.found}")
    return 0 if all(verdict.holds for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
