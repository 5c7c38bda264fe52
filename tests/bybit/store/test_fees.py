import itertools
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.candles import Category
from bybit.rules.fees import FeeEra, FeeRates, FeeSchedule, FeeSnapshot
from bybit.store import Store
from bybit.store.errors import AlreadyRecorded
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


def test_the_builtin_tables_come_back_as_they_are(store: Store) -> None:
    table = FeeSchedule.builtin().table
    store.fees.write(table)
    assert len(table) > 120
    assert FeeSchedule(store.fees.list()).version == FeeSchedule(table).version


def told(taker: str, symbol: str = "BTCUSDT", days: int = 0) -> FeeSnapshot:
    rates = FeeRates(Decimal("-0.00005"), Decimal(taker))
    return FeeSnapshot(Category.LINEAR, symbol, rates, START + timedelta(days=days))


def test_the_accounts_replies_come_back_exact_and_in_order(store: Store) -> None:
    sent = [told("0.00055", days=1), told("0.0006"), told("0.0000000001", "ETHUSDT")]
    assert store.fees.record(sent) == 3
    assert store.fees.snapshots() == (sent[1], sent[0], sent[2])
    assert store.fees.snapshots(Category.LINEAR, "ETHUSDT") == (sent[2],)
    assert store.fees.snapshots(Category.SPOT) == ()


def test_recording_a_reply_again_changes_nothing_and_another_one_is_refused(store: Store) -> None:
    store.fees.record([told("0.00055")])
    assert store.fees.record([told("0.000550"), told("0.0006", days=1)]) == 1
    with pytest.raises(AlreadyRecorded, match=r"taker 0\.00055, not -0\.00005 and 0\.0006"):
        store.fees.record([told("0.0007", days=2), told("0.0006")])
    assert len(store.fees.snapshots()) == 2


_serial = itertools.count()


@given(st.decimals(Decimal("-0.9"), Decimal("0.9"), allow_nan=False, allow_infinity=False))
def test_no_digit_of_a_rate_is_lost(long_lived_store: Store, rate: Decimal) -> None:
    sent = told(f"{rate:f}", f"COIN{next(_serial)}USDT")
    long_lived_store.fees.record([sent])
    assert long_lived_store.fees.snapshots(Category.LINEAR, sent.symbol) == (sent,)
