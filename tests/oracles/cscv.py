"""Probability of backtest overfitting: a folder with ``returns.csv`` and ``expected.json``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.oracles.case import Case
from tests.oracles.floats import close
from validation.cscv import Overfitting, cscv
from validation.dominance import Dominance

# What is said of the case, not computed; S is our question, and T and N are seen in the table.
_NOT_ANSWERS = {"case", "note", "agreement", "S", "T", "N"}


def recognises(path: Path, document: Any) -> bool:
    return isinstance(document, dict) and "pbo_fraction" in document


def cases(path: Path, document: dict[str, Any]) -> Iterator[Case]:
    yield Case(str(path), lambda: _check(path, document))


def _check(path: Path, document: dict[str, Any]) -> list[str]:
    table = pd.read_csv(path.with_name("returns.csv"))
    # The README speaks of a time, the files have none.
    returns = table[[name for name in table if name not in ("time", "timestamp_utc")]].to_numpy(dtype=np.float64)
    expected = {key: value for key, value in document.items() if key not in _NOT_ANSWERS}
    return close("cscv", expected, _answer(cscv(returns, document["S"])))


def _answer(ours: Overfitting) -> dict[str, Any]:
    logits, line = ours.logits, ours.degradation
    return {
        "rows_dropped_oldest": ours.n_rows_dropped,
        "n_splits": ours.n_splits,
        "pbo": ours.pbo,
        "pbo_fraction": [ours.n_overfit, ours.n_splits],
        "best_is_index": ours.selected.tolist(),
        "oos_rank": ours.rank.tolist(),
        "logits": logits.tolist(),
        "logit_mean": float(logits.mean()),
        "logit_median": float(np.median(logits)),
        "logit_std_ddof0": float(logits.std()),
        "logit_min": float(logits.min()),
        "logit_max": float(logits.max()),
        "n_logit_zero": int((logits == 0.0).sum()),
        "degradation": {
            "slope": line.slope if line else None,
            "intercept": line.intercept if line else None,
            "r2": line.r2 if line else None,
            "n": ours.n_splits,
        },
        "prob_oos_loss": ours.probability_of_loss,
        "mean_is_best": float(ours.in_sample.mean()),
        "mean_oos_of_best": float(ours.out_of_sample.mean()),
        "is_best_value": ours.in_sample.tolist(),
        "oos_of_best_value": ours.out_of_sample.tolist(),
        "stochastic_dominance_vs_pooled_oos": _dominance(ours.over_pooled),
        "stochastic_dominance_vs_mean_oos": _dominance(ours.over_mean),
    }


def _dominance(ours: Dominance) -> dict[str, Any]:
    return {
        "first_order": ours.first_order,
        "max_violation_first": ours.max_violation,
        "second_order": ours.second_order,
        "min_sd2": ours.lowest_integral,
        "final_sd2": ours.final_integral,
    }
