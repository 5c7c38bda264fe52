import dataclasses
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.backtest.engine import ENGINE_VERSION
from bybit.backtest.errors import UnusableData
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fees import FeeSchedule
from bybit.rules.periods import Period
from bybit.strategies import Signals, registry
from tests.bybit.backtest.markets import (
    START,
    D,
    Scripted,
    add_up,
    engine,
    flat,
    funding,
    instrument,
    ladder,
    market,
    period,
    run,
    schedule,
)
from tests.bybit.backtest.random_markets import random_mark, random_market, random_prices

NAN = float("nan")
KNOWN = {
    "candles_decided_against_the_account",
    "contract_rules_of",
    "maintenance_margin",
    "margin_ladder_of",
    "not_modelled",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leverage": 0.0}, "leverage is 0"),
        ({"leverage": 0.5}, "1 or more"),
        ({"leverage": NAN}, "leverage is nan"),
        ({"slippage_rate": -0.1}, "slippage_rate"),
        ({"slippage_rate": 5.0}, "fraction"),
        ({"slippage_rate": NAN}, "slippage_rate"),
        ({"mark_policy": "best"}, "use exact, coarser or last"),
        ({"funding_policy": "none"}, "use recorded or zero"),
        ({"margin_mode": "portfolio"}, "use isolated or cross"),
        ({"liquidation": "adl"}, "use step_down or takeover"),
        ({"participation_rate": 0.0}, "participation_rate"),
        ({"participation_rate": 1.5}, "participation_rate"),
        ({"participation_rate": NAN}, "participation_rate"),
        ({"backing": 100.0}, "cross margin only"),
        ({"category": Category.SPOT}, "only linear and inverse"),
        ({"capital": 0.0}, "initial_capital"),
        ({"capital": NAN}, "initial_capital"),
    ],
)
def test_a_setting_out_of_range_is_refused(changes, message):
    with pytest.raises(InvalidInput, match=message):
        engine(Scripted([0]), **changes)


def test_the_leverage_limits_the_position_to_the_tiers_that_allow_it():
    small, *rest = ladder((1_500, 8_000, None))
    tiers = (small, *(dataclasses.replace(tier, max_leverage=D(5)) for tier in rest))
    data = market(flat(100.0, 3), risk_tiers=tiers)
    assert run(data, [2, 2]).rejections["reason"].tolist() == ["risk_limit"]
    assert run(data, [2, 2], leverage=5.0).rejections.empty


def test_the_rules_of_another_contract_are_refused():
    with pytest.raises(InvalidInput, match="linear ETHUSDT, the candles are linear WIFUSDT"):
        run(market(flat(1.0, 3), instrument=instrument("ETHUSDT")), [0, 0])


@pytest.mark.parametrize(
    "signals",
    [
        Signals(np.zeros(3)),
        Signals(np.full(4, np.inf)),
        Signals(np.ones(4), limit_price=np.full(4, -1.0)),
        Signals(np.ones(4), stop_price=np.zeros(4)),
        Signals(np.ones(4), limit_price=np.ones((4, 2))),
    ],
)
def test_signals_that_cannot_be_traded_are_refused(signals):
    class Junk(Scripted):
        def signals(self, view):
            return signals

    data = market(flat(1.0, 4))
    with pytest.raises(UnusableData, match="the strategy's"):
        engine(Junk([0])).run(data, period(data))


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(10, 60), cut=st.floats(0.1, 0.99))
@settings(max_examples=60, deadline=None)
def test_what_happened_does_not_depend_on_what_comes_later(seed, n, cut):
    data, script = random_market(seed, n)
    whole = engine(Scripted(*script), leverage=20.0).run(data, period(data))
    n_known = max(1, int(n * cut))
    until = Period(START, START + timedelta(hours=n_known))
    early = engine(Scripted(*script), leverage=20.0).run(data, until)
    np.testing.assert_array_equal(early.equity, whole.equity[:n_known])
    known = whole.fills[whole.fills["fill_time"] < until.end]
    assert early.fills.equals(known.reset_index(drop=True))


@given(seed=st.integers(0, 2**32 - 1), leverage=st.sampled_from([2.0, 20.0, 100.0]))
@settings(max_examples=60, deadline=None)
def test_the_costs_add_up_to_the_net_result(seed, leverage):
    data, script = random_market(seed, 50)
    result = engine(Scripted(*script), leverage=leverage, slippage_rate=0.001).run(data, period(data))
    costs, paid = result.costs, add_up(result.costs)
    scale = max(1_000.0, abs(costs.gross), abs(paid))
    assert abs(costs.gross - paid - costs.net) <= 1e-9 * scale
    assert result.equity[-1] - 1_000.0 == costs.net
    assert costs.slippage >= 0.0
    closed = result.trades["net_pnl"].sum()
    if result.fills.empty or result.fills["size_after"].iloc[-1] == 0.0:
        assert closed == pytest.approx(costs.net, rel=1e-9, abs=1e-7)


