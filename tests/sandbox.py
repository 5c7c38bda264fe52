"""A sandbox for the length of a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from bybit.sandbox import SandboxConfig, serving


@contextmanager
def running(config: SandboxConfig | None = None) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 and give the base URL; without the address limit unless one is configured."""
    chosen = replace(SandboxConfig(address_limit=None) if config is None else config, port=0)
    with serving(chosen) as sandbox:
        yield sandbox.url
