"""Every kind of signal and every model of slippage from the strategy to the fill. 1,000 USDT, 10x, no slippage."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from bybit.backtest.errors import UnusableData
from bybit.backtest.slippage import Slippage
from bybit.rules.candles import Interval
from bybit.rules.errors import NotEstablished
from bybit.rules.periods import to_ms
from tests.bybit.backtest.markets import START, flat, frame, market, run

NAN = float("nan")


def hours(*rows, **changes):
    """Return hourly candles with the warm-up one in front, at the first row's open."""
    return market(flat(rows[0][0], 1) + list(rows), **changes)


def fills(result):
    return [(row.reason, row.price, row.liquidity) for row in result.fills.itertuples()]


def test_a_trigger_waits_until_its_price_is_reached_and_takes():
    data = hours((100.0, 103.0, 99.0, 102.0), (102.0, 108.0, 101.0, 107.0), *flat(107.0, 1))
    result = run(data, [1, 1, 1], trigger_price=[105.0, 105.0, 105.0])
    assert fills(result) == [("trigger", 105.0, "taker")]


def test_a_take_profit_closes_the_position_at_its_price():
    data = hours(*flat(100.0, 1), (100.0, 106.0, 99.0, 104.0), *flat(104.0, 1))
    result = run(data, [1, 1, 1], take_profit_price=[105.0, 105.0, 105.0])
    assert fills(result)[1:] == [("take_profit", 105.0, "taker")]
    assert result.open_positions.empty


def test_a_trailing_stop_follows_the_best_price():
    data = hours(*flat(100.0, 1), (100.0, 110.0, 100.0, 110.0), (110.0, 110.0, 96.0, 96.0), *flat(96.0, 1))
    result = run(data, [1, 1, 1, 1], trailing_distance=[12.0] * 4)
    assert fills(result)[1:] == [("trailing", 98.0, "taker")]


def test_a_limit_that_would_take_is_refused_when_it_is_post_only_and_takes_when_it_is_not():
    data = hours(*flat(100.0, 3))
    refused = run(data, [1, 1, 1], limit=[101.0] * 3)
    assert (fills(refused), refused.metrics["n_limits_crossed"] > 0) == ([], True)
    assert fills(run(data, [1, 1, 1], limit=[101.0] * 3, post_only=False)) == [("limit", 100.0, "taker")]


def test_an_order_that_reduces_only_never_opens():
    data = hours(*flat(100.0, 3))
    assert run(data, [1, 1, 1], reduce_only=True).fills.empty
    turned = run(data, [1, -1, -1], reduce_only=[False, True, True])
    assert turned.fills["size_after"].tolist()[-1] == 0.0


# Detail candles


def detailed(inside, **changes):
    """Return the hours that 15-minute candles ``inside`` make, the marks as long as these."""
    quarter = Interval.MINUTE_15
    table = np.array(inside).reshape(-1, 4, 4)
    rows = [(q[0, 0], q[:, 1].max(), q[:, 2].min(), q[-1, 3]) for q in table]
    first = float(rows[0][0])
    fine = frame(flat(first, 4) + list(inside), quarter, to_ms(START) - Interval.HOUR_1.ms)
    data = market(flat(first, 1) + rows, mark=flat(first, 1) + rows, **changes)
    return data, dataclasses.replace(
        data, mark=fine, mark_interval=quarter, detail=fine.iloc[4:], detail_interval=quarter
    )


UP_THEN_DOWN = [*flat(100.0, 1), (100.0, 106.0, 100.0, 106.0), (106.0, 106.0, 94.0, 94.0), *flat(94.0, 1)]


def test_detail_candles_decide_what_a_longer_candle_leaves_to_the_worse():
    coarse, fine = detailed([*flat(100.0, 4), *UP_THEN_DOWN, *flat(94.0, 4)])
    terms = {"stop": [95.0] * 3, "take_profit_price": [105.0] * 3}
    guessed, known = (run(data, [1, 1, 1], **terms) for data in (coarse, fine))
    assert fills(guessed)[1] == ("stop", 95.0, "taker")
    assert guessed.assumptions["candles_decided_against_the_account"] == 1
    assert fills(known)[1] == ("take_profit", 105.0, "taker")
    assert "candles_decided_against_the_account" not in known.assumptions
    np.testing.assert_array_equal(known.equity_time_ms, guessed.equity_time_ms)
    assert (known.provenance["detail_interval"], guessed.provenance["detail_interval"]) == ("15m", None)


