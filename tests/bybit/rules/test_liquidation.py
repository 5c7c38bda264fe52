from datetime import timedelta
from decimal import Decimal as D
from decimal import localcontext

import pytest
from hypothesis import assume, given

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.liquidation import (
    MARK_BASED_FROM,
    bankruptcy_price,
    cross_inverse_prices_2020,
    effective_extra_margin,
    entry_based_liquidation_price,
    is_liquidated,
    isolated_liquidation_price,
    liquidation_price,
    round_to_tick_against_holder,
)
from bybit.rules.margin import MaintenanceTier, fee_to_close, initial_margin, maintenance_margin
from bybit.rules.positions import notional, unrealized_pnl
from tests.bybit.rules.amounts import derivatives, ladders, leverages, prices, sizes

FLAT_LADDER = [MaintenanceTier(None, D("0.005"), D(0))]


def margin_of(category: Category, entry: D, size: D, leverage: D) -> D:
    return initial_margin(notional(category, size, entry), leverage)


@given(derivatives, prices, sizes, leverages)
def test_the_loss_at_the_bankruptcy_price_is_the_margin(category: Category, entry: D, size: D, leverage: D) -> None:
    margin = margin_of(category, entry, size, leverage)
    price = bankruptcy_price(category, entry, size, margin)
    if price is None:
        # Only a linear long and an inverse short at 1x cannot lose all they put in.
        assert leverage == 1
        assert (size > 0) == (category is Category.LINEAR)
        return
    loss = -unrealized_pnl(category, entry, size, price)
    # Near 1x the price runs off to 0 or infinity and the reciprocal loses digits.
    assert abs(loss - margin) <= D("1e-12") * margin


@given(derivatives, prices, sizes, leverages, ladders())
def test_the_liquidation_price_solves_the_margin_equation(
    category: Category, entry: D, size: D, leverage: D, tiers: list[MaintenanceTier]
) -> None:
    margin = margin_of(category, entry, size, leverage)
    price = liquidation_price(category, entry, size, margin, tiers)
    if price is None:
        return
    value = notional(category, size, price)
    balance = margin + unrealized_pnl(category, entry, size, price)
    assert abs(balance - maintenance_margin(value, tiers)) <= D("1e-12") * max(margin, value)


@given(derivatives, prices, sizes, leverages, ladders())
def test_a_position_is_safe_before_the_liquidation_price_and_lost_after(
    category: Category, entry: D, size: D, leverage: D, tiers: list[MaintenanceTier]
) -> None:
    margin = margin_of(category, entry, size, leverage)
    price = liquidation_price(category, entry, size, margin, tiers)
    step = D("1e-6") if size > 0 else -D("1e-6")
    if price is None:
        far = entry * D("1e-9") if size > 0 else entry * D("1e9")
        assert not is_liquidated(category, entry, size, margin, far, tiers)
        return
    assert not is_liquidated(category, entry, size, margin, price * (1 + step), tiers)
    assert is_liquidated(category, entry, size, margin, price * (1 - step), tiers)


@given(derivatives, prices, sizes, leverages)
def test_liquidation_comes_before_bankruptcy(category: Category, entry: D, size: D, leverage: D) -> None:
    margin = margin_of(category, entry, size, leverage)
    price = liquidation_price(category, entry, size, margin, FLAT_LADDER)
    bust = bankruptcy_price(category, entry, size, margin)
    assume(price is not None and bust is not None)
    assert (price - bust) * size > 0


def test_equality_liquidates() -> None:
    # Margin 10 less the loss of 10 leaves 0 at 90, where maintenance is 0.5 * 90 - 45 = 0.
    exact = [MaintenanceTier(None, D("0.5"), D("45"))]
    assert liquidation_price(Category.LINEAR, D(100), D(1), D(10), exact) == D(90)
    assert is_liquidated(Category.LINEAR, D(100), D(1), D(10), D(90), exact)
    assert not is_liquidated(Category.LINEAR, D(100), D(1), D(10), D("90.000001"), exact)


@pytest.mark.parametrize(
    ("category", "size"),
    [(Category.LINEAR, D(1)), (Category.LINEAR, D(-1)), (Category.INVERSE, D(1000)), (Category.INVERSE, D(-1000))],
)
def test_a_ladder_that_jumps_liquidates_at_its_bound(category: Category, size: D) -> None:
    # Whatever the side, the position enters a tier in which it is long lost: the bound's price is the price.
    entry = D(100)
    value = notional(category, size, entry)
    falls = (size > 0) == (category is Category.LINEAR)
    bound = value * D("0.99") if falls else value * D("1.01")
    mild, harsh = MaintenanceTier(None, D("0.001"), D(0)), MaintenanceTier(None, D("0.5"), D(0))
    low, high = (harsh, mild) if falls else (mild, harsh)
    tiers = [MaintenanceTier(bound, low.maintenance_margin_rate, D(0)), high]
    price = liquidation_price(category, entry, size, value / 10, tiers)
    assert price == (bound / abs(size) if category is Category.LINEAR else abs(size) / bound)


