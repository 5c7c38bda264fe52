import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.errors import InvalidInput
from validation.errors import NotComputable
from validation.stress import (
    CostStress,
    break_even_cost_rate,
    delayed_pnl,
    miss_trades,
    pnl_without_best,
    stressed_pnl,
)

money = st.integers(-500, 500).map(float)


def table(rows: Sequence[tuple[float, float, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["net_pnl", "notional", "funding_payment"], dtype=np.float64)


tables = st.lists(st.tuples(money, st.integers(1, 10_000).map(float), money), min_size=1, max_size=8).map(table)
stresses = st.builds(
    CostStress,
    extra_fee_rate=st.floats(0.0, 0.01),
    extra_slippage_rate=st.floats(0.0, 0.01),
    funding_paid_factor=st.floats(1.0, 3.0),
    funding_received_factor=st.floats(0.0, 1.0),
)


def test_each_cost_is_charged_where_it_arises() -> None:
    trades = table([(100.0, 20_000.0, -8.0), (-50.0, 10_000.0, 6.0)])
    assert stressed_pnl(trades, CostStress()).tolist() == [100.0, -50.0]
    assert stressed_pnl(trades, CostStress(extra_fee_rate=0.001)).tolist() == [80.0, -60.0]
    assert stressed_pnl(trades, CostStress(extra_slippage_rate=0.002)).tolist() == [60.0, -70.0]
    assert stressed_pnl(trades, CostStress(funding_paid_factor=2.0)).tolist() == [92.0, -50.0]
    assert stressed_pnl(trades, CostStress(funding_received_factor=0.5)).tolist() == [100.0, -53.0]


@given(tables, stresses)
def test_no_stress_makes_any_trade_better(trades: pd.DataFrame, stress: CostStress) -> None:
    assert (stressed_pnl(trades, stress) <= trades["net_pnl"].to_numpy()).all()


@given(tables)
def test_at_the_break_even_rate_all_profit_is_gone(trades: pd.DataFrame) -> None:
    rate = break_even_cost_rate(trades)
    assert (rate > 0.0) == (trades["net_pnl"].sum() > 0.0)
    if 0.0 <= rate <= 1.0:
        assert stressed_pnl(trades, CostStress(extra_fee_rate=rate)).sum() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    "relief",
    [
        {"extra_fee_rate": -0.001},
        {"extra_slippage_rate": 5.0},
        {"funding_paid_factor": 0.5},
        {"funding_paid_factor": math.inf},
        {"funding_received_factor": 1.5},
        {"funding_received_factor": math.nan},
    ],
)
def test_a_stress_that_would_be_a_relief_is_refused(relief: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="never a relief"):
        CostStress(**relief)


def test_trades_are_missed_independently_at_the_rate_asked() -> None:
    n = 20_000
    ours = miss_trades(np.array([1.0, 10.0]), 100.0, 0.2, n_simulations=n, seed=1)
    for total, p in ((11.0, 0.64), (1.0, 0.16), (10.0, 0.16), (0.0, 0.04)):
        assert abs((ours.final_pnl == total).mean() - p) < 4 * math.sqrt(p * (1 - p) / n)


def test_a_missed_loss_leaves_no_drawdown() -> None:
    ours = miss_trades(np.array([-10.0]), 100.0, 0.5, n_simulations=200, seed=2)
    assert set(zip(ours.final_pnl.tolist(), ours.max_drawdown.tolist(), strict=True)) == {(0.0, 0.0), (-10.0, 10.0)}


def test_missing_nothing_changes_nothing_and_workers_do_not_matter() -> None:
    trades = np.array([5.0, -3.0, 4.0])
    assert set(miss_trades(trades, 100.0, 0.0, n_simulations=9, seed=3).final_pnl.tolist()) == {6.0}
    alone, many = (miss_trades(trades, 100.0, 0.3, n_simulations=500, seed=4, workers=n) for n in (1, 3))
    assert np.array_equal(alone.final_pnl, many.final_pnl)


@pytest.mark.parametrize("rate", [-0.1, 1.0, math.nan])
def test_a_rate_that_misses_everything_or_less_than_nothing_is_refused(rate: float) -> None:
    with pytest.raises(InvalidInput, match="miss rate"):
        miss_trades(np.ones(3), 100.0, rate, seed=1)


def test_the_best_trades_are_taken_away_and_no_others() -> None:
    trades = np.array([5.0, -3.0, 40.0, 1.0])
    assert [pnl_without_best(trades, n) for n in range(4)] == [43.0, 3.0, -2.0, -3.0]
    for n_best in (4, -1):
        with pytest.raises(NotComputable, match="nothing to judge"):
            pnl_without_best(trades, n_best)


OPENS = np.array([100.0, 101.0, 103.0, 99.0, 98.0])


def trip(side: int, entry: int, exit_: int, qty: float = 2.0, net: float = 7.0) -> pd.DataFrame:
    return pd.DataFrame(
        {"net_pnl": [net], "side": [side], "qty": [qty], "entry_candle": [entry], "exit_candle": [exit_]}
    )


def test_a_late_order_is_filled_where_the_market_has_gone() -> None:
    # The entry of a long moves up by 1, its exit down by 4: two coins lose 10.
    assert delayed_pnl(trip(1, 0, 2), OPENS, 1).tolist() == [-3.0]
    assert delayed_pnl(trip(-1, 0, 2), OPENS, 1).tolist() == [17.0]
    assert delayed_pnl(trip(1, 0, 2), OPENS, 1, exits_too=False).tolist() == [5.0]
    assert delayed_pnl(trip(1, 0, 2), OPENS, 0).tolist() == [7.0]


def test_an_order_later_than_the_record_is_done_at_its_last_candle() -> None:
    assert delayed_pnl(trip(1, 0, 4), OPENS, 1).tolist() == [5.0]
    assert delayed_pnl(trip(1, 0, 4), OPENS, 99).tolist() == [11.0]


@given(st.integers(0, 4), st.integers(0, 4), st.sampled_from([-1, 1]), st.integers(0, 9))
def test_in_a_still_market_a_delay_costs_nothing(entry: int, exit_: int, side: int, n_candles: int) -> None:
    assert delayed_pnl(trip(side, entry, exit_), np.full(5, 50.0), n_candles).tolist() == [7.0]


def test_a_delay_needs_the_opens_of_the_whole_run() -> None:
    for wrong in (trip(1, 0, 5), trip(1, -1, 2)):
        with pytest.raises(InvalidInput, match="the run has 5 candles"):
            delayed_pnl(wrong, OPENS, 1)
    with pytest.raises(InvalidInput, match="before the decision"):
        delayed_pnl(trip(1, 0, 2), OPENS, -1)
    with pytest.raises(NotComputable, match="not finite"):
        delayed_pnl(trip(1, 0, 2), np.where(OPENS == 103.0, np.nan, OPENS), 1)


@pytest.mark.parametrize("trades", [table([]), table([(math.nan, 1.0, 0.0)]), table([(1.0, 1.0, 0.0)])[["net_pnl"]]])
def test_a_table_that_cannot_answer_is_refused(trades: pd.DataFrame) -> None:
    with pytest.raises(NotComputable):
        stressed_pnl(trades, CostStress())
    with pytest.raises(NotComputable):
        break_even_cost_rate(trades)


def test_trades_of_no_value_have_no_break_even() -> None:
    with pytest.raises(NotComputable, match="no notional"):
        break_even_cost_rate(table([(1.0, 0.0, 0.0)]))
