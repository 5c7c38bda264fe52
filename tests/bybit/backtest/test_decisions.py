"""What becomes of a strategy's signals before orders are made of them."""

from datetime import timedelta

import numpy as np
import pytest

from bybit.backtest.decisions import orders
from bybit.backtest.errors import UnusableData
from bybit.backtest.market import prepare
from bybit.backtest.records import POST_ONLY, REDUCE_ONLY
from bybit.strategies import Signals
from tests.bybit.backtest.markets import START, flat, instrument, market, period

NAN = float("nan")


def prepared(n=4, **changes):
    data = market(flat(100.0, n), **changes)
    return prepare(data, period(data), 1, "exact")


def test_what_is_decided_at_a_close_holds_in_the_candle_after_it():
    part = prepared()
    found = orders(Signals(np.array([1.0, 2.0, 3.0, 4.0]), stop_price=np.array([9.0, 8.0, 7.0, 6.0])), part)
    # One warm-up candle and three traded ones: the decision at the last close is never acted on.
    assert found.target.tolist() == [1.0, 2.0, 3.0]
    assert found.prices["stop"].tolist() == [9.0, 8.0, 7.0]
    assert found.close.tolist() == [100.0] * 3
    assert set(found.prices) == {"stop"}
    assert found.flags is None


def test_without_warm_up_the_first_candle_knows_nothing():
    data = market(flat(100.0, 4))
    part = prepare(data, period(data, START - timedelta(hours=1)), 0, "exact")
    found = orders(Signals(np.arange(4.0), post_only=np.zeros(4, bool)), part)
    assert np.isnan(found.target[0])
    assert found.target[1:].tolist() == [0.0, 1.0, 2.0]
    assert np.isnan(found.close[0])
    assert found.flags.tolist() == [POST_ONLY, 0, 0, 0]


def test_flags_may_hold_for_all_candles_or_for_each():
    part, target = prepared(), np.ones(4)
    assert orders(Signals(target, post_only=False), part).flags.tolist() == [0, 0, 0]
    each = np.array([True, False, True, False])
    found = orders(Signals(target, post_only=each, reduce_only=~each), part)
    assert found.flags.tolist() == [POST_ONLY, REDUCE_ONLY, POST_ONLY]
    assert orders(Signals(target, reduce_only=True), part).flags.tolist() == [POST_ONLY | REDUCE_ONLY] * 3


@pytest.mark.parametrize(
    "signals",
    [
        Signals(np.ones(4), trigger_price=np.zeros(4)),
        Signals(np.ones(4), take_profit_price=np.full(4, -1.0)),
        Signals(np.ones(4), trailing_distance=np.full(4, np.inf)),
        Signals(np.ones(4), trailing_distance=np.ones(3)),
        Signals(np.ones(4), post_only=np.ones(4)),
        Signals(np.ones(4), reduce_only=np.ones(3, bool)),
        Signals(np.ones(4), limit_price=np.ones(4), trigger_price=np.array([NAN, NAN, 1.0, NAN])),
    ],
)
def test_signals_that_cannot_be_traded_are_refused(signals):
    with pytest.raises(UnusableData, match="the strategy's"):
        orders(signals, prepared())


def test_a_limit_and_a_trigger_may_take_turns():
    limit, trigger = np.array([1.0, NAN, 1.0, NAN]), np.array([NAN, 1.0, NAN, 1.0])
    found = orders(Signals(np.ones(4), limit_price=limit, trigger_price=trigger), prepared())
    assert np.isnan(found.prices["limit"]).tolist() == [False, True, False]


def test_a_contract_is_left_at_the_last_open_before_its_delivery():
    part = prepared(5, instrument=instrument(delivery_time=START + timedelta(hours=3)))
    found = orders(Signals(np.ones(4), limit_price=np.full(4, 9.0)), part)
    assert found.target.tolist() == [1.0, 1.0, 0.0]
    assert np.isnan(found.prices["limit"]).tolist() == [False, False, True]
