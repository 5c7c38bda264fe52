"""A database holds one market for life."""

import pytest

from bybit.store import Store
from bybit.store.errors import OtherOrigin


def test_a_database_belongs_to_the_source_that_filled_it_first(store: Store) -> None:
    assert store.origin.get() is None
    store.origin.claim("tape-1")
    store.origin.claim("tape-1")
    assert store.origin.get() == "tape-1"
    with pytest.raises(OtherOrigin, match=r"holds the market data of tape-1, not of bybit"):
        store.origin.claim("bybit")
    assert store.origin.get() == "tape-1"
