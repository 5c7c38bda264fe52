from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period, to_ms, utc
from bybit.sandbox.market import Gap, Rows, Window
from bybit.sandbox.tape import TapeMarket, load_tape
from tests.bybit.sandbox.wire import DAY, HOUR, MINUTE, candle_file, funding_file, minutes

START = to_ms(datetime(2025, 6, 2, tzinfo=UTC))  # a Monday
LATER = START + 400 * DAY
LINEAR = Category.LINEAR


def _key(interval: str = "1m", price: PriceType = PriceType.LAST, symbol: str = "BTCUSDT") -> SeriesKey:
    return SeriesKey(LINEAR, symbol, price, Interval.parse(interval))


def _tape(folder: Path, rows: list[tuple[float | None, ...]], **more: str) -> TapeMarket:
    candle_file(folder / "klines" / "bybit_linear_BTCUSDT_1m.parquet", rows, **more)
    return load_tape(folder)


def _all(market: TapeMarket, key: SeriesKey, now: int = LATER) -> Rows:
    return market.candles(key, Window(None, None, 1_000_000), now)


def test_the_rows_of_the_tape_are_served_as_recorded(tmp_path: Path) -> None:
    rows = minutes(START, 50, skip=(7, 8, 30))
    assert _all(_tape(tmp_path, rows), _key()).tolist() == [list(row) for row in rows]


def test_files_of_one_series_are_merged_and_exact_duplicates_are_one_row(tmp_path: Path) -> None:
    rows = minutes(START, 40)
    candle_file(tmp_path / "klines" / "bybit_linear_BTCUSDT_1m_a.parquet", rows[:25])
    candle_file(tmp_path / "klines" / "bybit_linear_BTCUSDT_1m_b.parquet", rows[15:])
    assert _all(load_tape(tmp_path), _key()).tolist() == [list(row) for row in rows]


def test_a_source_without_turnover_repeats_one_that_has_it(tmp_path: Path) -> None:
    rows = minutes(START, 30)
    bare = [(*row[:6], None) for row in rows]
    candle_file(tmp_path / "klines" / "bybit_linear_BTCUSDT_1m_a.parquet", bare)
    candle_file(tmp_path / "klines" / "bybit_linear_BTCUSDT_1m_b.parquet", rows[10:20])
    candle_file(tmp_path / "klines" / "bybit_linear_BTCUSDT_1m_c.parquet", bare[5:25])
    served = _all(load_tape(tmp_path), _key())
    assert served[:, :6].tolist() == [list(row[:6]) for row in rows]
    assert served[10:20, 6].tolist() == [row[6] for row in rows[10:20]]


def test_rows_that_disagree_are_all_served_so_that_the_reader_sees_them(tmp_path: Path) -> None:
    rows = minutes(START, 6)
    other = (rows[3][0], *rows[4][1:])
    served = _all(_tape(tmp_path, [*rows, other]), _key())
    assert served[:, 0].tolist().count(START + 3 * MINUTE) == 2
    assert list(other) in served.tolist()
    assert len(served) == 7


def test_a_conflicting_minute_leaves_its_hour_unbuilt(tmp_path: Path) -> None:
    rows = minutes(START, 120)
    market = _tape(tmp_path, [*rows, (rows[3][0], *rows[4][1:])])
    assert _all(market, _key("1h"))[:, 0].tolist() == [START + HOUR]


def test_intervals_not_on_the_tape_are_built_from_whole_finer_candles_only(tmp_path: Path) -> None:
    market = _tape(tmp_path, minutes(START, 300, skip=(130,)))
    hours = _all(market, _key("1h"))
    assert hours[:, 0].tolist() == [START, START + HOUR, START + 3 * HOUR, START + 4 * HOUR]
    assert hours[0, 1:5].tolist() == [100.0, 159.9, 99.5, 159.5]
    assert hours[0, 5] == sum(range(1, 61))
    assert len(_all(market, _key("1d"))) == 0


def test_a_built_interval_takes_the_coarsest_source_first_and_fills_up_from_finer_ones(tmp_path: Path) -> None:
    candle_file(tmp_path / "klines" / "bybit_linear_BTCUSDT_1m.parquet", minutes(START, 120))
    quarters = [(START + HOUR + i * 15 * MINUTE, 7.0, 8.0, 6.0, 7.5, 4.0, 28.0) for i in range(8)]
    candle_file(tmp_path / "klines" / "bybit_linear_BTCUSDT_15m.parquet", quarters, interval="15m")
    hours = _all(load_tape(tmp_path), _key("1h"))
    assert hours[:, 0].tolist() == [START, START + HOUR, START + 2 * HOUR]
    assert hours[:, 2].tolist() == [159.9, 8.0, 8.0]


