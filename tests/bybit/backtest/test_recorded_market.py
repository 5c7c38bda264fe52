"""On recorded WIFUSDT: 15-minute candles, hourly mark prices, real settlements over the switch from 8 to 4 hours."""

import dataclasses
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from bybit.backtest.engine import MarketData
from bybit.backtest.slippage import Slippage
from bybit.rules.candles import Category, Interval
from bybit.rules.errors import NotEstablished
from bybit.rules.fees import FeeSchedule
from bybit.rules.funding import FundingRate
from bybit.rules.periods import Period, utc
from bybit.strategies import registry
from tests.bybit.backtest.markets import D, Scripted, add_up, engine, instrument, ladder, replay

PERIOD = Period(datetime(2024, 3, 1, tzinfo=UTC), datetime(2025, 6, 1, tzinfo=UTC))


def candles(path):
    table = pd.read_parquet(path)
    table.index = pd.DatetimeIndex(pd.to_datetime(table.pop("open_time"), unit="ms", utc=True), name="open_time")
    return table


@pytest.fixture(scope="module")
def wif(shared):
    data = shared / "data"
    rates = pd.read_parquet(data / "funding/bybit_linear_WIFUSDT_listing_2025-06.parquet")
    return MarketData(
        symbol="WIFUSDT",
        interval=Interval.MINUTE_15,
        candles=candles(data / "klines/bybit_linear_WIFUSDT_15m_listing_2025-06.parquet"),
        mark=candles(data / "klines/bybit_linear_mark_WIFUSDT_1h_listing_2025-06.parquet"),
        mark_interval=Interval.HOUR_1,
        funding=[
            FundingRate("WIFUSDT", utc(row.funding_time), Decimal(repr(row.funding_rate))) for row in rates.itertuples()
        ],
        instrument=instrument(tick_size=D("0.0001"), qty_step=D(1), min_order_qty=D(1)),
        risk_tiers=ladder((25_000, 100_000, None), ("0.01", "0.025", "0.05")),
    )


def hold(wif, side):
    n = int((PERIOD.end - PERIOD.start) / Interval.MINUTE_15.length)
    trader = engine(
        Scripted([side] * n),
        10_000.0,
        leverage=1.0,
        fee_schedule=FeeSchedule.builtin(),
        slippage_rate=0.0002,
        mark_policy="coarser",
    )
    return trader.run(wif, PERIOD)


def test_the_funding_of_a_held_position_is_size_times_mark_times_rate_at_every_settlement(wif):
    result = hold(wif, 0.5)
    rates = {
        rate.funding_time: float(rate.funding_rate)
        for rate in wif.funding
        if PERIOD.start < rate.funding_time < PERIOD.end
    }
    paid = result.funding
    assert paid["funding_time"].tolist() == sorted(rates)
    (size,) = set(paid["size"])
    assert size == result.fills["qty"].iloc[0]
    marks = wif.mark["open"].reindex(paid["funding_time"])
    assert marks.notna().all()
    expected = -size * marks.to_numpy() * np.array([rates[time] for time in paid["funding_time"]])
    assert paid["payment"].sum() == pytest.approx(expected.sum(), abs=1e-8, rel=0)
    assert -result.costs.funding == pytest.approx(expected.sum(), abs=1e-8, rel=0)
    steps = paid["funding_time"].diff().value_counts()
    assert set(steps.index / pd.Timedelta(hours=1)) == {4.0, 8.0}
    assert result.assumptions["held_candles_with_a_longer_mark_candle"] == len(result.equity)


def test_a_short_receives_what_a_long_pays_per_coin_until_it_is_liquidated(wif):
    long, short = hold(wif, 0.02), hold(wif, -0.02)
    # WIF doubled within days, which is where an isolated short at 1x has lost its margin.
    assert len(short.liquidations) == 1
    n = len(short.funding)
    assert n >= 6
    np.testing.assert_allclose(
        long.funding["payment"][:n] / long.funding["size"][:n],
        short.funding["payment"] / short.funding["size"],
        rtol=1e-12,
    )


@pytest.mark.parametrize("name", sorted(registry()))
def test_every_strategy_closes_its_books_on_the_recorded_market(wif, name):
    trader = engine(
        registry()[name](),
        10_000.0,
        leverage=5.0,
        fee_schedule=FeeSchedule.builtin(),
        slippage_rate=0.0002,
        mark_policy="coarser",
    )
    result = trader.run(wif, PERIOD)
    costs = result.costs
    assert costs.net == pytest.approx(costs.gross - add_up(costs), rel=1e-9, abs=1e-6)
    rows = result.funding
    assert rows["payment"].sum() == pytest.approx(
        -(rows["size"] * rows["mark_price"] * rows["funding_rate"]).sum(), abs=1e-8, rel=0
    )
    assert len(result.fills) > 4
    if name == "mean_reversion":
        entries = result.fills[result.fills["reason"] == "limit"]
        np.testing.assert_allclose(entries["fee"], 0.0002 * (entries["qty"] * entries["price"]).abs(), rtol=1e-12)
    else:
        assert costs.maker_fees == 0.0


