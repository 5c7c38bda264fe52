"""The command line as a person runs it: a process of its own, in a folder of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        lines = self.stdout.strip().splitlines()
        assert len(lines) == 1, self.stdout[-2000:] + self.stderr[-2000:]
        return dict(json.loads(lines[0]))


def environment(home: Path, **more: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "PERPFLOW_", "BYBIT_"))}
    return clean | {"PERPFLOW_HOME": str(home)} | more


Perpflow = Callable[..., Outcome]


@pytest.fixture
def perpflow(tmp_path: Path) -> Perpflow:
    """Run ``perpflow`` with the arguments given and return how it ended."""

    def run(*arguments: str, home: Path | None = None, **more: str) -> Outcome:
        env = environment(home or tmp_path / "home", **more)
        command = [sys.executable, "-m", "flows.cli", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=280, check=False)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


InTurn = Callable[[Sequence[Sequence[str]]], list[Outcome]]

_IN_TURN = """
import contextlib, io, json, sys
from flows.cli import main
for arguments in json.load(sys.stdin):
    sys.argv, out, err = ["perpflow", *arguments], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


@pytest.fixture
def perpflow_in_turn(tmp_path: Path) -> InTurn:
    """Run ``perpflow`` with each of the argument lists, one after the other in one process: imports take seconds."""

    def run(calls: Sequence[Sequence[str]]) -> list[Outcome]:
        done = subprocess.run(
            [sys.executable, "-c", _IN_TURN],
            cwd=ROOT,
            env=environment(tmp_path / "home"),
            input=json.dumps(calls),
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return [Outcome(*json.loads(line)) for line in done.stdout.splitlines()]

    return run
