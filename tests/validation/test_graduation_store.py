"""The manager on the real store: what it wrote must be what it reads."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bybit.store import DecisionRecord, RunRecord, Store, open_store
from tests.validation.evidence import good_runs, paper_run
from validation.criteria import Run
from validation.errors import ApprovalRefused
from validation.gates import Stage, StrategyGraduationManager, Verdict

RUNS = [*good_runs(params={"fast_h": 12.5}, symbols=("BTCUSDT",)), paper_run(days=30)]
PERSON = {"decided_by": "Ada Lovelace", "reason": "four quarters and a month on paper agree"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/perpflow.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url) as opened:
        yield opened


def record(run: Run, key: str) -> RunRecord:
    return RunRecord(
        run_key=key,
        created_at=datetime(2026, 1, 1, 0, 0, len(key), 123456, tzinfo=UTC),
        strategy=run.strategy,
        params=dict(run.params),
        tier=run.tier,
        period=run.period,
        symbols=run.symbols,
        metrics=dict(run.metrics),
        provenance=dict(run.provenance),
    )


@pytest.fixture
def manager(store: Store) -> StrategyGraduationManager:
    for place, run in enumerate(RUNS):
        store.runs.add(record(run, f"key-{place}"))
    return StrategyGraduationManager(store)


def test_the_way_up_is_kept_over_a_restart(manager, store, url):
    assert manager.evaluate("trend").verdict is Verdict.PROMOTE
    review = manager.evaluate("trend")
    assert review.verdict is Verdict.REVIEW
    with open_store(url) as again:
        other = StrategyGraduationManager(again)
        stored = other.show("trend").review
        assert stored is not None
        assert stored.evidence_hash == review.evidence_hash
        stage = other.approve(
            "trend", evidence_hash=stored.evidence_hash, runs=again.runs.list(strategy="trend"), **PERSON
        )
        assert stage is Stage.LIVE_CANDIDATE
    assert manager.show("trend").stage is Stage.LIVE_CANDIDATE
    with pytest.raises(ApprovalRefused, match="counts once"):
        manager.approve("trend", evidence_hash=review.evidence_hash, **PERSON)


def test_stored_runs_are_the_same_evidence_as_the_runs_themselves(manager):
    stored = manager.evaluate("trend")
    runs = [replace(run, run_key=f"key-{place}") for place, run in enumerate(RUNS)]
    given = StrategyGraduationManager(_Empty()).evaluate("trend", runs)
    assert stored.evidence_hash == given.evidence_hash


class _Empty:
    """A store without a past."""

    class _Table:
        def add(self, record: DecisionRecord) -> None:
            pass

        def list(self, strategy: str | None = None) -> list[DecisionRecord]:
            return []

    decisions = _Table()
    runs = _Table()


def test_two_managers_that_answer_one_review_do_not_both_count(manager, store, url):
    manager.evaluate("trend")
    review = manager.evaluate("trend")
    with open_store(url) as theirs:
        other = StrategyGraduationManager(theirs)
        add = store.decisions.add

        def add_after_the_other(mine: DecisionRecord) -> None:
            other.reject("trend", evidence_hash=review.evidence_hash, decided_by="Grace", reason="spread doubled")
            add(mine)

        store.decisions.add = add_after_the_other  # type: ignore[method-assign]
        with pytest.raises(ApprovalRefused, match="somebody else decided"):
            manager.approve("trend", evidence_hash=review.evidence_hash, **PERSON)
    assert manager.show("trend").stage is Stage.PAPER_VALIDATION


def test_every_strategy_with_a_run_is_evaluated_and_the_reasons_are_readable(manager, store):
    store.runs.add(record(good_runs(strategy="carry")[0], "key-carry"))
    verdicts = {decision.strategy: decision.verdict for decision in manager.evaluate_all_strategies()}
    assert verdicts == {"carry": Verdict.HOLD, "trend": Verdict.PROMOTE}
    held = manager.history("carry")[0]
    assert held.reasons[0] == {
        "name": "evidence_complete",
        "passed": False,
        "measured": 1.0,
        "threshold": 3.0,
        "margin": -2.0,
        "reason": "1 runs: 1 fee tiers x 1 periods, at least 3 periods asked",
    }
    assert held.metrics["run_keys"] == ["key-carry"]
