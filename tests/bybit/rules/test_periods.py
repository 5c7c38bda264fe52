from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period, merge_spans, parse_time, subtract_spans, to_ms, utc

T0 = 1_600_000_000_000
milliseconds = st.integers(T0, T0 + 400 * 86_400_000)
spans = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)


def instants(parts: list[tuple[int, int]]) -> set[int]:
    return {t for start, end in parts for t in range(start, end)}


@given(milliseconds)
def test_milliseconds_survive_the_way_to_a_datetime_and_back(ms: int) -> None:
    assert to_ms(utc(ms)) == to_ms(ms) == ms


def test_another_zone_means_the_same_instant() -> None:
    eastern = datetime(2025, 1, 1, 3, tzinfo=timezone(timedelta(hours=3)))
    assert to_ms(eastern) == to_ms(datetime(2025, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("wrong", [1735693200, 1735693200_000_000, -1, 0, True])
def test_seconds_and_microseconds_are_not_taken_for_milliseconds(wrong: int) -> None:
    with pytest.raises(InvalidInput, match="milliseconds"):
        to_ms(wrong)


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(InvalidInput, match="time zone"):
        to_ms(datetime(2025, 1, 1))  # noqa: DTZ001  the point of the test


def test_text_without_a_zone_is_read_as_utc() -> None:
    assert parse_time("2025-01-31") == datetime(2025, 1, 31, tzinfo=UTC)
    assert parse_time("2025-01-31T08:00:00+02:00") == datetime(2025, 1, 31, 6, tzinfo=UTC)
    with pytest.raises(InvalidInput, match="ISO"):
        parse_time("31.01.2025")


@given(milliseconds, milliseconds)
def test_a_period_is_never_empty(start: int, end: int) -> None:
    if start < end:
        assert Period.from_ms(start, end).span_ms == (start, end)
    else:
        with pytest.raises(InvalidInput, match="not after its start"):
            Period.from_ms(start, end)


@given(st.lists(milliseconds, min_size=4, max_size=4, unique=True))
def test_the_overlap_is_what_both_contain(bounds: list[int]) -> None:
    first, second = Period.from_ms(*sorted(bounds[:2])), Period.from_ms(*sorted(bounds[2:]))
    shared = first.overlap(second)
    assert shared == second.overlap(first)
    start, end = max(first.start_ms, second.start_ms), min(first.end_ms, second.end_ms)
    assert (shared is None) == (start >= end)
    if shared is not None:
        assert first.contains(shared)
        assert second.contains(shared)
        assert shared.span_ms == (start, end)


def test_periods_that_touch_do_not_overlap() -> None:
    assert Period.from_ms(T0, T0 + 1).overlap(Period.from_ms(T0 + 1, T0 + 2)) is None


@given(milliseconds, st.integers(1, 300 * 86_400_000), st.integers(1, 9))
def test_the_parts_of_a_split_follow_each_other_and_cover_the_whole(start: int, length: int, n_parts: int) -> None:
    whole = Period.from_ms(start, start + length)
    if length < n_parts:
        with pytest.raises(InvalidInput):
            whole.split(n_parts)
        return
    parts = whole.split(n_parts)
    assert len(parts) == n_parts
    assert (parts[0].start, parts[-1].end) == (whole.start, whole.end)
    assert all(a.end == b.start for a, b in pairwise(parts))


def test_a_long_period_is_cut_at_midnight() -> None:
    parts = Period(parse_time("2024-01-01T05:00"), parse_time("2024-03-01T05:00")).split(3)
    assert [part.start.hour for part in parts[1:]] == [0, 0]
    assert str(parts[0]) == "2024-01-01T05:00..2024-01-21"


def test_no_part_at_all_is_refused() -> None:
    with pytest.raises(InvalidInput, match="1 part or more"):
        Period.from_ms(T0, T0 + 5).split(0)


@given(spans)
def test_merged_spans_hold_the_same_instants_and_do_not_touch(parts: list[tuple[int, int]]) -> None:
    merged = merge_spans(parts)
    assert instants(merged) == instants(parts)
    assert all(start < end for start, end in merged)
    assert all(a[1] < b[0] for a, b in pairwise(merged))


@given(spans, spans)
def test_what_is_missing_is_wanted_and_not_known(wanted: list[tuple[int, int]], known: list[tuple[int, int]]) -> None:
    missing = subtract_spans(wanted, known)
    assert instants(missing) == instants(wanted) - instants(known)
    assert all(start < end for start, end in missing)
    assert missing == sorted(missing)
