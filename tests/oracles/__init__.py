"""Runs our code on reference cases computed elsewhere: ``python -m tests.oracles PATH...``.

A format is a module with ``recognises(path, document) -> bool`` and ``cases(path, document) -> Iterator[Case]``. A file
that none of them recognises counts as failed, so that nothing is passed over in silence.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from bybit.rules.errors import PerpflowError
from tests.oracles import (
    cross_exchange,
    cscv,
    examples,
    ledger,
    metrics,
    monte_carlo,
    sharpe_inference,
    walk_forward,
)
from tests.oracles.case import Case

FORMATS = (ledger, examples, metrics, cscv, sharpe_inference, walk_forward, monte_carlo, cross_exchange)


def collect(path: Path) -> Iterator[Case]:
    """Yield every case under ``path``, a file or a folder."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files:
        yield Case(str(path), lambda: ["holds no case file"])
    for file in files:
        # The expected half of a pair is read with its question.
        if not file.name.endswith(".out.json"):
            yield from _read(file)


def _read(file: Path) -> Iterator[Case]:
    try:
        document = json.loads(file.read_text())
    except ValueError as error:
        reason = f"is not JSON: {error}"
        yield Case(str(file), lambda: [reason])
        return
    if not isinstance(document, dict | list):
        yield Case(str(file), lambda: ["holds neither a case nor a list of them"])
        return
    owner = next((module for module in FORMATS if module.recognises(file, document)), None)
    if owner is None:
        yield Case(str(file), lambda: ["no adapter knows this kind of file"])
    else:
        yield from owner.cases(file, document)


def failures(case: Case) -> list[str]:
    """Return what is wrong with our answer to ``case``; empty when it passes."""
    return _lines(case.check)


def explanations(case: Case) -> list[str]:
    """Return where the source of ``case`` and we differ, with the reason; empty when they agree."""
    return _lines(case.explain)


def _lines(ask: Callable[[], list[str]]) -> list[str]:
    try:
        return ask()
    except (PerpflowError, LookupError, ArithmeticError, OSError) as error:
        return [f"{type(error).__name__}: {error}"]
