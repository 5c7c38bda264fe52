import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.errors import InvalidInput
from validation.errors import NotComputable
from validation.regimes import UNKNOWN, by_regime, trend_regimes, volatility_regimes


def market(seed: int, n_rows: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.02, n_rows)


def test_calm_and_wild_stretches_are_told_apart() -> None:
    swing = np.tile([1.0, -1.0], 30)
    returns = swing * np.repeat([0.01, 0.05, 0.10], 20)
    labels = volatility_regimes(returns, 4)
    assert set(labels[:4].tolist()) == {UNKNOWN}
    # The four rows after each change still look at both sides of it.
    assert set(labels[4:20].tolist()) == {0}
    assert set(labels[44:].tolist()) == {2}


def test_a_market_that_never_changes_is_calm_throughout() -> None:
    assert set(volatility_regimes(np.zeros(20), 5).tolist()) == {UNKNOWN, 0}


@given(st.integers(0, 999), st.integers(2, 20), st.integers(2, 5))
def test_regimes_are_ordered_by_deviation_and_about_equally_large(seed: int, window: int, n_regimes: int) -> None:
    returns = market(seed)
    labels = volatility_regimes(returns, window, n_regimes)
    deviation = np.array([returns[i - window : i].std(ddof=1) for i in range(window, len(returns))])
    order = np.argsort(deviation)
    known = labels[window:]
    assert (np.diff(known[order]) >= 0).all()
    sizes = np.bincount(known, minlength=n_regimes)
    assert len(sizes) == n_regimes
    assert sizes.max() - sizes.min() <= 2


@given(st.integers(0, 999), st.integers(1, 20))
def test_a_trend_is_told_by_the_rows_before_and_by_no_later_one(seed: int, window: int) -> None:
    returns = market(seed)
    labels = trend_regimes(returns, window)
    for i in range(window, len(returns)):
        assert labels[i] == (returns[i - window : i].sum() > 0.0)
    changed = returns.copy()
    changed[40:] = 9.0
    assert np.array_equal(trend_regimes(changed, window)[:41], labels[:41])
    assert set(labels[:window].tolist()) == {UNKNOWN}


@given(st.integers(0, 999))
def test_every_row_belongs_to_one_regime_and_their_totals_add_up(seed: int) -> None:
    returns = market(seed)
    figures = by_regime(returns, volatility_regimes(market(seed + 1), 10))
    assert [figure.label for figure in figures] == [UNKNOWN, 0, 1, 2]
    assert sum(figure.n_rows for figure in figures) == len(returns)
    assert sum(figure.share_of_rows for figure in figures) == pytest.approx(1.0)
    assert sum(figure.total for figure in figures) == pytest.approx(returns.sum(), abs=1e-12)


def test_figures_of_a_regime_are_those_of_its_rows() -> None:
    first, second, third = by_regime(np.array([0.1, 0.3, 0.5, 0.5, -1.0]), np.array([0, 0, 1, 1, 2]))
    assert (first.total, first.sharpe) == (pytest.approx(0.4), pytest.approx(math.sqrt(2.0)))
    assert (second.sharpe, third.sharpe) == (None, None)


def test_the_shortest_record_has_a_row_for_every_regime() -> None:
    assert len(volatility_regimes(market(1, 13), 10)) == 13
    assert len(trend_regimes(market(1, 11), 10)) == 11
    with pytest.raises(NotComputable, match="too few"):
        volatility_regimes(market(1, 12), 10)
    with pytest.raises(NotComputable, match="too few"):
        trend_regimes(market(1, 10), 10)


def test_what_has_no_meaning_is_refused() -> None:
    for window, n_regimes in ((1, 3), (5, 1)):
        with pytest.raises(InvalidInput):
            volatility_regimes(market(1), window, n_regimes)
    with pytest.raises(InvalidInput, match="shows no trend"):
        trend_regimes(market(1), 0)
    with pytest.raises(InvalidInput, match="one label per return"):
        by_regime(market(1), np.zeros(3, dtype=np.int64))
    with pytest.raises(NotComputable):
        by_regime(np.array([math.nan]), np.zeros(1, dtype=np.int64))
