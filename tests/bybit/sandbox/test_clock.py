import time
from datetime import UTC, datetime

import pytest

from bybit.rules.errors import InvalidInput
from bybit.rules.periods import to_ms
from bybit.sandbox.clock import Clock


def test_a_simulated_clock_starts_at_its_instant_and_moves_on() -> None:
    now = datetime(2024, 2, 29, 12, tzinfo=UTC)
    clock = Clock(now)
    first = clock.now_ms()
    time.sleep(0.02)
    assert 20 <= clock.now_ms() - first < 5_000
    assert 0 <= first - to_ms(now) < 5_000


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(InvalidInput, match="time zone"):
        Clock(datetime(2024, 2, 29))  # noqa: DTZ001
