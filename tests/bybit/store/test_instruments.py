from datetime import timedelta
from decimal import Decimal

import pytest

from bybit.rules.candles import Category
from bybit.rules.errors import NotEstablished
from bybit.store import Store
from tests.bybit.store.examples import START, instrument

LINEAR = Category.LINEAR


def test_rules_come_back_exact_and_missing_stays_missing(store: Store) -> None:
    sent = instrument(launch=START - timedelta(days=900))
    assert store.instruments.write([sent]) == 1
    back = store.instruments.get(LINEAR, "BTCUSDT")
    assert back == sent
    assert str(back.tick_size) == "0.10"
    assert back.max_market_order_qty is None
    assert back.delivery_time is None


def test_the_rules_in_force_at_a_date_are_the_latest_before_it(store: Store) -> None:
    later = instrument(tick_size=Decimal("0.5"), as_of=START + timedelta(days=10))
    assert store.instruments.write([later, instrument()]) == 2
    assert store.instruments.get(LINEAR, "BTCUSDT", START + timedelta(days=9)).tick_size == Decimal("0.10")
    assert store.instruments.get(LINEAR, "BTCUSDT", START + timedelta(days=10)) == later
    assert store.instruments.get(LINEAR, "BTCUSDT") == later
    assert store.instruments.list(LINEAR) == [later]


def test_asking_daily_does_not_pile_up_equal_rows(store: Store) -> None:
    store.instruments.write([instrument()])
    assert store.instruments.write([instrument(as_of=START + timedelta(days=1))]) == 0
    assert store.instruments.get(LINEAR, "BTCUSDT").as_of == START


def test_a_second_row_of_a_date_replaces_the_first(store: Store) -> None:
    store.instruments.write([instrument()])
    assert store.instruments.write([instrument(status="Closed")]) == 1
    assert store.instruments.get(LINEAR, "BTCUSDT").status == "Closed"


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_rules_nobody_has_stored_for_that_date_are_refused(symbol: str, store: Store) -> None:
    store.instruments.write([instrument()])
    with pytest.raises(NotEstablished, match="ingest the instruments"):
        store.instruments.get(LINEAR, symbol, START - timedelta(days=1))
