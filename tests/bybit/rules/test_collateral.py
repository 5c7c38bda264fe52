from decimal import Decimal as D

import pytest

from bybit.rules.collateral import borrow_interest, collateral_value
from bybit.rules.errors import InvalidInput

TIERS = [(D(10), D("0.98")), (D(20), D("0.95")), (None, D(0))]


def test_each_slice_counts_at_its_own_ratio() -> None:
    assert collateral_value(D(10), D(50000), TIERS) == D(490000)
    assert collateral_value(D(15), D(50000), TIERS) == D(727500)
    assert collateral_value(D(999), D(1), TIERS) == D("19.3")


def test_a_debt_counts_in_full() -> None:
    assert collateral_value(D(-2), D(50000), TIERS) == -100000


def test_a_balance_above_the_table_is_refused() -> None:
    with pytest.raises(InvalidInput, match="ends at 20"):
        collateral_value(D(21), D(1), TIERS[:2])


def test_interest_counts_started_hours() -> None:
    assert borrow_interest(D(12000), D("0.0002"), 2) == D("0.2")
    with pytest.raises(InvalidInput):
        borrow_interest(D(1), D(1), -1)