def test_weeks_and_months_are_built_from_days(tmp_path: Path) -> None:
    days = [(START - DAY + i * DAY, 1.0 + i, 2.0 + i, 0.5 + i, 1.5 + i, 1.0, 1.0) for i in range(40)]
    market = _tape(tmp_path, days, interval="1d")
    weeks = _all(market, _key("1w"))
    assert weeks[:, 0].tolist() == [START + n * 7 * DAY for n in range(5)]
    assert weeks[0, 1:6].tolist() == [2.0, 9.0, 1.5, 8.5, 7.0]
    (june,) = _all(market, _key("1M"))
    assert utc(int(june[0])) == datetime(2025, 6, 1, tzinfo=UTC)
    assert june[5] == 30


def test_the_forming_candle_is_made_of_finer_ones_and_the_open_of_the_running_one(tmp_path: Path) -> None:
    market = _tape(tmp_path, minutes(START, 300))
    now = START + HOUR + 10 * MINUTE + 20_000
    hours = _all(market, _key("1h"), now)
    assert hours[:, 0].tolist() == [START, START + HOUR]
    # Ten minutes closed, the eleventh has only opened, at 170.
    assert hours[1, 1:6].tolist() == [160.0, 170.0, 159.5, 170.0, sum(range(61, 71))]
    running = _all(market, _key(), now)[-1]
    assert running.tolist() == [START + HOUR + 10 * MINUTE, 170.0, 170.0, 170.0, 170.0, 0.0, 0.0]


def test_an_interval_on_the_tape_forms_from_finer_ones_too_and_else_from_its_open(tmp_path: Path) -> None:
    hours = [(START + i * HOUR, 50.0 + i, 60.0 + i, 40.0 + i, 51.0 + i, 9.0, 450.0) for i in range(5)]
    candle_file(tmp_path / "klines" / "bybit_linear_BTCUSDT_1h.parquet", hours, interval="1h")
    now = START + HOUR + 10 * MINUTE
    alone = _all(load_tape(tmp_path), _key("1h"), now)
    assert alone[-1].tolist() == [START + HOUR, 51.0, 51.0, 51.0, 51.0, 0.0, 0.0]
    candle_file(tmp_path / "klines" / "bybit_linear_BTCUSDT_1m.parquet", minutes(START, 300))
    split = _all(load_tape(tmp_path), _key("1h"), now)
    assert split[-1, 5] == sum(range(61, 71))
    assert split[0].tolist() == alone[0].tolist()


def test_nothing_after_the_instant_shows_and_nothing_after_the_end_of_the_tape(tmp_path: Path) -> None:
    market = _tape(tmp_path, minutes(START, 100))
    assert len(_all(market, _key(), START - 1)) == 0
    assert _all(market, _key(), START + 5 * MINUTE)[-1, 0] == START + 5 * MINUTE
    assert _all(market, _key(), LATER)[-1, 0] == START + 99 * MINUTE
    assert _all(market, _key("15m"), LATER)[-1, 0] == START + 75 * MINUTE


def test_a_missing_turnover_is_estimated_and_said(tmp_path: Path) -> None:
    rows = [(*row[:6], None) for row in minutes(START, 3)]
    market = _tape(tmp_path, rows)
    assert _all(market, _key())[1, 6] == pytest.approx(2.0 * (101 + 101.9 + 100.5 + 101.5) / 4)
    assert any("turnover" in text and "linear/BTCUSDT/last/1m" in text for text in market.assumptions)


def test_nothing_is_said_of_a_tape_that_lacks_nothing(tmp_path: Path) -> None:
    market = _tape(tmp_path, minutes(START, 3))
    assert not any("turnover" in text or "rules" in text or "ladder" in text for text in market.assumptions)


