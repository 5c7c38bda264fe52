"""A helper process must not outlive the process that wanted it, however that one ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tasks.processes import ProcessFailed, Supervised

# A child with a child of its own: both must go.
FAMILY = (
    "import subprocess, sys, time; "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']); "
    "print(child.pid, flush=True); time.sleep(300)"
)


def gone(pid: int, within_s: float = 15.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_stopping_ends_the_child_and_its_children(tmp_path: Path) -> None:
    with Supervised([sys.executable, "-c", FAMILY], tmp_path / "log", capture_stdout=True) as process:
        grandchild = int(process.read_line(20))
        assert psutil.pid_exists(grandchild)
    assert gone(grandchild)


def test_a_parent_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    parent = (
        "import sys, time; from pathlib import Path; from tasks.processes import Supervised\n"
        f"p = Supervised([sys.executable, '-c', {FAMILY!r}], Path({str(tmp_path / 'log')!r}), capture_stdout=True)\n"
        "print(int(p.read_line(20)), flush=True); time.sleep(300)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
    assert gone(grandchild)


def test_a_child_that_dies_early_is_quoted(tmp_path: Path) -> None:
    child = "import sys; sys.exit('no such tape')"
    log = tmp_path / "log"
    with (
        Supervised([sys.executable, "-c", child], log, capture_stdout=True) as process,
        pytest.raises(ProcessFailed, match="no such tape"),
    ):
        process.read_line(20)


def test_a_child_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(300)"]
    with Supervised(sleeper, tmp_path / "log") as process, pytest.raises(ProcessFailed, match="not ready within"):
        process.wait_until(lambda: False, 0.3)
