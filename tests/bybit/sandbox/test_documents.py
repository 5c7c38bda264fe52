"""The sandbox's page is held to what is served."""

import re
from pathlib import Path

import pytest
from starlette.routing import Route

from bybit.sandbox import SandboxConfig, create_app
from bybit.sandbox.config import DEFAULT_KEY, DEFAULT_SECRET
from bybit.sandbox.faults import KINDS
from tests.bybit.sandbox.desks import SYNTHETIC

PAGE = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text()


@pytest.fixture(scope="module")
def paths() -> set[str]:
    app = create_app(SYNTHETIC, SandboxConfig().clock())
    return {route.path for route in app.routes if isinstance(route, Route)}


def test_the_page_names_every_endpoint_that_is_served_and_no_other(paths: set[str]) -> None:
    section = PAGE.split("## Endpoints")[1].split("\n## ")[0]
    assert set(re.findall(r"`(/v5/[a-z/-]+)`", section)) == {path for path in paths if path.startswith("/v5/")}


def test_the_page_names_every_fault(paths: set[str]) -> None:
    section = PAGE.split("## Faults")[1].split("\n## ")[0]
    assert set(KINDS) <= set(re.findall(r"`([a-z-]+)`", section))


def test_the_page_gives_the_pair_that_works() -> None:
    assert f"`{DEFAULT_KEY}` / `{DEFAULT_SECRET}`" in PAGE
