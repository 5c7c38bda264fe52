"""Is the way to the venue, and the key on it, fit for use? Every answer with its evidence and what to do."""

import logging
import pickle
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from bybit.client import (
    AuthenticationFailed,
    BybitClient,
    HostAnswer,
    InvalidOrder,
    KeyRights,
    RequestRejected,
    Ticker,
)
from bybit.rules.candles import Category, check_symbol
from bybit.rules.errors import PerpflowError
from bybit.rules.instruments import round_price

_log = logging.getLogger(__name__)

_SLOW_S = 1.0
# The venue refuses a signature that lies a second ahead, or a window behind.
_AHEAD_S, _OFF_S = 1.0, 0.5
_EXPIRES_SOON = timedelta(days=14)
_N_BURST = 8
_CENT = Decimal("0.01")
_NO_KEY = "no key is given, so nothing that needs one was asked"
_GIVE_KEY = "set BYBIT_API_KEY and BYBIT_API_SECRET (and BYBIT_ENVIRONMENT) to check this too"
_KEY_ADVICE = {
    10003: "a key works on exactly one environment (mainnet, testnet, demo): use its own, or copy it again",
    10004: "the signature does not fit: copy the secret again",
    10005: "give the key the right it lacks, in the venue's key settings",
    10010: "add this machine's address to the key's list",
    33004: "the key has expired: make a new one, bound to this machine's address",
}


class Status(StrEnum):
    """What became of a check."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class APICheck:
    """One check: what was found, and what to do about it ("" when nothing)."""

    area: str
    name: str
    status: Status
    evidence: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class APIReport:
    """Every check of one endpoint. ``environment`` is mainnet, testnet, demo, local or other."""

    environment: str
    base_urls: tuple[str, ...]
    has_key: bool
    read_only: bool
    seconds: float
    n_requests: int
    checks: tuple[APICheck, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed; what could not be checked, and warnings, do not count as failures."""
        return not self.failures

    @property
    def failures(self) -> tuple[APICheck, ...]:
        """The failed checks."""
        return tuple(check for check in self.checks if check.status is Status.FAILED)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        counts = {status.value: sum(check.status is status for check in self.checks) for status in Status}
        checks = [asdict(check) | {"status": check.status.value} for check in self.checks]
        plain = asdict(self) | {"base_urls": list(self.base_urls), "checks": checks}
        return plain | {"passed": self.passed, "counts": counts}


