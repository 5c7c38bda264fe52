"""A Prefect server of our own: on a free port, with its own home, ended with us.

Prefect is imported nowhere here: its settings are read at import, so the environment must stand before.
"""

import logging
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.processes import Supervised

_START_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class PrefectAddress:
    """Where one Prefect server answers."""

    port: int

    @property
    def api(self) -> str:
        """Address of the API, as flows and the browser call it."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def ui(self) -> str:
        """Address of the UI for a person."""
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        """Return whether the server is healthy now."""
        try:
            with urllib.request.urlopen(f"{self.api}/health", timeout=2) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(home: Path, address: PrefectAddress, *, verbose: bool = False) -> dict[str, str]:
    """Return the environment under which Prefect, server and client, stays on this machine and quiet."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return env | {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": address.api,
        # The browser must call this server: an inherited address would show another one's data without a word.
        "PREFECT_SERVER_UI_API_URL": address.api,
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_LOGGING_LEVEL": "INFO" if verbose else "WARNING",
        # A run's log lines go to the UI. In the terminal the command says what went wrong, once and in words.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO" if verbose else "CRITICAL",
        "DO_NOT_TRACK": "1",
        "GX_ANALYTICS_ENABLED": "false",
    }


def server_command(address: PrefectAddress) -> list[str]:
    """Return the command that serves Prefect at ``address`` in the foreground."""
    return [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(address.port)]


@contextmanager
def local_server(home: Path, *, verbose: bool = False) -> Iterator[PrefectAddress]:
    """Serve Prefect while the block runs, and point this process at it.

    Call before anything imports prefect.
    """
    address = PrefectAddress(free_port())
    env = environment(home, address, verbose=verbose)
    with Supervised(server_command(address), home / "logs" / "prefect-server.log", env) as server:
        server.wait_until(address.answers, _START_TIMEOUT_S)
        os.environ.update({name: value for name, value in env.items() if os.environ.get(name) != value})
        try:
            yield address
        finally:
            # Log lines travel in batches: the last one must arrive while there is still a server to take it.
            for handler in logging.getLogger("prefect.flow_runs").handlers:
                handler.flush()
