from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from bybit.rules.periods import Period
from bybit.store import RunRecord, Store
from bybit.store.errors import AlreadyRecorded, StoreError
from bybit.store.schema import APPEND_ONLY
from tests.bybit.store.examples import KEY, START, TTL, candles

RUN = RunRecord(
    run_key="ab" * 32,
    created_at=START,
    strategy="trend",
    params={"slow": 24.0, "fast": 6},
    tier="vip0",
    period=Period(START, START + timedelta(days=30)),
    symbols=("BTCUSDT", "ETHUSDT"),
    metrics={"net_return": 0.1 + 0.2, "sharpe": None, "refused": None},
    provenance={"data": "f" * 64, "fees": "1234"},
)


def test_a_run_comes_back_as_it_was_recorded(store: Store) -> None:
    assert store.runs.add(RUN)
    assert store.runs.find(RUN.run_key) == RUN
    assert store.runs.find("00" * 32) is None
    assert store.runs.list() == [RUN]


def test_recording_the_same_run_again_changes_nothing(store: Store) -> None:
    store.runs.add(RUN)
    assert not store.runs.add(replace(RUN, created_at=START + timedelta(days=1)))
    assert store.runs.list() == [RUN]


def test_the_same_inputs_with_another_outcome_are_refused(store: Store) -> None:
    store.runs.add(RUN)
    with pytest.raises(AlreadyRecorded, match="other metrics"):
        store.runs.add(replace(RUN, metrics={"net_return": 0.4}))
    assert store.runs.list() == [RUN]


def test_runs_are_listed_by_strategy_and_tier_in_the_order_they_were_made(store: Store) -> None:
    others = [replace(RUN, run_key=name, strategy=name, tier=tier) for name, tier in (("b", "vip0"), ("a", "vip1"))]
    for run in (RUN, *others):
        store.runs.add(run)
    assert store.runs.list() == [RUN, *others]
    assert store.runs.list(strategy="a") == [others[1]]
    assert store.runs.list(tier="vip0") == [RUN, others[0]]


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_the_database_itself_refuses_to_change_records(table: str, store: Store) -> None:
    _fill(store)
    changes = [f"UPDATE {table} SET id = id + 1", f"DELETE FROM {table}"]
    if not store.database.is_sqlite:
        changes.append(f"TRUNCATE {table}")
    for change in changes:
        with pytest.raises(StoreError, match=f"{table} is append-only"):
            store.database.write(lambda connection, change=change: connection.execute(text(change)))
    assert store.database.read(lambda c: c.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()) == 1


def _fill(store: Store) -> None:
    from tests.bybit.store.test_decisions import DECISION
    from tests.bybit.store.test_fees import told
    from tests.bybit.store.test_funding import DAY, LINEAR, rate
    from tests.bybit.store.test_quality import CHECK

    lease = store.leases.take("x", "test", TTL)
    for shift in (0.0, 1.0):
        store.candles.write(KEY, candles([0], shift=shift), None, [], lease)
        store.funding.write(LINEAR, "BTCUSDT", [rate(0, f"0.000{shift:.0f}")], DAY, lease)
    store.runs.add(RUN)
    store.quality.add(CHECK)
    store.decisions.add(DECISION)
    store.origin.claim("bybit")
    store.matrices.add([RUN.run_key], RUN.created_at)
    store.fees.record([told("0.00055")])
