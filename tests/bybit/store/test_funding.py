from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.funding import FundingRate
from bybit.rules.periods import Period
from bybit.store import FundingKey, Lease, Store, WriteCount
from tests.bybit.store.examples import START

LINEAR = Category.LINEAR
DAY = Period(START, START + timedelta(days=1))


def rate(hours: float, text: str, symbol: str = "BTCUSDT") -> FundingRate:
    return FundingRate(symbol, START + timedelta(hours=hours), Decimal(text))


def test_rates_come_back_to_the_last_digit(store: Store, lease: Lease) -> None:
    sent = [rate(0, "0.00010000"), rate(8, "-0.000000000000000000001"), rate(16, "0.123456789012345678901234567890")]
    assert store.funding.write(LINEAR, "BTCUSDT", sent, DAY, lease) == WriteCount(3, 0, 0)
    back = store.funding.rates(LINEAR, "BTCUSDT", DAY)
    assert back == sent
    assert str(back[0].funding_rate) == "0.00010000"
    assert [f"{each.funding_rate:f}" for each in back] == [f"{each.funding_rate:f}" for each in sent]


def test_the_table_has_floats_and_the_published_text(store: Store, lease: Lease) -> None:
    store.funding.write(LINEAR, "BTCUSDT", [rate(0, "0.0001"), rate(8, "-0.0002")], DAY, lease)
    frame = store.funding.read(LINEAR, "BTCUSDT", DAY)
    assert str(frame.index.dtype) == "datetime64[ms, UTC]"
    assert frame.index.name == "funding_time"
    assert frame["funding_rate"].dtype == np.float64
    assert list(frame["funding_rate"]) == [0.0001, -0.0002]
    assert list(frame["funding_rate_text"]) == ["0.0001", "-0.0002"]
    empty = store.funding.read(LINEAR, "ETHUSDT", DAY)
    assert empty.empty
    assert list(empty.columns) == list(frame.columns)
    assert empty.dtypes.equals(frame.dtypes)


def test_writing_twice_changes_nothing_however_the_rate_is_spelt(store: Store, lease: Lease) -> None:
    store.funding.write(LINEAR, "BTCUSDT", [rate(0, "0.0001")], DAY, lease)
    before = store.funding.content_hash(LINEAR, "BTCUSDT")
    assert store.funding.write(LINEAR, "BTCUSDT", [rate(0, "0.00010000")], DAY, lease) == WriteCount(0, 0, 1)
    assert store.funding.content_hash(LINEAR, "BTCUSDT") == before


def test_a_revised_rate_is_replaced_and_kept(store: Store, lease: Lease) -> None:
    store.funding.write(LINEAR, "BTCUSDT", [rate(0, "0.0001"), rate(8, "0.0002")], DAY, lease)
    assert store.funding.write(LINEAR, "BTCUSDT", [rate(8, "0.0003")], None, lease) == WriteCount(0, 1, 0)
    assert store.funding.rates(LINEAR, "BTCUSDT", DAY)[1].funding_rate == Decimal("0.0003")
    kept = store.database.read(
        lambda connection: connection.exec_driver_sql("SELECT funding_rate FROM funding_revisions").scalars().all()
    )
    assert list(kept) == ["0.0002"]


def test_any_spacing_of_settlements_is_stored_each_once(store: Store, lease: Lease) -> None:
    # 8 h, 4 h, an extra one, one that is 3 ms late, 1 h.
    sent = [rate(h, "0.0001") for h in (0, 8, 12, 12.5, 16 + 3 / 3_600_000, 17)]
    store.funding.write(LINEAR, "BTCUSDT", sent, DAY, lease)
    assert store.funding.rates(LINEAR, "BTCUSDT", DAY) == sent
    assert store.coverage.missing(FundingKey(LINEAR, "BTCUSDT"), DAY) == []
    assert store.funding.count(LINEAR, "BTCUSDT", Period(START, START + timedelta(hours=8))) == 1


@pytest.mark.parametrize(
    ("rates", "says"),
    [
        ([rate(0, "0.1", "ETHUSDT")], "does not belong here"),
        ([rate(0, "NaN")], "no number"),
        ([rate(0, "0.1"), rate(0, "0.2")], "two rates"),
    ],
)
def test_what_is_no_settlement_of_this_contract_is_refused(
    rates: list[FundingRate], says: str, store: Store, lease: Lease
) -> None:
    with pytest.raises(InvalidInput, match=says):
        store.funding.write(LINEAR, "BTCUSDT", rates, DAY, lease)
    assert store.funding.count(LINEAR, "BTCUSDT", DAY) == 0
