from collections.abc import Iterator
from pathlib import Path

import pytest

from bybit.store import Store, open_store
from tests.bybit.store.databases import KINDS, prepared


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(prepared(request.param, tmp_path, request)) as opened:
        yield opened


@pytest.fixture
def small_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """SQLite alone, where the database makes no difference."""
    with open_store(prepared("sqlite", tmp_path, request)) as opened:
        yield opened
