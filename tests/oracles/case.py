"""One reference case, and how numbers given as text are compared."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any


@dataclass(frozen=True)
class Case:
    """``check`` returns a line per difference, ``explain`` one per point at which a source and we part, with why."""

    name: str
    check: Callable[[], list[str]]
    explain: Callable[[], list[str]] = list


def differences(where: str, expected: Any, actual: Any, places: int = 8) -> list[str]:
    """Compare structures whose numbers are decimal text, after rounding to ``places``; ours may hold more keys."""
    if isinstance(expected, dict):
        lines = [f"{where}: we have no {key!r}" for key in expected if key not in actual]
        for key in expected.keys() & actual.keys():
            lines += differences(f"{where}.{key}", expected[key], actual[key], places)
        return sorted(lines)
    if isinstance(expected, list):
        if len(expected) != len(actual):
            return [f"{where}: expected {len(expected)} entries, found {len(actual)}"]
        pairs = enumerate(zip(expected, actual, strict=True))
        return [line for i, (left, right) in pairs for line in differences(f"{where}[{i}]", left, right, places)]
    return [] if is_same(expected, actual, places) else [f"{where}: expected {expected}, found {actual}"]


def is_same(expected: Any, actual: Any, places: int = 8) -> bool:
    """Compare single values, numbers given as text after rounding to ``places``."""
    if isinstance(actual, Decimal) and isinstance(expected, str):
        unit = Decimal(1).scaleb(-places)
        return round(Decimal(expected) / unit) == round(actual / unit)
    return bool(expected == actual)


def agrees_as_printed(expected: str, actual: Decimal, *, truncated: bool = False) -> bool:
    """Return whether ``actual`` shows as ``expected`` does, at its number of decimals."""
    shown = Decimal(expected)
    if shown == actual:
        return True
    return actual.quantize(shown, rounding=ROUND_DOWN if truncated else ROUND_HALF_UP) == shown