def test_a_long_without_borrowed_money_cannot_be_liquidated_by_a_linear_fall() -> None:
    assert bankruptcy_price(Category.LINEAR, D(100), D(1), D(100)) is None
    assert liquidation_price(Category.LINEAR, D(100), D(1), D(100), FLAT_LADDER) is None
    assert bankruptcy_price(Category.INVERSE, D(100), D(-100), D(1)) is None


def test_the_rule_changes_at_its_day() -> None:
    position = (Category.LINEAR, D(20000), D(1), D(50), FLAT_LADDER)
    before = isolated_liquidation_price(MARK_BASED_FROM - timedelta(milliseconds=1), *position)
    since = isolated_liquidation_price(MARK_BASED_FROM, *position)
    assert before == D(19700)
    assert since is not None
    assert round(since, 2) == D("19698.49")


def test_the_official_short_example_mirrors_the_long() -> None:
    assert entry_based_liquidation_price(Category.LINEAR, D(20000), D(-1), D(50), FLAT_LADDER) == D(20300)


def test_extra_margin_moves_the_entry_based_price_by_its_share_of_the_size() -> None:
    assert entry_based_liquidation_price(Category.LINEAR, D(20000), D(2), D(50), FLAT_LADDER, D(3000)) == D(18200)


@pytest.mark.parametrize("category", [Category.LINEAR, Category.INVERSE])
@pytest.mark.parametrize("side", [1, -1])
def test_added_margin_counts_less_the_fee_it_moves(category: Category, side: int) -> None:
    # Solve margin and reserved fee together, without the shortcut: both depend on the bankruptcy price.
    entry, size, leverage, extra, taker = D(50000), D(10000) * side, D(10), D("0.01"), D("0.00055")
    if category is Category.LINEAR:
        size, extra = D(1) * side, D(500)
    margin = margin_of(category, entry, size, leverage)
    effective = effective_extra_margin(category, size, extra, taker)
    bust = bankruptcy_price(category, entry, size, margin + effective)
    assert bust is not None
    fee_after = notional(category, size, bust) * taker
    fee_before = fee_to_close(category, entry, size, leverage, taker)
    assert abs(effective + fee_after - fee_before - extra) < D("1e-20")


def test_added_margin_needs_the_fee_rate_it_moves() -> None:
    with pytest.raises(InvalidInput, match="taker_rate"):
        isolated_liquidation_price(
            MARK_BASED_FROM, Category.LINEAR, D(20000), D(1), D(50), FLAT_LADDER, extra_margin=D(1)
        )


def test_a_long_is_rounded_up_to_the_tick_and_a_short_down() -> None:
    assert round_to_tick_against_holder(D("5739.08"), D(1), D("0.5")) == D("5739.5")
    assert round_to_tick_against_holder(D("5739.08"), D(-1), D("0.5")) == D("5739.0")
    assert round_to_tick_against_holder(D("5739.5"), D(1), D("0.5")) == D("5739.5")


def test_the_cross_formula_of_2020_is_known_for_a_long_only() -> None:
    with pytest.raises(NotEstablished, match="long only"):
        cross_inverse_prices_2020(D(8000), D(-1), D(1), D("0.005"), D("0.00075"))


def test_a_flat_position_has_no_liquidation_price() -> None:
    with pytest.raises(InvalidInput, match="size 0"):
        liquidation_price(Category.LINEAR, D(100), D(0), D(0), FLAT_LADDER)
    with pytest.raises(InvalidInput, match="at least one"):
        is_liquidated(Category.LINEAR, D(100), D(1), D(1), D(100), [])


@pytest.mark.parametrize(("price", "size"), [("92." + "9" * 46 + "7", D(-181)), ("93." + "0" * 46 + "3", D(181))])
def test_a_price_a_last_digit_off_the_tick_is_on_it(price, size):
    # Scenario 25632 of seed 2: a division fifty digits long left the solved price just below 93.
    with localcontext() as context:
        context.prec = 50
        assert round_to_tick_against_holder(D(price), size, D("0.01")) == D("93")
