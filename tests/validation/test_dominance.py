import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.dominance import dominance
from validation.errors import NotComputable

coarse = st.lists(st.integers(-4, 4), min_size=1, max_size=12)
fine = st.lists(st.floats(-1.0, 1.0, allow_subnormal=False), min_size=1, max_size=12)


def at_every_jump(sample: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return d and its running integral at all jumps of both, as the definition says."""
    x = np.unique(np.concatenate([sample, reference]))
    d = (reference[None, :] <= x[:, None]).mean(axis=1) - (sample[None, :] <= x[:, None]).mean(axis=1)
    return d, np.concatenate([[0.0], np.cumsum(d[:-1] * np.diff(x))])


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[float], list[float]]:
    """A reference of anything, and a sample of anything or of the reference's own values, some of them better."""
    reference = draw(st.one_of(coarse, fine))
    if draw(st.booleans()):
        return draw(st.one_of(coarse, fine)), reference
    picked = reference * draw(st.integers(1, 2)) if draw(st.booleans()) else draw(st.permutations(reference))[:4]
    return [value + draw(st.integers(0, 1)) for value in picked], reference


@given(pairs())
def test_the_turning_points_show_what_every_jump_would(pair: tuple[list[float], list[float]]) -> None:
    sample, reference = (np.array(values, dtype=float) for values in pair)
    d, integral = at_every_jump(sample, reference)
    result = dominance(sample, reference)
    assert result.max_violation == max(0.0, -d.min())
    assert result.first_order == (d.min() >= 0.0 and d.max() > 0.0)
    assert result.lowest_integral == pytest.approx(integral.min(), abs=1e-13)
    if abs(integral.min()) > 1e-12 or integral.min() == 0.0:
        assert result.second_order == (integral.min() >= 0.0)
    assert result.final_integral == pytest.approx(sample.mean() - reference.mean(), abs=1e-13)


def test_more_is_better_at_first_order() -> None:
    result = dominance(np.array([2.0, 3.0]), np.array([1.0, 3.0]))
    assert (result.first_order, result.second_order, result.max_violation) == (True, True, 0.0)


def test_an_advantage_between_two_crossings_is_seen() -> None:
    # Only at 2 is d above 0: neither a jump of the sample nor where d passes 0.
    assert dominance(np.array([1.0, 3.0]), np.array([1.0, 1.0, 2.0, 3.0])).first_order


def test_the_same_distribution_does_not_dominate_itself_at_first_order() -> None:
    result = dominance(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0]))
    assert not result.first_order
    assert result.second_order


def test_less_spread_around_the_same_mean_is_better_at_second_order_only() -> None:
    result = dominance(np.array([-1.0, 1.0]), np.array([-2.0, 2.0]))
    assert (result.first_order, result.second_order) == (False, True)
    assert result.max_violation == 0.5


def test_an_advantage_that_comes_after_a_disadvantage_is_no_dominance() -> None:
    result = dominance(np.array([-2.0, 5.0]), np.array([-1.0, 1.0]))
    assert (result.first_order, result.second_order) == (False, False)
    assert result.lowest_integral == -0.5


def test_nothing_dominates_nothing() -> None:
    with pytest.raises(NotComputable, match="empty"):
        dominance(np.zeros(0), np.ones(3))
