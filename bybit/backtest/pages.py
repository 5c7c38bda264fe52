"""What is written into the books: a flat account before the first step, and each candle that is worked on."""

import math

from bybit.backtest.compilation import part
from bybit.backtest.prices import at
from bybit.backtest.records import (
    ACTIVE,
    ALLOCATION,
    AMBIGUOUS_CANDLE,
    ASK,
    BEGINS_ROW,
    BID,
    CANDLE,
    CASH,
    CLOSE,
    CLOSE_BEFORE,
    DUE,
    DUE_MS,
    ENTERED,
    FIRST_INSIDE,
    FLAGS,
    FROM_OPEN,
    HAS_QUOTES,
    HIGH,
    IMPACT,
    INSIDE_MS,
    IS_CROSS,
    IS_INVERSE,
    LAST_FOR_MARK,
    LEVERAGE,
    LIMIT_PRICE,
    LIQUIDATION_PRICE,
    LOW,
    MARK,
    MARK_HIGH,
    MARK_LOW,
    MARK_OPEN,
    MAX_LIMIT_QTY,
    MAX_MARKET_QTY,
    MAX_VALUE,
    MIN_NOTIONAL,
    MIN_QTY,
    MIN_VOLUMES,
    N_FEE_TIERS,
    NEVER,
    OPEN,
    PARTICIPATION,
    QTY_STEP,
    ROUNDS_TICKS,
    SIZED_AT,
    SLIPPAGE_RATE,
    STEPS_DOWN,
    STOP_PRICE,
    TAKE_PROFIT,
    TICK_SIZE,
    TRAIL,
    TRIGGER_PRICE,
    USED_CANDLE,
    VOLUME,
    WORTH,
)


@part
def begin(books, candles, settlements, contracts, fees, rules, initial_cash):  # type: ignore[no-untyped-def]
    """Set the books to a flat account before the first step."""
    account, positions, places, counts = books.account, books.positions, books.places, books.counts
    account[CASH] = account[WORTH] = initial_cash
    account[SLIPPAGE_RATE], account[IMPACT], account[PARTICIPATION] = (
        rules.slippage_rate, rules.impact, rules.participation,
    )  # fmt: skip
    account[MIN_VOLUMES:] = fees.min_volume
    counts[N_FEE_TIERS] = len(fees.min_volume)
    counts[IS_CROSS], counts[IS_INVERSE] = 1 if rules.cross else 0, 1 if rules.inverse else 0
    counts[STEPS_DOWN], counts[ROUNDS_TICKS] = 1 if rules.step_down else 0, 1 if rules.tick_rounding else 0
    counts[LAST_FOR_MARK], counts[HAS_QUOTES] = 1 if rules.last_for_mark else 0, 1 if len(candles.ask) > 1 else 0
    counts[AMBIGUOUS_CANDLE] = -1
    for s in range(len(positions)):
        position, place, due = positions[s], candles.first[s], settlements.first[s]
        position[QTY_STEP], position[TICK_SIZE] = contracts.qty_step[s], contracts.tick_size[s]
        position[MIN_QTY], position[MIN_NOTIONAL] = contracts.min_qty[s], contracts.min_notional[s]
        position[MAX_MARKET_QTY], position[MAX_LIMIT_QTY] = contracts.max_market_qty[s], contracts.max_limit_qty[s]
        position[MAX_VALUE], position[LEVERAGE] = contracts.max_position_value[s], contracts.leverage[s]
        position[ALLOCATION] = contracts.allocation[s]
        position[LIQUIDATION_PRICE] = position[MARK] = math.nan
        if place < candles.first[s + 1]:
            mark = candles.mark_open[place]
            position[MARK] = candles.open[place] if math.isnan(mark) else mark
            while due < settlements.first[s + 1] and settlements.time_ms[due] < candles.open_ms[place]:
                due += 1
        places[s, CANDLE], places[s, DUE], places[s, FIRST_INSIDE], places[s, USED_CANDLE] = place, due, due, -1
        places[s, DUE_MS] = settlements.time_ms[due] if due < settlements.first[s + 1] else NEVER
        places[s, ACTIVE] = 1
        for tier in range(len(fees.min_volume)):
            for era in range(len(fees.start_ms)):
                books.fees[s, 0, tier, era] = fees.maker[s, tier, era]
                books.fees[s, 1, tier, era] = fees.taker[s, tier, era]


@part
def load(books, s, i, candles, decisions):  # type: ignore[no-untyped-def]
    """Copy candle i and the decision in force to the books, where the rest of the simulation reads them."""
    position, places, first = books.positions[s], books.places, candles.first[s]
    rows = candles.row
    row = rows[i] if len(rows) > 1 else i
    places[s, BEGINS_ROW] = 1 if len(rows) == 1 or i == first or row != rows[i - 1] else 0
    places[s, CANDLE], places[s, INSIDE_MS] = i, candles.close_ms[i] - 1
    position[OPEN], position[HIGH], position[LOW] = candles.open[i], candles.high[i], candles.low[i]
    position[CLOSE], position[VOLUME] = candles.close[i], at(candles.volume, i)
    position[CLOSE_BEFORE] = candles.close[i - 1] if i > first else candles.open[i]
    position[MARK_OPEN], position[MARK_HIGH] = candles.mark_open[i], candles.mark_high[i]
    position[MARK_LOW] = candles.mark_low[i]
    position[BID], position[ASK] = at(candles.bid, i), at(candles.ask, i)
    position[SIZED_AT], position[LIMIT_PRICE] = decisions.close[row], at(decisions.limit, row)
    position[TRIGGER_PRICE], position[STOP_PRICE] = at(decisions.trigger, row), at(decisions.stop, row)
    position[TAKE_PROFIT], position[TRAIL] = at(decisions.take_profit, row), at(decisions.trail, row)
    places[s, FLAGS], places[s, ENTERED] = at(decisions.flags, row), FROM_OPEN
