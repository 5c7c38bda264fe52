import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from bybit.rules.candles import Category
from bybit.store import VENUE_EMPTY, Conflict, FundingKey, Hole, Lease, Store, changes, open_store
from tests.bybit.history.test_funding import rates
from tests.bybit.store.examples import KEY, MARK, MINUTE_MS, START, START_MS, TTL, candles, minutes


def test_every_change_of_rows_coverage_or_holes_gives_a_new_stamp(store: Store, lease: Lease) -> None:
    seen = [store.candles.stamp(KEY)]
    store.candles.write(KEY, candles(range(5)), None, [], lease)
    seen.append(store.candles.stamp(KEY))
    store.candles.write(KEY, candles(range(5)), minutes(0, 5), [], lease)
    seen.append(store.candles.stamp(KEY))
    store.candles.write(KEY, candles([5]), minutes(5, 7), [Hole(minutes(6, 7), VENUE_EMPTY)], lease)
    seen.append(store.candles.stamp(KEY))
    store.candles.write(KEY, candles([2], shift=1.0), None, [], lease)
    seen.append(store.candles.stamp(KEY))
    assert seen[0] is None
    assert None not in seen[1:]
    assert len(set(seen)) == len(seen)


def test_a_write_that_changes_nothing_keeps_the_stamp(store: Store, lease: Lease) -> None:
    store.candles.write(KEY, candles(range(5)), minutes(0, 5), [], lease)
    before = store.candles.stamp(KEY)
    store.candles.write(KEY, candles(range(3)), minutes(0, 3), [], lease)
    store.candles.write(KEY, candles([]), None, [], lease, conflicts=[Conflict(START, ("a", "b"))])
    store.candles.write(MARK, candles(range(5), volume=False), minutes(0, 5), [], lease)
    assert store.candles.stamp(KEY) == before


def test_a_snapshot_brings_only_what_changed_since(store: Store, lease: Lease) -> None:
    assert store.candles.snapshot(KEY) is None
    store.candles.write(KEY, candles(range(50)), minutes(0, 50), [], lease)
    first = store.candles.snapshot(KEY)
    assert first is not None
    assert [len(rows) for rows in first.rows] == [50]
    store.candles.write(KEY, candles([7], shift=1.0), None, [], lease)
    store.candles.write(KEY, candles(range(50, 60)), minutes(50, 60), [], lease)
    store.candles.write(KEY, candles([]), minutes(60, 61), [Hole(minutes(60, 61), VENUE_EMPTY)], lease)
    later = store.candles.snapshot(KEY, first.stamp)
    assert later is not None
    assert [(rows["open_time_ms"][0] - START_MS) // MINUTE_MS for rows in later.rows] == [7, 50]
    assert [len(rows) for rows in later.rows] == [1, 10]
    assert later.known == [minutes(0, 61).span_ms]
    assert first.stamp in later.passed
    assert later.stamp == store.candles.stamp(KEY)
    same = store.candles.snapshot(KEY, later.stamp)
    assert same is not None
    assert same.rows == []
    assert [len(rows) for rows in store.candles.snapshot(KEY, "of another database").rows] == [60]  # type: ignore[union-attr]


def test_a_moment_that_is_no_longer_remembered_is_read_anew(
    store: Store, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_REMEMBERED", 3)
    stamps = []
    for minute in range(5):
        store.candles.write(KEY, candles([minute]), None, [], lease)
        stamps.append(store.candles.stamp(KEY))
    assert [len(rows) for rows in store.candles.snapshot(KEY, stamps[2]).rows] == [2]  # type: ignore[union-attr]
    assert [len(rows) for rows in store.candles.snapshot(KEY, stamps[1]).rows] == [5]  # type: ignore[union-attr]


def test_two_copies_of_a_file_that_part_ways_never_share_a_stamp(tmp_path: Path) -> None:
    def write(path: Path, shift: float) -> str | None:
        with open_store(f"sqlite:///{path}") as store:
            lease = store.leases.take("everything", "test", TTL)
            store.candles.write(KEY, candles(range(3), shift=shift), minutes(0, 3), [], lease)
            store.leases.release(lease)
            return store.candles.stamp(KEY)

    common = write(tmp_path / "a.db", 0.0)
    shutil.copy(tmp_path / "a.db", tmp_path / "b.db")
    with open_store(f"sqlite:///{tmp_path / 'b.db'}") as store:
        assert store.candles.stamp(KEY) == common
        assert store.series.version(KEY) == 1
    assert len({common, write(tmp_path / "a.db", 1.0), write(tmp_path / "b.db", 2.0)}) == 3


def test_what_was_stored_before_stamps_were_kept_is_given_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    with open_store(url) as store:
        lease = store.leases.take("everything", "test", TTL)
        store.candles.write(KEY, candles(range(3)), minutes(0, 3), [], lease)

        def back(connection: object) -> None:
            connection.execute(text("DROP TABLE series_changes"))  # type: ignore[attr-defined]
            connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))  # type: ignore[attr-defined]

        store.database.write(back)
    with open_store(url) as store:
        first = store.candles.snapshot(KEY)
        assert first is not None
        assert [len(rows) for rows in first.rows] == [3]
        lease = store.leases.take("another", "test", TTL)
        store.candles.write(KEY, candles([3]), None, [], lease)
        assert [len(rows) for rows in store.candles.snapshot(KEY, first.stamp).rows] == [1]  # type: ignore[union-attr]


def test_settlements_count_as_changes_of_their_own_series(store: Store, lease: Lease) -> None:
    store.funding.write(Category.LINEAR, "BTCUSDT", rates(0, 8), minutes(0, 600), lease)
    assert store.series.version(FundingKey(Category.LINEAR, "BTCUSDT")) == 1
    assert store.candles.stamp(KEY) is None
