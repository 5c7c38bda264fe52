"""A local exchange: the venue's v5 endpoints over a seeded market or a recorded tape, for tests and dry runs."""

from bybit.sandbox.app import create_app
from bybit.sandbox.closed import Maintenance
from bybit.sandbox.config import SandboxConfig
from bybit.sandbox.market import Gap, Market
from bybit.sandbox.server import Serving, serve, serving

__all__ = ["Gap", "Maintenance", "Market", "SandboxConfig", "Serving", "create_app", "serve", "serving"]
