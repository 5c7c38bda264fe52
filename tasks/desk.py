"""A desk's standing set-up on this machine: one Prefect server, one worker, the deployments of ``prefect.yaml``.

What runs is written down as it is started, with each process's birth time, so that a number that the system has
given to somebody else since is never ended by mistake.
"""

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import psutil

from bybit.rules.errors import InvalidInput
from tasks.prefect_server import PrefectAddress, environment, free_port, server_command
from tasks.processes import ProcessFailed
from tasks.settings import settings

POOL = "perpflow"
_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 15.0

State = dict[str, Any]


def start(port: int) -> State:
    """Start server and worker, register the deployments, and return what runs; does nothing when all run already.

    Raises
    ------
    InvalidInput
        Outside a checkout, where no ``prefect.yaml`` lies.
    ProcessFailed
        When one of them does not come up; what had started is stopped again.
    """
    checkout = Path.cwd()
    if not (checkout / "prefect.yaml").is_file():
        raise InvalidInput(f"{checkout} has no prefect.yaml: run perpflow up in a checkout of perpflow")
    state = current()
    if state["running"]:
        return state
    stop()
    address = PrefectAddress(port or free_port())
    if address.answers():
        raise InvalidInput(f"another Prefect server answers at {address.ui}: give --port another number, or 0")
    env = environment(settings().home, address) | {"PERPFLOW_CHECKOUT": str(checkout)}
    try:
        _launch("server", server_command(address), env, port=address.port)
        _wait_for(address)
        _prefect(env, "work-pool", "create", POOL, "--type", "process", "--overwrite")
        _prefect(env, "deploy", "--all")
        _launch("worker", [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL], env, port=address.port)
    except BaseException:
        stop()
        raise
    return current()


def stop() -> State:
    """End what ``start`` left running, worker first, and return the state after it."""
    known = _read()
    for name in ("worker", "server"):
        process = _alive(known.get(name))
        if process is not None:
            _end(process)
    _file().unlink(missing_ok=True)
    return current()


def current() -> State:
    """Return what runs: the UI's address, which processes live, and one sentence about it."""
    known = _read()
    alive = {name: _alive(known.get(name)) is not None for name in ("server", "worker")}
    address = PrefectAddress(known["port"]) if "port" in known else None
    answers = alive["server"] and address is not None and address.answers()
    running = answers and alive["worker"]
    ui = address.ui if address is not None and answers else None
    if running:
        words = f"Prefect UI: {ui}   server and worker run; perpflow down stops them"
    elif any(alive.values()):
        words = f"half up (server {alive['server']}, worker {alive['worker']}): perpflow up mends it"
    else:
        words = "nothing runs; perpflow up starts the Prefect server and a worker"
    return {"running": running, "ui": ui, **alive, "words": words}


def _launch(name: str, command: list[str], env: Mapping[str, str], *, port: int) -> None:
    log = settings().home / "logs" / f"desk-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=dict(env), start_new_session=True
        )
    known = _read() | {"port": port, name: {"pid": child.pid, "born": psutil.Process(child.pid).create_time()}}
    _file().write_bytes(orjson.dumps(known))


def _wait_for(address: PrefectAddress) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not address.answers():
        if _alive(_read().get("server")) is None or time.monotonic() > deadline:
            log = settings().home / "logs" / "desk-server.log"
            raise ProcessFailed(f"the Prefect server did not come up; its last words are in {log}")
        time.sleep(0.2)


def _prefect(env: Mapping[str, str], *words: str) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", *words]
    done = subprocess.run(command, env=dict(env), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ProcessFailed(f"prefect {' '.join(words)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _alive(known: Mapping[str, Any] | None) -> psutil.Process | None:
    if known is None:
        return None
    try:
        process = psutil.Process(known["pid"])
        same = abs(process.create_time() - known["born"]) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if same else None


def _end(process: psutil.Process) -> None:
    # Flow runs of the worker are its children: they go with it.
    family = [*process.children(recursive=True), process]
    for member in reversed(family):
        _signal(member, hard=False)
    _, left = psutil.wait_procs(family, timeout=_STOP_TIMEOUT_S)
    for member in left:
        _signal(member, hard=True)
    psutil.wait_procs(left, timeout=_STOP_TIMEOUT_S)


def _signal(process: psutil.Process, *, hard: bool) -> None:
    try:
        process.kill() if hard else process.terminate()
    except psutil.NoSuchProcess:
        return


def _read() -> State:
    try:
        return dict(orjson.loads(_file().read_bytes()))
    except FileNotFoundError:
        return {}


def _file() -> Path:
    home = settings().home
    home.mkdir(parents=True, exist_ok=True)
    return home / "desk.json"
