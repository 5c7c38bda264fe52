from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from bybit.history.lifetime import Lifetime, by_life
from bybit.rules.periods import merge_spans
from bybit.store import AFTER_DELISTING, BEFORE_LISTING, Hole
from tests.bybit.store.examples import START, instrument, minutes

bounds = st.one_of(st.none(), st.integers(0, 60))
spans = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)).map(lambda pair: (pair[0], sum(pair))), max_size=4)


@given(spans.map(merge_spans), bounds, bounds)
def test_every_instant_falls_on_one_side_of_a_life(
    wanted: list[tuple[int, int]], first: int | None, last: int | None
) -> None:
    before, alive, after = ([t for span in part for t in range(*span)] for part in by_life(wanted, first, last))
    assert sorted([*before, *alive, *after]) == [t for span in wanted for t in range(*span)]
    assert all(first is not None and t < first for t in before)
    assert all((first is None or t >= first) and (last is None or t < last) for t in alive)
    assert all(last is not None and t >= last for t in after)


def test_the_reason_of_a_lifeless_span_comes_with_its_bound() -> None:
    end = START + timedelta(days=9)
    life = Lifetime.of(instrument(launch=START, delivery_time=end))
    assert life.before(minutes(-5, 0).span_ms) == Hole(
        minutes(-5, 0), BEFORE_LISTING, {"launch_time": START.isoformat()}
    )
    assert life.after(minutes(20_000, 20_001).span_ms).reason == AFTER_DELISTING
    assert Lifetime.of(instrument()) == Lifetime(None, None)
