"""A fresh database of either kind."""

import shutil
from functools import lru_cache
from pathlib import Path

import pytest

from bybit.store import open_store
from tests.postgres import fresh_database

KINDS = ("sqlite", "postgresql")


def fresh(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """Return the address of an empty database of ``kind``; the server starts with the first test that needs it."""
    if kind == "sqlite":
        return f"sqlite:///{folder}/deeper/perpflow.db"
    return fresh_database(request.getfixturevalue("postgres_url"))


def prepared(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """Return the address of a database of ``kind`` that has its tables already, which saves a test the migration."""
    if kind == "sqlite":
        pattern = _sqlite_pattern(request.getfixturevalue("tmp_path_factory").getbasetemp())
        shutil.copy(pattern, folder / "perpflow.db")
        return f"sqlite:///{folder}/perpflow.db"
    server = request.getfixturevalue("postgres_url")
    return fresh_database(server, _postgres_pattern(server))


@lru_cache(maxsize=1)
def _sqlite_pattern(folder: Path) -> Path:
    path = folder / "pattern" / "pattern.db"
    open_store(f"sqlite:///{path}").close()
    return path


@lru_cache(maxsize=1)
def _postgres_pattern(server: str) -> str:
    url = fresh_database(server)
    open_store(url).close()
    return url
