"""The account of one isolated linear position in float64: the fast copy of the ``Decimal`` ledger's rules.

Conventions L1-L13 of the oracles; ``bybit.rules.account`` is the reference and a test holds both equal. The state is
one float array and one integer array, so that the kernel allocates nothing; the constants name their places.
Quantities count in lots (multiples of ``qty_step``), which are exact in float64 and come back to zero exactly.
"""

import hashlib
import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# State, settle coin unless said: cash includes the locked margin; REFERENCE is the average entry before slippage.
CASH, LOTS, ENTRY, REFERENCE, MARGIN, LIQUIDATION_PRICE = range(6)
REALIZED, GROSS, MAKER_FEES, TAKER_FEES, FUNDING, SLIPPAGE, LIQUIDATION_LOSS = range(6, 13)
TRADE_TIME, TRADE_CANDLE, TRADE_SIDE, ENTRY_QTY, ENTRY_VALUE, EXIT_QTY, EXIT_VALUE = range(13, 20)
TRADE_PNL, TRADE_FEES, TRADE_FUNDING = range(20, 23)
N_STATE = 23

# Counters.
N_FILLS, N_TRADES, N_SETTLED, N_LIQUIDATIONS, N_REJECTED, N_EVENTS, ERA = range(7)
CROSSED, UNFILLED, HELD, MARK_OF_CANDLE = range(7, 11)
N_COUNTS = 11

MAKER, TAKER = 0.0, 1.0
BY_MARKET, BY_LIMIT, BY_STOP, BY_RUIN, BY_LIQUIDATION = 0.0, 1.0, 2.0, 3.0, 4.0
REASONS = ("market", "limit", "stop", "ruin", "liquidation")

NO_MARGIN, BELOW_NOTIONAL, BELOW_QTY, ABOVE_QTY, ABOVE_RISK_LIMIT = 1.0, 2.0, 3.0, 4.0, 5.0
REJECTIONS = ("", "margin", "min_notional", "min_qty", "max_qty", "risk_limit")

FILL_COLUMNS = (
    "event", "fill_time", "candle", "qty", "price", "reference_price", "fee", "taker", "realized_pnl", "size_after",
    "reason",
)  # fmt: skip
TRADE_COLUMNS = (
    "entry_time", "exit_time", "entry_candle", "exit_candle", "side", "qty", "entry_price", "exit_price",
    "price_pnl", "fees", "funding_payment", "net_pnl", "reason",
)  # fmt: skip
FUNDING_COLUMNS = ("event", "funding_time", "size", "mark_price", "funding_rate", "payment")
LIQUIDATION_COLUMNS = (
    "event", "liquidation_time", "candle", "size", "entry_price", "liquidation_price", "trigger_price", "loss",
)  # fmt: skip
REJECTION_COLUMNS = ("order_time", "reason", "qty", "price")


class Terms(NamedTuple):
    """Contract rules and account settings as numbers; infinity where the venue sets no limit."""

    qty_step: float
    tick_size: float
    min_qty: float
    min_notional: float
    max_market_qty: float
    max_limit_qty: float
    max_position_value: float
    leverage: float
    slippage_rate: float


class Ladder(NamedTuple):
    """Margin ladder, one element a tier, lowest first; ``upper`` is inclusive, the last one infinite."""

    upper: Floats
    rate: Floats
    deduction: Floats


class FeeEras(NamedTuple):
    """Fee rates by the time (ms UTC) from which they hold, oldest first; the first holds at the period's start."""

    start_ms: Integers
    maker: Floats
    taker: Floats


class Logs(NamedTuple):
    """What happened, one row an event; columns as named above. Rows beyond the counters are not initialised."""

    fills: Floats
    trades: Floats
    funding: Floats
    liquidations: Floats
    rejections: Floats


def jit(function: Any) -> Any:
    """Compile a part of the simulation: no Python inside. Only the whole is kept on disk, see ``FINGERPRINT``."""
    return njit(error_model="numpy")(function)


@jit
def liquidation_price(qty, entry, margin, side, ladder):  # type: ignore[no-untyped-def]
    """Return the mark price at which margin + unrealized P&L = maintenance margin (L10), NaN when out of reach.

    Tiers are walked the way the price moves against the holder, so the first solution counts. A ladder with a jump
    can be lost at a tier's very bound: then the bound is the price.
    """
    n_tiers = len(ladder.upper)
    for i in range(n_tiers):
        k = n_tiers - 1 - i if side > 0.0 else i
        low = ladder.upper[k - 1] if k > 0 else 0.0
        price = (qty * entry - side * (margin + ladder.deduction[k])) / (qty * (1.0 - side * ladder.rate[k]))
        value = qty * price
        if price > 0.0 and low < value <= ladder.upper[k]:
            return price
        if side > 0.0 and value > ladder.upper[k]:
            return ladder.upper[k] / qty
        if side < 0.0 and value <= low and low > 0.0:
            return low / qty
    return math.nan


