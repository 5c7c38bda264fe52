"""What a back-test makes of the candles with which the venue fills the time in which it was closed."""

import numpy as np
import pandas as pd

from bybit.rules.availability import Closure, Product
from bybit.rules.candles import Interval
from bybit.rules.periods import Period
from tasks.backtests import traded

START = pd.Timestamp("2025-07-01T06:00:00Z")


def minutes(n: int, silent: list[int]) -> pd.DataFrame:
    volume = np.ones(n)
    volume[silent] = 0
    index = pd.date_range(START, periods=n, freq="min", unit="ms", name="open_time")
    return pd.DataFrame({"close": 100.0, "volume": volume}, index=index)


def closure(first: int, last: int) -> Closure:
    period = Period(
        (START + pd.Timedelta(minutes=first)).to_pydatetime(), (START + pd.Timedelta(minutes=last)).to_pydatetime()
    )
    return Closure("n1", "upgrade", period, frozenset({Product.FUTURES}))


def test_silent_candles_of_a_closure_are_left_out_and_all_others_stay() -> None:
    candles = minutes(60, silent=[3, *range(20, 30)])
    left = traded(candles, Interval.MINUTE_1, [closure(20, 28)])
    kept = [place for place in range(60) if place not in range(20, 28)]
    pd.testing.assert_frame_equal(left, candles.iloc[kept])


def test_what_was_traded_stays_whatever_was_announced() -> None:
    candles = minutes(60, silent=[])
    pd.testing.assert_frame_equal(traded(candles, Interval.MINUTE_1, [closure(20, 28)]), candles)


def test_without_a_closure_the_candles_are_the_stored_ones() -> None:
    candles = minutes(60, silent=[*range(60)])
    assert traded(candles, Interval.MINUTE_1, []) is candles
