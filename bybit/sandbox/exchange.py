"""The private half of the sandbox: accounts, their orders, and the course of prices that fills and liquidates them.

Everything here runs on ONE thread, the event loop that serves: no method is safe to call from another.
"""

import heapq
import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.funding import FundingRate
from bybit.rules.holdings import Terms as HeldTerms
from bybit.rules.instruments import Instrument
from bybit.rules.liquidation import MarginBasis
from bybit.rules.margin import RiskTier
from bybit.rules.periods import to_ms
from bybit.sandbox.access import KeyRing
from bybit.sandbox.accounts import TradingAccount
from bybit.sandbox.book import Book
from bybit.sandbox.liquidations import Liquidations
from bybit.sandbox.margins import Terms, TermsOf
from bybit.sandbox.market import Market, Window
from bybit.sandbox.matching import Matching
from bybit.sandbox.path import Tick
from bybit.sandbox.query import Refusal
from bybit.sandbox.statements import position_row, wallet_row

_CHUNK_MS = 86_400_000

ASSUMPTIONS = (
    "accounts: the book is one tick around the last price, with invented sizes; docs/sandbox.md names every rule of "
    "matching, margin and liquidation that no record backs",
)
"""What holds of accounts on any market, one sentence each."""


@dataclass(frozen=True, slots=True)
class AccountEvent:
    """Something that happened to an account, as its private streams tell it; ``topic`` is theirs.

    ``topic`` is "order", "execution", "position" or "wallet"; ``rows`` are in the venue's wire form.
    """

    account: str
    topic: str
    time_ms: int
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Rules:
    hour: int
    instrument: Instrument | None
    tiers: tuple[RiskTier, ...]
    held: HeldTerms


