import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.errors import InvalidInput
from validation.errors import NotComputable
from validation.stability import neighbourhood

Trials = list[tuple[dict[str, Any], float | None]]


def grid(scores: dict[tuple[int, float], float | None]) -> Trials:
    return [({"fast": fast, "band": band}, score) for (fast, band), score in scores.items()]


# Steps are uneven on purpose: 5, 10, 40 are neighbours in the grid, not on the number line.
PLATEAU = {(fast, band): 1.0 for fast in (5, 10, 40, 80) for band in (0.1, 0.2, 0.5)}


def test_neighbours_are_a_step_away_in_the_grid_that_was_tried() -> None:
    scores = {at: float(i) for i, at in enumerate(PLATEAU)}
    # Around (10, 0.2), the fifth: all of fast 5, 10, 40, but not itself.
    result = neighbourhood(grid(scores), {"fast": 10, "band": 0.2})
    assert (result.chosen, result.n_neighbours) == (4.0, 8)
    assert (result.median, result.worst) == (4.0, 0.0)
    assert result.share_positive == 7 / 8
    assert result.retained == 1.0


def test_a_corner_has_fewer_neighbours_and_a_wider_radius_more() -> None:
    corner = {"fast": 5, "band": 0.1}
    assert neighbourhood(grid(PLATEAU), corner).n_neighbours == 3
    assert neighbourhood(grid(PLATEAU), corner, radius=2).n_neighbours == 8
    assert neighbourhood(grid(PLATEAU), corner, radius=3).n_neighbours == 11


def test_a_spike_is_told_from_a_plateau() -> None:
    middle = {"fast": 10, "band": 0.2}
    spike = {at: -0.5 for at in PLATEAU} | {(10, 0.2): 2.0}
    assert neighbourhood(grid(PLATEAU), middle).retained == 1.0
    result = neighbourhood(grid(spike), middle)
    assert (result.retained, result.share_positive, result.worst) == (-0.25, 0.0, -0.5)


@given(st.permutations(list(PLATEAU)))
def test_the_order_of_the_trials_does_not_matter(order: list[tuple[int, float]]) -> None:
    scores = {at: at[0] * at[1] for at in order}
    straight = {at: at[0] * at[1] for at in PLATEAU}
    chosen = {"fast": 40, "band": 0.5}
    assert neighbourhood(grid(scores), chosen) == neighbourhood(grid(straight), chosen)


def test_a_choice_that_is_no_number_is_no_step() -> None:
    trials: Trials = [
        ({"fast": fast, "mode": mode, "flip": flip}, 1.0)
        for fast in (1, 2, 3)
        for mode in ("a", "b")
        for flip in (False, True)
    ]
    assert neighbourhood(trials, {"fast": 2, "mode": "a", "flip": True}).n_neighbours == 2


def test_a_score_that_does_not_beat_zero_retains_nothing_that_could_be_named() -> None:
    assert neighbourhood(grid(dict.fromkeys(PLATEAU, -1.0)), {"fast": 10, "band": 0.2}).retained is None
    assert neighbourhood(grid(dict.fromkeys(PLATEAU, 0.0)), {"fast": 10, "band": 0.2}).retained is None


@pytest.mark.parametrize("score", [None, math.nan, -math.inf])
@pytest.mark.parametrize("at", [(10, 0.2), (5, 0.1)])
def test_a_neighbour_without_a_score_is_not_left_out(at: tuple[int, float], score: float | None) -> None:
    with pytest.raises(NotComputable, match="has the score"):
        neighbourhood(grid(PLATEAU | {at: score}), {"fast": 10, "band": 0.2})


def test_a_distant_trial_without_a_score_does_not_matter() -> None:
    assert neighbourhood(grid(PLATEAU | {(80, 0.1): None}), {"fast": 10, "band": 0.2}).n_neighbours == 8


def test_a_lonely_trial_has_no_neighbourhood() -> None:
    with pytest.raises(NotComputable, match="no neighbour"):
        neighbourhood(grid({(5, 0.1): 1.0}), {"fast": 5, "band": 0.1})


@pytest.mark.parametrize(
    ("trials", "chosen", "words"),
    [
        (grid(PLATEAU), {"fast": 11, "band": 0.2}, "0 times"),
        (grid(PLATEAU) + grid({(10, 0.2): 1.0}), {"fast": 10, "band": 0.2}, "2 times"),
        (grid(PLATEAU) + grid({(5, 0.2): 1.0}), {"fast": 10, "band": 0.2}, "more than once"),
        (grid(PLATEAU), {"fast": 10}, "like with like"),
    ],
)
def test_trials_that_do_not_hold_the_chosen_once_are_refused(
    trials: Trials, chosen: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        neighbourhood(trials, chosen)


def test_a_radius_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="radius"):
        neighbourhood(grid(PLATEAU), {"fast": 10, "band": 0.2}, radius=0)
