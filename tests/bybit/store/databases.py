"""A fresh database of either kind."""

from pathlib import Path

import pytest

from tests.postgres import fresh_database

KINDS = ("sqlite", "postgresql")


def fresh(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """Return the address of an empty database of ``kind``; the server starts with the first test that needs it."""
    if kind == "sqlite":
        return f"sqlite:///{folder}/deeper/perpflow.db"
    return fresh_database(request.getfixturevalue("postgres_url"))