def test_price_type_category_symbol_and_interval_come_from_names_and_columns(tmp_path: Path) -> None:
    rows = minutes(START, 4)
    candle_file(tmp_path / "klines" / "bybit_linear_mark_ETHUSDT_1h.parquet", rows, symbol="ETHUSDT", interval="60")
    candle_file(tmp_path / "klines" / "bybit_spot_BTCUSDT_1m.parquet", rows)
    bare = pa.table(
        {name: [row[place] for row in rows] for place, name in enumerate(("open_time", "open", "high", "low", "close"))}
    )
    bare = bare.set_column(0, "open_time", pa.array([int(row[0] or 0) for row in rows]).cast(pa.timestamp("ms", "UTC")))
    pq.write_table(bare, tmp_path / "klines" / "bybit_inverse_index_BTCUSD_5m.parquet")
    market = load_tape(tmp_path)
    keys = [
        SeriesKey(Category.LINEAR, "ETHUSDT", PriceType.MARK, Interval.HOUR_1),
        SeriesKey(Category.SPOT, "BTCUSDT", PriceType.LAST, Interval.MINUTE_1),
        SeriesKey(Category.INVERSE, "BTCUSD", PriceType.INDEX, Interval.MINUTE_5),
    ]
    assert [_all(market, key).shape for key in keys] == [(4, 5), (4, 7), (4, 5)]


def test_a_flat_folder_and_a_single_file_work_too(tmp_path: Path) -> None:
    file = candle_file(tmp_path / "BTCUSDT_1m.parquet", minutes(START, 4))
    funding_file(tmp_path / "BTCUSDT_funding.parquet", [(START, 0.0001)])
    flat, single = load_tape(tmp_path), load_tape(file)
    assert np.array_equal(_all(flat, _key()), _all(single, _key()))
    assert len(flat.funding(LINEAR, "BTCUSDT", Window(None, None, 9), LATER)) == 1
    assert any("BTCUSDT_1m.parquet" in text and "linear" in text for text in single.assumptions)


def test_funding_keeps_the_digits_of_the_recorded_rate(tmp_path: Path) -> None:
    rates = [(START + 8 * HOUR * i, rate) for i, rate in enumerate((0.00013467, -7.6e-07, 0.0001))]
    _tape(tmp_path, minutes(START, 4))
    funding_file(tmp_path / "funding" / "bybit_linear_BTCUSDT.parquet", [*rates, rates[0]])
    market = load_tape(tmp_path)
    served = market.funding(LINEAR, "BTCUSDT", Window(None, None, 200), LATER)
    assert [rate.funding_rate for rate in served] == [Decimal("0.00013467"), Decimal("-7.6E-7"), Decimal("0.0001")]
    assert len(market.funding(LINEAR, "BTCUSDT", Window(None, None, 200), START + 9 * HOUR)) == 2
    assert len(market.funding(LINEAR, "BTCUSDT", Window(START, START + 8 * HOUR, 200), LATER)) == 2


@settings(max_examples=150, deadline=None)
@given(
    first=st.none() | st.integers(-10, 130),
    last=st.none() | st.integers(-10, 130),
    limit=st.integers(1, 40),
    off=st.integers(-1, 1),
)
def test_any_window_is_the_plain_filter_of_all_rows(
    tape_with_holes: tuple[TapeMarket, Rows], first: int | None, last: int | None, limit: int, off: int
) -> None:
    market, rows = tape_with_holes
    low = None if first is None else START + first * MINUTE + off
    high = None if last is None else START + last * MINUTE - off
    found = [row for row in rows.tolist() if (low is None or row[0] >= low) and (high is None or row[0] <= high)]
    wanted = found[:limit] if low is not None and high is None else found[-limit:]
    assert market.candles(_key(), Window(low, high, limit), LATER).tolist() == wanted


@pytest.fixture(scope="module")
def tape_with_holes(tmp_path_factory: pytest.TempPathFactory) -> tuple[TapeMarket, Rows]:
    rows = minutes(START, 120, skip=(3, 50, 51, 52, 119))
    return _tape(tmp_path_factory.mktemp("holes"), rows), np.array(rows, dtype=np.float64)


