"""One random scenario: an account of one to three symbols, a few candles, orders of every kind."""

import math
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

import numpy as np

from bybit.backtest.records import (
    NEVER,
    NOTHING,
    POST_ONLY,
    REDUCE_ONLY,
    Candles,
    Contracts,
    Decisions,
    Fees,
    Inputs,
    Ladders,
    Rules,
    Settlements,
)
from bybit.rules.candles import Category
from bybit.rules.fees import FeeRates
from bybit.rules.ledger import Contract
from bybit.rules.liquidation import MARK_BASED_FROM
from bybit.rules.margin import MaintenanceTier, mm_deductions
from bybit.rules.periods import to_ms

HOUR_MS = 3_600_000
TICK, D = Decimal("0.01"), Decimal
CHANGE_MS = to_ms(MARK_BASED_FROM)


@dataclass
class Scenario:
    """What the kernel is given, and the same for the ledger."""

    step_ms: np.ndarray
    inputs: Inputs
    cash: float
    backing: np.ndarray
    category: Category
    fees: list[tuple[int, FeeRates]] = field(default_factory=list)
    contracts: list[Contract] = field(default_factory=list)


def draw(seed: int, number: int, n_candles: int = 7) -> Scenario:
    """Return scenario ``number`` of ``seed``; the same numbers always give the same one."""
    random = np.random.default_rng([seed, number])
    inverse, cross = bool(random.random() < 0.35), bool(random.random() < 0.5)
    n_symbols = int(random.choice([1, 1, 2, 3]))
    start = int(random.choice([to_ms_of(2024), CHANGE_MS - 3 * HOUR_MS, to_ms_of(2026)]))
    step_ms = start + HOUR_MS * np.arange(n_candles)
    volatility = float(random.choice([0.004, 0.02, 0.06]))
    parts = [_market(random, step_ms, volatility, n_symbols) for _ in range(n_symbols)]
    rows = [_decisions(random, part, n_symbols) for part in parts]
    settled = [_settlements(random, part) for part in parts]
    candles = _candles(parts, random)
    leverage = random.choice([1.0, 2.0, 5.0, 10.0, 25.0, 50.0], n_symbols)
    volumes = bool(random.random() < 0.25)
    rules = Rules(
        cross=cross,
        inverse=inverse,
        step_down=bool(random.random() < 0.5),
        tick_rounding=bool(random.random() < 0.5),
        mark_based_from_ms=CHANGE_MS,
        slippage_rate=float(random.choice([0.0, 0.0005])),
        impact=float(random.choice([0.0, 0.1])) if volumes else 0.0,
        participation=float(random.choice([0.3, 1.0])) if volumes else math.inf,
        last_for_mark=False,
    )
    scale = 0.01 if inverse else 1.0
    ladders, dated = _ladders(random, n_symbols, step_ms, scale)
    fees, eras = _fees(random, n_symbols, step_ms)
    step = D(1) if inverse else D("0.1")
    category = Category.INVERSE if inverse else Category.LINEAR
    contracts = [
        Contract(
            f"S{s}USD",
            category,
            D(str(leverage[s])),
            ladders=dated[s],
            tick_size=TICK if rules.tick_rounding else None,
            qty_step=step,
        )
        for s in range(n_symbols)
    ]
    backing = np.zeros(1)
    if cross and random.random() < 0.3:
        backing = np.round(random.uniform(0, 300, n_candles) * scale, 4)
    all_of = np.ones(n_symbols)
    return Scenario(
        step_ms=np.unique(candles.open_ms),
        inputs=Inputs(
            candles,
            _joined(rows),
            Settlements(
                np.cumsum([0] + [len(part[0]) for part in settled]), *map(np.concatenate, zip(*settled, strict=True))
            ),
            Contracts(
                float(step) * all_of,
                float(TICK) * all_of,
                float(step) * all_of,
                all_of * 5.0 * scale,
                all_of * 1e6,
                all_of * 1e6,
                all_of * (4e4 * scale),
                leverage,
                all_of / n_symbols,
            ),
            ladders,
            fees,
            rules,
        ),
        cash=1_000.0 * scale,
        backing=backing[: len(np.unique(candles.open_ms))] if len(backing) > 1 else backing,
        category=category,
        fees=eras,
        contracts=contracts,
    )


def to_ms_of(year: int) -> int:
    """Return the first of March of a year, 00:00 UTC."""
    return int(np.datetime64(f"{year}-03-01", "ms").astype(np.int64))


def _market(random, step_ms, volatility, n_symbols):
    """Return one symbol's (open times, last prices, mark prices), prices of shape (n, 4) as open high low close."""
    keep = random.random(len(step_ms)) < (0.9 if n_symbols > 1 else 1.0)
    keep[0] |= not keep.any()
    times = step_ms[keep]
    n = len(times)
    close = 100.0 * np.exp(np.cumsum(volatility * random.standard_t(3, n)))
    open_ = np.concatenate([[100.0], close[:-1]]) * np.exp(0.4 * volatility * random.standard_normal(n))
    wick = np.abs(random.normal(0.0, volatility, (2, n)))
    high, low = np.maximum(open_, close) * np.exp(wick[0]), np.minimum(open_, close) * np.exp(-wick[1])
    last = np.maximum(np.round(np.column_stack([open_, high, low, close]), 2), 1.0)
    last[:, 1], last[:, 2] = last.max(axis=1), last.min(axis=1)
    mark = np.round(last * np.exp(volatility / 4 * random.standard_normal(last.shape)), 4)
    mark[:, 1], mark[:, 2] = mark.max(axis=1), mark.min(axis=1)
    return times, last, mark


