"""Gates: what the results say about every strategy, kept with the decisions."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from prefect import task

from bybit.rules.errors import InvalidInput
from bybit.store.decisions import DecisionRecord
from bybit.store.runs import RunRecord
from tasks.connections import store
from validation.gates import Decision, GateConfig, StrategyGraduationManager

Row = dict[str, Any]


@task(task_run_name="gates")
def judge_strategies(strategies: Sequence[str], tiers: Sequence[str], results: Sequence[Row]) -> list[Row]:
    """Judge every strategy on the results given, at every fee tier asked; return the decisions as plain values.

    Append-only: a repeat appends an equal decision. A strategy without a single result is judged too, and held.
    """
    manager = _manager(tiers)
    return [
        _plain(manager.evaluate(name, [_evidence(row) for row in results if row["strategy"] == name]))
        for name in strategies
    ]


def judge_stored(tiers: Sequence[str] = ("vip0",)) -> list[Row]:
    """Judge every strategy of the newest whole matrix on its runs; return the decisions as plain values.

    Raises
    ------
    InvalidInput
        When no matrix is stored yet.
    """
    runs = [run for key in store().matrices.newest() if (run := store().runs.find(key)) is not None]
    if not runs:
        raise InvalidInput("no matrix of back-tests is stored: perpflow run or perpflow matrix makes one")
    manager = _manager(tiers)
    names = sorted({run.strategy for run in runs})
    return [_plain(manager.evaluate(name, [run for run in runs if run.strategy == name])) for name in names]


def list_stages() -> list[Row]:
    """Return where every strategy with a record stands."""
    return [
        {
            "strategy": name,
            "stage": state.stage.value,
            "verdict": state.evaluation.verdict if state.evaluation else None,
            "decided_by": state.evaluation.decided_by if state.evaluation else None,
            "decided_at": state.evaluation.decided_at.isoformat() if state.evaluation else None,
            "waits_for_a_person": state.review is not None,
        }
        for name, state in _manager().list_stages().items()
    ]


def decisions(strategy: str) -> list[Row]:
    """Return every decision on one strategy, oldest first.

    Raises
    ------
    InvalidInput
        When there is none.
    """
    records = _manager().history(strategy)
    if not records:
        known = ", ".join(_manager().list_stages()) or "none yet: perpflow run makes the first"
        raise InvalidInput(f"no decision on {strategy!r} is recorded; strategies with a record: {known}")
    return [_plain_record(record) for record in records]


def newest_decision(strategy: str) -> Row:
    """Return the newest decision on one strategy; ``InvalidInput`` when there is none."""
    return decisions(strategy)[-1]


def review(strategy: str, answer: Literal["approve", "reject"], reviewer: str, reason: str, evidence: str) -> Row:
    """Record a person's answer to the open review of ``strategy``; return the decision that was written.

    Raises
    ------
    ApprovalRefused
        When no review is open, or it is about other evidence.
    """
    manager = _manager()
    if answer == "approve":
        # What was reviewed is read again: a run that changed since voids the answer.
        keys = newest_decision(strategy)["metrics"].get("run_keys", [])
        runs = [run for key in keys if (run := store().runs.find(key)) is not None]
        manager.approve(strategy, evidence_hash=evidence, decided_by=reviewer, reason=reason, runs=runs)
    else:
        manager.reject(strategy, evidence_hash=evidence, decided_by=reviewer, reason=reason)
    return newest_decision(strategy)


def _manager(tiers: Sequence[str] = ("vip0",)) -> StrategyGraduationManager:
    return StrategyGraduationManager(store(), GateConfig(tiers=tuple(tiers)))


def _evidence(row: Row) -> RunRecord | Row:
    # The stored record where there is one, so that a later look at the store finds the same evidence. A refused run
    # is not stored: its row says why.
    stored = store().runs.find(row["run_key"]) if row["run_key"] else None
    return stored or row | {"metrics": row["metrics"] | {"refused": row["refused"]}}


def _plain(decision: Decision) -> Row:
    return {
        "strategy": decision.strategy,
        "verdict": decision.verdict.value,
        "from_stage": decision.stage.value,
        "to_stage": decision.to_stage.value,
        "gates": [asdict(gate) for gate in decision.gates],
        "evidence_hash": decision.evidence_hash,
        "decided_by": "perpflow",
    }


def _plain_record(record: DecisionRecord) -> Row:
    plain = asdict(record) | {"decided_at": record.decided_at.isoformat(), "gates": record.reasons}
    del plain["reasons"]
    return plain
