"""Probabilistic and deflated Sharpe ratios, record lengths and the maximum of luck: lists of cases by figure."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.oracles.case import Case
from tests.oracles.floats import close
from validation.errors import NotComputable
from validation.inference import (
    deflated_sharpe,
    expected_maximum,
    luck_benchmark,
    min_backtest_years,
    min_backtest_years_bound,
    min_track_record,
    probabilistic_sharpe,
)

Inputs = dict[str, Any]
Answer = dict[str, Any]


def recognises(path: Path, document: Any) -> bool:
    return isinstance(document, dict) and bool(document) and document.keys() <= FIGURES.keys()


def cases(path: Path, document: dict[str, Any]) -> Iterator[Case]:
    for figure, rows in document.items():
        for row in rows:
            yield Case(f"{path} {row['id']}", lambda figure=figure, row=row: _check(FIGURES[figure], row))


def _check(solve: Callable[[Inputs], Answer], row: dict[str, Any]) -> list[str]:
    expected = {key: value for key, value in row.items() if key.startswith("expected") or key == "upper_bound_years"}
    if not expected:
        return ["holds no expected figure"]
    try:
        # Some figures keep their inputs apart, some beside the answer.
        actual = solve(row.get("inputs", row))
    except NotComputable:
        actual = dict.fromkeys(expected)
    return close(row["id"], expected, actual)


def _moments(inputs: Inputs) -> tuple[float, float]:
    return inputs["skew"], inputs["kurtosis_non_excess"]


def _psr(inputs: Inputs) -> Answer:
    sharpe, benchmark = inputs["sharpe_per_period"], inputs["benchmark_per_period"]
    return {"expected": probabilistic_sharpe(sharpe, benchmark, inputs["n_obs"], *_moments(inputs))}


def _min_track_record(inputs: Inputs) -> Answer:
    sharpe, benchmark = inputs["sharpe_per_period"], inputs["benchmark_per_period"]
    n_obs = min_track_record(sharpe, benchmark, *_moments(inputs), probability=inputs["prob"])
    answer = {"expected": n_obs, "expected_observations": n_obs}
    return answer | ({"expected_years": n_obs / inputs["periods_per_year"]} if "periods_per_year" in inputs else {})


def _expected_maximum(inputs: Inputs) -> Answer:
    return {"expected": expected_maximum(inputs["n_trials"])}


def _deflated(inputs: Inputs) -> Answer:
    trials = inputs["variance_of_trial_sharpes"], inputs["n_trials"]
    probability = deflated_sharpe(inputs["sharpe_per_period"], *trials, inputs["n_obs"], *_moments(inputs))
    return {"expected": probability, "expected_sr0": luck_benchmark(*trials)}


def _min_backtest(inputs: Inputs) -> Answer:
    of = inputs["n_trials"], inputs["target_in_sample_annual_sharpe"]
    return {"expected_years": min_backtest_years(*of), "upper_bound_years": min_backtest_years_bound(*of)}


FIGURES: dict[str, Callable[[Inputs], Answer]] = {
    "psr": _psr,
    "min_trl": _min_track_record,
    "expected_max": _expected_maximum,
    "dsr": _deflated,
    "min_btl": _min_backtest,
}
