import math
from collections import Counter
from collections.abc import Callable
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.errors import InvalidInput
from validation.errors import NotComputable
from validation.monte_carlo import (
    MoneyPaths,
    Resampling,
    bootstrap,
    bootstrap_trades,
    means,
    sharpes,
    shuffle_trades,
    sums,
)

IID, CIRCULAR, STATIONARY = Resampling
TRADES = np.array([120.0, -80.0, -80.0, 60.0])


def series(drawn: np.ndarray) -> np.ndarray:
    """Return what was drawn as it is."""
    return drawn


def same(left: MoneyPaths, right: MoneyPaths) -> bool:
    names = ("final_pnl", "max_drawdown", "max_drawdown_fraction")
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)


def path_figures(capital: float, trades: tuple[float, ...]) -> tuple[float, float, float]:
    equity = peak = capital
    deepest = fraction = 0.0
    for pnl in trades:
        equity += pnl
        peak = max(peak, equity)
        deepest, fraction = max(deepest, peak - equity), max(fraction, (peak - equity) / peak)
    return equity - capital, deepest, fraction


simulations: list[Callable[[int, int], MoneyPaths]] = [
    lambda seed, workers: shuffle_trades(TRADES, 1000.0, n_simulations=700, seed=seed, workers=workers),
    *(
        lambda seed, workers, method=method: bootstrap_trades(
            TRADES, 1000.0, method=method, block=2 - (method is IID), n_simulations=700, seed=seed, workers=workers
        )
        for method in Resampling
    ),
]


@pytest.mark.parametrize("simulate", simulations)
def test_the_seed_alone_decides_the_figures_not_the_number_of_workers(
    simulate: Callable[[int, int], MoneyPaths],
) -> None:
    alone = simulate(7, 1)
    assert len(alone.final_pnl) == 700
    assert all(same(alone, simulate(7, workers)) for workers in (1, 2, 3, 8))
    assert not same(alone, simulate(8, 1))


def test_batches_do_not_repeat_each_other() -> None:
    drawn = bootstrap(np.arange(1000.0), series, method=IID, n_simulations=300, seed=1)
    assert len(np.unique(drawn, axis=0)) == 300


def test_every_order_of_the_trades_is_equally_likely() -> None:
    n = 48_000
    ours = shuffle_trades(TRADES, 1000.0, n_simulations=n, seed=3)
    exact = Counter(path_figures(1000.0, order)[1] for order in permutations(TRADES.tolist()))
    assert set(ours.max_drawdown.tolist()) == set(exact)
    for depth, count in exact.items():
        p = count / 24
        assert abs((ours.max_drawdown == depth).mean() - p) < 4 * math.sqrt(p * (1 - p) / n)
    assert set(ours.final_pnl.tolist()) == {20.0}


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=8), st.integers(1, 60), st.integers(0, 99))
def test_a_simulated_account_is_one_that_the_trades_could_have_made(trades: list[int], capital: int, seed: int) -> None:
    ours = shuffle_trades(np.array(trades, dtype=float), float(capital), n_simulations=5, seed=seed)
    # The deepest falls of all: every loss in a row, after every gain or before.
    assert np.array_equal(ours.final_pnl, np.full(5, sum(trades)))
    losses = -sum(pnl for pnl in trades if pnl < 0)
    assert (ours.max_drawdown <= losses).all()
    assert (ours.max_drawdown >= max(0, -min(trades))).all()
    assert (ours.max_drawdown_fraction <= losses / capital).all()
    assert ((ours.max_drawdown_fraction > 0.0) == (losses > 0)).all()


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.integers(0, 99))
def test_figures_of_a_path_are_those_of_the_account_walked_trade_by_trade(trades: list[float], seed: int) -> None:
    values = np.array(trades)
    drawn = bootstrap(values, series, method=IID, n_simulations=3, seed=seed)
    ours = bootstrap_trades(values, 100.0, n_simulations=3, seed=seed)
    for i, row in enumerate(drawn.tolist()):
        final, depth, fraction = path_figures(100.0, tuple(row))
        assert ours.final_pnl[i] == pytest.approx(final, abs=1e-9)
        assert ours.max_drawdown[i] == pytest.approx(depth, abs=1e-9)
        assert ours.max_drawdown_fraction[i] == pytest.approx(fraction, abs=1e-9)


def test_losing_and_being_ruined_are_counted() -> None:
    ours = MoneyPaths(np.array([-1.0, 0.0, 5.0, -9.0]), np.zeros(4), np.array([0.2, 0.0, 1.0, 1.5]))
    assert (ours.share_losing, ours.share_ruined) == (0.5, 0.5)


def test_every_sum_of_independent_draws_comes_up_with_its_probability() -> None:
    values, n = np.array([3.0, -2.0, 1.0]), 54_000
    ours = bootstrap(values, sums, method=IID, length=3, n_simulations=n, seed=5)
    exact = Counter(sum(draw) for draw in product(values.tolist(), repeat=3))
    assert set(ours.tolist()) == set(exact)
    for total, count in exact.items():
        p = count / 27
        assert abs((ours == total).mean() - p) < 4 * math.sqrt(p * (1 - p) / n)


