from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.periods import to_ms
from bybit.sandbox.market import Window
from bybit.sandbox.tape import load_tape
from tests.bybit.sandbox.desks import NOW_MS, SYNTHETIC, Desk
from tests.bybit.sandbox.wire import HOUR, MINUTE, candle_file, minutes

LINEAR = Category.LINEAR
START = to_ms(datetime(2025, 6, 1, 8, tzinfo=UTC))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 30 * 24 * HOUR), st.integers(1, 3 * HOUR))
def test_the_course_of_prices_ends_at_the_quote_and_spans_the_candles(offset: int, length: int) -> None:
    after = NOW_MS - offset
    ticks = list(SYNTHETIC.ticks(LINEAR, "ETHUSDT", after, after + length))
    times = [tick.time_ms for tick in ticks]
    assert times == sorted(times)
    assert after < times[0] <= times[-1] == after + length
    quote = SYNTHETIC.quote(LINEAR, "ETHUSDT", after + length)
    assert quote is not None
    assert [float(price) for price in (ticks[-1].last, ticks[-1].mark, ticks[-1].index)] == [
        quote.last_price,
        quote.mark_price,
        quote.index_price,
    ]
    key = SeriesKey(LINEAR, "ETHUSDT", PriceType.LAST, Interval.MINUTE_1)
    for candle in SYNTHETIC.candles(key, Window(after + 1, after + length - MINUTE, 1_000), after + length):
        inside = [float(tick.last) for tick in ticks if candle[0] <= tick.time_ms <= candle[0] + MINUTE]
        assert (min(inside), max(inside)) == (candle[3], candle[2])


def test_a_course_cut_in_two_is_the_whole_course() -> None:
    cut = NOW_MS + 17 * MINUTE + 12_345
    whole = list(SYNTHETIC.ticks(LINEAR, "BTCUSDT", NOW_MS, NOW_MS + HOUR))
    parts = [*SYNTHETIC.ticks(LINEAR, "BTCUSDT", NOW_MS, cut), *SYNTHETIC.ticks(LINEAR, "BTCUSDT", cut, NOW_MS + HOUR)]
    assert [tick for tick in parts if tick.time_ms != cut] == whole
    assert list(SYNTHETIC.ticks(LINEAR, "NOPEUSDT", NOW_MS, NOW_MS + HOUR)) == []


def test_a_tape_shows_opens_as_jumps_and_ranges_as_candles_close(tmp_path: Path) -> None:
    candle_file(tmp_path / "klines" / "bybit_linear_BTCUSDT_1m.parquet", minutes(START, 3))
    market = load_tape(tmp_path)
    ticks = list(market.ticks(LINEAR, "BTCUSDT", START, START + MINUTE))
    # Minute i opens at 100 + i, ranges from half below to 0.9 above and closes half above.
    assert [(tick.time_ms - START, str(tick.last), tick.jumps) for tick in ticks] == [
        (MINUTE, "99.5", False),
        (MINUTE, "100.9", False),
        (MINUTE, "100.5", False),
        (MINUTE, "101", True),
    ]
    assert all(tick.mark == tick.last == tick.index for tick in ticks)
    assert list(market.ticks(LINEAR, "BTCUSDT", START, START + MINUTE - 1)) == []
    assert next(iter(market.ticks(LINEAR, "BTCUSDT", START - HOUR, START + 1))).last == 100


def test_a_recorded_mark_price_joins_the_course_at_its_own_pace(tmp_path: Path) -> None:
    folder = tmp_path / "klines"
    candle_file(folder / "bybit_linear_BTCUSDT_1m.parquet", minutes(START, 120))
    marks = [(START + h * HOUR, 90.0 + h, 95.0 + h, 85.0 + h, 91.0 + h, None, None) for h in range(2)]
    candle_file(folder / "bybit_linear_mark_BTCUSDT_1h.parquet", marks, interval="1h")
    ticks = list(load_tape(tmp_path).ticks(LINEAR, "BTCUSDT", START, START + HOUR))
    assert {str(tick.mark) for tick in ticks if tick.time_ms < START + HOUR} == {"90"}
    assert [str(tick.mark) for tick in ticks if tick.time_ms == START + HOUR][-1] == "91"
    assert {"85", "95"} <= {str(tick.mark) for tick in ticks}


def test_an_order_on_a_tape_fills_when_the_candle_that_reached_it_closes(tmp_path: Path) -> None:
    candle_file(tmp_path / "klines" / "bybit_linear_BTCUSDT_1m.parquet", minutes(START, 30))
    desk = Desk(load_tape(tmp_path), START + 5 * MINUTE + 10_000)
    assert desk.last() == 105
    order_id = desk.place("Sell", "1", "105.9")
    desk.advance(MINUTE - 10_001)
    assert desk.order(order_id)["orderStatus"] == "New"
    desk.advance(1)
    assert desk.order(order_id)["orderStatus"] == "Filled"
    assert desk.rows("execution/list", category="linear", symbol="BTCUSDT")[0]["execTime"] == str(START + 6 * MINUTE)


@pytest.mark.parametrize("symbol", ["WIFUSDT", "XRPUSDT"])
def test_prices_of_the_course_lie_on_the_tick(symbol: str) -> None:
    tick_size = next(item.tick_size for item in SYNTHETIC.instruments(LINEAR, NOW_MS) if item.symbol == symbol)
    ticks = SYNTHETIC.ticks(LINEAR, symbol, NOW_MS, NOW_MS + HOUR + 777)
    assert all(tick.last % tick_size == 0 and tick.last > Decimal(0) for tick in ticks)


def test_another_contracts_range_is_met_although_margin_asks_for_its_price_first(tmp_path: Path) -> None:
    # Both candles close at one instant; reckoning the account on BTC's close must not use up ETH's range.
    for symbol in ("BTCUSDT", "ETHUSDT"):
        candle_file(tmp_path / "klines" / f"bybit_linear_{symbol}_1m.parquet", minutes(START, 30), symbol)
    desk = Desk(load_tape(tmp_path), START + 5 * MINUTE)
    desk.place("Buy", "1")
    desk.place("Buy", "1", symbol="ETHUSDT")
    waiting = desk.place("Buy", "0.1", "104.7", symbol="ETHUSDT")
    desk.advance(MINUTE)
    assert desk.order(waiting)["orderStatus"] == "Filled"
