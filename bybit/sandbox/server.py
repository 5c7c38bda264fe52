"""The life of the server: listen, serve in the foreground or for the length of a block, end cleanly."""

import json
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import uvicorn

from bybit.sandbox.app import create_app
from bybit.sandbox.config import SandboxConfig
from bybit.sandbox.exchange import ASSUMPTIONS
from bybit.sandbox.faults_http import FaultGate

_FRAME_CAP = 256 * 1024


@dataclass(frozen=True, slots=True)
class Serving:
    """A sandbox that answers: where, and what it made up."""

    url: str
    assumptions: tuple[str, ...]

    @property
    def ws(self) -> str:
        """Where the streams are: ``/v5/public/linear`` and the others follow on it."""
        return f"ws{self.url.removeprefix('http')}"


class _Server(uvicorn.Server):
    # Tells when the socket listens, which uvicorn itself only logs.
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def _prepare(config: SandboxConfig, on_ready: Callable[[Serving], None]) -> tuple[_Server, socket.socket]:
    market, clock, plan = config.market(), config.clock(), config.plan()
    app = create_app(
        market,
        clock,
        exchange=config.exchange(market, clock),
        latency_ms=config.latency_ms,
        address_limit=config.address_limit,
        account_limits=config.account_limits,
        plan=plan,
    )
    listening = _listen(config.host, config.port)
    serving = Serving(f"http://{_shown(config.host)}:{listening.getsockname()[1]}", (*market.assumptions, *ASSUMPTIONS))
    settings = uvicorn.Config(
        FaultGate(app, plan, clock),
        # The venue sends no pings of its own, and no client needs longer frames.
        ws_ping_interval=None,
        ws_max_size=_FRAME_CAP,
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        # Longer than any client keeps an idle connection, so that none finds it closed under its next request.
        timeout_keep_alive=120,
        timeout_graceful_shutdown=5,
    )
    return _Server(settings, lambda: on_ready(serving)), listening


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP on purpose: asyncio switches Nagle's delay off only where the protocol is told, and without that every
    # reply on a kept connection waits 40 ms for an acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except OSError:
        listening.close()
        raise
    return listening


def serve(config: SandboxConfig) -> None:
    """Serve in the foreground until Ctrl-C or SIGTERM, then return.

    Prints one line of JSON on stdout once requests are answered: ``ready``, ``url``, ``ws`` (where the streams are:
    ``/v5/public/linear`` and so forth follow) and ``assumptions``, everything served that no record backs.

    Raises
    ------
    InvalidInput
        When the tape cannot be used.
    OSError
        When the port is taken.
    """

    def announce(serving: Serving) -> None:
        line = {"ready": True, "url": serving.url, "ws": serving.ws, "assumptions": serving.assumptions}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    server, listening = _prepare(config, announce)

    def end(signal_number: int, frame: FrameType | None) -> None:
        # uvicorn has shut down by now and raises the signal once more: an end that was asked for is no failure.
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with listening:
            server.run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def serving(config: SandboxConfig) -> Iterator[Serving]:
    """Serve in a thread of this process for the length of a ``with`` block.

    Raises
    ------
    InvalidInput
        When the tape cannot be used.
    OSError
        When the port is taken, or the server does not come up.
    """
    is_up = threading.Event()
    told: list[Serving] = []

    def note(value: Serving) -> None:
        told.append(value)
        is_up.set()

    server, listening = _prepare(config, note)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="sandbox", daemon=True)
    thread.start()
    try:
        if not is_up.wait(30):
            raise OSError(f"the sandbox on port {listening.getsockname()[1]} did not come up within 30 s")
        yield told[0]
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