@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([2.0, 0.5, 4.0]))
@settings(max_examples=30, deadline=None)
def test_prices_in_another_unit_change_nothing_but_the_unit(seed, scale):
    data, script = random_market(seed, 40)
    factor = D(str(scale))
    rules = instrument(tick_size=D("0.01") * factor, qty_step=D("0.1") / factor, min_order_qty=D("0.1") / factor)

    def scaled(frame):
        return frame.assign(**{name: frame[name] * scale for name in ("open", "high", "low", "close")})

    other = dataclasses.replace(data, candles=scaled(data.candles), mark=scaled(data.mark), instrument=rules)
    target, limit, stop = script
    ours = engine(Scripted(target, limit, stop), leverage=20.0).run(data, period(data))
    theirs = engine(Scripted(target, limit * scale, stop * scale), leverage=20.0).run(other, period(data))
    # The venue's caps on quantity are far away; everything else is proportional.
    np.testing.assert_allclose(ours.equity, theirs.equity, rtol=1e-9)


def test_the_same_run_gives_the_same_bytes_in_any_thread():
    data, script = random_market(7, 200)
    trader = engine(Scripted(*script))

    def once(_):
        result = trader.run(data, period(data))
        return result.equity.tobytes(), result.fills.to_csv(), result.metrics

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(once, range(8)))
    assert all(outcome == outcomes[0] for outcome in outcomes)


def test_a_position_that_is_still_open_is_shown_and_counts_as_exposure():
    rows = [*flat(100.0, 4), (100.0, 104.0, 100.0, 104.0)]
    result = run(market(rows), [0, 1, 1, 1])
    (row,) = result.open_positions.itertuples()
    assert (row.entry_time, row.size, row.mark_price) == (START + timedelta(hours=1), 10.0, 104.0)
    assert row.unrealized_pnl == pytest.approx(40.0)
    # By the rule of that day, from the entry price: 100 - (100 - 10) / 10.
    assert row.liquidation_price == pytest.approx(91.0)
    assert result.trades.empty
    assert result.metrics["exposure"] == 0.75
    assert result.metrics["traded_notional"] == pytest.approx(1_000.0)
    assert run(market(rows), [0, 1, 1, 0]).open_positions.empty


def test_the_provenance_says_what_the_result_depends_on():
    fees = schedule()
    result = run(market(flat(100.0, 3), data_version="d1"), [0, 0], fee_schedule=fees)
    assert result.provenance == {
        "engine_version": ENGINE_VERSION,
        "strategy": "scripted",
        "params": {},
        "category": "linear",
        "symbols": ["WIFUSDT"],
        "allocations": {"WIFUSDT": 1.0},
        "interval": "1h",
        "detail_interval": None,
        "period": "2024-01-01..2024-01-01T02:00",
        "initial_capital": 1000.0,
        "leverage": 10.0,
        "margin_mode": "isolated",
        "liquidation": "step_down",
        "tier": "vip0",
        "tier_by_volume": None,
        "slippage": "fixed:0.0",
        "participation_rate": None,
        "backing": None,
        "mark_policy": "exact",
        "funding_policy": "recorded",
        "fee_schedule_version": fees.version,
        "data_versions": {"WIFUSDT": "d1"},
    }


def test_rules_of_another_day_and_limits_without_a_figure_are_named():
    later = datetime(2025, 12, 29, tzinfo=UTC)
    data = market(
        flat(100.0, 3),
        instrument=instrument(as_of=later, min_notional=None, max_market_order_qty=None),
        risk_tiers=tuple(dataclasses.replace(tier, as_of=later) for tier in ladder()),
    )
    assert run(data, [0, 0]).assumptions == {
        "contract_rules_of": "2025-12-29",
        "margin_ladder_of": "2025-12-29",
        "limits_not_known": "min_notional, max_market_order_qty",
    }


def test_a_run_in_a_window_of_uncertain_fees_says_so():
    fees = FeeSchedule(schedule().table, [Period(START - timedelta(days=9), START + timedelta(hours=1))])
    found = run(market(flat(100.0, 3)), [0, 0], fee_schedule=fees).assumptions
    assert found["fees_not_established_to_the_day"] == "2024-01-01..2024-01-01T01:00"


def test_an_unknown_tier_is_refused():
    with pytest.raises(NotEstablished, match="vip9"):
        run(market(flat(100.0, 3)), [0, 0], tier="vip9")


@pytest.mark.parametrize("name", sorted(registry()))
def test_every_strategy_trades_a_random_market_within_its_rules(name):
    n = 2_000
    random = np.random.default_rng(12)
    last = random_prices(random, n + 1, 0.006)
    rates = [(hour, f"{0.0004 * np.sin(hour / 60):.8f}") for hour in range(-n, n, 8)]
    data = market(
        last,
        mark=random_mark(random, last, 0.0005),
        settlements=funding(*rates),
        risk_tiers=ladder((10**6,), ("0.01",)),
    )
    begin = START + timedelta(hours=500)
    result = engine(registry()[name](), leverage=5.0, slippage_rate=0.0002).run(data, period(data, begin))
    assert len(result.trades) > 2
    assert result.assumptions.keys() <= KNOWN
    assert {"contract_rules_of", "margin_ladder_of", "not_modelled", "maintenance_margin"} <= result.assumptions.keys()
    liquidity = set(result.fills["liquidity"])
    assert liquidity == ({"maker", "taker"} if name == "mean_reversion" else {"taker"})
    takes = result.fills["reason"].isin(["stop", "market"])
    assert (result.fills.loc[takes, "liquidity"] == "taker").all()
