"""One engine, its transactions, and the only place that retries a database error.

A unit of work is a function of a connection. It runs in one transaction and runs again as a whole when the database
says that trying again may help, so everything in it must be safe to repeat: upserts, and appends with a key.
"""

import random
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bybit.rules.errors import InvalidInput
from bybit.store.errors import CorruptStore, StoreError, StoreFull, StoreUnavailable
from bybit.store.migrate import is_current, upgrade

T = TypeVar("T")

BUSY_TIMEOUT_MS = 5_000
MAX_TRIES = 8
MAX_RETRY_S = 20.0
# Above this a whole-file check would make every start slow; damage then shows at the page that is read.
_CHECKED_FILE_BYTES = 64 * 2**20

_SQLITE_TRANSIENT = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR}
_SQLITE_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# Serialisation failure, deadlock, lock not available, shut down by an administrator, crash, not yet up.
_POSTGRES_TRANSIENT = {"40001", "40P01", "55P03", "57P01", "57P02", "57P03"}
_POSTGRES_FULL = {"53100", "25006"}


class Database:
    """Connections and transactions of one database; safe to use from many threads.

    Parameters
    ----------
    address : str
        ``sqlite:///path`` or ``postgresql+psycopg://…``. A SQLite file's folder is created.
    clock : callable
        Seconds since 1970 as a float; stamps revisions and leases.
    sleep : callable
        Waits that many seconds between retries.
    busy_timeout_ms : int
        How long one try waits for another process to let go of a SQLite file.

    Raises
    ------
    InvalidInput
        For an address of another kind.
    CorruptStore, NewerSchema, StoreUnavailable
        When the database cannot be used as it is.
    """

    def __init__(
        self,
        address: str,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
    ) -> None:
        self._url = _parse(address)
        self._clock = clock
        self._sleep = sleep
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        # One writer at a time: SQLite allows no more, and a queue here is cheaper than its busy handler.
        self._writers: AbstractContextManager[Any] = threading.RLock() if self.is_sqlite else nullcontext()
        self.engine = _sqlite_engine(self._url, busy_timeout_ms) if self.is_sqlite else _postgres_engine(self._url)
        try:
            if self.is_sqlite:
                self.read(self._check_file)
            # Only an upgrade needs the right to write: opening must not wait for a busy writer.
            if not self.read(is_current):
                self.write(upgrade)
        except BaseException:
            self.engine.dispose()
            raise

    @property
    def address(self) -> str:
        """Where the data is, without a password."""
        return self._url.render_as_string(hide_password=True)

    def now_ms(self) -> int:
        """Return this instant in ms UTC."""
        return int(self._clock() * 1000)

    def insert(self, table: Table) -> "sqlite_dialect.Insert | postgresql_dialect.Insert":
        """Return an INSERT into ``table`` that knows ON CONFLICT; both databases spell it alike."""
        return sqlite_dialect.insert(table) if self.is_sqlite else postgresql_dialect.insert(table)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one read-write transaction, again as a whole after a passing fault; return its result."""
        return self._run(work, write=True)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` on one consistent snapshot, again as a whole after a passing fault; return its result."""
        return self._run(work, write=False)

    def ask(self, work: Callable[[Connection], T]) -> T:
        """Run ``work``, which asks one question, as ``read`` does: one question is one snapshot by itself."""
        return self._run(work, write=False, single=True)

    def close(self) -> None:
        """Give every connection back; the database stays usable by others."""
        self.engine.dispose()

    def _run(self, work: Callable[[Connection], T], *, write: bool, single: bool = False) -> T:
        give_up = time.monotonic() + MAX_RETRY_S
        tries = 1
        while True:
            try:
                return self._once(work, write=write, single=single)
            except (SQLAlchemyError, sqlite3.Error, psycopg.Error) as error:
                fault = self._explain(error)
                if not fault.retryable or tries >= MAX_TRIES or time.monotonic() >= give_up:
                    raise fault from error
            # Jitter keeps two processes that collided from colliding again.
            self._sleep(min(2.0, 0.02 * 2**tries) * (0.5 + random.random() / 2))
            tries += 1

    def _once(self, work: Callable[[Connection], T], *, write: bool, single: bool) -> T:
        with self._writers if write else nullcontext(), self.engine.connect() as connection:
            if self.is_sqlite:
                connection = connection.execution_options(perpflow_write=write)
            elif single:
                # Spares the two trips to the server that begin and end a transaction.
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            elif not write:
                # Rows and coverage of one read must belong to one instant.
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            try:
                with connection.begin():
                    return work(connection)
            except psycopg.OperationalError:
                # A driver call made past SQLAlchemy (COPY): it has not seen that the connection is gone.
                connection.invalidate()
                raise

    def _explain(self, error: Exception) -> StoreError:
        cause = error.orig if isinstance(error, DBAPIError) else error
        text = f"{self.address}: {str(cause).strip() or type(cause).__name__}"
        if isinstance(error, PoolTimeout):
            return StoreUnavailable(f"{text}; every connection is in use: run fewer tasks at once")
        if isinstance(cause, sqlite3.Error):
            # Extended codes keep the kind in their low byte.
            code = getattr(cause, "sqlite_errorcode", -1) & 0xFF
            if code in _SQLITE_TRANSIENT:
                return StoreUnavailable(f"{text}; another process holds the file for longer than the store waits")
            if code in _SQLITE_CORRUPT:
                return CorruptStore(f"{text}; restore the file from a copy, or move it away and ingest again")
            if code in _SQLITE_FULL or code == sqlite3.SQLITE_CANTOPEN:
                return StoreFull(f"{text}; free space or fix the rights, then run again: it resumes")
        if isinstance(cause, psycopg.Error):
            state = cause.sqlstate or ""
            if state in _POSTGRES_TRANSIENT or state.startswith("08"):
                return StoreUnavailable(f"{text} (SQLSTATE {state})")
            if state in _POSTGRES_FULL:
                return StoreFull(f"{text} (SQLSTATE {state}); free space or fix the rights, then run again: it resumes")
            if isinstance(cause, psycopg.OperationalError) and not state:
                return StoreUnavailable(f"{text}; is PostgreSQL up and reachable?")
        return StoreError(text)

    def _check_file(self, connection: Connection) -> None:
        # Reads the header and the catalogue even of a large file, so a file that is no database is found here.
        connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
        if Path(self._url.database or "").stat().st_size > _CHECKED_FILE_BYTES:
            return
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if found != "ok":
            raise CorruptStore(
                f"{self.address}: integrity check found {found!r}; "
                "restore the file from a copy, or move it away and ingest again"
            )


