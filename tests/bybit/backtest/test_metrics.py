import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bybit.backtest.metrics import daily_equity, daily_returns, drawdowns, return_metrics, trade_metrics

DAY = 86_400_000
returns = hnp.arrays(np.float64, st.integers(0, 60), elements=st.floats(-0.9, 2.0).map(lambda r: round(r, 6)))


def agree(ours, expected):
    if expected is None or ours is None:
        assert ours is expected
    else:
        assert ours == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_return_figures_equal_the_reference_cases(shared):
    cases = sorted((shared / "oracles/metrics").glob("m*.csv"))
    assert cases
    for path in cases:
        series = pd.read_csv(path).iloc[:, 1].to_numpy(dtype=float)
        expected = json.loads(path.with_name(path.stem + ".expected.json").read_text())["expected"]
        ours = return_metrics(series, expected["periods_per_year"])
        # The reference writes drawdowns as negative numbers, our glossary as fractions of the peak.
        expected["max_drawdown"] = -expected["max_drawdown"]
        for name in expected.keys() - {"periods_per_year"}:
            agree(ours[name], expected[name])


def test_trade_figures_equal_the_reference_cases(shared):
    cases = json.loads((shared / "oracles/metrics/trade_lists.json").read_text())
    for case in cases:
        given_, expected = case["inputs"], case["expected"]
        rows, equity = [], np.full(given_["n_bars"], given_["initial_equity"])
        for trade in given_["trades"]:
            qty, entry, last = trade["qty"], trade["entry"], trade["exit"]
            net = trade["side"] * qty * (last - entry) - trade["fee"]
            equity[trade["exit_bar"] :] += net
            rows.append(
                {
                    "net_pnl": net,
                    "notional": qty * (entry + last),
                    "return": net / (qty * entry),
                    "entry_candle": trade["entry_bar"],
                    "exit_candle": trade["exit_bar"],
                }
            )
        table = pd.DataFrame(rows, columns=["net_pnl", "notional", "return", "entry_candle", "exit_candle"])
        ours = trade_metrics(table, given_["n_bars"], equity)
        for name, value in expected.items():
            agree(ours[name], value)


@given(returns)
def test_every_figure_is_finite_or_undefined(series):
    for name, value in return_metrics(series).items():
        assert value is None or math.isfinite(value), name


@given(returns)
def test_the_drawdown_is_a_fraction_of_the_peak_that_includes_the_start(series):
    wealth = np.concatenate([[1.0], np.cumprod(1 + series)])
    worst = max((1 - wealth[j] / wealth[i] for i in range(len(wealth)) for j in range(i, len(wealth))), default=0.0)
    ours = return_metrics(series)["max_drawdown"]
    if len(series):
        assert ours == pytest.approx(worst, abs=1e-12)
        assert drawdowns(wealth[1:], 1.0).max() == pytest.approx(worst, abs=1e-12)


@pytest.mark.parametrize("series", [[], [0.01], [0.01] * 5, [0.1, 0.2]])
def test_what_has_no_loss_or_no_spread_is_undefined(series):
    figures = return_metrics(np.array(series))
    assert figures["sortino"] is None
    assert figures["calmar"] is None
    assert (figures["sharpe"] is None) == (len(set(series)) < 2)


def test_the_loss_of_everything_is_a_drawdown_of_one():
    figures = return_metrics(np.array([0.5, -1.0, 0.0]))
    assert (figures["total_return"], figures["max_drawdown"], figures["cagr"]) == (-1.0, 1.0, -1.0)


def test_a_day_ends_at_midnight_and_its_last_close_belongs_to_it():
    close = np.array([1, 12, 24, 36, 48, 50]) * 3_600_000
    ends, equity = daily_equity(close, np.array([101.0, 102.0, 103.0, 104.0, 105.0, 106.0]), 100.0)
    assert (ends / DAY).tolist() == [0, 1, 2, 3]
    assert equity.tolist() == [100.0, 103.0, 105.0, 106.0]


def test_after_ruin_there_is_one_loss_of_everything_and_then_nothing():
    close = np.arange(1, 5) * DAY
    assert daily_returns(close, np.array([50.0, -3.0, -3.0, -3.0]), 100.0).tolist() == [-0.5, -1.0, 0.0, 0.0]
