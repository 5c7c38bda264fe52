"""A reviewer's ends of an account: what the last, forced close may cost, and what it may not hide."""

import math

import numpy as np
import pytest

from bybit.backtest.records import CASH, DONE, FEE_MISSING, VOLUME_MISSING, Fees
from tests.bybit.backtest.accounts import HOUR, NAN, START, column, flat, simulate, symbol, table


def ruined(volume, **terms):
    """Return an account short 50 that funding takes everything from in its second candle."""
    market = symbol(flat(100.0, 3), [-5.0] * 3, volume=[1e9, volume, 1e9], settlements=[(1, -3.0, 100.0)])
    return simulate(market, **terms)


@pytest.mark.parametrize("volume", [1e-3, 0.0])
def test_a_forced_close_moves_the_price_no_more_than_the_whole_volume_would(volume):
    result = ruined(volume, impact=0.5, participation=1.0)
    assert (result.status, result.ruined) == (DONE, 1)
    assert column(result, "fills", "price")[-1] == pytest.approx(150.0)
    assert result.account[CASH] == pytest.approx(1_000.0 - 15_000.0 - 2_500.0)


def test_a_forced_close_without_a_known_volume_is_refused_as_any_other_fill():
    result = ruined(NAN, impact=0.5, participation=1.0)
    assert (result.status, result.where) == (VOLUME_MISSING, 1)


def test_a_forced_close_without_an_established_fee_is_refused_as_any_other_fill():
    rates = np.array([[[0.0005, math.nan]]])
    result = ruined(1e9, fees=Fees(np.array([0, START + HOUR]), rates, rates, np.zeros(1)))
    assert (result.status, result.where) == (FEE_MISSING, 1)
    assert len(table(result, "fills")) == 2