def test_the_last_prices_stand_as_the_current_market(tmp_path: Path) -> None:
    _tape(tmp_path, minutes(START, 2 * 24 * 60))
    funding_file(tmp_path / "funding" / "bybit_linear_BTCUSDT.parquet", [(START, 0.0001), (START + 4 * HOUR, 0.0002)])
    market = load_tape(tmp_path)
    quote = market.quote(LINEAR, "BTCUSDT", LATER + 1)
    assert quote is not None
    n = 2 * 24 * 60
    assert quote.last_price == quote.mark_price == 100.5 + n - 1
    assert (quote.high_24h, quote.low_24h) == (100.9 + n - 1, 99.5 + n - 1440)
    assert (quote.price_24h_ago, quote.price_1h_ago) == (100.0 + n - 1440, 100.0 + n - 60)
    assert (quote.funding_rate, quote.funding_interval_hours) == ("0.0002", 4)
    assert quote.next_funding is not None
    assert 0 < to_ms(quote.next_funding) - LATER <= 4 * HOUR
    early = market.quote(LINEAR, "BTCUSDT", START + 10 * MINUTE + 5)
    assert early is not None
    assert (early.last_price, early.time_ms) == (110.0, START + 10 * MINUTE)
    assert market.quote(LINEAR, "BTCUSDT", START - 1) is None


def test_rules_come_from_the_tape_then_from_the_record_then_from_the_prices(tmp_path: Path) -> None:
    _tape(tmp_path, minutes(START, 5))
    odd = [(START, 2.35, 2.45, 2.30, 2.40, 12.0, 28.0), (START + MINUTE, 2.40, 2.40, 2.40, 2.40, 8.0, 19.0)]
    for symbol in ("FOOUSDT", "BARUSDT"):
        candle_file(tmp_path / "klines" / f"bybit_linear_{symbol}_1m.parquet", odd, symbol=symbol)
    table = {"symbol": ["BARUSDT", "BAZUSDT"], "tick_size": ["0.010", "0.5"], "quantity_step": ["1", "1"]}
    table |= {"min_order_quantity": ["1", "1"], "max_leverage": ["25.00", "50.00"], "launch_time_ms": [START - DAY, 0]}
    table |= {"status": ["Trading", "Closed"], "delivery_time_ms": [0, START], "funding_interval_minutes": [240, 480]}
    (tmp_path / "instruments").mkdir()
    pq.write_table(pa.table(table), tmp_path / "instruments" / "bybit_linear_instruments_2025-06-01.parquet")
    market = load_tape(tmp_path)
    listed = {item.symbol: item for item in market.instruments(LINEAR, LATER)}
    assert list(listed) == ["BARUSDT", "BAZUSDT", "BTCUSDT", "FOOUSDT"]
    assert str(listed["BARUSDT"].tick_size) == "0.010"
    assert str(listed["BTCUSDT"].tick_size) == "0.10"
    foo = listed["FOOUSDT"]
    assert (foo.tick_size, foo.qty_step, foo.base_coin) == (Decimal("0.05"), Decimal(4), "FOO")
    assert foo.launch_time == utc(START)
    assert listed["BAZUSDT"].status == "Closed"
    assert any("FOOUSDT" in text and "0.05" in text for text in market.assumptions)
    lent = [text for text in market.assumptions if "ladder" in text]
    assert all(any(symbol in text for text in lent) for symbol in ("FOOUSDT", "BARUSDT"))
    assert any("1 without prices here" in text for text in lent)
    assert not any("BTCUSDT" in text.split("stands in for")[1] for text in lent)
    tiers = market.risk_tiers(LINEAR, "BARUSDT", LATER)
    assert tiers[0].max_leverage == Decimal("25.00")


def test_a_gap_hides_candles_and_all_that_would_be_built_over_it(tmp_path: Path) -> None:
    file = candle_file(tmp_path / "bybit_linear_BTCUSDT_1m.parquet", minutes(START, 180))
    gap = Gap(Period.from_ms(START + 70 * MINUTE, START + 75 * MINUTE))
    market = load_tape(file, gaps=[gap])
    assert len(_all(market, _key())) == 175
    assert _all(market, _key("1h"))[:, 0].tolist() == [START, START + 2 * HOUR]


def test_only_the_symbols_asked_for_are_listed(tmp_path: Path) -> None:
    for symbol in ("AAAUSDT", "BBBUSDT"):
        candle_file(tmp_path / "klines" / f"bybit_linear_{symbol}_1m.parquet", minutes(START, 3), symbol=symbol)
    assert [item.symbol for item in load_tape(tmp_path, symbols=["BBBUSDT"]).instruments(LINEAR, LATER)] == ["BBBUSDT"]
    with pytest.raises(InvalidInput, match="AAAUSDT, BBBUSDT"):
        load_tape(tmp_path, symbols=["CCCUSDT"])


