"""How to run a sandbox, and what is made of it."""

import ipaddress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from bybit.rules.errors import InvalidInput
from bybit.sandbox.clock import Clock
from bybit.sandbox.closed import ClosedMarket, Maintenance
from bybit.sandbox.exchange import Exchange
from bybit.sandbox.faults import FaultPlan, load_plan
from bybit.sandbox.market import Gap, Market
from bybit.sandbox.synthetic import SyntheticMarket
from bybit.sandbox.tape import load_tape

DEFAULT_KEY, DEFAULT_SECRET = "sandbox-key", "sandbox-secret"
"""Valid where no pair is configured; no secret, since the sandbox guards nothing."""


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """How to run a sandbox.

    Parameters
    ----------
    tape : Path or None
        Folder (or one Parquet file) of recorded candles and funding; None is the synthetic market.
    port : int
        0 picks a free one.
    now : datetime or None
        Aware instant the clock starts from; None is real time.
    latency_ms : int
        Waited before every reply.
    seed : int
        Of the synthetic market.
    symbols : tuple of str or None
        Contracts to list; None lists all the market has.
    gaps : tuple of Gap
        Candles never served.
    maintenances : tuple of Maintenance
        When the market is closed, and announces it.
    host : str
        A loopback address, unless ``allow_open``.
    allow_open : bool
        Serve beyond this machine; the sandbox has no protection of its own.
    address_limit : int or None
        Requests per 5 s; None switches the limit off.
    account_limits : bool
        Whether signed endpoints have the venue's limits per second and account.
    speed : float
        Simulated seconds per real second, 0 stands still; other than 1 needs ``now``.
    api_key, api_secret : str
        The one pair that signed requests are accepted from.
    balance : str
        USDT that the account opens with.
    tier : str
        Whose dated fees it pays, e.g. "vip0", "vip3", "pro1".
    margin_mode : str
        REGULAR_MARGIN (cross) or ISOLATED_MARGIN.
    faults : tuple of str or Path
        What goes wrong: names, with a rate or without (``reset``, ``reset=0.2``, ``storm``), and schedule files.
    fault_seed : int
        Decides which requests that hits, unless a schedule has its own.
    """

    tape: Path | None = None
    port: int = 8900
    now: datetime | None = None
    latency_ms: int = 0
    seed: int = 7
    symbols: tuple[str, ...] | None = None
    gaps: tuple[Gap, ...] = ()
    maintenances: tuple[Maintenance, ...] = ()
    host: str = "127.0.0.1"
    allow_open: bool = False
    address_limit: int | None = 600
    account_limits: bool = True
    speed: float = 1.0
    api_key: str = DEFAULT_KEY
    api_secret: str = field(default=DEFAULT_SECRET, repr=False)
    balance: str = "10000"
    tier: str = "vip0"
    margin_mode: str = "REGULAR_MARGIN"
    faults: tuple[str | Path, ...] = ()
    fault_seed: int = 7

    def __post_init__(self) -> None:
        """Refuse what cannot be served, and an open address that was not asked for by name."""
        if not 0 <= self.port <= 65_535:
            raise InvalidInput(f"port {self.port} does not exist: use 0 (any free one) to 65535")
        if self.latency_ms < 0:
            raise InvalidInput(f"latency is {self.latency_ms} ms: use 0 or more")
        if self.address_limit is not None and self.address_limit < 1:
            raise InvalidInput(f"the address limit is {self.address_limit}: use 1 or more, or None for no limit")
        try:
            is_loopback = self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError as error:
            raise InvalidInput(f"host {self.host!r} is no address: use 127.0.0.1") from error
        if not is_loopback and not self.allow_open:
            raise InvalidInput(f"host {self.host} is open to other machines: use 127.0.0.1, or allow_open=True")

    def market(self) -> Market:
        """Return the market this configuration asks for."""
        gaps = (*self.gaps, *(each.gap for each in self.maintenances))
        market: Market = (
            SyntheticMarket(self.seed, self.symbols, gaps)
            if self.tape is None
            else load_tape(self.tape, symbols=self.symbols, gaps=gaps)
        )
        return ClosedMarket(market, self.maintenances) if self.maintenances else market

    def clock(self) -> Clock:
        """Return the clock this configuration asks for."""
        return Clock(self.now, self.speed)

    def plan(self) -> FaultPlan:
        """Return the faults this configuration asks for.

        Raises
        ------
        InvalidInput
            For an unknown fault, with the list of those there are, and for a file that is no schedule.
        """
        return load_plan(self.faults, self.fault_seed)

    def exchange(self, market: Market, clock: Clock) -> Exchange:
        """Return an exchange on ``market`` with the account this configuration asks for.

        Raises
        ------
        InvalidInput
            For a balance that is no number, an unknown tier or margin mode, or an empty key or secret.
        """
        try:
            balance = Decimal(self.balance)
        except InvalidOperation:
            raise InvalidInput(f"balance {self.balance!r} is not a number") from None
        exchange = Exchange(market, clock.now_ms(), self.seed)
        exchange.open_account(self.api_key, self.api_secret, balance, tier=self.tier, margin_mode=self.margin_mode)
        return exchange
