"""Walk-forward folds and combinatorial purged splits: a list of cases with their exact row ranges."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.oracles.case import Case, differences
from validation.walk_forward import (
    Fold,
    PurgedSplit,
    backtest_paths,
    combinatorial_purged_splits,
    n_backtest_paths,
    walk_forward_folds,
)

_COUNTS = {"n_folds", "n_splits", "n_backtest_paths"}


def recognises(path: Path, document: Any) -> bool:
    first = document[0] if isinstance(document, list) and document else None
    inputs = first.get("inputs", {}) if isinstance(first, dict) else {}
    return "train_size" in inputs or "n_test_groups" in inputs


def cases(path: Path, document: list[dict[str, Any]]) -> Iterator[Case]:
    for case in document:
        yield Case(f"{path} {case['id']}", lambda case=case: _check(case))


def _check(case: dict[str, Any]) -> list[str]:
    inputs = dict(case["inputs"])
    n_rows = inputs.pop("n")
    ours: list[Fold] | list[PurgedSplit]
    if "n_groups" in inputs:
        groups = inputs.pop("n_groups"), inputs.pop("n_test_groups")
        ours = splits = combinatorial_purged_splits(n_rows, *groups, **inputs)
        n_paths = n_backtest_paths(*groups)
        if len(backtest_paths(splits)) != n_paths:
            return [f"the splits make {len(backtest_paths(splits))} paths, the count says {n_paths}"]
        counts = {"n_splits": len(ours), "n_backtest_paths": n_paths}
    else:
        ours = walk_forward_folds(n_rows, inputs.pop("train_size"), inputs.pop("test_size"), **inputs)
        counts = {"n_folds": len(ours)}
    expected = {key: value for key, value in case.items() if key in _COUNTS}
    lines = differences(case["id"], expected, counts)
    return lines + differences(case["id"], case["expected"], [_plain(asdict(split)) for split in ours])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