def test_with_detail_the_strategy_acts_at_its_own_closes_only():
    _, fine = detailed([(100.0 + i, 102.0 + i, 99.0 + i, 101.0 + i) for i in range(12)])
    result = run(fine, [1, 0, 1])
    assert (result.fills["fill_time"] - START).dt.total_seconds().tolist() == [0.0, 3600.0, 7200.0]
    assert result.fills["candle"].tolist() == [0, 1, 2]
    (done,) = result.trades.itertuples()
    assert (done.entry_candle, done.exit_candle) == (0, 1)
    assert len(result.equity) == 3


# Slippage


def test_half_a_spread_and_a_fixed_rate_lose_the_same():
    data = hours(*flat(100.0, 3))
    spread, fixed = (run(data, [1, 0, 0], slippage=make(0.001)) for make in (Slippage.spread, Slippage.fixed))
    assert spread.fills["price"].tolist() == fixed.fills["price"].tolist() == pytest.approx([100.1, 99.9])
    assert spread.provenance["slippage"] == "spread:0.001"


def test_an_order_moves_the_price_by_the_square_of_its_share_of_the_volume():
    data = hours(*flat(100.0, 3))
    data.candles["volume"] = 100.0
    result = run(data, [1, 1, 1], slippage=Slippage.volume_share(0.5, 0.001))
    # 10 of 100 is a tenth: 0.5 x 0.01 + 0.001.
    assert result.fills["price"].tolist() == pytest.approx([100.6])
    assert result.costs.slippage == pytest.approx(6.0)


def test_without_volume_what_depends_on_it_is_refused():
    data = hours(*flat(100.0, 3))
    data.candles["volume"] = np.nan
    for terms in ({"slippage": Slippage.volume_share(0.5)}, {"participation_rate": 0.1}):
        with pytest.raises(UnusableData, match=r"WIFUSDT at 2024-01-01T00:00:00.* has no volume"):
            run(data, [1, 1, 1], **terms)
        with pytest.raises(UnusableData, match="no column 'volume'"):
            run(dataclasses.replace(data, candles=data.candles.drop(columns="volume")), [1, 1, 1], **terms)


def test_an_order_fills_no_more_than_its_share_of_the_volume_and_the_rest_waits():
    data = hours(*flat(100.0, 4))
    data.candles["volume"] = 40.0
    result = run(data, [1, 1, 1, 1], participation_rate=0.1)
    # What is left is sized anew at each close: two fees of it are gone.
    assert result.fills["qty"].tolist() == pytest.approx([4.0, 4.0, 1.9])
    assert result.assumptions["candles_with_too_little_volume"] == result.metrics["n_partial_fills"] == 2


def quoted(data, bid, ask):
    index = data.candles.index[1:]
    return dataclasses.replace(data, quotes=pd.DataFrame({"bid": bid, "ask": ask}, index=index))


def test_market_orders_fill_at_the_recorded_quotes():
    data = quoted(hours(*flat(100.0, 3)), [99.5, 99.7, 99.0], [100.5, 100.3, 101.0])
    result = run(data, [1, 0, 0], slippage=Slippage.quotes())
    assert result.fills["price"].tolist() == pytest.approx([100.5, 99.7])
    assert result.costs.slippage == pytest.approx(10 * 0.8)
    assert result.assumptions["spread_inside_a_candle"] == "that of the quote at its open"


def test_a_fill_without_a_quote_is_refused_unless_a_rate_is_named_and_then_counted():
    data = quoted(hours(*flat(100.0, 3)), [99.5, NAN, 99.0], [100.5, NAN, 101.0])
    with pytest.raises(NotEstablished, match=r"1 fills .* the first of WIFUSDT at 2024-01-01T01:00"):
        run(data, [1, 0, 0], slippage=Slippage.quotes())
    result = run(data, [1, 0, 0], slippage=Slippage.quotes(0.001))
    assert result.fills["price"].tolist() == pytest.approx([100.5, 99.9])
    assert result.assumptions["fills_without_a_quote"] == 1
    # Where nothing is traded nobody needs one.
    assert run(data, [1, 1, 1], slippage=Slippage.quotes()).assumptions.get("fills_without_a_quote") is None


def test_without_a_single_quote_every_fill_that_takes_is_one_without():
    data = hours(*flat(100.0, 3))
    with pytest.raises(NotEstablished, match="2 fills"):
        run(data, [1, 0, 0], slippage=Slippage.quotes())
    assert run(data, [1, 0, 0], slippage=Slippage.quotes(0.0)).assumptions["fills_without_a_quote"] == 2
