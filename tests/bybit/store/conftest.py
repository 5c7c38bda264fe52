from collections.abc import Iterator
from pathlib import Path

import pytest

from bybit.store import Lease, Store, open_store
from tests.bybit.store.databases import KINDS, fresh, prepared
from tests.bybit.store.examples import TTL


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return fresh(request.param, tmp_path, request)


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(prepared(request.param, tmp_path, request)) as opened:
        yield opened


@pytest.fixture(scope="module", params=KINDS)
def long_lived_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """For tests of many examples, each with a symbol of its own."""
    with open_store(fresh(request.param, tmp_path_factory.mktemp("store"), request)) as opened:
        yield opened


@pytest.fixture
def lease(store: Store) -> Lease:
    return store.leases.take("everything", "test", TTL)
