import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.client.errors import AddressBanned
from bybit.client.limits import Breaker, TokenBucket, process_breaker, process_limiter
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import to_ms
from tests.bybit.client.fakes import FakeClock


def most_in_a_window(times: list[float], window_s: float) -> int:
    most = first = 0
    for last, time_s in enumerate(times):
        while time_s - times[first] >= window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


@settings(max_examples=60, deadline=None)
@given(
    idle_s=st.lists(st.one_of(st.just(0.0), st.floats(0, 0.02), st.floats(0, 12)), min_size=50, max_size=300),
    capacity=st.integers(3, 40),
    paced_share=st.floats(0.05, 0.95),
    slow_at=st.integers(0, 300),
)
def test_no_window_ever_holds_more_requests_than_the_venue_allows(idle_s, capacity, paced_share, slow_at):
    clock = FakeClock()
    bucket = TokenBucket(capacity, 5.0, paced=max(1, int(capacity * paced_share)), clock=clock)
    times = []
    for i, pause_s in enumerate(idle_s):
        clock.now_s += pause_s
        if i == slow_at:
            bucket.slow_down()
        bucket.acquire()
        times.append(clock.now_s)
    assert most_in_a_window(times, 5.0) <= capacity


def test_the_default_bucket_keeps_the_address_limit_and_paces_at_a_hundred_a_second():
    clock = FakeClock()
    bucket = TokenBucket(clock=clock)
    times = []
    for _ in range(5000):
        bucket.acquire()
        times.append(clock.now_s)
    assert most_in_a_window(times, 5.0) in (599, 600)
    # The first hundred come at once from the full bucket.
    assert 4900 / (times[-1] - times[0]) == pytest.approx(100, rel=0.01)


def test_an_idle_bucket_does_not_save_up_more_than_its_size():
    clock = FakeClock()
    bucket = TokenBucket(clock=clock)
    clock.now_s += 3600
    waited_s = [bucket.acquire() for _ in range(110)]
    assert waited_s[:99] == [0.0] * 99
    assert sum(waited_s) == pytest.approx(0.1, abs=0.01)


def test_threads_share_one_bucket_without_exceeding_it():
    clock = FakeClock()
    bucket = TokenBucket(40, 5.0, paced=20, clock=clock)
    times: list[float] = []

    def work():
        for _ in range(25):
            bucket.acquire()
            times.append(clock.now_s)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Another thread may move the clock between the grant and the note of it: count what the rate allows in all.
    assert len(times) == 200
    assert 20 + (max(times) - 1000.0) * 4 + 1 >= 200


def test_slowing_down_stops_at_a_floor():
    bucket = TokenBucket(clock=FakeClock())
    for _ in range(20):
        bucket.slow_down()
    assert bucket.rate_per_s == pytest.approx(10)


@pytest.mark.parametrize("arguments", [(0, 5.0, 0), (10, 0.0, 5), (10, 5.0, 10)])
def test_a_bucket_that_could_break_the_limit_is_refused(arguments):
    capacity, per_s, paced = arguments
    with pytest.raises(InvalidInput):
        TokenBucket(capacity, per_s, paced=paced)


def test_clients_of_one_venue_share_one_bucket_and_one_breaker():
    assert process_limiter("a") is process_limiter("a")
    assert process_limiter("a") is not process_limiter("b")
    assert process_breaker("a") is process_breaker("a")


def breaker_of(clock, **options) -> Breaker:
    return Breaker(clock=clock, rng=random.Random(3), **options)


def test_fault_1_a_ban_holds_everyone_back_for_ten_minutes_and_jitter():
    clock = FakeClock()
    breaker = breaker_of(clock)
    assert breaker.enter() is False
    error = breaker.ban()
    assert 600_000 <= to_ms(error.until) - clock.wall_ms() <= 660_000
    clock.now_s += 599
    with pytest.raises(AddressBanned) as caught:
        breaker.enter()
    assert caught.value.retryable
    assert to_ms(caught.value.until) > clock.wall_ms()
    assert clock.sleeps == []


def test_fault_1_after_the_ban_exactly_one_probe_goes_ahead():
    clock = FakeClock()
    breaker = breaker_of(clock)
    breaker.ban()
    clock.now_s += 661
    assert breaker.enter() is True
    with pytest.raises(AddressBanned):
        breaker.enter()
    breaker.passed()
    assert breaker.enter() is False
    assert breaker.n_bans == 0


def test_fault_1_a_probe_that_is_banned_too_doubles_the_wait():
    clock = FakeClock()
    breaker = breaker_of(clock)
    breaker.ban()
    clock.now_s += 661
    assert breaker.enter()
    error = breaker.ban()
    assert 1_200_000 <= to_ms(error.until) - clock.wall_ms() <= 1_320_000
    assert breaker.n_bans == 2


def test_fault_1_a_probe_lost_on_the_way_leaves_the_next_caller_to_probe():
    clock = FakeClock()
    breaker = breaker_of(clock)
    breaker.ban()
    clock.now_s += 661
    assert breaker.enter()
    breaker.abandon()
    assert breaker.enter()


def test_fault_1_requests_under_way_that_see_the_same_ban_count_it_once():
    clock = FakeClock()
    breaker = breaker_of(clock)
    first = breaker.ban()
    clock.now_s += 2
    assert breaker.ban().until == first.until
    assert breaker.n_bans == 1


def test_fault_1_a_ban_survives_a_restart(tmp_path):
    clock = FakeClock()
    path = tmp_path / "ban.json"
    until = breaker_of(clock, path=path).ban().until
    clock.now_s += 60
    restarted = breaker_of(clock, path=path)
    with pytest.raises(AddressBanned) as caught:
        restarted.enter()
    assert abs(to_ms(caught.value.until) - to_ms(until)) <= 1
    clock.now_s += 700
    assert restarted.enter() is True
    restarted.passed()
    assert not path.exists()
    assert list(tmp_path.iterdir()) == []


def test_fault_1_another_process_with_the_same_file_sees_the_ban(tmp_path):
    clock = FakeClock()
    path = tmp_path / "ban.json"
    here, there = breaker_of(clock, path=path), breaker_of(clock, path=path)
    assert here.enter() is False
    there.ban()
    with pytest.raises(AddressBanned):
        here.enter()


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"until_ms": "x", "n_bans": 1}', b"\xff"])
def test_a_broken_record_of_a_ban_lets_only_a_probe_ahead(tmp_path, content):
    path = tmp_path / "ban.json"
    path.write_bytes(content)
    breaker = breaker_of(FakeClock(), path=path)
    assert breaker.enter() is True
    with pytest.raises(AddressBanned):
        breaker.enter()


def test_fault_7_a_wall_clock_set_back_does_not_prolong_a_ban(tmp_path):
    clock = FakeClock()
    path = tmp_path / "ban.json"
    breaker_of(clock, path=path).ban()
    clock.skew_ms = -10 * 86_400_000
    restarted = breaker_of(clock, path=path)
    clock_before = clock.now_s
    with pytest.raises(AddressBanned):
        restarted.enter()
    clock.now_s = clock_before + 7200 * 1.1 + 1
    assert restarted.enter() is True


def test_fault_1_with_patience_a_thread_sleeps_out_the_ban():
    clock = FakeClock()
    breaker = breaker_of(clock, patience_s=3600)
    breaker.ban()
    assert breaker.enter() is True
    assert sum(clock.sleeps) >= 600
