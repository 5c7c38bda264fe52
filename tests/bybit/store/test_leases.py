from collections.abc import Iterator
from datetime import timedelta

import pytest

from bybit.rules.errors import InvalidInput
from bybit.store import Store, open_store
from bybit.store.errors import LeaseHeld, LeaseLost
from tests.bybit.store.examples import KEY, TTL, candles, minutes


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(url: str, clock: Clock) -> Iterator[Store]:
    with open_store(url, clock=clock) as store:
        yield store


def test_only_one_owner_holds_a_lease(timed: Store) -> None:
    timed.leases.take("range", "first", TTL)
    with pytest.raises(LeaseHeld, match="range is being written by first until 2027-01-15T08:00:30") as refused:
        timed.leases.take("range", "second", TTL)
    assert refused.value.retryable
    timed.leases.take("another range", "second", TTL)


def test_every_taking_raises_the_token(timed: Store) -> None:
    first = timed.leases.take("range", "first", TTL)
    again = timed.leases.take("range", "first", TTL)
    timed.leases.release(again)
    second = timed.leases.take("range", "second", TTL)
    assert first.token < again.token < second.token


def test_an_expired_lease_goes_to_the_next_and_the_late_writer_is_refused(timed: Store, clock: Clock) -> None:
    late = timed.leases.take("range", "slept", TTL)
    timed.candles.write(KEY, candles([0]), minutes(0, 1), [], late)
    clock.now += 31
    fresh = timed.leases.take("range", "awake", TTL)
    with pytest.raises(LeaseLost, match=r"slept wrote under token 1 .* belongs to awake \(token 2\)"):
        timed.candles.write(KEY, candles([1], shift=9.0), minutes(1, 2), [], late)
    with pytest.raises(LeaseLost):
        timed.leases.renew(late)
    assert timed.candles.count(KEY) == 1
    timed.candles.write(KEY, candles([1]), minutes(1, 2), [], fresh)
    # Letting go of what is lost must not take it from the one who has it.
    timed.leases.release(late)
    timed.candles.write(KEY, candles([2]), minutes(2, 3), [], fresh)
    assert timed.candles.count(KEY) == 3


def test_an_expired_lease_that_nobody_took_is_still_good(timed: Store, clock: Clock) -> None:
    lease = timed.leases.take("range", "slow", TTL)
    clock.now += 3600
    timed.candles.write(KEY, candles([0]), minutes(0, 1), [], lease)


def test_writing_and_renewing_keep_a_lease_alive(timed: Store, clock: Clock) -> None:
    lease = timed.leases.take("range", "busy", TTL)
    for minute in range(3):
        clock.now += 20
        timed.candles.write(KEY, candles([minute]), None, [], lease)
    clock.now += 20
    timed.leases.renew(lease)
    clock.now += 20
    with pytest.raises(LeaseHeld):
        timed.leases.take("range", "second", TTL)


def test_a_lease_of_a_dead_owner_can_be_taken_at_once(timed: Store) -> None:
    timed.leases.take("range", "killed", TTL)
    assert timed.leases.take("range", "heir", TTL, abandoned=lambda owner: owner == "killed").owner == "heir"


def test_a_released_lease_is_free_and_its_old_holder_may_not_write(timed: Store) -> None:
    lease = timed.leases.take("range", "first", TTL)
    timed.leases.release(lease)
    with pytest.raises(LeaseLost, match="belongs to nobody"):
        timed.candles.write(KEY, candles([0]), None, [], lease)
    timed.leases.take("range", "second", TTL)


def test_a_lease_needs_time_to_live(timed: Store) -> None:
    with pytest.raises(InvalidInput, match="positive"):
        timed.leases.take("range", "first", timedelta(0))
