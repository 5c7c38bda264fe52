"""The right to fetch a series, held for as long as the work takes."""

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from bybit.store import Lease, Store
from bybit.store.errors import LeaseHeld, StoreError

T = TypeVar("T")

_POLL_S = 0.1


def owner_name() -> str:
    """Return a name that tells others where this holder runs: host, process namespace, process, holder."""
    return f"{_place()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"


def is_gone(owner: str) -> bool:
    """Return whether ``owner`` ran on this machine in a process that no longer exists.

    After a kill -9 the work goes on at once instead of after the lease has run out. Not knowing counts as alive.
    """
    place, _, rest = owner.rpartition("/")[0].rpartition("/")
    if place != _place() or not rest.isdecimal():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


@contextmanager
def held(store: Store, name: str, ttl: timedelta, wait_s: float) -> Iterator[Lease]:
    """Hold the lease ``name``; wait up to ``wait_s`` for another holder to finish.

    Raises
    ------
    LeaseHeld
        When the other has not finished by then.
    """
    owner = owner_name()
    give_up = time.monotonic() + wait_s
    while True:
        try:
            lease = store.leases.take(name, owner, ttl, abandoned=is_gone)
            break
        except LeaseHeld:
            if time.monotonic() >= give_up:
                raise
        time.sleep(_POLL_S)
    try:
        yield lease
    except BaseException:
        # The first error tells more than a second one would, and a lease not given back runs out by itself.
        with suppress(StoreError):
            store.leases.release(lease)
        raise
    store.leases.release(lease)


def waiting(store: Store, lease: Lease) -> "Callable[[Future[T]], T]":
    """Return a function that waits for a future and keeps ``lease`` alive meanwhile.

    A venue may answer only after minutes (a ban, for example); the lease must not run out by waiting alone.
    """
    patience_s = lease.ttl.total_seconds() / 3

    def result(future: "Future[T]") -> T:
        while True:
            try:
                return future.result(timeout=patience_s)
            except TimeoutError:
                if future.done():
                    raise
            store.leases.renew(lease)

    return result


def _place() -> str:
    namespace = Path("/proc/self/ns/pid")
    # Two containers may share a host name, but then not the numbering of processes.
    number = namespace.readlink().name.strip("pid:[]") if namespace.is_symlink() else "0"
    return f"{socket.gethostname()}/{number}"
