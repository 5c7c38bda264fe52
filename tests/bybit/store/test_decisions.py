from dataclasses import replace
from datetime import timedelta

from bybit.store import DecisionRecord, Store
from tests.bybit.store.examples import START

DECISION = DecisionRecord(
    strategy="trend",
    from_stage="RESEARCH",
    to_stage="PAPER_VALIDATION",
    verdict="PROMOTE",
    reasons=[{"gate": "drawdown", "passed": True, "measured": 0.12}],
    metrics={"net_return": 0.3, "sharpe": None},
    evidence_hash="cd" * 32,
    decided_by="perpflow",
    decided_at=START,
)


def test_decisions_come_back_in_the_order_they_were_made(store: Store) -> None:
    later = replace(DECISION, verdict="HOLD", decided_at=START - timedelta(days=1))
    other = replace(DECISION, strategy="carry")
    for record in (DECISION, other, later):
        store.decisions.add(record)
    assert store.decisions.list() == [DECISION, other, later]
    assert store.decisions.list(strategy="trend") == [DECISION, later]
    assert store.decisions.list("unknown") == []


def test_a_record_of_another_layer_is_taken_as_it_is(store: Store) -> None:
    from validation.stages import DecisionRecord as Judged

    judged = Judged(*(getattr(DECISION, name) for name in DECISION.__slots__))
    store.decisions.add(judged)
    assert store.decisions.list() == [DECISION]
