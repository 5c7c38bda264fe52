import dataclasses
from datetime import timedelta

import numpy as np
import pytest

from bybit.backtest.portfolio import combine
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period
from tests.bybit.backtest.markets import START, Scripted, engine, flat, funding, instrument, ladder, market, period

SYMBOLS = ("WIFUSDT", "ETHUSDT")


def sub_account(symbol, rows, target, *, capital=500.0, **changes):
    data = market(
        rows,
        symbol=symbol,
        instrument=instrument(symbol),
        risk_tiers=ladder(symbol=symbol),
        settlements=funding((1, "0.001"), symbol=symbol),
    )
    data = dataclasses.replace(data, **changes)
    return engine(Scripted(target), capital).run(data, period(data))


def test_the_portfolio_is_the_sum_of_its_accounts():
    rows = [(100 + i, 102 + i, 99 + i, 101 + i) for i in range(30)]
    parts = [sub_account(symbol, rows, [side] * 20 + [0] * 9) for symbol, side in zip(SYMBOLS, (1, -0.5), strict=True)]
    whole = combine(parts)
    assert whole.symbol == "WIFUSDT+ETHUSDT"
    assert whole.initial_capital == 1_000.0
    np.testing.assert_allclose(whole.equity, parts[0].equity + parts[1].equity)
    assert whole.costs.net == pytest.approx(whole.equity[-1] - 1_000.0)
    assert whole.metrics["n_trades"] == 2
    assert whole.metrics["net_return"] == pytest.approx(whole.equity[-1] / 1_000.0 - 1)
    assert set(whole.fills["symbol"]) == set(SYMBOLS)
    assert whole.fills["fill_time"].is_monotonic_increasing
    assert whole.provenance["symbols"] == list(SYMBOLS)
    assert set(whole.provenance["data_versions"]) == set(SYMBOLS)


def test_closes_that_one_account_lacks_keep_its_last_value():
    gap = Period(START, START + timedelta(hours=2))
    rows = flat(100.0, 1) + [(100 + i, 102 + i, 99 + i, 101 + i) for i in range(6)]
    full = sub_account("WIFUSDT", rows, [1] * 5 + [0])
    data = market(rows).candles
    late = sub_account("ETHUSDT", rows, [1] * 3 + [0], candles=data.drop(data.index[1:3]), gaps=(gap,))
    whole = combine([full, late])
    np.testing.assert_allclose(whole.equity[:2], full.equity[:2] + 500.0)
    np.testing.assert_allclose(whole.equity[2:], full.equity[2:] + late.equity)
    assert whole.assumptions["absent_candles_in_allowed_gaps"] == 2
    # Candle numbers follow the portfolio's own grid.
    entered = whole.trades.set_index("symbol")["entry_candle"]
    assert (entered["WIFUSDT"], entered["ETHUSDT"]) == (0, 2)


def test_one_result_stays_itself():
    only = sub_account("WIFUSDT", flat(100.0, 4), [1, 1, 0])
    assert combine([only]) is only


def test_what_does_not_belong_together_is_refused():
    a = sub_account("WIFUSDT", flat(100.0, 4), [1, 1, 0])
    b = sub_account("ETHUSDT", flat(100.0, 5), [1, 1, 0, 0])
    with pytest.raises(InvalidInput, match="at least one"):
        combine([])
    with pytest.raises(InvalidInput, match="twice"):
        combine([a, a])
    with pytest.raises(InvalidInput, match="different periods"):
        combine([a, b])


def test_assumptions_are_added_or_listed():
    words = [{"n": 2, "day": "2024"}, {"n": 3, "day": "2025", "only": "x"}]
    parts = [
        dataclasses.replace(sub_account(symbol, flat(100.0, 4), [1, 1, 0]), assumptions=found)
        for symbol, found in zip(SYMBOLS, words, strict=True)
    ]
    assert combine(parts).assumptions == {"n": 5, "day": "WIFUSDT: 2024; ETHUSDT: 2025", "only": "x"}
