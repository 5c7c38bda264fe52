"""Fixtures that every package's tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# The same examples in every run: what is red once is red again. `HYPOTHESIS_PROFILE=search` draws new ones.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.register_profile("search", derandomize=False)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The team's facts, oracles and recorded data; a user's clone has none."""
    if not (SHARED / "data").is_dir():
        pytest.skip("../shared is not here: recorded data and oracles are not part of the repository")
    return SHARED


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real PostgreSQL that lives as long as the test session."""
    from tests.postgres import running

    with running(tmp_path_factory.mktemp("postgres")) as url:
        yield url
