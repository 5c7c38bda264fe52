"""Child processes that never outlive their parent.

A parent that is killed (-9 too) closes its end of a pipe; a small watcher sees the end of that pipe and ends the
child's whole group. No signal handler and no system call of one platform is needed for that.
"""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from bybit.rules.errors import PerpflowError

_GRACE_S = 8.0


class ProcessFailed(PerpflowError):
    """A helper process did not come up, or ended too early."""


class Supervised:
    """One child process with its log file, ended with this object or with this process, whichever comes first.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    log_file : Path
        Receives everything the child writes; its last lines are quoted when the child fails.
    env : mapping, optional
        Environment of the child; this process's own when None.
    capture_stdout : bool
        Hand the child's standard output to ``stdout`` instead of the log.
    """

    def __init__(
        self,
        command: Sequence[str],
        log_file: Path,
        env: Mapping[str, str] | None = None,
        *,
        capture_stdout: bool = False,
    ) -> None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        self.log_file = log_file
        self._name = Path(command[0]).name + " " + " ".join(command[1:3])
        with log_file.open("ab") as log:
            self._watcher = subprocess.Popen(
                [sys.executable, "-m", "tasks.processes", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if capture_stdout else log,
                stderr=log,
                env=dict(env) if env is not None else None,
                # A session of its own: Ctrl-C in the terminal reaches the parent, which then ends its children.
                start_new_session=True,
            )

    @property
    def stdout(self) -> IO[bytes]:
        """Return the child's standard output; only with ``capture_stdout``."""
        if self._watcher.stdout is None:
            raise ProcessFailed(f"{self._name}: its output goes to {self.log_file}; start it with capture_stdout")
        return self._watcher.stdout

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Return once ``ready()`` is true.

        Raises
        ------
        ProcessFailed
            When the child ends first or ``timeout_s`` passes; quotes the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self._watcher.poll() is not None:
                raise ProcessFailed(f"{self._name} ended with code {self._watcher.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise ProcessFailed(f"{self._name} was not ready within {timeout_s:.0f} s:\n{self.log_tail()}")
            time.sleep(0.1)

    def read_line(self, timeout_s: float) -> bytes:
        """Return the first line of the child's standard output.

        Raises
        ------
        ProcessFailed
            When the child ends or stays silent for ``timeout_s``.
        """
        lines: list[bytes] = []
        reader = threading.Thread(target=lambda: lines.append(self.stdout.readline()), daemon=True)
        reader.start()
        self.wait_until(lambda: bool(lines), timeout_s)
        if not lines[0]:
            raise ProcessFailed(f"{self._name} closed its output before it was ready:\n{self.log_tail()}")
        return lines[0]

    def log_tail(self, n_lines: int = 15) -> str:
        """Return the last lines of the child's log."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-n_lines:])

    def stop(self) -> None:
        """End the child and wait for it; safe to call twice."""
        if self._watcher.stdin and not self._watcher.stdin.closed:
            self._watcher.stdin.close()
        try:
            self._watcher.wait(timeout=_GRACE_S + 4)
        except subprocess.TimeoutExpired:
            self._watcher.kill()
            self._watcher.wait()
        if self._watcher.stdout and not self._watcher.stdout.closed:
            self._watcher.stdout.close()

    def __enter__(self) -> "Supervised":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def watch(command: Sequence[str]) -> int:
    """Run ``command`` until it ends or standard input closes; return its exit code."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    asked_to_stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.set())
    while child.poll() is None and not asked_to_stop.is_set():
        readable, _, _ = select.select([sys.stdin], [], [], 0.2)
        if readable and not os.read(sys.stdin.fileno(), 1024):
            break
    return end_group(child)


def end_group(child: "subprocess.Popen[bytes]") -> int:
    """End ``child`` and all of its group, first politely; return its exit code."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, sig)
        except ProcessLookupError:
            break
        try:
            child.wait(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            continue
        # The leader is gone; whoever it left in the group goes with the second signal.
    return child.wait()


if __name__ == "__main__":
    raise SystemExit(watch(sys.argv[1:]))
