from datetime import timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.funding import average_premium, funding_payment, funding_rate_from_premium, interest_rate
from tests.bybit.rules.amounts import derivatives, prices, rates, sizes


@given(sizes, prices, rates, derivatives)
def test_a_positive_rate_moves_cash_from_longs_to_shorts(size: D, mark: D, rate: D, category: Category) -> None:
    payment = funding_payment(size, mark, rate, category)
    assert (payment < 0) == (size * rate > 0)
    assert payment == -funding_payment(-size, mark, rate, category)


def test_the_recorded_settlement_comes_out_to_the_last_digit() -> None:
    assert funding_payment(D(100), D("0.3676"), D("0.0001")) == D("-0.003676")


def test_an_inverse_settlement_is_paid_in_coin() -> None:
    assert funding_payment(D(58000), D(58000), D("0.0001"), Category.INVERSE) == D("-0.0001")


def test_a_flat_account_pays_nothing() -> None:
    assert funding_payment(D(0), D(50000), D("0.01")) == 0


def test_spot_has_no_funding() -> None:
    with pytest.raises(InvalidInput, match="spot"):
        funding_payment(D(1), D(50000), D("0.01"), Category.SPOT)


@pytest.mark.parametrize("mark", ["0", "-1", "NaN", "Infinity"])
def test_a_mark_price_that_is_none_is_refused(mark: str) -> None:
    with pytest.raises(InvalidInput, match="price"):
        funding_payment(D(1), D(mark), D("0.01"))


@pytest.mark.parametrize(("hours", "rate"), [(8, "0.0001"), (4, "0.00005"), (1, "0.0000125")])
def test_interest_is_shared_out_over_the_day(hours: int, rate: str) -> None:
    assert interest_rate(timedelta(hours=hours)) == D(rate)


@given(st.decimals(D("-0.02"), D("0.02"), places=7))
def test_the_rate_stays_near_the_premium_and_within_the_limits(premium: D) -> None:
    interest, lower, upper = D("0.0001"), D("-0.005"), D("0.005")
    rate = funding_rate_from_premium(premium, interest, lower, upper)
    assert lower <= rate <= upper
    if abs(interest - premium) <= D("0.0005"):
        assert rate == interest
    elif lower < rate < upper:
        assert abs(rate - premium) == D("0.0005")


def test_reversed_limits_are_refused() -> None:
    with pytest.raises(InvalidInput, match="reversed"):
        funding_rate_from_premium(D(0), D("0.0001"), D("0.005"), D("-0.005"))


def test_later_minutes_weigh_more() -> None:
    assert average_premium([D(0), D(0), D("0.0006")]) == D("0.0003")
    assert average_premium([D("0.0006"), D(0), D(0)]) == D("0.0001")
    with pytest.raises(InvalidInput, match="at least one"):
        average_premium([])
