"""A reviewer's laws that every account obeys, whatever the prices: fairness, scale, mirror, margin modes, detail."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.backtest.records import (
    CASH,
    FUNDING,
    LIQUIDATION_LOSS,
    LOTS,
    MAKER_FEES,
    N_LIQUIDATIONS,
    N_REJECTED,
    REALIZED,
    TAKER_FEES,
    Fees,
)
from tests.bybit.backtest.accounts import NAN, START, column, ladder, simulate, symbol, table

MINUTE = 60_000
SEEDS = st.integers(0, 2**32 - 1)
STEADY = ladder([(math.inf, 1e-6, 0.0)])


def fees(maker=0.0002, taker=0.00055, n=1):
    return Fees(np.zeros(1, np.int64), np.full((n, 1, 1), maker), np.full((n, 1, 1), taker), np.zeros(1))


# A fair game


def fair_walk(seed, n, n_inside=400, step=0.05, start=1_000.0):
    """Return candles of a path that goes one tick up or down with the same chance."""
    random = np.random.default_rng(seed)
    path = start + step * np.cumsum(random.choice([-1.0, 1.0], (n, n_inside)).ravel()).reshape(n, n_inside)
    path = np.round(path / step) * step
    opened = np.concatenate([[start], path[:-1, -1]])
    return np.column_stack([opened, np.maximum(opened, path.max(1)), np.minimum(opened, path.min(1)), path[:, -1]])


NEAR, FAR = 0.5, 1.0
KINDS = {
    "market": {},
    "limit": {"limit": -NEAR},
    "limit and stop": {"limit": -NEAR, "stop": -FAR},
    "limit and take-profit": {"limit": -NEAR, "take_profit": FAR},
    "limit and trail": {"limit": -NEAR, "trail": NEAR},
    "limit, take-profit and stop": {"limit": -NEAR, "take_profit": FAR, "stop": -FAR},
    "trigger": {"trigger": NEAR},
    "trigger and stop": {"trigger": NEAR, "stop": -NEAR},
    "trigger and take-profit": {"trigger": NEAR, "take_profit": FAR},
    "trigger and trail": {"trigger": NEAR, "trail": NEAR},
    "stop": {"stop": -FAR},
    "take-profit": {"take_profit": FAR},
    "take-profit and stop": {"take_profit": FAR, "stop": -FAR},
    "trail": {"trail": NEAR},
    "wide trail": {"trail": 1.5},
    "trail and take-profit": {"trail": NEAR, "take_profit": FAR},
    "trail and stop": {"trail": FAR, "stop": -NEAR},
    "plain limit": {"limit": 0.0, "plain": True},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_no_kind_of_order_earns_anything_from_a_fair_path(kind, side):
    # Two candles held, one flat; without any cost the mean of the trades is zero, or less where the worse was taken.
    n = 3_000
    rows = fair_walk(1, n)
    opened, holds = rows[:, 0], np.arange(n) % 3 < 2
    terms = dict(KINDS[kind])
    chosen = {"flags": np.zeros(n)} if terms.pop("plain", False) else {}
    for name, distance in terms.items():
        level = np.full(n, distance) if name == "trail" else opened + side * distance
        chosen[name] = level if name == "trail" else np.where(holds, level, NAN)
    one = symbol(rows, np.where(holds, side, 0.0), close=np.full(n, 1_000.0), **chosen)
    result = simulate(one, cash=1e6, ladders=STEADY)
    gains = np.array(column(result, "trades", "price_pnl"))
    assert len(gains) > 500
    assert gains.mean() <= 3.5 * gains.std() / math.sqrt(len(gains))


# Random decisions


def decisions(random, rows, *, orders=True, largest=1.5):
    """Return random targets that stay for a while, and orders near the price, for candles ``rows``."""
    n = len(rows)
    target = np.repeat(random.choice([0.0, 0.5, -0.5, 1.0, -1.0, largest, -largest], n), 3)[:n]
    near = rows[:, 0]
    tick = 0.25

    def some(share, distance):
        level = np.round((near + distance) / tick) * tick
        return np.where(random.random(n) < share, level, NAN)

    side = np.where(target >= 0.0, 1.0, -1.0)
    found = {"target": target, "close": near.copy()}
    if orders:
        limits = random.random(n) < 0.3
        found["limit"] = np.where(limits, some(1.0, random.normal(0, 4, n)), NAN)
        found["trigger"] = np.where(~limits, some(0.3, random.normal(0, 4, n)), NAN)
        found["stop"] = some(0.4, -side * (2 + np.abs(random.normal(0, 6, n))))
        found["take_profit"] = some(0.4, side * (2 + np.abs(random.normal(0, 6, n))))
        found["trail"] = np.where(random.random(n) < 0.2, 2 + np.round(np.abs(random.normal(0, 6, n)) * 4) / 4, NAN)
        found["flags"] = random.integers(0, 4, n).astype(float)
    return found


def walk(random, n, sd=4.0, start=1_024.0, tick=0.25):
    """Return candles on the ticks, with gaps between them."""
    close = start + np.cumsum(np.round(random.normal(0, sd, n) / tick) * tick)
    opened = np.concatenate([[start], close[:-1]]) + np.round(random.normal(0, sd / 3, n) / tick) * tick
    wick = np.round(np.abs(random.normal(0, sd, (2, n))) / tick) * tick
    rows = np.column_stack([opened, np.maximum(opened, close) + wick[0], np.minimum(opened, close) - wick[1], close])
    assert rows.min() > 0.0
    return rows


def rates(random, n, mark=1_024.0):
    return [(hour, float(random.normal(0, 0.001)), mark) for hour in range(0, n, 4)]


@given(seed=SEEDS, power=st.integers(-6, 6), cross=st.booleans(), step_down=st.booleans())
@settings(max_examples=40, deadline=None)
def test_an_account_does_not_depend_on_the_unit_of_the_coin(seed, power, cross, step_down):
    def run(scale):
        random = np.random.default_rng(seed)
        rows = walk(random, 60)
        made = decisions(random, rows, largest=8.0)
        prices = ("close", "limit", "trigger", "stop", "take_profit", "trail")
        made = {name: values * (scale if name in prices else 1.0) for name, values in made.items()}
        settled = [(hour, rate, mark * scale) for hour, rate, mark in rates(random, 60)]
        return simulate(
            symbol(rows * scale, made.pop("target"), settlements=settled, **made), cash=8_192.0, cross=cross,
            fees=fees(), slippage_rate=0.0005, step_down=step_down, tick_rounding=True,
            ladders=ladder([(16_384.0, 0.01, 0.0), (math.inf, 0.03, 0.02 * 16_384.0)]),
            contracts={"qty_step": 0.125 / scale, "min_qty": 0.125 / scale, "tick_size": 0.25 * scale},
        )  # fmt: skip

    plain, scaled = run(1.0), run(2.0**power)
    # A power of two leaves every digit as it is.
    np.testing.assert_array_equal(scaled.equity, plain.equity)
    assert column(scaled, "fills", "fee") == column(plain, "fills", "fee")
    assert column(scaled, "liquidations", "loss") == column(plain, "liquidations", "loss")


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_a_short_in_mirrored_prices_earns_what_the_long_did(seed):
    # Linear, without fees, slippage and maintenance: gains are qty x difference, and the sizing price is held.
    centre = 4_096.0

    def run(sign):
        random = np.random.default_rng(seed)
        rows = walk(random, 60, start=centre)
        made = decisions(random, rows)
        made["close"] = np.full(60, centre)
        limited, triggered = ~np.isnan(made["limit"]), ~np.isnan(made["trigger"])
        # An order is sized at its price: the same lots on both sides need the same price.
        made["target"] = np.where(limited | triggered, 0.0, made["target"])
        if sign < 0:
            rows = (2 * centre - rows)[:, [0, 2, 1, 3]]
            made["target"] = -made["target"]
            for name in ("limit", "trigger", "stop", "take_profit"):
                made[name] = 2 * centre - made[name]
        settled = [(hour, sign * rate, centre) for hour, rate, _ in rates(random, 60)]
        return simulate(
            symbol(rows, made.pop("target"), settlements=settled, **made), cash=65_536.0, ladders=STEADY,
            contracts={"qty_step": 0.125, "min_qty": 0.125, "tick_size": 0.25, "leverage": 1.0 / 64.0},
        )  # fmt: skip

    long, short = run(1.0), run(-1.0)
    assert [-qty for qty in column(short, "fills", "qty")] == column(long, "fills", "qty")
    np.testing.assert_allclose(short.equity, long.equity, rtol=1e-12)


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_one_symbol_in_cross_margin_is_the_isolated_account_until_margin_decides(seed):
    def run(cross):
        random = np.random.default_rng(seed)
        rows = walk(random, 60)
        made = decisions(random, rows)
        return simulate(
            symbol(rows, made.pop("target"), settlements=rates(random, 60), **made), cash=10_000.0, cross=cross,
            fees=fees(), slippage_rate=0.0005, contracts={"leverage": 2.0},
        )  # fmt: skip

    isolated, whole = run(False), run(True)
    if isolated.counts[N_LIQUIDATIONS] or "margin" in {row["reason"] for row in table(isolated, "rejections")}:
        return
    if isolated.counts[N_REJECTED] == whole.counts[N_REJECTED]:
        assert whole.counts[N_LIQUIDATIONS] == 0
        np.testing.assert_array_equal(whole.equity, isolated.equity)


@given(seed=SEEDS, cross=st.booleans())
@settings(max_examples=40, deadline=None)
def test_orders_that_a_detail_candle_fills_are_those_that_a_run_on_the_detail_fills(seed, cross):
    # Four quarters share one decision. The run on the quarters repeats it: market orders, stops, profits and trails
    # are the same there, for a target that was reached asks for nothing more.
    random = np.random.default_rng(seed)
    n = 30
    rows = walk(random, 4 * n, sd=16.0)
    made = decisions(random, rows[::4], largest=8.0)
    for name in ("limit", "trigger"):
        del made[name]
    made["flags"] = np.zeros(n)
    # After an exit nothing is opened until the target changes, and a target changes with a row.
    fine = {name: np.repeat(values, 4) for name, values in made.items()}
    # The sizing price of the later quarters is never used: the order is filled or refused in the first.
    settled = rates(random, n)
    times = START + 15 * MINUTE * np.arange(4 * n)
    terms = {"cash": 10_000.0, "cross": cross, "fees": fees(), "slippage_rate": 0.0005, "contracts": {"leverage": 20.0}}
    given_detail = {name: np.concatenate([values, np.full(3 * n, NAN)]) for name, values in made.items()}
    given_detail["target"] = np.concatenate([made["target"], np.zeros(3 * n)])
    given_detail["flags"] = np.zeros(4 * n)
    row = np.repeat(np.arange(n), 4)
    share = {"interval": 15 * MINUTE, "open_ms": times, "settlements": settled}
    with_detail = simulate(symbol(rows, given_detail.pop("target"), row=row, **share, **given_detail), **terms)
    on_detail = simulate(symbol(rows, fine.pop("target"), **share, **fine), **terms)
    if on_detail.counts[N_REJECTED]:
        # A refused order is tried again at each close of the strategy.
        return
    np.testing.assert_array_equal(with_detail.equity, on_detail.equity)
    for ours, theirs in zip(with_detail.logs, on_detail.logs, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@given(seed=SEEDS, cross=st.booleans(), inverse=st.booleans())
@settings(max_examples=40, deadline=None)
def test_three_symbols_that_come_and_go_add_up_to_their_account_and_repeat_to_the_byte(seed, cross, inverse):
    bound = 2.0 if inverse else 2_000.0

    def run():
        random = np.random.default_rng(seed)
        parts = []
        for k in range(3):
            rows = walk(random, 60)
            kept = np.flatnonzero((random.random(60) < 0.9) & (np.arange(60) >= 7 * k))
            kept = np.union1d(kept, [59])
            made = {name: values[kept] for name, values in decisions(random, rows, largest=6.0).items()}
            parts.append(
                symbol(
                    rows[kept],
                    made.pop("target"),
                    open_ms=START + 3_600_000 * kept,
                    settlements=rates(random, 60),
                    **made,
                )
            )
        return simulate(
            *parts, cash=4.0 if inverse else 4_096.0, cross=cross, inverse=inverse, fees=fees(n=3),
            slippage_rate=0.0005, step_down=True, tick_rounding=True,
            contracts={"qty_step": 1.0 if inverse else 0.1, "tick_size": 0.25},
            ladders=ladder([(bound, 0.01, 0.0), (1e9, 0.02, 0.01 * bound)], n=3),
        )  # fmt: skip

    one, again = run(), run()
    for array, same in zip((one.equity, *one.logs), (again.equity, *again.logs), strict=True):
        assert array.tobytes() == same.tobytes()
    start = 4.0 if inverse else 4_096.0
    sums = one.positions
    net = sums[:, REALIZED] - sums[:, MAKER_FEES] - sums[:, TAKER_FEES] + sums[:, FUNDING] - sums[:, LIQUIDATION_LOSS]
    assert start + net.sum() == pytest.approx(one.account[CASH], rel=1e-10, abs=1e-9 * start)
    for s in range(3):
        size = sum(row["qty"] for row in table(one, "fills") if row["symbol"] == s)
        size -= sum(row["size"] for row in table(one, "liquidations") if row["symbol"] == s)
        held = sums[s, LOTS] * (1.0 if inverse else 0.1)
        assert size == pytest.approx(held, abs=1e-6)
    # Nothing happens to a symbol before its first candle or after its last.
    for k in range(3):
        times = [row["fill_time"] for row in table(one, "fills") if row["symbol"] == k]
        assert all(time >= START + 7 * k * 3_600_000 for time in times)


@given(seed=SEEDS, k=st.integers(1, 59), cross=st.booleans(), step_down=st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_happens_at_an_open_knows_nothing_of_its_candle_or_any_later_one(seed, k, cross, step_down):
    def run(later):
        random = np.random.default_rng(seed)
        rows = walk(random, 60, sd=12.0)
        made = decisions(random, rows, largest=8.0)
        settled = rates(random, 60)
        if later is not None:
            # Another end of candle k, and other candles after it; the decisions after it follow nothing here.
            other = walk(np.random.default_rng(later), 60, sd=12.0)
            rows[k, 1] = rows[k, 0] + 40.0
            rows[k, 2] = rows[k, 0] - 40.0
            rows[k, 3] = rows[k, 0] + 20.0
            rows[k + 1 :] = other[k + 1 :]
        return simulate(
            symbol(rows, made.pop("target"), settlements=settled, **made), cash=8_192.0, cross=cross, fees=fees(),
            slippage_rate=0.0005, step_down=step_down, contracts={"leverage": 20.0},
            ladders=ladder([(16_384.0, 0.01, 0.0), (math.inf, 0.03, 0.02 * 16_384.0)]),
        )  # fmt: skip

    def known(result, kind, time):
        return [row for row in table(result, kind) if row[time] <= START + k * 3_600_000]

    one, other = run(None), run(seed + 1)
    np.testing.assert_array_equal(other.equity[:k], one.equity[:k])
    for kind, time in (("fills", "fill_time"), ("funding", "funding_time"), ("rejections", "order_time")):
        assert known(other, kind, time) == known(one, kind, time)
