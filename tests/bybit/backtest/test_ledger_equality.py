"""The kernel is the ``Decimal`` ledger in float64: cash, fees, funding, liquidations and equity agree to 1e-9."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.rules.candles import Interval
from tests.bybit.backtest.markets import (
    START,
    Scripted,
    engine,
    funding,
    ladder,
    market,
    period,
    replay,
    schedule,
)
from tests.bybit.backtest.random_markets import random_mark, random_prices, random_script

CAPITAL = 1_000.0


def simulate_and_replay(seed, n, volatility, leverage, hours, *, limits, stops, interval=Interval.HOUR_1):
    random = np.random.default_rng(seed)
    last = random_prices(random, n + 1, volatility)
    target, limit, stop = random_script(random, last, limits=limits, stops=stops)
    eras = [
        (START - timedelta(days=2), "-0.00025", "0.00075"),
        (START + interval.length * (n // 2), "0.0002", "0.0006"),
    ]
    total_hours = int((n * interval.length) / timedelta(hours=1))
    rates = [(hour, f"{random.normal(0, 0.003):.8f}") for hour in range(0, total_hours, hours)]
    tiers = ladder(bounds=(1_500, 5_000, 20_000), rates=("0.004", "0.009", "0.02"))
    factor = interval.ms // Interval.HOUR_1.ms
    if factor == 1:
        mark, mark_interval = random_mark(random, last, volatility / 4), interval
    else:
        mark_interval = Interval.HOUR_1
        mark = random_mark(random, random_prices(random, factor * (n + 1), volatility / 3), volatility / 10)
    data = market(last, mark=mark, interval=interval, mark_interval=mark_interval, risk_tiers=tiers)
    data = market(
        last,
        interval=interval,
        mark_interval=mark_interval,
        mark=mark,
        risk_tiers=tiers,
        settlements=funding((-24, "0.0001"), *rates),
    )
    trader = engine(
        Scripted(target, limit, stop), CAPITAL, leverage=leverage, fee_schedule=schedule(*eras), slippage_rate=0.0007
    )
    result = trader.run(data, period(data))
    account = replay(result, data, eras, CAPITAL, leverage)
    compare_sums(result, account)
    return result


def compare_sums(result, account):
    totals = account.totals
    scale = max(CAPITAL, float(result.trades["notional"].sum()))
    costs = result.costs
    assert costs.maker_fees == pytest.approx(float(totals.maker_fees), rel=1e-9, abs=1e-12 * scale)
    assert costs.taker_fees == pytest.approx(float(totals.taker_fees), rel=1e-9, abs=1e-12 * scale)
    assert costs.funding == pytest.approx(float(totals.funding), rel=1e-9, abs=1e-12 * scale)
    assert costs.liquidation_loss == pytest.approx(float(totals.liquidation_loss), rel=1e-9, abs=1e-12 * scale)
    # A step-down realizes as any close does.
    realized = result.fills["realized_pnl"].sum() + result.liquidations["realized_pnl"].sum()
    assert realized == pytest.approx(float(totals.realized), rel=1e-9, abs=1e-12 * scale)
    assert len(result.liquidations) == len(account.liquidations)
    parts = costs.gross - costs.maker_fees - costs.taker_fees - costs.funding - costs.slippage - costs.liquidation_loss
    assert parts == pytest.approx(costs.net, rel=1e-9, abs=1e-12 * scale)
    rows = result.funding
    payments = -(rows["size"] * rows["mark_price"] * rows["funding_rate"]).sum()
    assert rows["payment"].sum() == pytest.approx(payments, rel=1e-12, abs=1e-8)
    assert -costs.funding == pytest.approx(rows["payment"].sum(), rel=1e-9, abs=1e-12 * scale)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(3, 60),
    volatility=st.sampled_from([0.002, 0.01, 0.03, 0.08]),
    leverage=st.sampled_from([1.0, 3.0, 10.0, 25.0, 100.0]),
    hours=st.sampled_from([1, 4, 8]),
    limits=st.booleans(),
    stops=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_the_kernel_books_what_the_decimal_ledger_books(seed, n, volatility, leverage, hours, limits, stops):
    simulate_and_replay(seed, n, volatility, leverage, hours, limits=limits, stops=stops)


@given(seed=st.integers(0, 2**32 - 1), leverage=st.sampled_from([2.0, 10.0, 50.0]), stops=st.booleans())
@settings(max_examples=80, deadline=None)
def test_settlements_inside_long_candles_are_booked_as_the_ledger_would(seed, leverage, stops):
    simulate_and_replay(seed, 20, 0.03, leverage, 4, limits=False, stops=stops, interval=Interval.HOUR_12)


def test_the_random_markets_hold_every_kind_of_event():
    results = [
        simulate_and_replay(seed, 60, 0.03, 5.0 + 20 * (seed % 2), 4, limits=True, stops=True) for seed in range(30)
    ]
    reasons = {reason for result in results for reason in result.trades["reason"]}
    assert reasons >= {"market", "limit", "stop", "liquidation"}
    assert sum(len(result.liquidations) for result in results) > 20
    assert {name for result in results for name in result.rejections["reason"]} >= {"margin"}
    assert any(len(result.funding) for result in results)
    assert sum(result.metrics["n_limits_crossed"] for result in results) > 10
    assert {row.liquidity for result in results for row in result.fills.itertuples()} == {"maker", "taker"}
