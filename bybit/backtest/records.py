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

# Account state. WORTH is cash plus unrealized P&L at the last close; FUND the insurance fund's sum, + gained.
CASH, WORTH, FUND = range(3)
N_ACCOUNT = 3

# One symbol's state. REFERENCE is the average entry before slippage, BEST the best last price since the entry.
LOTS, ENTRY, REFERENCE, MARGIN, LIQUIDATION_PRICE, MARK, BEST = range(7)
# Sums since the start; FUNDING is + received, fees and slippage + paid. A takeover's margin stands under
# LIQUIDATION_LOSS, not under REALIZED.
REALIZED, GROSS, MAKER_FEES, TAKER_FEES, FUNDING, SLIPPAGE, LIQUIDATION_LOSS = range(7, 14)
# The round trip that is open: quantities and values of both legs.
TRADE_TIME, TRADE_CANDLE, TRADE_SIDE, ENTRY_QTY, ENTRY_VALUE, EXIT_QTY, EXIT_VALUE = range(14, 21)
TRADE_PNL, TRADE_FEES, TRADE_FUNDING = range(21, 24)
# The order in hand: what is left of it and its whole size in signed lots; lots traded in the current candle; the
# target that was acted on last.
ORDER_LOTS, ORDER_TOTAL, ORDER_PRICE, USED_LOTS, ACTED = range(24, 29)
N_POSITION = 29

# One symbol's places, whole numbers: candle in turn, next settlement and its time, fee and ladder era, and so on.
CANDLE, ACTIVE, DUE, DUE_MS, FIRST_INSIDE, FEE_ERA, LADDER_ERA, PENDING = range(8)
ORDER_KIND, ORDER_TIER, ORDER_RESTED, EXITING, USED_CANDLE, ENTERED, INSIDE = range(8, 15)
N_PLACES = 15
NO_ORDER, MARKET, LIMIT, TRIGGER = 0, 1, 2, 3

# Counters of the account. AMBIGUOUS: candles in which the order of two things was not certain and the worse was taken.
N_FILLS, N_TRADES, N_SETTLED, N_LIQUIDATIONS, N_REJECTED, N_EVENTS = range(6)
# CROSSED: post-only orders refused. UNFILLED: rows whose resting order did not fill whole. HELD: symbol-candles with
# a position or an order inside. NO_QUOTE: fills that took where quotes were given but none was known there. PARTIAL:
# candles in which the volume left a part of an order unfilled.
CROSSED, UNFILLED, HELD, MARK_OF_CANDLE, AMBIGUOUS, NO_QUOTE, PARTIAL = range(6, 13)
STATUS, WHERE, FEE_TIER, AMBIGUOUS_CANDLE, NEXT_RULES_MS, NEXT_TIER_MS, VOLUME_DAY = range(13, 20)
N_COUNTS = 20

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
    "loss", "fee", "fund", "kind",
)  # fmt: skip
REJECTION_COLUMNS = ("symbol", "order_time", "reason", "qty", "price")


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
    """What happened, one row an event; columns as named above. Rows beyond the counters are not initialised."""

    fills: Floats
    trades: Floats
    funding: Floats
    liquidations: Floats
    rejections: Floats


class Inputs(NamedTuple):
    """Everything that stays the same during a run."""

    candles: Candles
    decisions: Decisions
    settlements: Settlements
    contracts: Contracts
    ladders: Ladders
    fees: Fees
    rules: Rules


class Books(NamedTuple):
    """Everything that changes: ``volumes`` is the traded notional (USD) of the last 31 days, by day modulo 31."""

    account: Floats
    positions: Floats
    places: Integers
    counts: Integers
    volumes: Floats
    logs: Logs


NOTHING = np.full(1, math.nan)
"""An optional input that is not there."""


def room_in_a_step(n_symbols: int, n_tiers: int) -> int:
    """Return how many rows every log but ``funding`` must have free before each step, at least."""
    # Two fills of an order, one of its rest, an exit and its rest, one at ruin; a step-down for every tier.
    return n_symbols * (8 + n_tiers)


def empty_logs(n_rows: int, n_settlements: int) -> Logs:
    """Return logs of ``n_rows`` each, and of one row a settlement."""
    return Logs(
        fills=np.empty((n_rows, len(FILL_COLUMNS))),
        trades=np.empty((n_rows, len(TRADE_COLUMNS))),
        funding=np.empty((n_settlements, len(FUNDING_COLUMNS))),
        liquidations=np.empty((n_rows, len(LIQUIDATION_COLUMNS))),
        rejections=np.empty((n_rows, len(REJECTION_COLUMNS))),
    )