@pytest.mark.parametrize("name", sorted(registry()))
def test_the_decimal_ledger_books_the_same_on_recorded_hours(wif, shared, name):
    path = shared / "data/klines/bybit_linear_WIFUSDT_1h_listing_2025-06.parquet"
    hourly = dataclasses.replace(wif, candles=candles(path), interval=Interval.HOUR_1)
    schedule = FeeSchedule.builtin()
    quarter = Period(datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC))
    # 10x turns some of the falls of 2024 into liquidations.
    trader = engine(registry()[name](), 10_000.0, leverage=10.0, fee_schedule=schedule, slippage_rate=0.0002)
    result = trader.run(hourly, quarter)
    assert len(result.fills) > 1
    eras = [
        (era.valid_from, str(era.rates.maker), str(era.rates.taker))
        for era in schedule.eras(Category.LINEAR, "vip0", quarter)
    ]
    replay(result, hourly, eras, 10_000.0, 10.0)


@pytest.mark.parametrize("name", ["breakout", "mean_reversion"])
def test_quarters_of_an_hour_decide_inside_recorded_hours(wif, shared, name):
    hours = candles(shared / "data/klines/bybit_linear_WIFUSDT_1h_listing_2025-06.parquet")
    quarter = Period(datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC))
    coarse = dataclasses.replace(wif, candles=hours, interval=Interval.HOUR_1)
    fine = dataclasses.replace(coarse, detail=wif.candles, detail_interval=Interval.MINUTE_15)
    trader = engine(
        registry()[name](),
        10_000.0,
        leverage=5.0,
        fee_schedule=FeeSchedule.builtin(),
        slippage_rate=0.0002,
        mark_policy="coarser",
    )
    alone, inside = (trader.run(data, quarter) for data in (coarse, fine))
    # Both files come from one venue: an hour is made of its quarters.
    assert "candles_unlike_their_detail_candles" not in inside.assumptions
    np.testing.assert_array_equal(alone.equity_time_ms, inside.equity_time_ms)
    doubts = [run.assumptions.get("candles_decided_against_the_account", 0) for run in (alone, inside)]
    assert doubts[1] <= doubts[0]
    orders = (alone.fills["reason"] == "market").sum(), (inside.fills["reason"] == "market").sum()
    assert orders[0] == pytest.approx(orders[1], abs=3)
    if name == "breakout":
        assert alone.fills["fill_time"].dt.minute.isin([0, 59]).all()
        assert inside.fills.loc[inside.fills["reason"] == "market", "fill_time"].dt.minute.eq(0).all()
        assert set(inside.fills.loc[inside.fills["reason"] == "stop", "fill_time"].dt.minute) - {59}


def test_market_orders_on_a_recorded_day_fill_at_the_quotes_of_their_minute(shared):
    prices = candles(shared / "data/klines/bybit_linear_BTCUSDT_1m_2022-12-13.parquet").iloc[:720]
    quotes = candles(shared / "data/quotes/bybit_linear_BTCUSDT_bidask_1m_2022-12-13.parquet")
    quotes = quotes.rename(columns={"bid_open": "bid", "ask_open": "ask"})[["bid", "ask"]]
    data = MarketData(
        symbol="BTCUSDT",
        interval=Interval.MINUTE_1,
        candles=prices,
        mark=None,
        mark_interval=None,
        funding=[],
        instrument=instrument("BTCUSDT", tick_size=D("0.5"), qty_step=D("0.001"), min_order_qty=D("0.001")),
        risk_tiers=ladder((2_000_000,), ("0.005",), symbol="BTCUSDT"),
        quotes=quotes,
    )
    span = Period(prices.index[1].to_pydatetime(), prices.index[-1].to_pydatetime())
    known = prices.index[1:-1].isin(quotes.index)
    # Turn around at every minute of which there are quotes, and at no other.
    script = np.where(np.cumsum(known) % 2 == 1, 1.0, -1.0)
    terms = {"mark_policy": "last", "funding_policy": "zero", "fee_schedule": FeeSchedule.builtin()}
    result = engine(Scripted(script.tolist()), 100_000.0, slippage=Slippage.quotes(), **terms).run(data, span)
    assert len(result.fills) == known.sum()
    at = quotes.loc[result.fills["fill_time"]]
    wanted = np.where(result.fills["qty"] > 0.0, at["ask"], at["bid"])
    np.testing.assert_array_equal(result.fills["price"], wanted)
    # A spread of one tick, against the last price on either side of it.
    assert 0.0 < result.costs.slippage / result.metrics["traded_notional"] < 0.5 / 17_000
    script[np.flatnonzero(~known)[0]] *= -1.0
    with pytest.raises(NotEstablished, match="have no recorded quote, the first of BTCUSDT at 2022-12-13"):
        engine(Scripted(script.tolist()), 100_000.0, slippage=Slippage.quotes(), **terms).run(data, span)
