"""Several symbols as one account: the arrays they share, and what cannot share one."""

import dataclasses
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from bybit.backtest.decisions import Orders, orders
from bybit.backtest.errors import UnusableData
from bybit.backtest.market import prepare
from bybit.backtest.portfolio import (
    backing_words,
    check_markets,
    checked_allocations,
    flat_decisions,
    portfolio,
)
from bybit.backtest.records import NOTHING, POST_ONLY
from bybit.rules.candles import Category, Interval
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.periods import Period, to_ms, utc
from bybit.strategies import Signals
from tests.bybit.backtest.markets import START, flat, frame, funding, instrument, ladder, market, period

HOUR = timedelta(hours=1)


def one(symbol, n, price=100.0, **changes):
    """Return an hourly market of ``n`` traded candles."""
    rules = {"instrument": instrument(symbol), "risk_tiers": ladder(symbol=symbol)}
    settled = {"settlements": funding((-8, "0.0001"), (2, "0.001"), symbol=symbol)}
    return market(flat(price, n + 1), symbol=symbol, **(rules | settled | changes))


def book(*markets, span=None, **wants):
    span = span or Period(START, max(period(data).end for data in markets))
    return portfolio([prepare(data, span, 1, "exact", **wants) for data in markets])


def test_the_symbols_lie_one_after_another():
    found = book(one("WIFUSDT", 3), one("ETHUSDT", 3, 50.0))
    assert found.symbols == ("WIFUSDT", "ETHUSDT")
    assert found.candles.first.tolist() == [0, 3, 6]
    assert found.candles.open.tolist() == [100.0] * 3 + [50.0] * 3
    assert found.settlements.first.tolist() == [0, 2, 4]
    assert found.settlements.rate.tolist() == [0.0001, 0.001] * 2
    np.testing.assert_array_equal(found.step_ms, found.candles.open_ms[:3])
    # What nobody asked for costs no memory.
    assert [len(getattr(found.candles, name)) for name in ("row", "volume", "bid", "ask")] == [1] * 4


def test_steps_and_closes_are_those_of_any_symbol():
    gap = Period(START + HOUR, START + 2 * HOUR)
    holed = one("ETHUSDT", 4)
    holed = dataclasses.replace(holed, candles=holed.candles.drop(holed.candles.index[2]), gaps=(gap,))
    late = one("SOLUSDT", 4, instrument=instrument("SOLUSDT", launch_time=START + 2 * HOUR))
    found = book(holed, late, one("WIFUSDT", 4))
    assert found.candles.first.tolist() == [0, 3, 5, 9]
    assert [(utc(int(ms)) - START) / HOUR for ms in found.step_ms] == [0, 1, 2, 3]
    assert [(utc(int(ms)) - START) / HOUR for ms in found.close_ms] == [1, 2, 3, 4]
    alone = book(holed)
    assert [(utc(int(ms)) - START) / HOUR for ms in alone.close_ms] == [1, 3, 4]


def with_quarters(data):
    start_ms = to_ms(START) - Interval.HOUR_1.ms
    n = 4 * (len(data.candles) - 1)
    fine = frame(flat(100.0, n + 4), Interval.MINUTE_15, start_ms)
    return dataclasses.replace(
        data, detail=fine.iloc[4:], detail_interval=Interval.MINUTE_15, mark=fine, mark_interval=Interval.MINUTE_15
    )


def test_equity_of_finer_steps_is_reported_at_the_strategys_closes():
    found = book(with_quarters(one("WIFUSDT", 3)), with_quarters(one("ETHUSDT", 3)))
    assert found.candles.row.tolist() == [row for row in range(6) for _ in range(4)]
    assert len(found.step_ms) == 12
    assert found.at_closes(np.arange(12.0), 7.0).tolist() == [3.0, 7.0, 11.0]
    # A candle counts to the close at which the strategy sees it first.
    assert found.reported(np.array([0, 3, 4, 11, 12])).tolist() == [0, 0, 1, 2, 0]


def test_equity_before_the_first_step_is_the_initial_capital():
    data = with_quarters(one("WIFUSDT", 3))
    gap = Period(START, START + HOUR)
    found = book(dataclasses.replace(data, detail=data.detail.iloc[4:], gaps=(gap,)))
    assert found.at_closes(np.arange(8.0), 500.0).tolist() == [500.0, 3.0, 7.0]


def test_prices_that_one_symbol_has_and_another_lacks_are_none_there():
    data = one("WIFUSDT", 2)
    quotes = pd.DataFrame({"bid": [99.0, 98.0], "ask": [101.0, 102.0]}, index=data.candles.index[1:])
    found = book(dataclasses.replace(data, quotes=quotes), one("ETHUSDT", 2), with_quotes=True)
    np.testing.assert_array_equal(found.candles.bid, [99.0, 98.0, np.nan, np.nan])
    np.testing.assert_array_equal(found.candles.ask, [101.0, 102.0, np.nan, np.nan])
    assert len(book(dataclasses.replace(data, quotes=quotes)).candles.bid) == 1


def test_quotes_belong_to_the_open_at_exactly_their_time():
    data = one("WIFUSDT", 3)
    times = data.candles.index[1:] + pd.to_timedelta([0, 1, 0], unit="min")
    quotes = pd.DataFrame({"bid": [99.0, 98.0, np.nan], "ask": [101.0, 102.0, 103.0]}, index=times)
    found = book(dataclasses.replace(data, quotes=quotes), with_quotes=True)
    np.testing.assert_array_equal(found.candles.bid, [99.0, np.nan, np.nan])


