"""Which runs were made together."""

from datetime import UTC, datetime

from bybit.store import Store

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def test_the_newest_matrix_is_the_one_recorded_last(store: Store) -> None:
    assert store.matrices.newest() == ()
    store.matrices.add(["b", "a"], NOW)
    store.matrices.add(["c"], NOW)
    assert store.matrices.newest() == ("c",)
    store.matrices.add(["b", "a"], NOW)
    assert store.matrices.newest() == ("b", "a")
