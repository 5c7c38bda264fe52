"""A reviewer's brute force: one candle never leaves the account more than its own ticks, one after the other, do."""

import numpy as np
import pytest

from tests.bybit.backtest.accounts import NAN, START, simulate, symbol

TICK, MINUTE = 0.5, 60_000


def ticks(random):
    """Return the path of one candle, a tick up or down at a time, as candles of one move each."""
    path = 100.0 + np.concatenate([[0.0], np.cumsum(random.choice([-TICK, TICK], int(random.integers(4, 60))))])
    return np.column_stack([path[:-1], np.maximum(path[:-1], path[1:]), np.minimum(path[:-1], path[1:]), path[1:]])


def orders(random):
    """Return what is held, what is wanted, and what the second decision says."""
    held, target = random.choice([0.0, 1.0, -1.0, 3.0]), random.choice([0.0, 1.0, -1.0, 2.0, -2.0, 4.0])
    side = np.sign(target) or np.sign(held)
    kind = random.choice(["market", "limit", "trigger"])
    second = {"flags": float(random.integers(0, 2))}
    if kind != "market":
        second[str(kind)] = 100.0 + TICK * random.integers(-12, 13)
    if random.random() < 0.5:
        second["stop"] = 100.0 - side * TICK * random.integers(-2, 12)
    if random.random() < 0.5:
        second["take_profit"] = 100.0 + side * TICK * random.integers(-2, 12)
    # Not after an entry by limit: there a trail follows no price that may lie before the fill, for or against.
    if kind != "limit" and random.random() < 0.4:
        second["trail"] = TICK * random.integers(1, 10)
    return held, target, second


def left(inside, held, target, second, leverage):
    """Return the equity after a calm candle and those of ``inside``, which share the second decision."""
    n = len(inside) + 1
    given = {name: [NAN if name != "flags" else 1.0, value] + [NAN if name != "flags" else 1.0] * (n - 2)
             for name, value in second.items()}  # fmt: skip
    one = symbol(
        np.vstack([[100.0] * 4, inside]), [held, target] + [0.0] * (n - 2), close=[100.0] * n, row=[0] + [1] * (n - 1),
        open_ms=START + MINUTE * np.arange(n), **given,
    )  # fmt: skip
    return simulate(one, contracts={"leverage": leverage}).equity[-1]


@pytest.mark.parametrize("leverage", [2.0, 10.0])
def test_a_candle_leaves_no_more_than_its_ticks_would(leverage):
    better = []
    for seed in range(900):
        random = np.random.default_rng(seed)
        fine = ticks(random)
        coarse = np.array([[fine[0, 0], fine[:, 1].max(), fine[:, 2].min(), fine[-1, 3]]])
        decided = orders(random)
        if left(coarse, *decided, leverage) > left(fine, *decided, leverage) + 1e-6:
            better.append((seed, decided))
    assert not better
