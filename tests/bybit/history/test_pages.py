import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.history.pages import gaps, pages, whole_candles
from bybit.rules.candles import Interval
from bybit.store.bulk import ROW
from tests.bybit.store.examples import MINUTE_MS, START_MS


@pytest.mark.parametrize(
    ("interval", "first"),
    [(Interval.MINUTE_1, 0), (Interval.HOUR_4, 0), (Interval.DAY_1, 0), (Interval.MONTH_1, 0)],
)
def test_whole_bounds_stay(interval: Interval, first: int) -> None:
    end = interval.close_ms(interval.close_ms(START_MS + first))
    assert whole_candles(interval, START_MS + first, end) == (START_MS + first, end)


def test_bounds_between_two_candles_move_to_the_next_open() -> None:
    assert whole_candles(Interval.MINUTE_5, START_MS + 1, START_MS + 11 * MINUTE_MS) == (
        START_MS + 5 * MINUTE_MS,
        START_MS + 15 * MINUTE_MS,
    )
    start, end = whole_candles(Interval.HOUR_1, START_MS + 1, START_MS + 2)
    assert start == end


@given(st.lists(st.integers(0, 5000), min_size=2, max_size=6, unique=True), st.integers(1, 1000))
def test_pages_cover_the_spans_exactly_once_and_none_is_too_long(cuts: list[int], n_candles: int) -> None:
    cuts = sorted(cuts)[: len(cuts) // 2 * 2]
    spans = [(START_MS + a * MINUTE_MS, START_MS + b * MINUTE_MS) for a, b in zip(cuts[::2], cuts[1::2], strict=True)]
    cut = list(pages(Interval.MINUTE_1, spans, n_candles))
    wanted = [t for span in spans for t in Interval.MINUTE_1.open_times(*span).tolist()]
    got = [t for page in cut for t in Interval.MINUTE_1.open_times(*page).tolist()]
    assert got == wanted
    assert all(0 < (b - a) // MINUTE_MS <= n_candles for a, b in cut)


def test_months_are_paged_by_the_calendar() -> None:
    end = START_MS + 3 * 366 * 86_400_000
    span = whole_candles(Interval.MONTH_1, START_MS, end)
    cut = list(pages(Interval.MONTH_1, [span], 5))
    assert cut[0][0] == span[0]
    assert cut[-1][1] == span[1]
    assert [len(Interval.MONTH_1.open_times(*page)) for page in cut[:-1]] == [5] * (len(cut) - 1)


def test_neighbouring_candles_that_are_absent_make_one_gap() -> None:
    rows = np.zeros(3, dtype=ROW)
    rows["open_time_ms"] = START_MS + np.asarray([1, 4, 5]) * MINUTE_MS
    found = gaps(Interval.MINUTE_1, (START_MS, START_MS + 8 * MINUTE_MS), rows)
    assert [((a - START_MS) // MINUTE_MS, (b - START_MS) // MINUTE_MS) for a, b in found] == [(0, 1), (2, 4), (6, 8)]