@jit
def fee_rate(state, counts, eras, time_ms, liquidity):  # type: ignore[no-untyped-def]
    """Return the rate in force at ``time_ms``; times never go back, so the pointer only moves forward."""
    era = counts[ERA]
    while era + 1 < len(eras.start_ms) and eras.start_ms[era + 1] <= time_ms:
        era += 1
    counts[ERA] = era
    return eras.maker[era] if liquidity == MAKER else eras.taker[era]


@jit
def fill(state, counts, logs, terms, ladder, eras, time_ms, candle, lots, price, reference, liquidity, reason):  # type: ignore[no-untyped-def]
    """Book a fill of signed ``lots`` that either opens or adds, or closes at most what is held.

    ``reference`` is the price without slippage; the difference is a cost of its own.
    """
    held = state[LOTS]
    qty = abs(lots) * terms.qty_step
    side = 1.0 if lots > 0.0 else -1.0
    fee = qty * price * fee_rate(state, counts, eras, time_ms, liquidity)
    realized = 0.0
    if held == 0.0 or held * lots > 0.0:
        if held == 0.0:
            state[TRADE_TIME], state[TRADE_CANDLE], state[TRADE_SIDE] = time_ms, candle, side
            state[ENTRY_QTY : TRADE_FUNDING + 1] = 0.0
        before = abs(held) * terms.qty_step
        state[ENTRY] = (before * state[ENTRY] + qty * price) / (before + qty)
        state[REFERENCE] = (before * state[REFERENCE] + qty * reference) / (before + qty)
        state[MARGIN] += qty * price / terms.leverage
        state[ENTRY_QTY] += qty
        state[ENTRY_VALUE] += qty * price
    else:
        realized = -side * qty * (price - state[ENTRY])
        state[GROSS] += -side * qty * (reference - state[REFERENCE])
        state[MARGIN] *= 1.0 - abs(lots) / abs(held)
        state[EXIT_QTY] += qty
        state[EXIT_VALUE] += qty * price
    state[LOTS] = held + lots
    state[CASH] += realized - fee
    state[REALIZED] += realized
    state[SLIPPAGE] += side * qty * (price - reference)
    state[MAKER_FEES if liquidity == MAKER else TAKER_FEES] += fee
    state[TRADE_PNL] += realized
    state[TRADE_FEES] += fee
    row = logs.fills[counts[N_FILLS]]
    row[0], row[1], row[2], row[3], row[4] = counts[N_EVENTS], time_ms, candle, side * qty, price
    row[5], row[6], row[7], row[8] = reference, fee, liquidity, realized
    row[9], row[10] = state[LOTS] * terms.qty_step, reason
    counts[N_FILLS] += 1
    counts[N_EVENTS] += 1
    if state[LOTS] == 0.0:
        end_trade(state, counts, logs, time_ms, candle, reason)
    else:
        state[LIQUIDATION_PRICE] = liquidation_price(
            abs(state[LOTS]) * terms.qty_step,
            state[ENTRY],
            state[MARGIN],
            1.0 if state[LOTS] > 0.0 else -1.0,
            ladder,
        )


@jit
def end_trade(state, counts, logs, time_ms, candle, reason):  # type: ignore[no-untyped-def]
    """Write the round trip that has just ended and leave no position behind."""
    row = logs.trades[counts[N_TRADES]]
    row[0], row[1], row[2], row[3] = state[TRADE_TIME], time_ms, state[TRADE_CANDLE], candle
    row[4], row[5] = state[TRADE_SIDE], state[ENTRY_QTY]
    row[6], row[7] = state[ENTRY_VALUE] / state[ENTRY_QTY], state[EXIT_VALUE] / state[EXIT_QTY]
    row[8], row[9], row[10] = state[TRADE_PNL], state[TRADE_FEES], state[TRADE_FUNDING]
    row[11] = state[TRADE_PNL] - state[TRADE_FEES] + state[TRADE_FUNDING]
    row[12] = reason
    counts[N_TRADES] += 1
    state[LOTS], state[ENTRY], state[REFERENCE], state[MARGIN] = 0.0, 0.0, 0.0, 0.0
    state[LIQUIDATION_PRICE] = math.nan


