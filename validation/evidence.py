"""The fingerprint of what a reviewer signs: every figure, threshold and origin, in one canonical text."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from datetime import date
from enum import Enum
from numbers import Integral, Real
from typing import Any

from bybit.rules.periods import Period
from validation.criteria import GateConfig, Run
from validation.stages import Stage


def evidence_hash(strategy: str, stage: Stage, runs: Iterable[Run], config: GateConfig) -> str:
    """Return the sha256 of everything a reviewer would be approving, as canonical JSON.

    Covers strategy, stage, thresholds, and each run's metrics, parameters and provenance; the order of the runs does
    not matter.
    """
    rows = sorted(json.dumps(_canonical(run), sort_keys=True) for run in runs)
    whole = {"strategy": strategy, "stage": stage, "config": _canonical(config), "runs": rows}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Return ``value`` as plain JSON types; figures that are not numbers become None, as the gates read them."""
    if isinstance(value, Period):
        return [value.start_ms, value.end_ms]
    if isinstance(value, date):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _canonical(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_canonical(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if value is None or (isinstance(value, bool | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return str(value)
