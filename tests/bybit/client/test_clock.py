from bybit.client.clock import SystemClock, VenueClock
from tests.bybit.client.fakes import NOW_MS, FakeClock


def test_fault_7_the_offset_is_the_median_less_half_a_round_trip():
    clock = FakeClock()
    clock.skew_ms = -25_000
    venue = VenueClock(clock)
    trips = iter([0.1, 0.1, 6.0, 0.2, 0.1])

    def ask() -> int:
        trip_s = next(trips)
        # A slow way back only: the kind of answer that shifts a mean.
        clock.now_s += 0.05
        answer = clock.venue_ms()
        clock.now_s += trip_s - 0.05
        return answer

    assert venue.now_ms() == clock.wall_ms()
    venue.sync(ask, since_s=clock.now_s)
    assert abs(venue.now_ms() - clock.venue_ms()) <= 1


def test_fault_7_a_stepping_wall_clock_does_not_move_the_synced_time():
    clock = FakeClock()
    venue = VenueClock(clock, n_samples=1)
    venue.sync(clock.venue_ms, since_s=clock.now_s)
    clock.skew_ms = -3_600_000
    assert venue.now_ms() == clock.venue_ms() == NOW_MS
    clock.now_s += 10
    assert venue.now_ms() == NOW_MS + 10_000


def test_a_thread_that_comes_late_to_the_sync_does_not_ask_again():
    clock = FakeClock()
    venue = VenueClock(clock, n_samples=3)
    asked = []

    def ask() -> int:
        asked.append(1)
        clock.now_s += 0.01
        return clock.venue_ms()

    sent_s = clock.now_s
    venue.sync(ask, sent_s)
    venue.sync(ask, sent_s)
    assert len(asked) == 3
    venue.sync(ask, clock.now_s)
    assert len(asked) == 6


def test_the_system_clock_only_grows():
    clock = SystemClock()
    before = clock.monotonic()
    clock.sleep(0)
    assert clock.monotonic() >= before
    assert clock.wall_ms() > NOW_MS