@jit
def refusal(state, counts, terms, eras, time_ms, lots, price, liquidity):  # type: ignore[no-untyped-def]
    """Return why an opening of signed ``lots`` at ``price`` is rejected, or 0 when it passes (L8)."""
    qty = abs(lots) * terms.qty_step
    value = qty * price
    if qty < terms.min_qty:
        return BELOW_QTY
    if value < terms.min_notional:
        return BELOW_NOTIONAL
    if qty > (terms.max_limit_qty if liquidity == MAKER else terms.max_market_qty):
        return ABOVE_QTY
    if abs(state[LOTS] + lots) * terms.qty_step * price > terms.max_position_value:
        return ABOVE_RISK_LIMIT
    fee = value * fee_rate(state, counts, eras, time_ms, liquidity)
    if value / terms.leverage + fee > state[CASH] - state[MARGIN]:
        return NO_MARGIN
    return 0.0


@jit
def execute(state, counts, logs, terms, ladder, eras, time_ms, candle, lots, price, reference, liquidity, reason):  # type: ignore[no-untyped-def]
    """Fill an order of signed ``lots``: what it closes first, as a fill of its own, then what it opens, if allowed."""
    held = state[LOTS]
    rest = lots
    if held * lots < 0.0:
        closing = lots if abs(lots) <= abs(held) else -held
        fill(state, counts, logs, terms, ladder, eras, time_ms, candle, closing, price, reference, liquidity, reason)
        rest = lots - closing
    if rest != 0.0:
        why = refusal(state, counts, terms, eras, time_ms, rest, price, liquidity)
        if why == 0.0:
            fill(state, counts, logs, terms, ladder, eras, time_ms, candle, rest, price, reference, liquidity, reason)
        else:
            row = logs.rejections[counts[N_REJECTED]]
            row[0], row[1], row[2], row[3] = time_ms, why, rest * terms.qty_step, price
            counts[N_REJECTED] += 1


@jit
def settle(state, counts, logs, time_ms, size, mark, rate):  # type: ignore[no-untyped-def]
    """Book funding of a signed ``size``: it comes from cash and leaves the isolated margin alone (L2, L13)."""
    payment = -size * mark * rate
    state[CASH] += payment
    state[FUNDING] += payment
    state[TRADE_FUNDING] += payment
    row = logs.funding[counts[N_SETTLED]]
    row[0], row[1], row[2], row[3], row[4], row[5] = counts[N_EVENTS], time_ms, size, mark, rate, payment
    counts[N_SETTLED] += 1
    counts[N_EVENTS] += 1


@jit
def liquidate(state, counts, logs, terms, time_ms, candle, trigger):  # type: ignore[no-untyped-def]
    """Take the position over at its bankruptcy price: the loss is its margin, exactly (L11)."""
    side = 1.0 if state[LOTS] > 0.0 else -1.0
    qty = abs(state[LOTS]) * terms.qty_step
    loss = state[MARGIN]
    row = logs.liquidations[counts[N_LIQUIDATIONS]]
    row[0], row[1], row[2], row[3], row[4] = counts[N_EVENTS], time_ms, candle, side * qty, state[ENTRY]
    row[5], row[6], row[7] = state[LIQUIDATION_PRICE], trigger, loss
    counts[N_LIQUIDATIONS] += 1
    counts[N_EVENTS] += 1
    state[CASH] -= loss
    state[LIQUIDATION_LOSS] += loss
    # The margin was measured from the slipped entry: what slippage took there is not lost a second time.
    state[GROSS] += side * qty * (state[ENTRY] - state[REFERENCE])
    state[EXIT_QTY] += qty
    state[EXIT_VALUE] += qty * (state[ENTRY] - side * loss / qty)
    state[TRADE_PNL] -= loss
    end_trade(state, counts, logs, time_ms, candle, BY_LIQUIDATION)


def _fingerprint(names: dict[str, Any]) -> int:
    digest = hashlib.sha256()
    for name, value in sorted(names.items()):
        if hasattr(value, "py_func"):
            code = value.py_func.__code__
            digest.update(repr((name, code.co_code, code.co_consts, code.co_names)).encode())
        elif isinstance(value, int | float | tuple):
            digest.update(repr((name, value)).encode())
    return int.from_bytes(digest.digest()[:7], "big")


FINGERPRINT = _fingerprint(dict(globals()))
"""Changes with every function and constant above. numba's cache on disk looks at the file of the cached function only:
without this number in the kernel's signature, machine code of an older version of this file would go on running."""
