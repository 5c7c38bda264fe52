"""Which margin ladders a back-test is given."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bybit.rules.errors import NotEstablished
from bybit.rules.margin import recorded_ladders
from bybit.store import Store
from tasks import connections
from tasks.connections import connect
from tasks.margin import dated_tiers
from tasks.settings import settings

TODAY = datetime(2026, 11, 1, tzinfo=UTC)
RECORDED = [ladder for ladder in recorded_ladders("ETHUSDT") if ladder.complete]


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setenv("PERPFLOW_HOME", str(tmp_path))
    monkeypatch.delenv("PERPFLOW_DATABASE_URL", raising=False)
    settings.cache_clear()
    monkeypatch.setattr(connections, "_connected", [])
    yield monkeypatch
    settings.cache_clear()


def told(store: Store, symbol: str = "ETHUSDT", **changes: object) -> None:
    store.risk_tiers.write([replace(tier, symbol=symbol, as_of=TODAY, **changes) for tier in RECORDED[-1].tiers])


def test_what_was_recorded_comes_before_what_the_venue_tells_today(market: pytest.MonkeyPatch) -> None:
    store = connect("bybit")
    store.risk_tiers.write([replace(tier, as_of=TODAY) for tier in RECORDED[-1].tiers[:3]])
    days = [tier.as_of for tier in dated_tiers("ETHUSDT")]
    assert days == [RECORDED[-1].tiers[0].as_of] * len(RECORDED[-1].tiers) + [TODAY] * 3


def test_the_same_ladder_does_not_begin_twice(market: pytest.MonkeyPatch) -> None:
    told(connect("tape-abc"))
    assert dated_tiers("ETHUSDT") == RECORDED[-1].tiers


def test_a_made_up_market_has_no_past_of_the_venue(market: pytest.MonkeyPatch) -> None:
    told(connect("synthetic-7"))
    assert {tier.as_of for tier in dated_tiers("ETHUSDT")} == {TODAY}


def test_a_symbol_nobody_recorded_has_what_the_venue_told(market: pytest.MonkeyPatch) -> None:
    told(connect("bybit"), symbol="WIFUSDT")
    assert {tier.as_of for tier in dated_tiers("WIFUSDT")} == {TODAY}
    with pytest.raises(NotEstablished, match="SOLUSDT"):
        dated_tiers("SOLUSDT")
