from dataclasses import replace
from datetime import timedelta

import pytest

from tests.validation.evidence import QUARTERS, Clock, MemoryStore, StoredRun, good_runs, paper_run
from validation.errors import ApprovalRefused
from validation.gates import DecisionRecord, Stage, StrategyGraduationManager, Verdict, standing

RUNS = [*good_runs(), paper_run()]
PERSON = {"decided_by": "Ada Lovelace", "reason": "four quarters and a month on paper agree"}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager(store, clock) -> StrategyGraduationManager:
    return StrategyGraduationManager(store, clock=clock)


@pytest.fixture
def review(manager):
    """An open review of the step to LIVE_CANDIDATE."""
    manager.evaluate("trend", RUNS)
    return manager.evaluate("trend", RUNS)


def test_a_strategy_nobody_decided_on_is_in_research(manager):
    assert manager.show("trend").stage is Stage.RESEARCH
    assert manager.history("trend") == []
    assert manager.list_stages() == {}


def test_passing_moves_research_to_paper_by_itself_and_says_so(manager):
    assert manager.evaluate("trend", RUNS).verdict is Verdict.PROMOTE
    assert manager.show("trend").stage is Stage.PAPER_VALIDATION
    record = manager.history("trend")[-1]
    assert (record.from_stage, record.to_stage, record.decided_by) == ("RESEARCH", "PAPER_VALIDATION", "perpflow")
    assert record.reasons[0]["name"] == "evidence_complete"
    assert record.metrics["measured"]["no_liquidation"] == 0


def test_a_held_strategy_stays_and_the_log_has_the_reasons(manager):
    manager.evaluate("trend", [])
    state = manager.show("trend")
    assert state.stage is Stage.RESEARCH
    assert state.evaluation.verdict == "HOLD"
    assert all("not computable" in reason["reason"] for reason in state.evaluation.reasons)


def test_the_whole_way_up_takes_a_person_twice(manager, review):
    assert manager.show("trend").stage is Stage.PAPER_VALIDATION
    assert manager.approve("trend", evidence_hash=review.evidence_hash, **PERSON) is Stage.LIVE_CANDIDATE
    again = manager.evaluate("trend", RUNS)
    assert again.verdict is Verdict.REVIEW
    assert manager.approve("trend", evidence_hash=again.evidence_hash, **PERSON) is Stage.LIVE_TRADING
    assert manager.list_stages()["trend"].stage is Stage.LIVE_TRADING
    assert [r.verdict for r in manager.history("trend")] == ["PROMOTE", "REVIEW", "APPROVED", "REVIEW", "APPROVED"]
    assert manager.history("trend")[2].decided_by == "Ada Lovelace"


def test_evaluating_again_and_again_never_reaches_real_money_alone(manager):
    for _ in range(6):
        manager.evaluate("trend", RUNS)
    assert manager.show("trend").stage is Stage.PAPER_VALIDATION


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decided_by": "  "}, "a named person"),
        ({"decided_by": "Perpflow"}, "a named person"),
        ({"reason": ""}, "no reason"),
        ({"evidence_hash": "0" * 64}, "not 000000000000"),
    ],
)
def test_an_approval_without_name_reason_or_the_right_evidence_is_refused(manager, review, changes, words):
    with pytest.raises(ApprovalRefused, match=words):
        manager.approve("trend", **({"evidence_hash": review.evidence_hash} | PERSON | changes))
    assert manager.show("trend").stage is Stage.PAPER_VALIDATION


def test_an_approval_counts_once(manager, review):
    manager.approve("trend", evidence_hash=review.evidence_hash, **PERSON)
    with pytest.raises(ApprovalRefused, match="counts once"):
        manager.approve("trend", evidence_hash=review.evidence_hash, **PERSON)
    manager.demote("trend", decided_by="Grace", reason="spread doubled")
    with pytest.raises(ApprovalRefused, match="counts once"):
        manager.approve("trend", evidence_hash=review.evidence_hash, **PERSON)


def test_nothing_can_be_approved_without_an_open_review(manager):
    first = manager.evaluate("trend", RUNS)
    with pytest.raises(ApprovalRefused, match="no open review"):
        manager.approve("trend", evidence_hash=first.evidence_hash, **PERSON)


def test_a_newer_evaluation_closes_the_review(manager, review):
    manager.evaluate("trend", good_runs())
    with pytest.raises(ApprovalRefused, match="no open review"):
        manager.approve("trend", evidence_hash=review.evidence_hash, **PERSON)


def test_an_old_review_is_refused(manager, review, clock):
    clock.now += timedelta(days=8)
    with pytest.raises(ApprovalRefused, match="8 days old, 7 are allowed"):
        manager.approve("trend", evidence_hash=review.evidence_hash, **PERSON)


def test_runs_edited_after_the_review_are_noticed(manager, review):
    edited = [replace(RUNS[0], metrics={**RUNS[0].metrics, "net_return": 0.041}), *RUNS[1:]]
    with pytest.raises(ApprovalRefused, match="changed since the review"):
        manager.approve("trend", evidence_hash=review.evidence_hash, runs=edited, **PERSON)
    assert manager.approve("trend", evidence_hash=review.evidence_hash, runs=RUNS[::-1], **PERSON)