class Exchange:
    """A market with accounts that trade on it.

    Requests are acknowledged first and take effect at the next ``advance``, which the server calls once the
    acknowledgement is out, before every request and in the background; only ``advance`` emits events.

    Parameters
    ----------
    market : Market
        Prices, funding and contract rules.
    now_ms : int
        The clock's instant at the start; nothing before it happens to an account.
    seed : int
        Of the ids that are given out.
    """

    def __init__(self, market: Market, now_ms: int, seed: int = 7) -> None:
        self.market = market
        self.keys: KeyRing[TradingAccount] = KeyRing()
        self.accounts: list[TradingAccount] = []
        self._now_ms = now_ms
        # Ids are no secrets: the same seed and the same requests give the same ones.
        self._random = random.Random(seed)
        self._listeners: list[Callable[[AccountEvent], None]] = []
        self._inbox: list[Callable[[], None]] = []
        self._events: list[AccountEvent] = []
        self._ticks: dict[str, Tick] = {}
        self._running: set[str] = set()
        self._rules: dict[str, _Rules] = {}
        self._n_events = now_ms
        self.matching = Matching(self)
        self.liquidations = Liquidations(self)

    @property
    def now_ms(self) -> int:
        """The instant up to which everything has happened, ms UTC."""
        return self._now_ms

    def open_account(
        self,
        api_key: str,
        api_secret: str,
        balance: Decimal,
        *,
        tier: str = "vip0",
        margin_mode: str = "REGULAR_MARGIN",
    ) -> TradingAccount:
        """Open an account with ``balance`` USDT and one key.

        Raises
        ------
        InvalidInput
            For a balance below 0, an unknown tier or margin mode, an empty key or secret.
        """
        if not balance.is_finite() or balance < 0:
            raise InvalidInput(f"an account opens with a balance of 0 or more, not {balance}")
        if margin_mode not in ("REGULAR_MARGIN", "ISOLATED_MARGIN"):
            raise InvalidInput(f"margin mode {margin_mode!r} is not served: use REGULAR_MARGIN or ISOLATED_MARGIN")
        if not api_key or not api_secret:
            raise InvalidInput("an account needs a key and a secret")
        uid = str(100_000_001 + len(self.accounts))
        account = TradingAccount(uid, balance, tier, margin_mode, self.next_id, updated_ms=self._now_ms)
        if tier not in account.schedule.tiers(Category.LINEAR):
            known = ", ".join(account.schedule.tiers(Category.LINEAR))
            raise InvalidInput(f"no fees of tier {tier!r} are known: use one of {known}")
        self.accounts.append(account)
        self.keys.add(api_key, api_secret, account)
        return account

    def listen(self, callback: Callable[[AccountEvent], None]) -> None:
        """Have every event told to ``callback``, in the order in which things happen."""
        self._listeners.append(callback)

    def next_id(self) -> str:
        """Return a fresh id."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def next_seq(self) -> int:
        """Return the next number of the venue's event counter."""
        self._n_events += 1
        return self._n_events

    def instrument(self, symbol: str) -> Instrument:
        """Return a contract that can be traded: linear, settled in USDT.

        Raises
        ------
        Refusal
            10001 for any other, 110074 for one that is not live.
        """
        rules = self._rules_of(symbol)
        item = rules.instrument
        if item is None or item.settle_coin != "USDT" or not rules.tiers:
            raise Refusal(10001, "Not supported symbols")
        if item.status != "Trading":
            raise Refusal(110074, "contract is not live")
        return item

    def tiers(self, symbol: str) -> tuple[RiskTier, ...]:
        """Return the margin ladder in force."""
        return self._rules_of(symbol).tiers

    def held_terms(self, symbol: str) -> HeldTerms:
        """Return what an isolated position in a contract is judged by now."""
        return self._rules_of(symbol).held

    def _rules_of(self, symbol: str) -> "_Rules":
        # Asked for at every tick: looked up once an hour, and always while the contract is not live.
        hour = self._now_ms // 3_600_000
        known = self._rules.get(symbol)
        if known is None or known.hour != hour:
            listed = self.market.instruments(Category.LINEAR, self._now_ms)
            item = next((item for item in listed if item.symbol == symbol), None)
            tiers = () if item is None else self.market.risk_tiers(Category.LINEAR, symbol, self._now_ms)
            tick_size = None if item is None else item.tick_size
            basis = MarginBasis.BY_DATE.at(self._now_ms)
            known = _Rules(hour, item, tiers, HeldTerms(Category.LINEAR, tiers, basis, tick_size))
            if item is not None and item.status == "Trading":
                self._rules[symbol] = known
        return known

    def tick(self, symbol: str) -> Tick:
        """Return the current prices.

        Raises
        ------
        Refusal
            110118 before the first price.
        """
        known = self._ticks.get(symbol)
        # While prices run, a contract's price is the last one that has acted on orders.
        if known is None or (known.time_ms != self._now_ms and symbol not in self._running):
            known = self.market.tick(Category.LINEAR, symbol, self._now_ms)
            if known is None:
                raise Refusal(110118, "no market price yet")
            self._ticks[symbol] = known
        return known

    def book(self, symbol: str) -> Book:
        """Return the book around the current last price."""
        return Book(self.instrument(symbol), self.tick(symbol).last)

    def terms(self, account: TradingAccount, symbol: str) -> Terms:
        """Return what the account's margin in a contract depends on."""
        rules = self._rules_of(symbol)
        return Terms(self.tick(symbol).mark, rules.tiers, account.rates(symbol, self._now_ms), rules.held)

    def terms_of(self, account: TradingAccount) -> TermsOf:
        """Return ``terms`` of one account, by symbol."""
        return lambda symbol: self.terms(account, symbol)

    def do_later(self, action: Callable[[], None]) -> None:
        """Take up something acknowledged, to be done at the next ``advance``."""
        self._inbox.append(action)

    def tell(self, account: TradingAccount, topic: str, rows: list[dict[str, Any]]) -> None:
        """Note an event, to be emitted by ``advance``."""
        if rows:
            self._events.append(AccountEvent(account.uid, topic, self._now_ms, rows))

    def tell_position(self, account: TradingAccount, symbol: str) -> None:
        """Note how a position and the wallet stand now."""
        row = position_row(self, account, symbol)
        row["entryPrice"] = row.pop("avgPrice")
        self.tell(account, "position", [{**row, "category": "linear"}])

    def tell_wallet(self, account: TradingAccount) -> None:
        """Note how the wallet stands now."""
        self.tell(account, "wallet", [wallet_row(self, account)])

    def advance(self, now_ms: int) -> None:
        """Do everything acknowledged, let prices run up to ``now_ms``, and emit what happened.

        Fills, triggers, funding and liquidations bear the instants at which they happened. An instant before the last
        one leaves time where it is.
        """
        self._work()
        while self._now_ms < now_ms:
            self._walk(min(now_ms, self._now_ms + _CHUNK_MS))
            self._work()
        events, self._events = self._events, []
        for event in events:
            for callback in self._listeners:
                callback(event)

    def _work(self) -> None:
        while self._inbox:
            actions, self._inbox = self._inbox, []
            for action in actions:
                action()

    def _held(self) -> set[str]:
        # Contracts in which something could happen.
        held: set[str] = set()
        for account in self.accounts:
            held |= {symbol for symbol, position in account.positions.items() if position.size}
            held |= {symbol for symbol, orders in account.open_orders.items() if orders}
        return held

    def _walk(self, until_ms: int) -> None:
        for symbol in self._held():
            self.tick(symbol)
            self._running.add(symbol)
        streams = [self._course(symbol, until_ms) for symbol in sorted(self._running)]
        # Funding comes first at one instant; by symbol then, so that runs repeat.
        for time_ms, _, symbol, _, what in heapq.merge(*streams, key=lambda item: item[:4]):
            self._now_ms = time_ms
            if isinstance(what, Tick):
                self._move(symbol, what)
            else:
                self._settle(symbol, what)
        self._now_ms = until_ms
        self._running.clear()

    def _course(self, symbol: str, until_ms: int) -> Iterator[tuple[int, int, str, int, Tick | FundingRate]]:
        window = Window(self._now_ms + 1, until_ms, 1_000)
        settlements = self.market.funding(Category.LINEAR, symbol, window, until_ms)
        course: list[Iterator[tuple[int, int, str, int, Tick | FundingRate]]] = [
            ((to_ms(rate.funding_time), 0, symbol, 0, rate) for rate in settlements),
            (
                (tick.time_ms, 1, symbol, number, tick)
                for number, tick in enumerate(self.market.ticks(Category.LINEAR, symbol, self._now_ms, until_ms))
            ),
        ]
        return heapq.merge(*course, key=lambda item: item[:4])

    def _settle(self, symbol: str, rate: FundingRate) -> None:
        holders = [account for account in self.accounts if account.position(symbol).size]
        if not holders:
            return
        tick = self.market.tick(Category.LINEAR, symbol, self._now_ms)
        if tick is None:
            return
        self._ticks[symbol] = tick
        for account in holders:
            row = account.settle_funding(symbol, rate.funding_rate, tick.mark, self._now_ms, self.next_seq())
            self.tell(account, "execution", [{**row, "category": "linear"}])
            self.tell_position(account, symbol)
            self.tell_wallet(account)

    def _move(self, symbol: str, tick: Tick) -> None:
        before = self._ticks.get(symbol)
        if before is not None and not tick.jumps:
            # The price runs through everything between two ticks: stop at each price where an order waits.
            while (price := self.matching.next_stop(symbol, before.last, tick.last)) is not None:
                before = replace(before, time_ms=tick.time_ms, last=price)
                self._ticks[symbol] = before
                self.matching.react(symbol)
        self._ticks[symbol] = tick
        self.matching.react(symbol)
        self.liquidations.check(symbol)
