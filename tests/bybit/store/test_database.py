import logging
import multiprocessing
import os
import sqlite3
import threading
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, event, make_url, text

from bybit.rules.errors import InvalidInput
from bybit.store import Lease, Store, open_store
from bybit.store.errors import CorruptStore, NewerSchema, StoreError, StoreFull, StoreUnavailable
from bybit.store.migrate import MIGRATIONS, REVISIONS
from bybit.store.schema import metadata
from tests.bybit.store.examples import KEY, TTL, candles, minutes


def _no_sleep(_seconds: float) -> None:
    return None


def test_the_migrations_build_exactly_the_tables_of_the_code(url: str) -> None:
    with open_store(url) as store:
        difference = store.database.read(lambda c: compare_metadata(MigrationContext.configure(c), metadata))
    assert difference == []


def test_the_code_knows_exactly_the_migrations_there_are() -> None:
    assert tuple(sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("*.py"))) == REVISIONS


def test_opening_says_nothing_and_leaves_logging_alone(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers), logging.getLogger("alembic").level
    open_store(url).close()
    assert (root.level, list(root.handlers), logging.getLogger("alembic").level) == before
    assert capfd.readouterr() == ("", "")


def test_what_was_stored_is_there_after_opening_again(url: str) -> None:
    with open_store(url) as store:
        store.candles.write(KEY, candles(range(3)), minutes(0, 3), [], store.leases.take("x", "test", TTL))
        before = store.candles.content_hash(KEY)
    with open_store(url) as store:
        assert store.candles.content_hash(KEY) == before


def _open(url: str) -> None:
    open_store(url).close()


