from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from bybit.rules.fees import FeeEra, FeeRates
from bybit.store import Store
from tests.bybit.store.examples import START

ERA = FeeEra(
    "linear_perpetual", "vip0", FeeRates(Decimal("-0.00025"), Decimal("0.00075")), START, None, "somewhere", "medium"
)


def test_eras_come_back_exact_and_writing_twice_changes_nothing(store: Store) -> None:
    group = replace(ERA, tier="pro1", symbols=("BTCUSDT", "ETHUSDT"), valid_to=START + timedelta(days=1))
    for _ in range(2):
        store.fees.write([ERA, group])
    assert store.fees.list() == [group, ERA]
    assert store.fees.list("linear_perpetual", "vip0") == [ERA]
    assert store.fees.list("spot") == []


def test_an_era_that_has_ended_since_is_replaced(store: Store) -> None:
    store.fees.write([ERA])
    ended = replace(ERA, valid_to=START + timedelta(days=100))
    store.fees.write([ended])
    assert store.fees.list() == [ended]
    store.fees.write([])
    assert store.fees.list() == [ended]
