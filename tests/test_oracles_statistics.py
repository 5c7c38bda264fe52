import json
from pathlib import Path
from typing import Any

import pytest

from tests.oracles import collect, failures
from tests.oracles.__main__ import main
from tests.oracles.floats import close


@pytest.mark.parametrize(
    ("folder", "n_cases"),
    [("cscv", 4), ("sharpe_inference", 14), ("walk_forward", 5), ("monte_carlo", 7), ("cross_exchange", 3)],
)
def test_the_statistics_agree_with_every_case_computed_elsewhere(shared: Path, folder: str, n_cases: int) -> None:
    cases = list(collect(shared / "oracles" / folder))
    assert len(cases) == n_cases
    assert [line for case in cases for line in failures(case)] == []


# One right answer per format, and the place of a figure that is then spoiled.
ANSWERS: dict[str, tuple[Any, tuple[Any, ...], Any]] = {
    "psr": (
        {
            "psr": [
                {
                    "id": "even",
                    "inputs": {
                        "sharpe_per_period": 0.1,
                        "benchmark_per_period": 0.1,
                        "n_obs": 20,
                        "skew": 0,
                        "kurtosis_non_excess": 3,
                    },
                    "expected": 0.5,
                }
            ]
        },
        ("psr", 0, "expected"),
        0.500000001,
    ),
    "a record that is never long enough": (
        {
            "min_trl": [
                {
                    "id": "never",
                    "inputs": {
                        "sharpe_per_period": 0.1,
                        "benchmark_per_period": 0.2,
                        "skew": 0,
                        "kurtosis_non_excess": 3,
                        "prob": 0.95,
                    },
                    "expected_observations": None,
                }
            ]
        },
        ("min_trl", 0, "expected_observations"),
        0.0,
    ),
    "fold": (
        [
            {
                "id": "one",
                "inputs": {"n": 7, "train_size": 4, "test_size": 2, "purge": 1, "anchored": False},
                "expected": [{"train": [0, 4], "test": [5, 7]}],
                "n_folds": 1,
            }
        ],
        (0, "expected", 0, "train", 1),
        5,
    ),
    "no fold": (
        [{"id": "none", "inputs": {"n": 6, "train_size": 4, "test_size": 2, "purge": 1}, "expected": [], "n_folds": 0}],
        (0, "n_folds"),
        1,
    ),
    "purged": (
        [
            {
                "id": "two",
                "kind": "combinatorial_purged",
                "inputs": {"n": 5, "n_groups": 2, "n_test_groups": 1, "purge": 1, "embargo": 0},
                "expected": [
                    {"test_groups": [0], "test": [[0, 3]], "train": [[4, 5]]},
                    {"test_groups": [1], "test": [[3, 5]], "train": [[0, 2]]},
                ],
                "n_splits": 2,
                "n_backtest_paths": 1,
            }
        ],
        (0, "expected", 1, "train", 0, 1),
        3,
    ),
    "shuffle": (
        [
            {
                "id": "two",
                "kind": "trade_shuffle_exact",
                "trades_pnl": ["50", "-30", "-40"],
                "initial_capital": "1000",
                "n_orders": 6,
                "final_pnl": "-20",
                "max_drawdown_money": {"40": "1/3", "70": "2/3"},
                "mean_max_drawdown_money": "60",
                "max_drawdown_fraction_mean": 0.058758169934640524,
                "max_drawdown_fraction_max": 0.07,
                "max_drawdown_fraction_min": 0.0392156862745098,
            }
        ],
        (0, "max_drawdown_money"),
        {"40": "0.34", "70": "0.66"},
    ),
    "sum": (
        [
            {
                "id": "coin",
                "kind": "iid_bootstrap_sum_exact",
                "x": ["0.1", "-0.1"],
                "draws": 2,
                "p_sum_below_zero": "1/4",
                "mean": "0",
                "variance": "1/50",
                "distribution": {"-1/5": "1/4", "0": "1/2", "1/5": "1/4"},
            }
        ],
        (0, "variance"),
        "0.0202",
    ),
    "a coin thrown once": (
        [
            {
                "id": "once",
                "kind": "iid_bootstrap_sum_exact",
                "x": ["2.2", "0.1"],
                "draws": 1,
                "p_sum_below_zero": "0",
                "mean": "23/20",
                "variance": "441/400",
                "distribution": {"11/5": "1/2", "1/10": "1/2"},
            }
        ],
        (0, "p_sum_below_zero"),
        "1/1000",
    ),
    "two books": (
        [
            {
                "id": "one_sided",
                "inputs": {
                    "book_a": {"bids": [["99", "1"]], "asks": [["101", "1"]]},
                    "book_b": {"bids": [], "asks": [["101", "1"]]},
                    "taker_fee_a": "0",
                    "taker_fee_b": "0",
                    "band": "0.01",
                    "qty": "2",
                    "trades_a": None,
                    "trades_b": None,
                },
                "expected": {
                    "mid_a": 100.0,
                    "mid_b": None,
                    "imbalance_a": -0.01,
                    "fill_price_asks_a_for_2": None,
                    "arbitrage_buy_a_sell_b": None,
                },
            }
        ],
        (0, "expected", "mid_b"),
        0.0,
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_right_answer_passes_and_a_spoiled_one_fails(tmp_path: Path, name: str) -> None:
    document, place, wrong = ANSWERS[name]
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(document))
    assert main([str(path)]) == 0
    spoiled = json.loads(json.dumps(document))
    inner = spoiled
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = wrong
    path.write_text(json.dumps(spoiled))
    assert main([str(path)]) == 1


def test_a_table_of_returns_is_judged_with_its_expected_half(tmp_path: Path) -> None:
    (tmp_path / "returns.csv").write_text("s0,s1\n" + "0.02,-0.01\n0.01,0.02\n" * 4)
    expected = {"S": 4, "pbo": 0.0, "pbo_fraction": [0, 6], "oos_rank": [2.0] * 6, "note": "s0 is always better"}
    path = tmp_path / "expected.json"
    path.write_text(json.dumps(expected))
    assert main([str(tmp_path)]) == 0
    path.write_text(json.dumps(expected | {"pbo_fraction": [1, 6]}))
    assert main([str(tmp_path)]) == 1
    path.write_text(json.dumps(expected | {"figure": 1}))
    assert main([str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("expected", "found", "n_lines"),
    [
        (1.0, 1.0 + 9e-10, 0),
        (1.0, 1.0 + 2e-9, 1),
        (0.0, 9e-13, 0),
        (0.0, 2e-12, 1),
        (None, None, 0),
        (None, 0.0, 1),
        (0.0, None, 1),
        (True, 1, 1),
        (False, 0.0, 1),
        ({"a": 1}, {"a": 1, "b": 2}, 0),
        ({"a": 1}, None, 1),
        ([1, 2], [1], 1),
        ([1, 2], [2, 1], 2),
    ],
)
def test_figures_agree_within_a_billionth_and_none_is_no_number(expected: Any, found: Any, n_lines: int) -> None:
    assert len(close("x", expected, found)) == n_lines
