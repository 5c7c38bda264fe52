from datetime import timedelta
from decimal import Decimal as D

import pytest

from bybit.client import BybitClient
from bybit.history import HistoricalDataManager
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fees import Basis, FeeRates, FeeSchedule, FeeSnapshot
from bybit.sandbox import SandboxConfig
from bybit.sandbox.config import DEFAULT_KEY, DEFAULT_SECRET
from bybit.store import Store
from tests.bybit.history.venues import FakeVenue
from tests.bybit.store.examples import START
from tests.sandbox import running

LINEAR = Category.LINEAR


class Told:
    def __init__(self, symbol: str, taker: str) -> None:
        self.symbol, self.rates = symbol, FeeRates(D("0.0002"), D(taker))


class AccountVenue(FakeVenue):
    taker = "0.00055"

    def get_fee_rates(self, category: Category, symbol: str | None = None) -> list[Told]:
        return [Told(name, self.taker) for name in ("BTCUSDT", "ETHUSDT") if symbol in (None, name)]


def test_the_accounts_rates_are_kept_as_of_the_venues_clock(store: Store) -> None:
    venue = AccountVenue(START + timedelta(microseconds=1500))
    found = HistoricalDataManager(venue, store).ingest_fee_rates(LINEAR)
    assert [(each.symbol, each.time) for each in found] == [
        ("BTCUSDT", START + timedelta(milliseconds=1)),
        ("ETHUSDT", START + timedelta(milliseconds=1)),
    ]
    assert store.fees.snapshots() == tuple(found)


def test_later_rates_are_added_and_hold_from_their_time_on(small_store: Store) -> None:
    venue = AccountVenue(START)
    manager = HistoricalDataManager(venue, small_store)
    manager.ingest_fee_rates(LINEAR, ["BTCUSDT"])
    manager.ingest_fee_rates(LINEAR, ["BTCUSDT"])
    venue.now, venue.taker = START + timedelta(days=1), "0.0004"
    manager.ingest_fee_rates(LINEAR, ["BTCUSDT"])
    schedule = FeeSchedule.builtin().with_snapshots(small_store.fees.snapshots())
    hour = timedelta(hours=1)
    takers = [schedule.rates(LINEAR, "vip0", START + days * 24 * hour, "BTCUSDT").taker for days in (0, 1)]
    assert takers == [D("0.00055"), D("0.0004")]
    assert len(small_store.fees.snapshots()) == 2


def test_a_symbol_the_reply_leaves_out_is_refused_and_nothing_is_kept(small_store: Store) -> None:
    manager = HistoricalDataManager(AccountVenue(START), small_store)
    for asked in (["NOSUCHUSDT"], ["BTCUSDT", "NOSUCHUSDT"]):
        with pytest.raises(NotEstablished, match="no linear fee rate for NOSUCHUSDT"):
            manager.ingest_fee_rates(LINEAR, asked)
    assert small_store.fees.snapshots() == ()


def test_a_client_of_market_data_alone_is_refused(small_store: Store) -> None:
    with pytest.raises(InvalidInput, match="use a BybitClient with a key"):
        HistoricalDataManager(FakeVenue(START), small_store).ingest_fee_rates(LINEAR)


def test_the_rates_of_a_sandbox_account_reach_the_schedule(small_store: Store) -> None:
    with running(SandboxConfig(address_limit=None, tier="vip2")) as url:
        client = BybitClient(DEFAULT_KEY, DEFAULT_SECRET, base_urls=[url])
        (told,) = HistoricalDataManager(client, small_store).ingest_fee_rates(LINEAR, ["BTCUSDT"])
    assert told == FeeSnapshot(LINEAR, "BTCUSDT", FeeRates(D("0.00016"), D("0.000375")), told.time)
    schedule = FeeSchedule.builtin().with_snapshots(small_store.fees.snapshots())
    # The account is known to be no vip0: its own reply counts, whatever tier is named.
    quote = schedule.quote(LINEAR, "vip0", told.time, "BTCUSDT")
    assert (quote.rates, quote.basis) == (told.rates, Basis.ACCOUNT)