@pytest.mark.parametrize(("bid", "ask"), [(0.0, 1.0), (-1.0, 1.0), (101.0, 100.0)])
def test_quotes_that_are_none_are_refused(bid, ask):
    data = one("WIFUSDT", 1)
    quotes = pd.DataFrame({"bid": [bid], "ask": [ask]}, index=data.candles.index[1:])
    with pytest.raises(UnusableData, match="quotes of WIFUSDT are none at 2024-01-01"):
        book(dataclasses.replace(data, quotes=quotes), with_quotes=True)


def test_decisions_that_one_symbol_made_and_another_did_not_are_none_there():
    parts = [prepare(one(symbol, 2), Period(START, START + 2 * HOUR), 1, "exact") for symbol in ("WIFUSDT", "ETHUSDT")]
    plain = orders(Signals(np.ones(3)), parts[0])
    priced = orders(Signals(np.ones(3), stop_price=np.full(3, 9.0), post_only=False), parts[1])
    found = flat_decisions([plain, priced])
    assert found.target.tolist() == [1.0] * 4
    np.testing.assert_array_equal(found.stop, [np.nan, np.nan, 9.0, 9.0])
    assert found.flags.tolist() == [POST_ONLY, POST_ONLY, 0, 0]
    assert found.limit is NOTHING
    assert flat_decisions([plain]).flags.tolist() == [POST_ONLY]


def test_one_row_of_one_symbol_is_told_from_nothing():
    row = np.full(1, np.nan)
    found = flat_decisions([Orders(np.ones(1), np.ones(1), {"stop": row}, None)])
    assert found.stop is row


def test_shares_are_equal_unless_given():
    markets = [one(symbol, 2) for symbol in ("WIFUSDT", "ETHUSDT")]
    assert checked_allocations(markets, None) == {"WIFUSDT": 0.5, "ETHUSDT": 0.5}
    given = {"ETHUSDT": 0.7, "WIFUSDT": 0.2}
    assert list(checked_allocations(markets, given).items()) == [("WIFUSDT", 0.2), ("ETHUSDT", 0.7)]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"WIFUSDT": 1.0},
        {"WIFUSDT": 0.5, "ETHUSDT": 0.6},
        {"WIFUSDT": 0.5, "ETHUSDT": 0.0},
        {"WIFUSDT": 0.5, "ETHUSDT": float("nan")},
        {"WIFUSDT": 0.5, "ETHUSDT": 0.1, "SOLUSDT": 0.1},
    ],
)
def test_shares_that_are_none_are_refused(given):
    with pytest.raises(InvalidInput, match="allocations"):
        checked_allocations([one(symbol, 2) for symbol in ("WIFUSDT", "ETHUSDT")], given)


@pytest.mark.parametrize(
    ("markets", "message"),
    [
        ([], "at least one market"),
        ([one("WIFUSDT", 2), one("WIFUSDT", 3)], "stands twice"),
        ([one("WIFUSDT", 2, instrument=instrument("ETHUSDT"))], "linear ETHUSDT, the candles are linear WIFUSDT"),
        (
            [one("WIFUSDT", 2), one("ETHUSDT", 2, instrument=instrument("ETHUSDT", settle_coin="USDC"))],
            "these settle in USDC, USDT",
        ),
        ([one("WIFUSDT", 2), dataclasses.replace(one("ETHUSDT", 2), interval=Interval.HOUR_2)], "interval differs"),
        ([one("WIFUSDT", 2), with_quarters(one("ETHUSDT", 2))], "detail_interval differs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_markets_that_cannot_share_an_account_are_refused(markets, message):
    with pytest.raises(InvalidInput, match=message):
        check_markets(markets, Category.LINEAR)


def test_the_rules_of_another_category_are_refused():
    with pytest.raises(InvalidInput, match="the candles are inverse WIFUSDT"):
        check_markets([one("WIFUSDT", 2)], Category.INVERSE)


def backing(*rows):
    return pd.Series([value for _, value in rows], index=pd.DatetimeIndex([START + hours * HOUR for hours, _ in rows]))


def test_backing_holds_from_its_time_on():
    found = book(one("WIFUSDT", 4))
    assert found.backing(None).tolist() == [0.0]
    assert found.backing(250.0).tolist() == [250.0]
    given = backing((-5, 9.0), (0, 10.0), (2.5, 5.0))
    assert found.backing(given).tolist() == [10.0, 10.0, 10.0, 5.0]
    assert backing_words(given)[1] == [to_ms(START), 10.0]
    assert (backing_words(None), backing_words(3)) == (None, 3.0)


def test_backing_that_is_not_known_or_no_amount_is_refused():
    found = book(one("WIFUSDT", 4))
    with pytest.raises(NotEstablished, match="backing is not known at 2024-01-01T00:00"):
        found.backing(backing((1, 10.0)))
    for bad in (-1.0, float("nan"), backing((0, 1.0), (1, float("inf"))), backing((1, 1.0), (0, 1.0))):
        with pytest.raises(InvalidInput, match="backing"):
            found.backing(bad)
