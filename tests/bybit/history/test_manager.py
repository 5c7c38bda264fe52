from datetime import timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from bybit.history import HistoricalDataManager
from bybit.rules.candles import Category, PriceType
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.periods import to_ms
from bybit.store import Store
from tests.bybit.history.test_funding import rates
from tests.bybit.history.venues import FakeVenue
from tests.bybit.store.examples import START, ladder

LATER = START + timedelta(days=300)
DAY = timedelta(days=1)


def test_candles_are_fetched_once_and_then_read(store: Store) -> None:
    venue = FakeVenue(LATER)
    manager = HistoricalDataManager(venue, store)
    frame = manager.fetch_ohlcv("BTCUSDT", "1h", START, START + DAY)
    assert len(frame) == 24
    assert frame.attrs["missing"] == []
    venue.asked.clear()
    pd.testing.assert_frame_equal(manager.fetch_ohlcv("BTCUSDT", "60", to_ms(START), to_ms(START + DAY)), frame)
    assert venue.asked == []


def test_without_fetching_only_what_is_stored_comes_and_the_rest_is_named(small_store: Store) -> None:
    manager = HistoricalDataManager(FakeVenue(LATER), small_store)
    manager.fetch_ohlcv("BTCUSDT", "1h", START, START + DAY)
    frame = manager.fetch_ohlcv("BTCUSDT", "1h", START, START + 2 * DAY, fetch=False)
    assert len(frame) == 24
    assert frame.attrs["missing"] == ["2025-03-02..2025-03-03"]
    mark = manager.fetch_ohlcv("BTCUSDT", "1h", START, START + DAY, price=PriceType.MARK, fetch=False)
    assert mark.empty


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        (START.replace(tzinfo=None), START + DAY, "no time zone"),
        (1_740_787_200, 1_740_873_600, "were seconds meant"),
        (START + DAY, START, "not after its start"),
        (START, START, "not after its start"),
    ],
)
def test_bounds_that_make_no_period_are_refused(start: object, end: object, says: str, small_store: Store) -> None:
    venue = FakeVenue(LATER)
    with pytest.raises(InvalidInput, match=says):
        HistoricalDataManager(venue, small_store).fetch_ohlcv("BTCUSDT", "1h", start, end)  # type: ignore[arg-type]
    assert venue.asked == []


def test_an_interval_the_venue_has_not_is_refused(small_store: Store) -> None:
    with pytest.raises(InvalidInput, match="'8h' is not one that Bybit serves"):
        HistoricalDataManager(FakeVenue(LATER), small_store).fetch_ohlcv("BTCUSDT", "8h", START, START + DAY)


def test_the_rate_stands_on_the_candle_that_opens_at_the_settlement(store: Store) -> None:
    venue = FakeVenue(LATER, funding=rates(0, 8, 16, 24))
    frame = HistoricalDataManager(venue, store).fetch_ohlcv_with_funding("BTCUSDT", "4h", START, START + DAY)
    assert list(frame.columns) == ["open", "high", "low", "close", "volume", "turnover", "funding_rate"]
    settled = frame["funding_rate"].dropna()
    assert list(settled.index) == [pd.Timestamp(START + timedelta(hours=h)) for h in (0, 8, 16)]
    np.testing.assert_array_equal(settled, [float(rate.funding_rate) for rate in rates(0, 8, 16)])
    assert frame.attrs["funding_between"] == []


def test_settlements_inside_a_candle_are_kept_apart_and_not_moved(small_store: Store) -> None:
    venue = FakeVenue(LATER, funding=rates(0, 8, 16))
    frame = HistoricalDataManager(venue, small_store).fetch_ohlcv_with_funding("BTCUSDT", "1d", START, START + DAY)
    assert frame["funding_rate"].notna().sum() == 1
    assert frame.attrs["funding_between"] == [
        ("2025-03-01T08:00:00+00:00", "0.00010008"),
        ("2025-03-01T16:00:00+00:00", "0.00010016"),
    ]


def test_instruments_and_ladders_are_stored_as_they_are_now(store: Store) -> None:
    manager = HistoricalDataManager(FakeVenue(LATER), store)
    (found,) = manager.ingest_instruments(Category.LINEAR, ["BTCUSDT"])
    assert store.instruments.get(Category.LINEAR, "BTCUSDT") == found
    manager.ingest_risk_tiers(["BTCUSDT"])
    assert store.risk_tiers.get("BTCUSDT") == tuple(ladder())
    assert store.risk_tiers.get("BTCUSDT")[0].max_notional == Decimal(2_000_000)


def test_a_contract_without_a_ladder_is_named(small_store: Store) -> None:
    venue = FakeVenue(LATER)
    venue.get_risk_limits = lambda category, symbol=None: []  # type: ignore[method-assign]
    with pytest.raises(NotEstablished, match="no margin ladder for linear BTCUSDT"):
        HistoricalDataManager(venue, small_store).ingest_risk_tiers(["BTCUSDT"])


def test_reading_funding_names_what_is_not_known_to_be_complete(small_store: Store) -> None:
    manager = HistoricalDataManager(FakeVenue(LATER, funding=rates(0, 8, 16)), small_store)
    frame = manager.fetch_funding_history("BTCUSDT", START, START + DAY)
    assert list(frame["funding_rate_text"]) == ["0.00010000", "0.00010008", "0.00010016"]
    later = manager.fetch_funding_history("BTCUSDT", START, START + 2 * DAY, fetch=False)
    assert later.attrs["missing"] == ["2025-03-02..2025-03-03"]
