"""Prints a line per failure and, last, ``N passed, N failed``; exit code 1 on failures, 2 without a path.

With ``--explain`` also a line ``EXPLAINED ...`` per figure at which a source is inconsistent, follows another
convention or leaves the answer open: our figure, the source's, and the reason.
"""

import sys
from pathlib import Path

from tests.oracles import collect, explanations, failures


def main(arguments: list[str]) -> int:
    explains = "--explain" in arguments
    paths = [argument for argument in arguments if argument != "--explain"]
    if not paths:
        print("usage: python -m tests.oracles [--explain] PATH...", file=sys.stderr)
        return 2
    n_passed = n_failed = 0
    for path in paths:
        if not Path(path).exists():
            print(f"FAILED {path}: there is no such file or folder")
            n_failed += 1
            continue
        for case in collect(Path(path)):
            lines = failures(case)
            if lines:
                n_failed += 1
                print(f"FAILED {case.name}: {'; '.join(lines[:5])}")
            else:
                n_passed += 1
            for line in explanations(case) if explains else ():
                print(f"EXPLAINED {case.name}: {line}")
    print(f"{n_passed} passed, {n_failed} failed")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
