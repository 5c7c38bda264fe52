from dataclasses import replace

from bybit.rules.availability import Closure, Product
from bybit.rules.candles import Category
from bybit.store import Store
from tests.bybit.store.examples import minutes

FUTURES = Closure("n1", "upgrade", minutes(10, 40), frozenset({Product.FUTURES}))
SPOT = Closure("n2", "upgrade, with ' and ü", minutes(5, 20), frozenset({Product.SPOT}))
BOTH = Closure("n3", "", minutes(60, 70), frozenset({Product.FUTURES, Product.SPOT}))


def test_closures_come_back_by_category_and_time(store: Store) -> None:
    for _ in range(2):
        store.closures.write([BOTH, FUTURES, SPOT])
    assert store.closures.list(Category.LINEAR) == store.closures.list(Category.INVERSE) == [FUTURES, BOTH]
    assert store.closures.list(Category.SPOT) == [SPOT, BOTH]
    # Half-open: what begins as the period ends is not in it.
    assert store.closures.list(Category.LINEAR, minutes(40, 60)) == []
    assert store.closures.list(Category.LINEAR, minutes(39, 61)) == [FUTURES, BOTH]
    store.closures.write([])


def test_a_closure_that_lasted_longer_than_expected_is_replaced(store: Store) -> None:
    store.closures.write([FUTURES])
    longer = replace(FUTURES, period=minutes(10, 55), title="upgrade, late")
    store.closures.write([longer])
    assert store.closures.list(Category.LINEAR) == [longer]
