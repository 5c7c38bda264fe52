import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.store import BEFORE_LISTING, VENUE_EMPTY, Hole, Lease, Store
from bybit.store.coverage import join_holes
from tests.bybit.store.examples import KEY, MINUTE_MS, START_MS, TTL, candles, minutes

_numbers = itertools.count()
_SPAN = 40
spans = st.tuples(st.integers(0, _SPAN - 1), st.integers(1, 15)).map(lambda pair: (pair[0], pair[0] + pair[1]))
writes = st.lists(st.tuples(spans, st.booleans(), st.sets(st.integers(0, _SPAN + 15))), min_size=1, max_size=6)


def _runs(found: set[int]) -> list[tuple[int, int]]:
    edges = sorted(found)
    starts = [m for m in edges if m - 1 not in found]
    ends = [m + 1 for m in edges if m + 1 not in found]
    return list(zip(starts, ends, strict=True))


@settings(
    max_examples=40,
    deadline=None,
    # One store serves all examples: each has a symbol of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=writes, asked=spans)
def test_coverage_and_holes_agree_with_a_set_of_minutes(
    long_lived_store: Store,
    steps: list[tuple[tuple[int, int], bool, set[int]]],
    asked: tuple[int, int],
) -> None:
    store = long_lived_store
    symbol = f"T{next(_numbers)}USDT"
    key = SeriesKey(Category.LINEAR, symbol, PriceType.LAST, Interval.MINUTE_1)
    lease = store.leases.take(symbol, "test", TTL)
    rows: set[int] = set()
    covered: set[int] = set()
    holes: dict[int, str] = {}
    for n, ((start, end), claims, chosen) in enumerate(steps):
        here = {m for m in chosen if start <= m < end}
        reason = VENUE_EMPTY if n % 2 else "maintenance"
        if claims:
            # Rows stored by an earlier step stay: a claim need not repeat them, and a hole must not deny them.
            empty = set(range(start, end)) - here - rows
            found = [Hole(minutes(a, b), reason) for a, b in _runs(empty)]
            store.candles.write(key, candles(sorted(here)), minutes(start, end), found, lease)
            covered |= set(range(start, end))
            holes = {m: r for m, r in holes.items() if not start <= m < end} | dict.fromkeys(empty, reason)
        else:
            store.candles.write(key, candles(sorted(here)), None, [], lease)
            holes = {m: r for m, r in holes.items() if m not in here}
        rows |= here
    known = [((a - START_MS) // MINUTE_MS, (b - START_MS) // MINUTE_MS) for a, b in store.coverage.known(key)]
    assert known == _runs(covered)
    stored = {
        (hole.period.start_ms - START_MS) // MINUTE_MS + i: hole.reason
        for hole in store.coverage.holes(key)
        for i in range((hole.period.end_ms - hole.period.start_ms) // MINUTE_MS)
    }
    assert stored == holes
    n_runs = sum(len(_runs({m for m in holes if holes[m] == reason})) for reason in set(holes.values()))
    assert len(store.coverage.holes(key)) == n_runs
    missing = store.coverage.missing(key, minutes(*asked))
    assert missing == [minutes(a, b) for a, b in _runs(set(range(*asked)) - covered)]
    times = store.candles.read(key, minutes(0, _SPAN + 20)).index.asi8
    assert set(((times - START_MS) // MINUTE_MS).tolist()) == rows
    # Nothing is called complete without a row or a reason.
    assert covered <= rows | set(holes)


def test_nothing_is_known_of_a_series_nobody_has_written(store: Store) -> None:
    assert store.coverage.known(KEY) == []
    assert store.coverage.holes(KEY) == []
    assert store.coverage.missing(KEY, minutes(0, 5)) == [minutes(0, 5)]
    assert store.series.list() == []


def test_what_is_known_can_be_cut_to_a_period(store: Store, lease: Lease) -> None:
    store.candles.write(KEY, candles(range(10)), minutes(0, 10), [], lease)
    assert store.coverage.known(KEY, minutes(4, 20)) == [minutes(4, 10).span_ms]
    assert store.coverage.known(KEY, minutes(10, 20)) == []


def test_a_hole_that_runs_over_two_writes_is_one_hole_with_the_weaker_evidence(store: Store, lease: Lease) -> None:
    early = {"confirmations": 3, "first_asked": "2025-03-02T00:00:00+00:00", "last_asked": "2025-03-02T00:00:05+00:00"}
    late = {"confirmations": 2, "first_asked": "2025-03-02T00:00:01+00:00", "last_asked": "2025-03-02T00:00:09+00:00"}
    store.candles.write(KEY, candles([0]), minutes(0, 5), [Hole(minutes(1, 5), VENUE_EMPTY, early)], lease)
    store.candles.write(KEY, candles([8]), minutes(5, 9), [Hole(minutes(5, 8), VENUE_EMPTY, late)], lease)
    merged = {"confirmations": 2, "first_asked": early["first_asked"], "last_asked": late["last_asked"]}
    assert store.coverage.holes(KEY) == [Hole(minutes(1, 8), VENUE_EMPTY, merged)]


def test_holes_of_different_reasons_stay_apart() -> None:
    parts = [Hole(minutes(3, 5), VENUE_EMPTY), Hole(minutes(0, 3), BEFORE_LISTING, {"launch_time": "x"})]
    assert join_holes(parts) == parts[::-1]
    told_differently = [Hole(minutes(0, 1), BEFORE_LISTING, {"launch_time": t}) for t in "xy"]
    assert len(join_holes([told_differently[0], Hole(minutes(1, 2), BEFORE_LISTING, {"launch_time": "y"})])) == 2


def test_a_row_that_turns_up_in_a_hole_splits_it(store: Store, lease: Lease) -> None:
    store.candles.write(KEY, candles([0]), minutes(0, 9), [Hole(minutes(1, 9), VENUE_EMPTY)], lease)
    store.candles.write(KEY, candles([4]), None, [], lease)
    assert [hole.period for hole in store.coverage.holes(KEY)] == [minutes(1, 4), minutes(5, 9)]
    assert store.coverage.missing(KEY, minutes(0, 9)) == []
    assert [hole.period for hole in store.coverage.holes(KEY, minutes(6, 7))] == [minutes(5, 9)]