def _candles(parts, random):
    first = np.cumsum([0] + [len(times) for times, _, _ in parts])
    times = np.concatenate([times for times, _, _ in parts])
    last, mark = np.concatenate([part[1] for part in parts]), np.concatenate([part[2] for part in parts])
    row = np.zeros(1, np.int64)
    if random.random() < 0.25:
        # Finer candles: two or three of them share a decision.
        shared = int(random.integers(2, 4))
        row = np.concatenate([begin + np.arange(end - begin) // shared * shared for begin, end in pairwise(first)])
    volume = np.round(random.uniform(5, 80, len(times)) * random.choice([1.0, 20.0]), 1)
    columns = [np.ascontiguousarray(column) for column in (*last.T, volume, *mark.T)]
    return Candles(first, times, times + HOUR_MS, *columns, row, NOTHING, NOTHING)


def _decisions(random, part, n_symbols):
    times, last, _ = part
    n = len(times)
    sizes = np.array([0.0, 0.5, 1.0, 2.0, 4.0, 9.0, 20.0])
    target = random.choice(sizes, n) * random.choice([-1.0, 1.0], n)
    for i in range(1, n):
        if random.random() < 0.4:
            target[i] = target[i - 1]
    close = np.concatenate([[100.0], last[:-1, 3]])
    side = np.where(target >= 0, 1.0, -1.0)

    def some(share, prices):
        return np.where(random.random(n) < share, prices, np.nan)

    spread = np.abs(random.normal(0, 0.02, (4, n)))
    limit = some(0.35, close * (1 - random.choice([-0.3, 1, 1], n) * side * spread[0]))
    trigger = np.where(np.isnan(limit), some(0.25, close * (1 + side * spread[1])), np.nan)
    stop = some(0.4, close * (1 - side * spread[2]))
    profit = some(0.3, close * (1 + side * spread[3]))
    trail = some(0.2, close * np.abs(random.normal(0, 0.02, n)))
    flags = random.choice(
        [0, POST_ONLY, POST_ONLY, REDUCE_ONLY, POST_ONLY | REDUCE_ONLY], n, p=[0.4, 0.2, 0.3, 0.05, 0.05]
    )
    return Decisions(target, close, limit, trigger, stop, profit, trail, flags.astype(np.int64))


def _joined(rows):
    return Decisions(*(np.concatenate(columns) for columns in zip(*rows, strict=True)))


def _settlements(random, part):
    """Return one symbol's settlements: at opens, and some inside a candle at a mark that it has seen."""
    times, _, mark = part
    at, marks = [], []
    for i, open_ms in enumerate(times.tolist()):
        if random.random() < 0.35:
            at.append(open_ms)
            marks.append(mark[i, 0])
        if random.random() < 0.15:
            at.append(open_ms + HOUR_MS // 2)
            marks.append(round(float(random.uniform(mark[i, 2], mark[i, 1])), 4))
    marks = [min(max(price, 0.01), 1e9) for price in marks]
    rates = np.round(random.normal(0, 0.002, len(at)), 8)
    return np.array(at, np.int64), rates, np.array(marks, np.float64)


def _ladders(random, n_symbols, step_ms, scale):
    from_ms = np.full((n_symbols, 2), NEVER)
    shape = (n_symbols, 2, 4)
    upper, rate, deduction = np.empty(shape), np.empty(shape), np.empty(shape)
    dated = []
    for s in range(n_symbols):
        eras = [0]
        if random.random() < 0.4:
            eras.append(int(random.choice(step_ms[1:])))
        mine = []
        for era in range(2):
            bounds = [D(str(round(b * scale * float(random.choice([1.0, 1.5])), 6))) for b in (600, 2_000, 6_000)]
            rates = [D(r) for r in random.choice([("0.005", "0.01", "0.03", "0.08"), ("0.01", "0.015", "0.05", "0.1")])]
            taken = mm_deductions([*bounds, None], rates)
            if random.random() < 0.15:
                # Recorded ladders do not always chain.
                taken = [amount * D("0.8") for amount in taken]
            upper[s, era] = [*map(float, bounds), math.inf]
            rate[s, era], deduction[s, era] = list(map(float, rates)), list(map(float, taken))
            if era < len(eras):
                from_ms[s, era] = eras[era]
                tiers = zip([*bounds, None], rates, taken, strict=True)
                mine.append((eras[era], [MaintenanceTier(*tier) for tier in tiers]))
        dated.append(mine)
    return Ladders(from_ms, upper, rate, deduction), dated


def _fees(random, n_symbols, step_ms):
    starts = np.array([0, int(random.choice(step_ms))], np.int64)
    pairs = [("-0.00025", "0.00075"), ("0.0002", "0.00055")]
    maker = np.array([[[float(pair[0]) for pair in pairs]]] * n_symbols)
    taker = np.array([[[float(pair[1]) for pair in pairs]]] * n_symbols)
    eras = [(int(ms), FeeRates(D(pair[0]), D(pair[1]))) for ms, pair in zip(starts, pairs, strict=True)]
    return Fees(starts, maker, taker, np.zeros(1)), eras