class BybitAPIValidator:
    """Checks connectivity, authentication, balances, limits, error handling and security of one endpoint.

    Reads only, unless ``trade`` asks for one order far from the market, which is cancelled at once.

    Parameters
    ----------
    client : BybitClient
        For any v5 endpoint; without a key the report says what could not be checked.
    symbol : str
        The linear contract to ask about.
    trade : bool
        Whether to place and cancel an order.
    """

    def __init__(self, client: BybitClient, *, symbol: str = "BTCUSDT", trade: bool = False) -> None:
        self._client = client
        self._symbol = check_symbol(symbol)
        self._trade = trade
        self._rights: KeyRights | None = None
        self._refusal: PerpflowError | None = None
        self._ticker: Ticker | None = None

    def run(self) -> APIReport:
        """Return the report. Never raises for what the venue or the network does."""
        began, n_before = self._client.monotonic(), self._client.request_count
        self._rights = self._refusal = self._ticker = None
        checks: list[APICheck] = []
        for area, steps in (
            ("connectivity", self._connectivity),
            ("authentication", self._authentication),
            ("balance handling", self._balances),
            ("rate limits", self._limits),
            ("error handling", self._errors),
            ("security practices", self._security),
        ):
            if any(check.name == "hosts" and check.status is Status.FAILED for check in checks):
                # Every question would cost its whole patience.
                checks.append(APICheck(area, "all", Status.NOT_CHECKED, "no host answers", "see connectivity"))
                continue
            for name, status, evidence, advice in steps():
                checks.append(APICheck(area, name, status, evidence, advice))
                _log.info("%s: %s: %s (%s)", area, name, status, evidence)
        return APIReport(
            environment=environment_of(self._client.base_urls),
            base_urls=self._client.base_urls,
            has_key=self._client.has_key,
            read_only=not self._trade,
            seconds=round(self._client.monotonic() - began, 3),
            n_requests=self._client.request_count - n_before,
            checks=tuple(checks),
        )

    def _connectivity(self) -> Iterator[tuple[str, Status, str, str]]:
        answers = self._client.probe()
        up = [answer for answer in answers if answer.error is None]
        down = [answer for answer in answers if answer.error is not None]
        said = f"{len(up)} of {len(answers)} hosts answer" + "".join(f"; {found.url}: {found.error}" for found in down)
        if not up:
            yield (
                "hosts",
                Status.FAILED,
                said,
                "check network and address, and whether the venue serves this country",
            )
            return
        yield "hosts", Status.WARNING if down else Status.PASSED, said, "reads go to the other host" if down else ""
        slowest = max(answer.seconds for answer in up)
        slow = slowest > _SLOW_S
        said = f"slowest round trip {slowest * 1000:.0f} ms"
        yield "round trip", Status.WARNING if slow else Status.PASSED, said, "use a nearer machine" if slow else ""
        yield _clock(up)
        try:
            found = self._client.get_tickers(Category.LINEAR, self._symbol)
            self._ticker = found[0] if found else None
            told = "not listed" if self._ticker is None else f"last price {self._ticker.last_price}"
            status = Status.FAILED if self._ticker is None else Status.PASSED
            yield "market data", status, f"{self._symbol}: {told}", "" if self._ticker else "ask for a listed symbol"
        except PerpflowError as error:
            yield "market data", Status.FAILED, str(error), "is this address a Bybit v5 endpoint?"
        yield self._asked("maintenance", self._maintenance, optional=True)

    def _maintenance(self) -> tuple[Status, str, str]:
        notices = [found for found in self._client.get_system_status() if found.state in ("ongoing", "scheduled")]
        if not notices:
            return Status.PASSED, "none announced", ""
        told = "; ".join(f"{found.title or found.notice_id} ({found.state})" for found in notices[:3])
        return Status.WARNING, told, "expect the venue to refuse requests then"

    def _authentication(self) -> Iterator[tuple[str, Status, str, str]]:
        if not self._client.has_key:
            yield "key", Status.NOT_CHECKED, _NO_KEY, _GIVE_KEY
            return
        try:
            self._rights = self._client.get_key_rights()
        except PerpflowError as error:
            self._refusal = error
            code = error.ret_code if isinstance(error, RequestRejected) else 0
            advice = _KEY_ADVICE.get(code, "look the code up; nothing that needs the key can work")
            yield "key", Status.FAILED, str(error), advice
            return
        kind = "read-only" if self._rights.read_only else "may write"
        areas = ", ".join(area for area, rights in self._rights.permissions.items() if rights) or "none"
        yield "key", Status.PASSED, f"accepted; {kind}; rights: {areas}", ""
        yield self._asked("account", self._account)

    def _account(self) -> tuple[Status, str, str]:
        info = self._client.get_account_info()
        said = f"{info.margin_mode}, kind {info.unified_status}"
        if info.margin_mode == "PORTFOLIO_MARGIN":
            return Status.WARNING, said, "this project's margin rules do not know portfolio margin"
        return Status.PASSED, said, ""

    def _balances(self) -> Iterator[tuple[str, Status, str, str]]:
        yield self._asked("balance", self._balance, needs_key=True)
        yield self._asked("positions", self._positions, needs_key=True)

    def _balance(self) -> tuple[Status, str, str]:
        wallet = self._client.get_wallet_balance()
        off = [
            coin.coin
            for coin in wallet.coins
            if coin.unrealized_pnl is not None and abs(coin.wallet_balance + coin.unrealized_pnl - coin.equity) > _CENT
        ]
        unknown = [name for name in ("equity", "available_balance") if getattr(wallet, name) is None]
        said = f"{len(wallet.coins)} coins, equity {wallet.equity} USD, available {wallet.available_balance} USD"
        if off:
            # Bonus, interest and spot hedges are part of equity too.
            advice = "size orders by available balance, not by equity"
            return Status.WARNING, f"{said}; equity is not wallet + unrealized for {', '.join(off[:5])}", advice
        if unknown:
            return (
                Status.WARNING,
                f"{said}; no figure for {', '.join(unknown)}",
                "isolated mode: use the coins",
            )
        return Status.PASSED, said, ""

    def _positions(self) -> tuple[Status, str, str]:
        held = [position for position in self._client.get_positions() if position.size]
        return Status.PASSED, f"{len(held)} open positions in USDT contracts", ""

    def _limits(self) -> Iterator[tuple[str, Status, str, str]]:
        def burst() -> tuple[Status, str, str]:
            n_before = self._client.request_count
            for _ in range(_N_BURST):
                self._client.server_time()
            n_again = self._client.request_count - n_before - _N_BURST
            said = f"{_N_BURST} requests in a row, {n_again} of them asked again"
            return (Status.WARNING, said, "something else uses this address") if n_again else (Status.PASSED, said, "")

        yield self._asked("address limit", burst)
        yield self._asked("account limits", self._account_limits, needs_key=True)

    def _account_limits(self) -> tuple[Status, str, str]:
        self._client.get_open_orders(Category.LINEAR, self._symbol)
        told = {path: state.limit for path, state in self._client.limits.items() if state.source == "venue"}
        if not told:
            return Status.WARNING, "no reply named its limit", "the documented defaults are kept to"
        return Status.PASSED, ", ".join(f"{path} {limit}/s" for path, limit in sorted(told.items())), ""

    def _errors(self) -> Iterator[tuple[str, Status, str, str]]:
        yield self._asked("unknown symbol", self._unknown_symbol)
        yield self._asked("order outside the rules", self._order_outside)
        if self._trade:
            yield self._asked("order and cancel", self._order_and_cancel, needs_key=True)
        else:
            yield (
                "order and cancel",
                Status.NOT_CHECKED,
                "reads only",
                "ask for it to place and cancel one order",
            )

    def _unknown_symbol(self) -> tuple[Status, str, str]:
        try:
            found = self._client.get_tickers(Category.LINEAR, "NOSUCHCONTRACTUSDT")
        except RequestRejected as error:
            return Status.PASSED, f"refused with code {error.ret_code}", ""
        if found:
            return Status.FAILED, "the venue answers for a symbol that cannot exist", "is this a Bybit v5 endpoint?"
        return Status.PASSED, "answered with an empty list", ""

    def _order_outside(self) -> tuple[Status, str, str]:
        order = {"category": "linear", "symbol": self._symbol, "side": "Buy", "orderType": "Limit"}
        try:
            self._client.check_order(**order, qty="0.0000000001", price="1")
        except InvalidOrder as error:
            return Status.PASSED, f"found before sending: {error.ret_msg} ({error.ret_code})", ""
        return (
            Status.FAILED,
            "an order of no size would have been sent",
            "the contract's rules are wrong",
        )

    def _order_and_cancel(self) -> tuple[Status, str, str]:
        if self._ticker is None:
            return Status.NOT_CHECKED, f"{self._symbol} has no price", "ask for a listed symbol"
        instrument = self._client.get_instruments(Category.LINEAR, self._symbol)[0]
        # Far enough not to fill, near enough for the venue to take it.
        price = round_price(self._ticker.last_price * Decimal("0.9"), instrument.tick_size)
        qty = instrument.min_order_qty
        while instrument.min_notional is not None and qty * price < instrument.min_notional:
            qty += instrument.qty_step
        order = {"category": "linear", "symbol": self._symbol, "side": "Buy", "orderType": "Limit"}
        ack = self._client.place_order(**order, qty=qty, price=price, timeInForce="PostOnly")
        name = {"category": "linear", "symbol": self._symbol, "orderId": ack.order_id}
        self._client.cancel_order(**name)
        return Status.PASSED, f"order {ack.order_id} placed at {price} and cancelled", ""

    def _security(self) -> Iterator[tuple[str, Status, str, str]]:
        plain = [url for url in self._client.base_urls if not url.startswith("https://")]
        is_local = environment_of(self._client.base_urls) == "local"
        said = f"{len(plain)} addresses without TLS" + (", on this machine" if plain and is_local else "")
        status = Status.FAILED if plain and not is_local else Status.PASSED
        yield "encryption", status, said, "use https" if status is Status.FAILED else ""
        yield self._hidden()
        yield self._environment()
        if self._rights is None:
            said = _NO_KEY if not self._client.has_key else "the key is refused"
            for name in ("withdrawal", "address list", "expiry"):
                yield name, Status.NOT_CHECKED, said, _GIVE_KEY
            return
        yield from _key_checks(self._rights, self._client.known_time())

    def _hidden(self) -> tuple[str, Status, str, str]:
        try:
            pickle.dumps(self._client)
        except TypeError:
            return "secrets", Status.PASSED, f"shown as {self._client!r}, and not to be pickled", ""
        return "secrets", Status.FAILED, "the client can be pickled with its key", "do not pass it between processes"

    def _environment(self) -> tuple[str, Status, str, str]:
        name, environment = "host against key", environment_of(self._client.base_urls)
        if not self._client.has_key:
            return name, Status.NOT_CHECKED, _NO_KEY, _GIVE_KEY
        if isinstance(self._refusal, AuthenticationFailed) and self._refusal.ret_code == 10003:
            return name, Status.FAILED, f"the key is unknown to {environment}", _KEY_ADVICE[10003]
        if self._rights is None:
            return name, Status.NOT_CHECKED, "the key is refused", "see authentication"
        if environment == "mainnet" and self._rights.can_trade:
            advice = "use testnet keys until a strategy is approved, or a read-only key"
            return name, Status.WARNING, "a mainnet key that can trade real money", advice
        return name, Status.PASSED, f"the key belongs to {environment}", ""

    def _asked(
        self, name: str, step: Callable[[], tuple[Status, str, str]], *, needs_key: bool = False, optional: bool = False
    ) -> tuple[str, Status, str, str]:
        if needs_key and not self._client.has_key:
            return name, Status.NOT_CHECKED, _NO_KEY, _GIVE_KEY
        if needs_key and self._refusal is not None:
            return name, Status.NOT_CHECKED, "the key is refused", "see authentication"
        try:
            return (name, *step())
        except PerpflowError as error:
            status = Status.NOT_CHECKED if optional else Status.FAILED
            return name, status, str(error), "wait and try again" if error.retryable else "look at the message"


