from datetime import timedelta

import pytest

from bybit.rules.errors import InvalidInput
from bybit.store import QualityRecord, Store
from tests.bybit.store.examples import START

CHECK = QualityRecord(
    "linear/BTCUSDT/last/1m 2025-03", False, {"checks": [{"name": "grid", "passed": False}], "n": 3}, START
)


def test_checks_come_back_in_the_order_they_were_made(store: Store) -> None:
    passed = QualityRecord(CHECK.subject, True, {}, START + timedelta(hours=1))
    other = QualityRecord("linear/ETHUSDT/last/1m 2025-03", True, {}, START)
    for record in (CHECK, other, passed):
        store.quality.add(record)
    assert store.quality.list() == [CHECK, other, passed]
    assert store.quality.list(CHECK.subject) == [CHECK, passed]


def test_a_check_made_again_is_recorded_again(store: Store) -> None:
    store.quality.add(CHECK)
    store.quality.add(CHECK)
    assert store.quality.list() == [CHECK, CHECK]


def test_a_report_without_a_json_form_is_refused(store: Store) -> None:
    with pytest.raises(InvalidInput, match="JSON"):
        store.quality.add(QualityRecord("x", True, {"what": object()}, START))
    assert store.quality.list() == []
