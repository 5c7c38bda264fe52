from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.positions import average_entry_price, break_even_price, closed_pnl, unrealized_pnl
from tests.bybit.rules.amounts import derivatives, prices, quantities, sizes


@given(derivatives, prices, sizes, prices)
def test_what_a_long_gains_a_short_loses(category: Category, entry: D, size: D, price: D) -> None:
    gain = unrealized_pnl(category, entry, size, price)
    assert gain == -unrealized_pnl(category, entry, -size, price)
    assert (gain > 0) == ((price - entry) * size > 0)


@given(derivatives, st.lists(st.tuples(quantities, prices), min_size=1, max_size=5), prices)
def test_profit_from_the_average_entry_is_the_sum_of_the_fills(
    category: Category, fills: list[tuple[D, D]], price: D
) -> None:
    entry = average_entry_price(category, fills)
    total = sum(qty for qty, _ in fills)
    apart = sum(unrealized_pnl(category, fill_price, qty, price) for qty, fill_price in fills)
    scale = sum(qty / min(fill_price, price) + qty * (fill_price + price) for qty, fill_price in fills)
    assert abs(unrealized_pnl(category, entry, total, price) - apart) <= D("1e-20") * scale
    assert min(p for _, p in fills) * D("0.999999") <= entry <= max(p for _, p in fills) * D("1.000001")


def test_an_inverse_entry_averages_harmonically() -> None:
    entry = average_entry_price(Category.INVERSE, [(D(30000), D(50000)), (D(30000), D(60000))])
    assert round(entry, 6) == D("54545.454545")


def test_a_fill_without_quantity_has_no_average() -> None:
    for fills in ([], [(D(0), D(1))], [(D(-1), D(1))]):
        with pytest.raises(InvalidInput):
            average_entry_price(Category.LINEAR, fills)


@given(prices, sizes)
def test_closing_at_break_even_gains_what_the_fees_cost(entry: D, size: D) -> None:
    taker = D("0.00055")
    open_fee = abs(size) * entry * taker
    price = break_even_price(entry, size, -open_fee, taker)
    closed = closed_pnl(Category.LINEAR, entry, price, size, taker, taker)
    assert abs(closed.net) < D("1e-15") * max(D(1), abs(size) * entry)


def test_break_even_never_assumes_less_than_the_floor() -> None:
    assert break_even_price(D(50000), D(1), D(0), D("0.0001")) == break_even_price(D(50000), D(1), D(0), D("0.00055"))


def test_funding_belongs_to_the_closed_pnl_only_when_it_is_given() -> None:
    without = closed_pnl(Category.LINEAR, D(6000), D(5000), D("-0.4"), D("0.00055"), D("0.00055"))
    assert without.net == D("397.58")
    assert closed_pnl(Category.LINEAR, D(6000), D(5000), D("-0.4"), D("0.00055"), D("0.00055"), D("2.10")).net == D(
        "395.48"
    )