def _parse(address: str) -> URL:
    wanted = "expected sqlite:///path/to/file.db or postgresql+psycopg://user@host/database"
    try:
        url = make_url(address)
    except ArgumentError as error:
        # The text may hold a password: it is not repeated.
        raise InvalidInput(f"the database address cannot be read; {wanted}") from error
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        if not url.database or url.database == ":memory:":
            raise InvalidInput(f"SQLite in memory cannot be shared by processes and is lost at exit; {wanted}")
        return url
    if url.drivername != "postgresql+psycopg":
        raise InvalidInput(f"database kind {url.drivername!r} is not one of the two supported; {wanted}")
    return url


def _sqlite_engine(url: URL, busy_timeout_ms: int) -> Engine:
    folder = Path(url.database or "").parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreFull(f"the folder {folder} cannot be made: {error.strerror}; choose another place") from error
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=8,
        max_overflow=24,
        connect_args={"timeout": busy_timeout_ms / 1000, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own BEGIN comes late and always deferred; ours is sent below.
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout = {busy_timeout_ms}",
            "journal_mode = WAL",
            # In WAL a killed process loses nothing; a power cut may undo the last commits but never tears one.
            "synchronous = NORMAL",
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer that begins deferred and upgrades later can fail without waiting for its turn.
        write = connection.get_execution_options().get("perpflow_write", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _postgres_engine(url: URL) -> Engine:
    asked = url.query.get("options", "")
    options = [asked] if isinstance(asked, str) else list(asked)
    # A lock that is never given back must not hang a night's run; what the address asks for has the last word.
    options = ["-c lock_timeout=30000 -c timezone=UTC", *options]
    return create_engine(
        url,
        hide_parameters=True,
        pool_size=8,
        max_overflow=24,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 10, "options": " ".join(options)},
    )
