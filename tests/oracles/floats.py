"""How computed floats are compared with reference figures: relative 1e-9, absolute 1e-12 near zero."""

from typing import Any

RELATIVE, ABSOLUTE = 1e-9, 1e-12


def close(where: str, expected: Any, actual: Any) -> list[str]:
    """Compare structures of numbers, flags and None, one line per difference; ours may hold more keys."""
    if isinstance(expected, dict):
        if not isinstance(actual, dict):
            return [f"{where}: expected {len(expected)} figures, found {actual}"]
        lines = [f"{where}: we have no {key!r}" for key in expected if key not in actual]
        for key in (key for key in expected if key in actual):
            lines += close(f"{where}.{key}", expected[key], actual[key])
        return lines
    if isinstance(expected, list):
        if not isinstance(actual, list) or len(expected) != len(actual):
            return [f"{where}: expected {len(expected)} entries, found {actual!r:.80}"]
        pairs = enumerate(zip(expected, actual, strict=True))
        return [line for i, (left, right) in pairs for line in close(f"{where}[{i}]", left, right)]
    # A flag is an int to Python, and None no number: both must be the very same.
    if expected is None or actual is None or isinstance(expected, bool) or isinstance(actual, bool):
        same = expected is actual
    else:
        same = abs(float(actual) - float(expected)) <= max(RELATIVE * abs(float(expected)), ABSOLUTE)
    return [] if same else [f"{where}: expected {expected}, found {actual}"]
