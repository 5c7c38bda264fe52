"""What goes into the simulation and what comes out: arrays, their columns, and the numbers that stand for words.

Symbols lie one after another in flat arrays: ``first[s]:first[s + 1]`` are the rows of symbol s. An array field of
length 1 holds for every row, so that what a run does not need costs no memory to read. Quantities count in lots
(multiples of ``qty_step``), which are exact in float64 and come back to zero exactly. Times are milliseconds UTC,
amounts are settle coin (inverse: base coin), sizes are signed (long +).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NEVER = 2**63 - 1
"""A time that does not come: fills unused eras."""

# What simulate answers. MARK_MISSING: ``where`` is the flat settlement; FEE_ and VOLUME_MISSING: the flat candle.
DONE, MARK_MISSING, LOGS_FULL, FEE_MISSING, VOLUME_MISSING = 0, 1, 2, 3, 4

# Account, float64. WORTH is cash plus unrealized P&L at the last close; FUND the insurance fund's sum, + gained;
# BACKING what other coins count as collateral now. From VOLUMES on: the traded notional (USD) of the last 31 days, by
# day modulo 31, and then the volumes from which each fee tier holds.
CASH, WORTH, FUND, BACKING, SLIPPAGE_RATE, IMPACT, PARTICIPATION = range(7)
VOLUMES, N_VOLUME_DAYS = 7, 31
MIN_VOLUMES = VOLUMES + N_VOLUME_DAYS

# Positions, float64, one row a symbol. REFERENCE is the average entry before slippage, BEST the best last price since.
LOTS, ENTRY, REFERENCE, MARGIN, LIQUIDATION_PRICE, MARK, BEST = range(7)
# Sums since the start; FUNDING is + received, fees and slippage + paid. A takeover's margin stands under
# LIQUIDATION_LOSS, not under REALIZED.
REALIZED, GROSS, MAKER_FEES, TAKER_FEES, FUNDING, SLIPPAGE, LIQUIDATION_LOSS = range(7, 14)
# The round trip that is open: quantities and values of both legs.
TRADE_TIME, TRADE_CANDLE, TRADE_SIDE, ENTRY_QTY, ENTRY_VALUE, EXIT_QTY, EXIT_VALUE = range(14, 21)
TRADE_PNL, TRADE_FEES, TRADE_FUNDING = range(21, 24)
# The order in hand: what is left of it and its whole size in signed lots; lots traded in the current candle; lots held
# before what happens inside it; the target that was acted on last; why an exit that is not done yet goes on.
ORDER_LOTS, ORDER_TOTAL, ORDER_PRICE, USED_LOTS, LOTS_BEFORE, ACTED, EXIT_REASON = range(24, 31)
# The contract, copied once.
QTY_STEP, TICK_SIZE, MIN_QTY, MIN_NOTIONAL, MAX_MARKET_QTY, MAX_LIMIT_QTY, MAX_VALUE = range(31, 38)
LEVERAGE, ALLOCATION = 38, 39
# The candle in turn and its decision, copied where more than the common path happens.
OPEN, HIGH, LOW, CLOSE, VOLUME, MARK_OPEN, MARK_HIGH, MARK_LOW, BID, ASK, CLOSE_BEFORE = range(40, 51)
SIZED_AT, LIMIT_PRICE, TRIGGER_PRICE, STOP_PRICE, TAKE_PROFIT, TRAIL = range(51, 57)
# From here on the margin ladder in force: bounds, rates and deductions, as many of each as there are tiers.
LADDER = 57
N_POSITION = 57

# Places, int64, one row a symbol: candle in turn and whether it opens at this step, its last millisecond, its decision
# row and flags; next settlement and its time, first settlement inside the candle; fee and ladder era.
CANDLE, ACTIVE, INSIDE_MS, BEGINS_ROW, FLAGS, DUE, DUE_MS, FIRST_INSIDE, FEE_ERA, LADDER_ERA = range(10)
# Whether the target is unmet; the order in hand, the fee tier it was placed in, whether it rests; whether an exit goes
# on; the candle that USED_LOTS counts in; how the position was entered inside the candle; whether the order had its
# turn at the open; whether more than exits can happen inside the candle; whether
# something was held in it.
PENDING, ORDER_KIND, ORDER_TIER, RESTS, EXITING, USED_CANDLE, ENTERED, TRADED, BUSY, WAS_HELD = range(10, 20)
N_PLACES = 20
NO_ORDER, MARKET, LIMIT, TRIGGER = 0, 1, 2, 3
# ENTERED: held from the open, entered by a limit or a trigger from flat, or added to by a limit.
FROM_OPEN, FROM_LIMIT, FROM_TRIGGER, ADDED = 0, 1, 2, 3

# Counters of the account, int64. HELD: symbol-candles with a position inside. CROSSED: post-only orders refused.
# UNFILLED: rows whose resting order did not fill whole. AMBIGUOUS: candles in which the order of two things was not
# certain and the worse was taken. NO_QUOTE: fills that took where quotes were given but none was known there.
# PARTIAL: times that the volume left a part of an order unfilled.
N_FILLS, N_TRADES, N_SETTLED, N_LIQUIDATIONS, N_REJECTED = range(5)
CROSSED, UNFILLED, HELD, MARK_OF_CANDLE, AMBIGUOUS, NO_QUOTE, PARTIAL = range(5, 12)
# Not for readers: rows of the log and those that carry an event number; what went wrong and where; the fee tier and how
# many there are; when rules and tier are looked at again; and the rules that are flags.
N_LOGGED, N_EVENTS, STATUS, WHERE, FEE_TIER, N_FEE_TIERS, AMBIGUOUS_CANDLE, NEXT_RULES_MS, NEXT_TIER_MS = range(12, 21)
VOLUME_DAY, MARK_BASED, IS_CROSS, IS_INVERSE, STEPS_DOWN, ROUNDS_TICKS, LAST_FOR_MARK, HAS_QUOTES = range(21, 29)
N_COUNTS = 29

# Bits of Decisions.flags.
POST_ONLY, REDUCE_ONLY = 1, 2

MAKER, TAKER = 0.0, 1.0
BY_MARKET, BY_LIMIT, BY_STOP, BY_RUIN, BY_LIQUIDATION = 0.0, 1.0, 2.0, 3.0, 4.0
BY_TRIGGER, BY_TAKE_PROFIT, BY_TRAIL = 5.0, 6.0, 7.0
REASONS = ("market", "limit", "stop", "ruin", "liquidation", "trigger", "take_profit", "trailing")

NO_MARGIN, BELOW_NOTIONAL, BELOW_QTY, ABOVE_QTY, ABOVE_RISK_LIMIT, NOTHING_TO_REDUCE = 1.0, 2.0, 3.0, 4.0, 5.0, 6.0
REJECTIONS = ("", "margin", "min_notional", "min_qty", "max_qty", "risk_limit", "reduce_only")

TAKEOVER, STEP_DOWN, CROSS = 0.0, 1.0, 2.0
LIQUIDATION_KINDS = ("takeover", "step_down", "cross")

FILL_COLUMNS = (
    "symbol", "event", "fill_time", "candle", "qty", "price", "reference_price", "fee", "taker", "realized_pnl",
    "size_after", "reason",
)  # fmt: skip
TRADE_COLUMNS = (
    "symbol", "entry_time", "exit_time", "entry_candle", "exit_candle", "side", "qty", "entry_price", "exit_price",
    "price_pnl", "fees", "funding_payment", "net_pnl", "reason",
)  # fmt: skip
FUNDING_COLUMNS = ("symbol", "event", "funding_time", "size", "mark_price", "funding_rate", "payment")
LIQUIDATION_COLUMNS = (
    "symbol", "event", "liquidation_time", "candle", "size", "entry_price", "liquidation_price", "trigger_price",
    "loss", "realized_pnl", "fee", "fund", "kind",
)  # fmt: skip
REJECTION_COLUMNS = ("symbol", "order_time", "reason", "qty", "price")

# The log is one array in the order of events: kind, then the columns of that kind; its counter has the same number.
FILL, TRADE, SETTLEMENT, LIQUIDATION, REJECTION = N_FILLS, N_TRADES, N_SETTLED, N_LIQUIDATIONS, N_REJECTED
LOG_COLUMNS = (FILL_COLUMNS, TRADE_COLUMNS, FUNDING_COLUMNS, LIQUIDATION_COLUMNS, REJECTION_COLUMNS)
LOG_WIDTH = 15


class Candles(NamedTuple):
    """Last and mark prices, shape (n_candles,) over all symbols; quote coin.

    ``mark_open`` is NaN where the mark at the open is not known (inside a longer mark candle). ``row`` is the decision
    row in force (flat): several candles share one when finer candles stand in for a long one; length 1 when every
    candle has a row of its own, at the same place. ``volume`` as the venue gives it (linear: base coin, inverse: USD),
    ``bid`` and ``ask`` the quotes at the open; NaN where unknown, length 1 when nothing needs them.
    """

    first: Integers
    open_ms: Integers
    close_ms: Integers
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    mark_open: Floats
    mark_high: Floats
    mark_low: Floats
    mark_close: Floats
    row: Integers
    bid: Floats
    ask: Floats


class Decisions(NamedTuple):
    """What the strategy decided for each row, shape (n_rows,); all but ``target`` and ``close`` may have length 1.

    ``close`` is the price to size by, known at the decision. NaN means none. ``trail`` is a distance in quote coin.
    A row has a limit or a trigger, not both.
    """

    target: Floats
    close: Floats
    limit: Floats
    trigger: Floats
    stop: Floats
    take_profit: Floats
    trail: Floats
    flags: Integers


class Settlements(NamedTuple):
    """Funding, oldest first, shape (n_settlements,); ``mark`` is NaN where nobody knows it."""

    first: Integers
    time_ms: Integers
    rate: Floats
    mark: Floats


class Contracts(NamedTuple):
    """Contract rules and settings, shape (n_symbols,); infinity where the venue sets no limit.

    ``allocation`` is the share of account equity that an exposure of 1 stands for.
    """

    qty_step: Floats
    tick_size: Floats
    min_qty: Floats
    min_notional: Floats
    max_market_qty: Floats
    max_limit_qty: Floats
    max_position_value: Floats
    leverage: Floats
    allocation: Floats


class Ladders(NamedTuple):
    """Dated margin ladders. ``from_ms`` (n_symbols, n_eras), NEVER where unused; the first also holds before it begins.

    ``upper`` (inclusive, infinite from the last tier on), ``rate`` and ``deduction`` (n_symbols, n_eras, n_tiers): a
    shorter ladder repeats its last tier.
    """

    from_ms: Integers
    upper: Floats
    rate: Floats
    deduction: Floats


class Fees(NamedTuple):
    """Fee rates: ``start_ms`` (n_eras,); ``maker``, ``taker`` (n_symbols, n_fee_tiers, n_eras), NaN not established.

    ``min_volume`` (n_fee_tiers,) is the traded notional of 30 days from which a tier holds, the first 0.
    """

    start_ms: Integers
    maker: Floats
    taker: Floats
    min_volume: Floats


class Rules(NamedTuple):
    """What holds for the whole account.

    Entry-based maintenance before ``mark_based_from_ms``. A taker's price is the reference x (1 +- (``slippage_rate`` +
    ``impact`` x (qty / volume)^2)). At most ``participation`` x volume fills per candle and symbol; infinite is
    unlimited. ``last_for_mark``: an unknown settlement mark is the worse last price instead of a refusal.
    """

    cross: bool
    inverse: bool
    step_down: bool
    tick_rounding: bool
    mark_based_from_ms: int
    slippage_rate: float
    impact: float
    participation: float
    last_for_mark: bool


class Logs(NamedTuple):
    """What happened, one row an event; columns as named above."""

    fills: Floats
    trades: Floats
    funding: Floats
    liquidations: Floats
    rejections: Floats


class Inputs(NamedTuple):
    """Everything that a run reads."""

    candles: Candles
    decisions: Decisions
    settlements: Settlements
    contracts: Contracts
    ladders: Ladders
    fees: Fees
    rules: Rules


class Books(NamedTuple):
    """Everything that changes, and ``fees`` (n_symbols, maker and taker, n_fee_tiers, n_eras) with its eras.

    Few arrays on purpose: each one that a compiled function is given costs time at every call.
    """

    account: Floats
    positions: Floats
    places: Integers
    counts: Integers
    fees: Floats
    fee_start_ms: Integers
    log: Floats


NOTHING = np.full(1, math.nan)
"""An optional input that is not there."""
