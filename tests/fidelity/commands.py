"""The adapters' own commands, run as anybody would run them, and what they printed."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"


@dataclass(frozen=True, slots=True)
class Said:
    """One command as it is typed in the repository, its exit code and the lines it printed."""

    command: str
    code: int
    lines: tuple[str, ...]

    @property
    def last(self) -> str:
        return self.lines[-1] if self.lines else ""

    def result(self) -> dict[str, Any]:
        """Return the JSON object of the last line; empty when there is none."""
        try:
            found = json.loads(self.last)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def say(*arguments: str) -> Said:
    """Run ``python -m ARGUMENTS`` in the repository."""
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines() or [(done.stderr.splitlines() or [""])[-1]]
    return Said(" ".join(["python -m", *arguments]), done.returncode, tuple(lines))


@dataclass(frozen=True, slots=True)
class Oracle:
    """One folder or file of cases: how many came out, what failed, what was explained."""

    name: str
    n_passed: int
    n_failed: int
    failed: tuple[str, ...]
    explained: tuple[str, ...]


def oracles() -> list[tuple[str, Path]]:
    """Return every folder of cases with its name, and the venue's worked examples."""
    folders = sorted(path for path in (SHARED / "oracles").iterdir() if path.is_dir())
    return [*((path.name, path) for path in folders), ("worked examples", SHARED / "reference/worked-examples.json")]


def ask_oracle(name: str, path: Path) -> Oracle:
    """Run one folder through the adapter."""
    said = say("tests.oracles", "--explain", typed(path))
    words = said.last.replace(",", "").split()
    counted = words[0].isdigit() if words else False
    failed = tuple(line.removeprefix("FAILED ") for line in said.lines if line.startswith("FAILED "))
    explained = tuple(line.removeprefix("EXPLAINED ") for line in said.lines if line.startswith("EXPLAINED "))
    if not counted:
        return Oracle(name, 0, 1, (said.last,), ())
    return Oracle(name, int(words[0]), int(words[2]), failed, explained)


def recorded_fills() -> Said:
    """Recompute the fees of every recorded fill."""
    files = sorted((SHARED / "data/fills").glob("*.parquet"))
    return say("tests.fills", *(typed(path) for path in files))


def scenarios(n: int, seed: int) -> Said:
    """Hold the kernel against the ledger over random scenarios."""
    return say("tests.scenarios", "--n", str(n), "--seed", str(seed))


def typed(path: Path) -> str:
    """Return a path as it is typed in the repository."""
    return f"../{path.relative_to(ROOT.parent)}"


def data_files(symbols: Sequence[str]) -> list[str]:
    """Return the recorded files that the comparisons read."""
    data = SHARED / "data"
    found = [path for symbol in symbols for path in sorted(data.glob(f"klines/bybit_linear_*{symbol}_*"))]
    found += [path for symbol in symbols for path in sorted(data.glob(f"funding/bybit_linear_{symbol}_*"))]
    return [str(path.relative_to(data)) for path in found if "_1m_" not in path.name]