@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 99))
def test_a_circular_block_is_a_run_of_neighbours_and_only_the_last_is_cut(block: int, length: int, seed: int) -> None:
    drawn = bootstrap(np.arange(12.0), series, method=CIRCULAR, block=block, length=length, n_simulations=4, seed=seed)
    assert drawn.shape == (4, length)
    for place in range(1, length):
        if place % block:
            assert np.array_equal(drawn[:, place], (drawn[:, place - 1] + 1) % 12)


@pytest.mark.parametrize(("method", "block"), [(IID, 1), (CIRCULAR, 5), (STATIONARY, 5), (STATIONARY, 2.5)])
def test_every_value_is_drawn_equally_often_so_that_the_mean_stays(method: Resampling, block: float) -> None:
    n = 4_000
    drawn = bootstrap(np.arange(20.0), series, method=method, block=block, n_simulations=n, seed=11)
    for place in (0, 7, 19):
        shares = np.bincount(drawn[:, place].astype(int), minlength=20) / n
        assert np.abs(shares - 0.05).max() < 4.5 * math.sqrt(0.05 * 0.95 / n)


def test_runs_of_a_stationary_bootstrap_have_the_mean_length_asked() -> None:
    n, length, block = 2_000, 200, 8
    drawn = bootstrap(
        np.arange(1000.0), series, method=STATIONARY, block=block, length=length, n_simulations=n, seed=13
    )
    goes_on = drawn[:, 1:] == (drawn[:, :-1] + 1) % 1000
    # A new run begins with probability 1 / 8, and is by chance the next value anyway once in a thousand.
    expected = 1 - (1 / block) * (1 - 1 / 1000)
    assert abs(goes_on.mean() - expected) < 4 * math.sqrt(expected * (1 - expected) / goes_on.size)
    ends = ~goes_on
    # Memory would show: the chance to end is the same whether the run is young or old.
    after_an_end = ends[:, 1:][ends[:, :-1]].mean()
    assert abs(after_an_end - 1 / block) < 0.01


def test_blocks_of_one_are_independent_draws() -> None:
    for method in (CIRCULAR, STATIONARY):
        drawn = bootstrap(np.arange(10.0), series, method=method, block=1, n_simulations=3_000, seed=17)
        follows = (drawn[:, 1:] == (drawn[:, :-1] + 1) % 10).mean()
        assert abs(follows - 0.1) < 4 * math.sqrt(0.09 / drawn[:, 1:].size)


def test_a_block_of_the_whole_record_only_rotates_it() -> None:
    ours = bootstrap(np.arange(10.0), means, method=CIRCULAR, block=10, n_simulations=50, seed=19)
    assert set(ours.tolist()) == {4.5}


def test_statistics_are_those_of_each_series() -> None:
    table = np.array([[1.0, 2.0, 3.0], [0.1, 0.1, 0.1], [-1.0, 0.0, 1.0]])
    assert means(table).tolist() == pytest.approx([2.0, 0.1, 0.0])
    assert sums(table).tolist() == pytest.approx([6.0, 0.3, 0.0])
    assert sharpes(table)[[0, 2]].tolist() == [2.0, 0.0]
    assert math.isnan(sharpes(table)[1])


def test_the_trades_given_are_left_as_they_were() -> None:
    before = TRADES.copy()
    shuffle_trades(TRADES, 1000.0, n_simulations=5, seed=1)
    assert np.array_equal(TRADES, before)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_what_is_missing_or_not_finite_cannot_be_drawn(values: list[float]) -> None:
    array = np.array(values)
    for simulate in (
        lambda: shuffle_trades(array, 1.0, seed=1),
        lambda: bootstrap_trades(array, 1.0, seed=1),
        lambda: bootstrap(array, means, method=IID, seed=1),
    ):
        with pytest.raises(NotComputable):
            simulate()


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_simulations": 0},
        {"workers": 0},
        {"seed": -1},
        {"initial_capital": 0.0},
        {"initial_capital": math.nan},
        {"method": IID, "block": 2},
        {"method": CIRCULAR, "block": 0},
        {"method": CIRCULAR, "block": 5},
        {"method": CIRCULAR, "block": 1.5},
        {"method": STATIONARY, "block": 0.5},
        {"method": STATIONARY, "block": math.nan},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict) -> None:
    with pytest.raises(InvalidInput):
        bootstrap_trades(TRADES, **({"initial_capital": 1.0, "seed": 1, "n_simulations": 5} | wrong))


def test_a_table_is_no_series() -> None:
    with pytest.raises(InvalidInput, match="2 dimensions"):
        bootstrap(np.ones((2, 2)), means, method=IID, seed=1)
    with pytest.raises(InvalidInput, match="0 values"):
        bootstrap(np.ones(2), means, method=IID, length=0, seed=1)