def environment_of(base_urls: tuple[str, ...]) -> str:
    """Return mainnet, testnet, demo, local or other, by the first address."""
    host = urlsplit(base_urls[0]).hostname or ""
    if host in ("127.0.0.1", "localhost", "::1"):
        return "local"
    if not host.startswith("api"):
        return "other"
    for word in ("testnet", "demo"):
        if host.startswith(f"api-{word}."):
            return word
    return "mainnet"


def _clock(up: list[HostAnswer]) -> tuple[str, Status, str, str]:
    offset_s = statistics.median(answer.offset_s for answer in up if answer.offset_s is not None)
    where = "ahead of" if offset_s > 0 else "behind"
    said = f"this machine's clock is {abs(offset_s) * 1000:.0f} ms {where} the venue's"
    if abs(offset_s) >= _AHEAD_S:
        return "clock", Status.WARNING, said, "set it by NTP: signatures start out wrong, then follow the venue's time"
    return "clock", Status.WARNING if abs(offset_s) > _OFF_S else Status.PASSED, said, ""


def _key_checks(rights: KeyRights, now: datetime) -> Iterator[tuple[str, Status, str, str]]:
    if rights.can_withdraw:
        yield "withdrawal", Status.FAILED, "the key can withdraw", "make one that cannot: no bot needs that right"
    else:
        yield "withdrawal", Status.PASSED, "the key cannot withdraw", ""
    if rights.addresses:
        yield "address list", Status.PASSED, f"bound to {len(rights.addresses)} addresses", ""
    else:
        yield "address list", Status.WARNING, "any address may use the key", "bind it to this machine's address"
    if rights.expires is None:
        yield "expiry", Status.PASSED, "none", ""
    else:
        soon = rights.expires - now < _EXPIRES_SOON
        said = f"the key ends at {rights.expires.isoformat()}"
        yield "expiry", Status.WARNING if soon else Status.PASSED, said, "make a new one before then" if soon else ""
