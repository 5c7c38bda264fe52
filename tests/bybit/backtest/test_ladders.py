"""The float64 copies of single rules against the ``Decimal`` ones."""

import math
from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.backtest.ladders import liquidation_price
from bybit.backtest.prices import round_price, whole_lots
from bybit.rules import liquidation
from bybit.rules.candles import Category
from bybit.rules.margin import MaintenanceTier, mm_deductions
from bybit.rules.positions import notional


@st.composite
def ladders(draw):
    """Return tiers whose deductions chain, or one in three times do not, as recorded ladders sometimes do."""
    n = draw(st.integers(1, 5))
    bounds = sorted(draw(st.lists(st.integers(100, 100_000), min_size=n - 1, max_size=n - 1, unique=True)))
    rates = sorted(draw(st.lists(st.integers(3, 400), min_size=n, max_size=n, unique=True)))
    uppers, rates = [*map(Decimal, bounds), None], [Decimal(rate) / 1000 for rate in rates]
    deductions = mm_deductions(uppers, rates)
    if draw(st.integers(0, 2)) == 0:
        deductions = [
            deduction * draw(st.sampled_from([Decimal(1), Decimal("0.5"), Decimal(2)])) for deduction in deductions
        ]
    return [MaintenanceTier(*tier) for tier in zip(uppers, rates, deductions, strict=True)]


@given(
    tiers=ladders(),
    lots=st.integers(1, 5_000),
    entry=st.integers(1, 500_000),
    leverage=st.integers(1, 100),
    side=st.sampled_from([1, -1]),
    category=st.sampled_from([Category.LINEAR, Category.INVERSE]),
)
@settings(max_examples=400, deadline=None)
def test_the_liquidation_price_is_that_of_the_rules_on_any_ladder(tiers, lots, entry, leverage, side, category):
    entry_price = Decimal(entry) / 100
    # Inverse contracts count in USD, their ladder in coin.
    qty = Decimal(lots) / 10 * (entry_price if category is Category.INVERSE else 1)
    margin = notional(category, qty, entry_price) / leverage
    exact = liquidation.liquidation_price(category, entry_price, side * qty, margin, tiers)
    upper = np.array([math.inf if tier.max_notional is None else float(tier.max_notional) for tier in tiers])
    rate = np.array([float(tier.maintenance_margin_rate) for tier in tiers])
    deduction = np.array([float(tier.mm_deduction) for tier in tiers])
    inverse = category is Category.INVERSE
    # The Python behind the compiled rule is the same code, and needs no second compilation.
    ours = liquidation_price.py_func(
        inverse, float(qty), float(entry_price), float(margin), float(side), upper, rate, deduction
    )
    if exact is None:
        # A solution at exactly zero may come out a rounding above it: no mark price gets there either way. An inverse
        # short's at infinity likewise.
        assert math.isnan(ours) or ours < 1e-9 * float(entry_price) or ours > 1e9 * float(entry_price)
    elif not (inverse and exact > 10**6 * entry_price):
        assert abs(ours - float(exact)) <= 1e-9 * float(exact) + 1e-12 * float(entry_price)


@given(
    st.integers(1, 10**9), st.sampled_from(["0.1", "0.01", "0.0001", "0.5", "0.000001"]), st.sampled_from([1.0, -1.0])
)
@settings(deadline=None)
def test_a_price_on_a_tick_stays_there_in_both_directions(n_ticks, tick, side):
    price = float(n_ticks * Decimal(tick))
    assert abs(round_price(price, float(tick), side) - price) <= 1e-12 * price


@given(st.floats(0.001, 1e6), st.sampled_from([0.1, 0.01, 0.5]), st.sampled_from([1.0, -1.0]))
@settings(deadline=None)
def test_a_rounded_price_is_at_most_one_tick_away_on_the_side_asked_for(price, tick, side):
    moved = side * (round_price(price, tick, side) - price)
    assert -1e-8 * tick - 1e-12 * price <= moved < tick


@given(st.floats(-20, 20), st.floats(1, 1e7), st.floats(0.001, 1e5), st.sampled_from([0.001, 0.1, 1.0]))
@settings(deadline=None)
def test_lots_are_whole_and_never_worth_more_than_asked_for(exposure, equity, price, step):
    lots = whole_lots(exposure, equity, price, step, False)
    assert lots == round(lots)
    assert lots * exposure >= 0.0
    wanted = abs(exposure) * equity / price / step
    assert wanted - 1.0 - 1e-6 * wanted <= abs(lots) <= wanted * (1 + 1e-12) + 1e-8


def test_a_quantity_exactly_on_a_step_is_not_rounded_down():
    assert whole_lots(0.3, 1.0, 1.0, 0.1, False) == 3.0


def test_an_inverse_contract_is_sized_in_dollars():
    # Twice 0.5 coin at 30,000 dollars each, in contracts of 1 dollar.
    assert whole_lots(2.0, 0.5, 30_000.0, 1.0, True) == 30_000.0