def test_two_processes_may_open_a_fresh_database_at_once(url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_open, args=(url,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]


def test_a_schema_newer_than_the_code_is_refused(url: str) -> None:
    with open_store(url) as store:
        store.database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(NewerSchema, match=f"schema '9999', this perpflow knows '{REVISIONS[-1]}' at most"):
        open_store(url)


def test_a_migration_that_fails_leaves_nothing_behind(url: str) -> None:
    parts = make_url(url)
    blocking = "CREATE TABLE quality_results (something INTEGER)"
    if parts.get_backend_name() == "sqlite":
        Path(parts.database or "").parent.mkdir(parents=True)
        with sqlite3.connect(parts.database or "") as raw:
            raw.execute(blocking)
        raw.close()
    else:
        plain = parts.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain) as connection:
            connection.execute(blocking)
    with pytest.raises(StoreError, match="quality_results"):
        open_store(url)
    if parts.get_backend_name() == "sqlite":
        raw = sqlite3.connect(parts.database or "")
        tables = [row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        raw.close()
    else:
        with psycopg.connect(plain) as connection:
            rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        tables = [row[0] for row in rows]
    assert tables == ["quality_results"]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("mysql://user:canary@host/db", "'mysql' is not one of the two"),
        ("postgresql://user:canary@host/db", "postgresql\\+psycopg"),
        ("not an address canary", "cannot be read"),
    ],
)
def test_other_addresses_are_refused_without_repeating_a_password(address: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        open_store(address)
    assert "canary" not in str(refused.value)


def test_an_unreachable_server_is_an_error_worth_trying_later(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        open_store(f"postgresql+psycopg://user:canary@/db?host={tmp_path}", sleep=_no_sleep)
    assert refused.value.retryable
    assert "canary" not in str(refused.value)


# SQLite alone


def _written(path: Path) -> str:
    url = f"sqlite:///{path}"
    with open_store(url) as store:
        lease = store.leases.take("x", "test", TTL)
        store.candles.write(KEY, candles(range(5000)), minutes(0, 5000), [], lease)
    return url


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database " * 1000)
    with pytest.raises(CorruptStore, match="move it away"):
        open_store(f"sqlite:///{tmp_path}/x.db")


@pytest.mark.parametrize("damage", ["page", "cut"])
def test_a_damaged_file_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    url = _written(path)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2 : len(content) // 2 + 8192] = os.urandom(8192)
    path.write_bytes(content)
    with pytest.raises(CorruptStore, match="restore the file from a copy"):
        open_store(url)


def test_the_folder_of_a_new_file_is_made(tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path}/a/b/c.db").close()
    assert (tmp_path / "a/b/c.db").is_file()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreFull, match="file/x cannot be made"):
        open_store(f"sqlite:///{tmp_path}/file/x/y.db")


def test_a_writer_waits_for_another_process_to_let_go(tmp_path: Path) -> None:
    url = _written(tmp_path / "x.db")
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            other.execute("COMMIT")

    with open_store(url, sleep=_no_sleep) as reader:
        # A reader is not in the way of a writer, nor the other way round.
        assert reader.candles.count(KEY) == 5000
    try:
        with (
            open_store(url, sleep=_no_sleep, busy_timeout_ms=1) as store,
            pytest.raises(StoreUnavailable, match="locked"),
        ):
            store.leases.take("y", "test", TTL)
        with open_store(url, sleep=sleep, busy_timeout_ms=1) as store:
            lease = store.leases.take("y", "test", TTL)
            assert store.candles.write(KEY, candles([6000]), None, [], lease).inserted == 1
            assert len(naps) == 2
    finally:
        other.close()


def test_a_full_disk_stops_cleanly_and_work_goes_on_when_there_is_room(tmp_path: Path) -> None:
    url = _written(tmp_path / "x.db")
    with open_store(url) as store:
        lease = store.leases.take("x", "test", TTL)
        before = store.candles.content_hash(KEY)
        store.database.engine.dispose()
        limit = (tmp_path / "x.db").stat().st_size // 4096 + 2

        @event.listens_for(store.database.engine, "connect")
        def fill(connection: sqlite3.Connection, _record: object) -> None:
            connection.execute(f"PRAGMA max_page_count = {limit}").close()

        with pytest.raises(StoreFull, match="it resumes"):
            store.candles.write(KEY, candles(range(5000, 9000)), minutes(5000, 9000), [], lease)
        assert store.candles.content_hash(KEY) == before
        event.remove(store.database.engine, "connect", fill)
        store.database.engine.dispose()
        store.candles.write(KEY, candles(range(5000, 9000)), minutes(5000, 9000), [], lease)
        assert store.candles.count(KEY) == 9000


# PostgreSQL alone


@pytest.fixture
def server_store(postgres_url: str) -> Store:
    from tests.postgres import fresh_database

    return open_store(fresh_database(postgres_url), sleep=_no_sleep)


def test_settings_in_the_address_are_kept(postgres_url: str) -> None:
    address = make_url(postgres_url).update_query_dict({"options": "-c work_mem=5MB -c lock_timeout=1234"})
    with open_store(address.render_as_string(hide_password=False)) as store:
        for name, value in (("work_mem", "5MB"), ("lock_timeout", "1234ms"), ("TimeZone", "UTC")):
            shown = store.database.read(lambda c, name=name: c.exec_driver_sql(f"SHOW {name}").scalar_one())
            assert shown == value


def test_a_dropped_connection_repeats_the_whole_unit_of_work(server_store: Store) -> None:
    with server_store as store:
        lease = store.leases.take("x", "test", TTL)
        tries = []

        def work(connection: Connection) -> int:
            tries.append(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
            connection.exec_driver_sql("UPDATE leases SET owner = owner || '!' WHERE name = 'x'")
            if len(tries) == 1:
                connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
            return len(tries)

        assert store.database.write(work) == 2
        assert tries[0] != tries[1]
        assert store.database.read(lambda c: c.exec_driver_sql("SELECT owner FROM leases").scalar_one()) == "test!"
        assert lease.token == 1


def test_connections_killed_between_writes_are_not_noticed(server_store: Store) -> None:
    with server_store as store:
        lease = store.leases.take("x", "test", TTL)
        parts = make_url(store.address)
        kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        for step in range(3):
            with psycopg.connect(parts.set(drivername="postgresql").render_as_string(hide_password=False)) as admin:
                admin.execute(kill, [parts.database])
            store.candles.write(KEY, candles([step]), minutes(step, step + 1), [], lease)
        assert store.candles.count(KEY) == 3


def test_a_deadlock_is_resolved_by_trying_again(server_store: Store) -> None:
    with server_store as store:
        for name in "ab":
            store.leases.take(name, "", TTL)
        meet = threading.Barrier(2)
        tries: list[str] = []

        def touch(names: str) -> None:
            def work(connection: Connection) -> None:
                tries.append(names)
                for name in names:
                    connection.execute(
                        text("UPDATE leases SET owner = owner || :by WHERE name = :name"),
                        {"by": names[0], "name": name},
                    )
                    if len(tries) <= 2 and name == names[0]:
                        meet.wait(10)

            store.database.write(work)

        threads = [threading.Thread(target=touch, args=(names,)) for names in ("ab", "ba")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Three, unless the machine is so busy that they get in each other's way again.
        assert len(tries) >= 3
        owners = store.database.read(lambda c: c.exec_driver_sql("SELECT owner FROM leases").scalars().all())
        assert [sorted(owner) for owner in owners] == [["a", "b"], ["a", "b"]]


def test_what_does_not_pass_by_itself_is_not_tried_again(store: Store, lease: Lease) -> None:
    tries = []

    def work(connection: Connection) -> None:
        tries.append(1)
        connection.exec_driver_sql("SELECT * FROM no_such_table")

    with pytest.raises(StoreError, match="no_such_table") as failed:
        store.database.write(work)
    assert len(tries) == 1
    assert not failed.value.retryable
    assert lease.token == 1