def test_what_is_no_tape_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no tape"):
        load_tape(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="no Parquet file"):
        load_tape(tmp_path)
    (tmp_path / "junk.parquet").write_bytes(b"not parquet")
    with pytest.raises(InvalidInput, match=r"junk\.parquet"):
        load_tape(tmp_path)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "junk.parquet")
    with pytest.raises(InvalidInput, match="neither candles"):
        load_tape(tmp_path)
    funding = pa.table({"symbol": ["BTCUSDT"], "funding_time": [START], "funding_rate": pa.array([None], pa.float64())})
    pq.write_table(funding, tmp_path / "junk.parquet")
    with pytest.raises(InvalidInput, match="never zero"):
        load_tape(tmp_path)


def test_recorded_quarter_hours_are_served_equal_to_the_file(shared: Path) -> None:
    file = shared / "data" / "klines" / "bybit_linear_BTCUSDT_15m_2023-11_2025-12.parquet"
    table = pq.read_table(file)
    served = _all(load_tape(file), _key("15m"))
    for place, name in enumerate(("open_time", "open", "high", "low", "close", "volume")):
        assert np.array_equal(served[:, place], table[name].to_numpy()), name


def test_hours_built_from_recorded_quarters_equal_the_recorded_hours(shared: Path) -> None:
    klines = shared / "data" / "klines"
    built = _all(load_tape(klines / "bybit_linear_BTCUSDT_15m_2023-11_2025-12.parquet"), _key("1h"))
    recorded = _all(load_tape(klines / "bybit_linear_BTCUSDT_1h_2023-11_2025-12.parquet"), _key("1h"))
    assert np.array_equal(built[:, :5], recorded[:, :5])
    np.testing.assert_allclose(built[:, 5], recorded[:, 5], rtol=1e-14)


def test_a_dirty_recording_is_served_with_its_conflicts(shared: Path) -> None:
    market = load_tape(shared / "data" / "dirty")
    served = _all(market, _key())
    assert len(np.unique(served[:, 0])) < len(served)


def test_the_recorded_tape_repeats_no_open_time(shared: Path) -> None:
    market = load_tape(shared / "data", symbols=["BTCUSDT", "BNBUSDT", "WIFUSDT"])
    for symbol in ("BTCUSDT", "BNBUSDT", "WIFUSDT"):
        for interval in ("1m", "5m", "15m", "1h"):
            times = _all(market, _key(interval, symbol=symbol))[:, 0]
            assert len(times) > 0
            assert np.all(np.diff(times) > 0)


def test_an_inverse_contract_is_served_with_what_is_recorded_of_its_ladder_and_that_is_said(tmp_path: Path) -> None:
    bare = [(*row[:6], None) for row in minutes(START, 3)]
    for symbol in ("BTCUSD", "ETHUSD"):
        candle_file(tmp_path / "klines" / f"bybit_inverse_{symbol}_1m.parquet", bare, symbol=symbol)
        funding_file(tmp_path / "funding" / f"bybit_inverse_{symbol}.parquet", [(START, 0.0001)], symbol=symbol)
    market = load_tape(tmp_path)
    inverse = Category.INVERSE
    assert [item.settle_coin for item in market.instruments(inverse, LATER)] == ["BTC", "ETH"]
    assert market.instruments(LINEAR, LATER) == ()
    assert len(market.funding(inverse, "ETHUSD", Window(None, None, 9), LATER)) == 1
    tiers = market.risk_tiers(inverse, "ETHUSD", LATER)
    assert [(tier.symbol, tier.max_notional) for tier in tiers] == [("ETHUSD", 150), ("ETHUSD", 300)]
    said = [text for text in market.assumptions if "ladder" in text]
    assert any("BTCUSD: only the lowest 2 tiers, up to 300 BTC, are recorded" in text for text in said)
    assert any("stands in for ETHUSD" in text and "300 ETH" in text for text in said)
    # Volume counts USD, turnover coin.
    key = SeriesKey(inverse, "BTCUSD", PriceType.LAST, Interval.MINUTE_1)
    assert _all(market, key)[1, 6] == pytest.approx(2.0 / ((101 + 101.9 + 100.5 + 101.5) / 4), abs=1e-8)
