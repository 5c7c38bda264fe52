"""Simulations against exact distributions: what we draw must agree with every probability within its sampling error."""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tests.oracles.case import Case
from tests.oracles.floats import close
from validation.monte_carlo import Resampling, bootstrap, means, shuffle_trades, sums

Floats = NDArray[np.float64]

# One honest share in 16,000 lies outside its four errors; a fault does with either seed.
_SEEDS = (20_261_123, 20_261_124)
_N_EXACT, _N_MOMENTS = 400_000, 20_000
_VARIANCE_WITHIN = 0.05


def recognises(path: Path, document: Any) -> bool:
    first = document[0] if isinstance(document, list) and document else None
    return isinstance(first, dict) and first.get("kind") in KINDS


def cases(path: Path, document: list[dict[str, Any]]) -> Iterator[Case]:
    for case in document:
        yield Case(f"{path} {case['id']}", lambda case=case: _check(path, case))


def _check(path: Path, case: dict[str, Any]) -> list[str]:
    check = KINDS.get(case["kind"])
    if check is None:
        return [f"no simulation of ours answers kind {case['kind']!r}"]
    first, second = _SEEDS
    return check(path, case, first) and check(path, case, second)


def _shuffle(path: Path, case: dict[str, Any], seed: int) -> list[str]:
    pnl = _numbers(case["trades_pnl"])
    ours = shuffle_trades(pnl, float(Fraction(case["initial_capital"])), n_simulations=_N_EXACT, seed=seed)
    final = float(Fraction(case["final_pnl"]))
    lines = close("final_pnl", [final, final], [float(ours.final_pnl.min()), float(ours.final_pnl.max())])
    lines += _distribution("max_drawdown_money", case["max_drawdown_money"], ours.max_drawdown)
    lines += _mean("mean_max_drawdown_money", float(Fraction(case["mean_max_drawdown_money"])), ours.max_drawdown)
    fraction = ours.max_drawdown_fraction
    lines += _mean("max_drawdown_fraction_mean", case["max_drawdown_fraction_mean"], fraction)
    # A few hundred orders are all seen; of many, the extremes may not be.
    low, high = float(fraction.min()), float(fraction.max())
    for name, bound, found, inside in (
        ("min", case["max_drawdown_fraction_min"], low, low >= case["max_drawdown_fraction_min"] - 1e-12),
        ("max", case["max_drawdown_fraction_max"], high, high <= case["max_drawdown_fraction_max"] + 1e-12),
    ):
        name = f"max_drawdown_fraction_{name}"
        if case["n_orders"] * 100 <= _N_EXACT:
            lines += close(name, bound, found)
        elif not inside:
            lines.append(f"{name}: expected {bound}, found {found} beyond it")
    return lines


def _sum(path: Path, case: dict[str, Any], seed: int) -> list[str]:
    values = _numbers(case["x"])
    ours = bootstrap(
        values, sums, method=Resampling.IID, length=case["draws"], n_simulations=_N_EXACT, seed=seed, workers=2
    )
    exact = {Fraction(value): Fraction(p) for value, p in case["distribution"].items()}
    mean = sum(value * p for value, p in exact.items())
    second, fourth = (float(sum((value - mean) ** power * p for value, p in exact.items())) for power in (2, 4))
    lines = _distribution("distribution", case["distribution"], ours)
    # A sum of exact 0 may come out as a rounding error below it.
    lines += _share("p_sum_below_zero", case["p_sum_below_zero"], float((ours < -1e-9 * np.abs(values).max()).mean()))
    lines += _mean("mean", float(Fraction(case["mean"])), ours)
    error = math.sqrt(max(0.0, fourth - second**2) / len(ours))
    variance = float(Fraction(case["variance"]))
    # About the exact mean: the sampling error of our own would bend a variance that has next to none.
    found = float(((ours - float(mean)) ** 2).mean())
    if abs(found - variance) > 4.0 * error + 1e-9 * variance:
        lines.append(f"variance: expected {variance} within {4 * error:.2g}, found {found}")
    return lines


def _moments(path: Path, case: dict[str, Any], seed: int) -> list[str]:
    values = pd.read_csv(path.with_name(case["series"])).iloc[:, -1].to_numpy(dtype=np.float64)
    method = Resampling(case["method"])
    ours = bootstrap(values, means, method=method, block=case["block"], n_simulations=_N_MOMENTS, seed=seed)
    lines = close("sample", [case["n"], case["sample_mean"]], [len(values), float(values.mean())])
    lines += _mean("expected_mean_of_means", case["expected_mean_of_means"], ours)
    expected, found = case["expected_variance_of_means"], float(ours.var())
    if abs(found - expected) > _VARIANCE_WITHIN * expected:
        lines.append(f"variance of means: expected {expected} within {_VARIANCE_WITHIN:.0%}, found {found}")
    return lines


def _distribution(name: str, expected: dict[str, str], drawn: Floats) -> list[str]:
    """Compare shares with exact probabilities; a value that cannot occur must not."""
    support = sorted((float(Fraction(value)), value) for value in expected)
    values = np.array([value for value, _ in support])
    place = np.searchsorted((values[1:] + values[:-1]) / 2.0, drawn)
    near = np.abs(drawn - values[place]) <= 1e-9 * np.maximum(1.0, np.abs(values).max())
    lines = [] if near.all() else [f"{name}: {float(drawn[~near][0])} was drawn, which cannot occur"]
    counts = np.bincount(place[near], minlength=len(values))
    for (_, text), count in zip(support, counts.tolist(), strict=True):
        lines += _share(f"{name}[{text}]", expected[text], count / len(drawn))
    return lines


def _share(name: str, expected: str, found: float) -> list[str]:
    p = float(Fraction(expected))
    within = 4.0 * math.sqrt(p * (1.0 - p) / _N_EXACT)
    return [] if abs(found - p) <= within else [f"{name}: expected {expected} within {within:.2g}, found {found}"]


def _mean(name: str, expected: float, drawn: Floats) -> list[str]:
    within = 4.0 * float(drawn.std()) / math.sqrt(len(drawn)) + 1e-9 * abs(expected) + 1e-12
    found = float(drawn.mean())
    same = abs(found - expected) <= within
    return [] if same else [f"{name}: expected {expected} within {within:.2g}, found {found}"]


def _numbers(texts: list[str]) -> Floats:
    return np.array([float(Fraction(text)) for text in texts])


KINDS: dict[str, Callable[[Path, dict[str, Any], int], list[str]]] = {
    "trade_shuffle_exact": _shuffle,
    "iid_bootstrap_sum_exact": _sum,
    "bootstrap_moments": _moments,
}