def test_an_author_does_not_approve_their_own_strategy(manager):
    runs = [replace(run, provenance={**run.provenance, "author": "ada lovelace"}) for run in RUNS]
    manager.evaluate("trend", runs)
    review = manager.evaluate("trend", runs)
    with pytest.raises(ApprovalRefused, match="second person"):
        manager.approve("trend", evidence_hash=review.evidence_hash, **PERSON)
    assert manager.approve("trend", evidence_hash=review.evidence_hash, decided_by="Grace", reason="read it")


def test_a_rejection_keeps_the_stage_and_the_same_evidence_is_not_asked_about_again(manager, review):
    assert manager.reject("trend", evidence_hash=review.evidence_hash, **PERSON) is Stage.PAPER_VALIDATION
    again = manager.evaluate("trend", RUNS)
    assert again.verdict is Verdict.HOLD
    assert again.reasons == [
        "new_evidence: a person decided on exactly this evidence before; it takes new runs to ask again"
    ]
    better = [*RUNS[:-1], paper_run(days=40)]
    assert manager.evaluate("trend", better).verdict is Verdict.REVIEW


def test_of_two_people_who_answer_at_once_the_first_in_the_log_counts(store, manager, review, clock):
    record = replace(
        store.decisions.rows[-1],
        verdict="REJECTED",
        to_stage="PAPER_VALIDATION",
        decided_by="Grace",
        decided_at=clock(),
    )
    add = store.decisions.add

    def add_after_grace(mine: DecisionRecord) -> None:
        add(record)
        add(mine)

    store.decisions.add = add_after_grace
    with pytest.raises(ApprovalRefused, match="somebody else decided"):
        manager.approve("trend", evidence_hash=review.evidence_hash, **PERSON)
    assert manager.show("trend").stage is Stage.PAPER_VALIDATION
    assert [r.verdict for r in manager.history("trend")][-2:] == ["REJECTED", "APPROVED"]


def test_a_promotion_to_real_money_written_by_hand_is_no_promotion(store, manager, review):
    forged = replace(store.decisions.rows[-1], verdict="PROMOTE", decided_by="perpflow")
    store.decisions.add(forged)
    store.decisions.add(replace(forged, verdict="APPROVED", evidence_hash="f" * 64))
    store.decisions.add(replace(forged, verdict="PROMOTE", from_stage="RESEARCH", to_stage="LIVE_TRADING"))
    assert manager.show("trend").stage is Stage.PAPER_VALIDATION


def test_an_approval_cannot_lead_further_than_its_review(store, manager, review):
    store.decisions.add(replace(store.decisions.rows[-1], verdict="APPROVED", to_stage="LIVE_TRADING"))
    assert manager.show("trend").stage is Stage.LIVE_CANDIDATE


def test_bad_evidence_takes_a_live_candidate_down_without_a_person(manager, review):
    manager.approve("trend", evidence_hash=review.evidence_hash, **PERSON)
    assert manager.evaluate("trend", [*good_runs(max_drawdown=0.5), paper_run()]).verdict is Verdict.DEMOTE
    assert manager.show("trend").stage is Stage.PAPER_VALIDATION


def test_a_person_can_take_a_strategy_down_and_not_below_research(manager):
    manager.evaluate("trend", RUNS)
    assert manager.demote("trend", decided_by="Grace", reason="exchange outage") is Stage.RESEARCH
    with pytest.raises(ApprovalRefused, match="lowest stage"):
        manager.demote("trend", decided_by="Grace", reason="again")
    with pytest.raises(ApprovalRefused, match="named person"):
        manager.demote("trend", decided_by="", reason="again")


def test_all_strategies_with_runs_or_a_record_are_evaluated(store, manager, clock):
    manager.evaluate("gone", [])
    store.runs.rows = [
        StoredRun(f"{name}-{i}", clock(), name, run.tier, run.period, dict(run.metrics), dict(run.provenance))
        for name in ("trend", "carry")
        for i, run in enumerate(good_runs(net_return=0.04 if name == "trend" else -0.04))
    ]
    verdicts = {d.strategy: d.verdict for d in manager.evaluate_all_strategies()}
    assert verdicts == {"carry": Verdict.HOLD, "gone": Verdict.HOLD, "trend": Verdict.PROMOTE}
    assert len(manager.history()) == 4
    given = {d.strategy: d.verdict for d in manager.evaluate_all_strategies(good_runs(strategy="fresh"))}
    assert given["fresh"] is Verdict.PROMOTE
    assert given["trend"] is Verdict.HOLD


def test_the_newest_stored_run_of_a_tier_and_period_counts(store, manager, clock):
    rows = [
        StoredRun(
            str(value),
            clock(),
            "trend",
            "vip0",
            period,
            dict(run.metrics) | {"net_return": value},
            dict(run.provenance),
        )
        for value in (-0.5, 0.04)
        for period, run in zip(QUARTERS, good_runs(), strict=True)
    ]
    store.runs.rows = rows[::-1]
    assert manager.evaluate("trend").verdict is Verdict.PROMOTE
    assert manager.history("trend")[0].metrics["run_keys"] == ["0.04"] * 4


def test_the_standing_is_a_function_of_the_log_alone(store, manager, review):
    manager.approve("trend", evidence_hash=review.evidence_hash, **PERSON)
    assert standing(store.decisions.rows) == manager.show("trend")
    assert standing(store.decisions.rows[:2]).review == store.decisions.rows[1]
