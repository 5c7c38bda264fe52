import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.candles import Interval
from bybit.sandbox.bars import aggregate, aggregate_whole, buckets, forming
from tests.bybit.sandbox.wire import HOUR, MINUTE

FIRST = 1_700_006_400_000  # 2023-11-15 00:00


def _rows(n: int, step: int = MINUTE) -> np.ndarray:
    random = np.random.default_rng(5)
    rows = np.empty((n, 7))
    rows[:, 0] = FIRST + np.arange(n) * step
    rows[:, 1:5] = np.sort(random.uniform(90, 110, (n, 4)), axis=1)[:, [1, 3, 0, 2]]
    rows[:, 5:] = random.uniform(0, 10, (n, 2)).round(3)
    return rows


@given(st.sampled_from(list(Interval)), st.lists(st.integers(1_500_000_000_000, 2_000_000_000_000), min_size=1))
def test_every_time_falls_into_the_candle_the_rules_name(interval: Interval, times: list[int]) -> None:
    assert buckets(np.array(times), interval).tolist() == [interval.floor_ms(time) for time in times]


def test_a_coarser_candle_spans_its_finer_ones() -> None:
    rows = _rows(130)
    first, second, third = aggregate(rows, Interval.HOUR_1)
    assert first[:5].tolist() == [FIRST, rows[0, 1], rows[:60, 2].max(), rows[:60, 3].min(), rows[59, 4]]
    assert second[0] == FIRST + HOUR
    assert third[4] == rows[-1, 4]
    assert np.isclose(first[5], rows[:60, 5].sum())


def test_a_sum_leaves_no_float_dust_in_its_text() -> None:
    rows = _rows(60)
    rows[:, 5], rows[:, 6] = 0.1, 2_034_345.4691
    (hour,) = aggregate(rows, Interval.HOUR_1)
    assert (repr(float(hour[5])), repr(float(hour[6]))) == ("6.0", "122060728.146")


def test_a_candle_that_lacks_a_finer_one_is_absent_rather_than_invented() -> None:
    rows = np.delete(_rows(180), 70, axis=0)
    whole = aggregate_whole(rows, Interval.MINUTE_1, Interval.HOUR_1)
    assert whole[:, 0].tolist() == [FIRST, FIRST + 2 * HOUR]


def test_a_repeated_minute_does_not_make_up_for_a_missing_one() -> None:
    rows = _rows(60)
    rows[31] = rows[30]
    assert len(aggregate_whole(rows, Interval.MINUTE_1, Interval.HOUR_1)) == 0


def test_a_minute_off_the_grid_does_not_make_up_for_a_missing_one() -> None:
    rows = _rows(60)
    rows[31, 0] += 1
    assert len(aggregate_whole(rows, Interval.MINUTE_1, Interval.HOUR_1)) == 0


@given(st.integers(0, MINUTE), st.integers(0, MINUTE))
def test_a_forming_candle_only_widens_and_ends_as_the_finished_one(one: int, other: int) -> None:
    row = np.array([FIRST, 100.0, 103.0, 98.0, 101.0, 10.0, 1000.0])
    early, late = (forming(row, FIRST + at, MINUTE, 2, 1) for at in sorted((one, other)))
    assert early[1] == row[1]
    assert row[3] <= late[3] <= early[3] <= early[4] <= early[2] <= late[2] <= row[2]
    assert early[5] <= late[5]
    assert forming(row, FIRST + MINUTE, MINUTE, 2, 1).tolist() == row.tolist()
