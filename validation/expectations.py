"""The one place that runs Great Expectations: suites go in as data, check results come out.

Importing it costs 8 s and 250 MB, so it happens inside the first validation and nowhere else.
"""

import logging
import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pandas as pd

from bybit.rules.periods import utc
from validation.reports import MAX_ROWS, CheckResult

# One context for the process. Its data sources and metric caches are shared state, and Prefect calls from threads.
_LOCK: Final = threading.Lock()
_STATE: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Rule:
    """One check of a suite.

    ``expectation`` is a class of ``great_expectations.expectations``; it is asked once for each of ``columns`` (the
    keywords that name them) with ``arguments``, and all must hold. ``shows`` names the columns that a failing row is
    reported with, beside those that were asked about.
    """

    name: str
    expected: str
    expectation: str
    columns: tuple[Mapping[str, str], ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    severity: Literal["block", "warn"] = "block"
    shows: tuple[str, ...] = ()


def run_suite(
    frame: pd.DataFrame, rules: Sequence[Rule], *, time: str, observed: Mapping[str, str] | None = None
) -> tuple[CheckResult, ...]:
    """Hold ``frame`` against every rule; return one result per check name, in the order of the rules.

    Parameters
    ----------
    frame : DataFrame
        Numeric columns and a plain 0..n-1 index.
    time : str
        The column of int64 ms UTC that names a row; shown as ISO text.
    observed : mapping, optional
        Better words than the count for a check that fails, by its name.

    Notes
    -----
    Fails closed: an expectation that raises, or whose result does not come back, is a failed check.
    """
    results = _validate(frame, rules, {"result_format": "BOOLEAN_ONLY"})
    failed = [rule for rule in rules if not _holds(rule, results)]
    if failed:
        # Rows and counts cost twice the time of a verdict, so only the failures are asked for them.
        results |= _validate(frame, failed, {"result_format": "SUMMARY", "partial_unexpected_count": MAX_ROWS})
    words = observed or {}
    return tuple(_summary(rule, results, frame, time, words.get(rule.name)) for rule in rules)


def _holds(rule: Rule, results: Mapping[tuple[str, int], Any]) -> bool:
    found = [results.get((rule.name, place)) for place in range(len(rule.columns))]
    return bool(found) and all(result is not None and result.success for result in found)


def _validate(
    frame: pd.DataFrame, rules: Sequence[Rule], result_format: Mapping[str, Any]
) -> dict[tuple[str, int], Any]:
    """Return Great Expectations' result for each rule's name and place among its columns.

    Both travel in the expectation's meta: results come back in an order of their own.
    """
    with _LOCK:
        batch_definition, engine, gx, gxe = _context()
        expectations = [
            getattr(gxe, rule.expectation)(**columns, **rule.arguments, meta={"check": [rule.name, place]})
            for rule in rules
            for place, columns in enumerate(rule.columns)
        ]
        # Given at once: adding one by one compares each with all before it.
        suite = gx.ExpectationSuite(name="suite", expectations=expectations)
        batch = batch_definition.get_batch({"dataframe": frame})
        try:
            outcome = batch.validate(suite, result_format=dict(result_format))
        finally:
            # Else the table stays in memory until the next validation.
            engine.batch_manager.reset_batch_cache()
            engine.batch_manager.batch_data_cache.clear()
    return {tuple(result.expectation_config.meta["check"]): result for result in outcome.results}


def _context() -> tuple[Any, Any, Any, Any]:
    if not _STATE:
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        with warnings.catch_warnings():
            # It imports sre_constants, which Python has deprecated; nothing of ours can change that.
            warnings.simplefilter("ignore", DeprecationWarning)
            import great_expectations as gx
            import great_expectations.expectations as gxe
            from great_expectations.data_context.types.base import ProgressBarsConfig
        # It tells every run of a temporary folder that nothing is ever written to.
        logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        source = context.data_sources.add_pandas("perpflow")
        whole = source.add_dataframe_asset("table").add_batch_definition_whole_dataframe("whole")
        _STATE["all"] = (whole, source.get_execution_engine(), gx, gxe)
    found: tuple[Any, Any, Any, Any] = _STATE["all"]
    return found


def _summary(
    rule: Rule, results: Mapping[tuple[str, int], Any], frame: pd.DataFrame, time: str, words: str | None
) -> CheckResult:
    rows: dict[int, dict[str, Any]] = {}
    told, n_failing = [], 0
    for place, columns in enumerate(rule.columns):
        result = results.get((rule.name, place))
        if result is not None and result.success:
            continue
        facts = {} if result is None else result.result
        n_failing += facts.get("unexpected_count") or 0
        told.append(_observed(" and ".join(columns.values()), result, facts))
        for position in facts.get("partial_unexpected_index_list") or ():
            rows.setdefault(int(position), _row(frame, int(position), time, (*columns.values(), *rule.shows)))
    return CheckResult(
        name=rule.name,
        passed=not told and bool(rule.columns),
        severity=rule.severity,
        observed=words if told and words and n_failing else "; ".join(told) or f"all of {len(frame):,} rows",
        expected=rule.expected,
        failing_rows=[rows[position] for position in sorted(rows)[:MAX_ROWS]],
        n_failing=n_failing,
    )


def _observed(column: str, result: Any, facts: Mapping[str, Any]) -> str:
    if "unexpected_count" in facts:
        return f"{column}: {facts['unexpected_count']:,} of {facts['element_count']:,} rows fail"
    reason = "no result came back" if result is None else _exception(result.exception_info)
    return f"{column}: the check itself failed: {reason}"


def _exception(info: Any) -> str:
    # One failed expectation gives its own message, a failed metric a mapping of metric to message.
    if isinstance(info, Mapping) and "exception_message" not in info:
        info = next((item for item in info.values() if isinstance(item, Mapping)), {})
    return str(info.get("exception_message")) if isinstance(info, Mapping) else str(info)


def _row(frame: pd.DataFrame, position: int, time: str, shows: Sequence[str]) -> dict[str, Any]:
    values = {column: frame[column].iloc[position].item() for column in dict.fromkeys(shows) if column != time}
    return {"row": position, time.removesuffix("_ms"): utc(int(frame[time].iloc[position])).isoformat()} | values
