"""Prints a line per failure and, last, ``N passed, N failed``; exit code 1 on failures, 2 without a path."""

import sys
from pathlib import Path

from tests.oracles import collect, failures


def main(paths: list[str]) -> int:
    if not paths:
        print("usage: python -m tests.oracles PATH...", file=sys.stderr)
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
    print(f"{n_passed} passed, {n_failed} failed")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
