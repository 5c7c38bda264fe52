"""One symbol's position: what a fill, a settlement and the end of a round trip do to it (L2-L7).

The fast copy of the ``Decimal`` rules; ``bybit.rules.account`` is the reference and tests hold both equal.
"""

from bybit.backtest.compilation import part
from bybit.backtest.fees import count_volume, fail, fee_rate
from bybit.backtest.ladders import reprice
from bybit.backtest.prices import gain, value
from bybit.backtest.records import (
    BEST,
    CASH,
    ENTRY,
    ENTRY_QTY,
    ENTRY_VALUE,
    EXIT_QTY,
    EXIT_VALUE,
    EXITING,
    FILL,
    FUNDING,
    GROSS,
    IS_INVERSE,
    LEVERAGE,
    LOGS_FULL,
    LOTS,
    MAKER,
    MAKER_FEES,
    MARGIN,
    N_EVENTS,
    N_LOGGED,
    QTY_STEP,
    REALIZED,
    REFERENCE,
    SETTLEMENT,
    SLIPPAGE,
    TAKER_FEES,
    TRADE,
    TRADE_CANDLE,
    TRADE_FEES,
    TRADE_FUNDING,
    TRADE_PNL,
    TRADE_SIDE,
    TRADE_TIME,
    USED_CANDLE,
    USED_LOTS,
)


@part
def log_row(books, kind, s):  # type: ignore[no-untyped-def]
    """Return a new row of the log to be written; a log that is full ends the run at the next look."""
    n = books.counts[N_LOGGED]
    if n == len(books.log):
        # This run is lost: what it still does goes over the last row.
        fail(books, LOGS_FULL, n)
        n -= 1
    row = books.log[n]
    row[0], row[1] = kind, s
    books.counts[N_LOGGED] = n + 1
    books.counts[kind] += 1
    return row


@part
def log_event(books, kind, s):  # type: ignore[no-untyped-def]
    """Return a new row of the log that has its number in the order of the account's events."""
    row = log_row(books, kind, s)
    row[2] = books.counts[N_EVENTS]
    books.counts[N_EVENTS] += 1
    return row


@part
def fill(books, s, candle, time_ms, lots, price, reference, liquidity, tier, reason):  # type: ignore[no-untyped-def]
    """Book a fill of signed ``lots``: what it closes first, then what it opens, with one fee (L3, L6).

    ``reference`` is the price without slippage; the difference is a cost of its own.
    """
    position, inverse = books.positions[s], books.counts[IS_INVERSE] != 0
    step = position[QTY_STEP]
    held, side, n_lots = position[LOTS], 1.0 if lots > 0.0 else -1.0, abs(lots)
    qty = n_lots * step
    fee = value(inverse, qty, price) * fee_rate(books, s, candle, time_ms, tier, liquidity)
    closing = min(n_lots, abs(held)) if held * lots < 0.0 else 0.0
    fee_to_close, realized = 0.0, 0.0
    row = log_event(books, FILL, s)
    row[3], row[4] = time_ms, candle
    if closing > 0.0:
        fee_to_close = fee * (closing / n_lots)
        realized = close_part(books, s, closing, price, reference, fee_to_close)
        if position[LOTS] == 0.0:
            end_trade(books, s, time_ms, candle, reason)
    if n_lots > closing:
        open_part(books, s, candle, time_ms, side * (n_lots - closing), price, reference, fee - fee_to_close)
    books.account[CASH] += realized - fee
    position[REALIZED] += realized
    position[SLIPPAGE] += gain(inverse, side * qty, reference, price)
    position[MAKER_FEES if liquidity == MAKER else TAKER_FEES] += fee
    if books.places[s, USED_CANDLE] != candle:
        books.places[s, USED_CANDLE] = candle
        position[USED_LOTS] = 0.0
    position[USED_LOTS] += n_lots
    count_volume(books, time_ms, qty if inverse else qty * price)
    row[5], row[6], row[7], row[8], row[9], row[10] = side * qty, price, reference, fee, liquidity, realized
    row[11], row[12] = position[LOTS] * step, reason
    reprice(books, s)


@part
def close_part(books, s, n_lots, price, reference, fee):  # type: ignore[no-untyped-def]
    """Take ``n_lots`` off the position, at most what is held; return what that realizes."""
    position, inverse = books.positions[s], books.counts[IS_INVERSE] != 0
    qty = n_lots * position[QTY_STEP]
    held = position[LOTS]
    side = 1.0 if held > 0.0 else -1.0
    realized = gain(inverse, side * qty, position[ENTRY], price)
    position[GROSS] += gain(inverse, side * qty, position[REFERENCE], reference)
    position[MARGIN] *= 1.0 - n_lots / abs(held)
    position[EXIT_QTY] += qty
    position[EXIT_VALUE] += value(inverse, qty, price)
    position[TRADE_PNL] += realized
    position[TRADE_FEES] += fee
    position[LOTS] = held - side * n_lots
    return realized


@part
def open_part(books, s, candle, time_ms, lots, price, reference, fee):  # type: ignore[no-untyped-def]
    """Open or add signed ``lots``; the average entry is arithmetic, of inverse contracts harmonic (L5)."""
    position, inverse = books.positions[s], books.counts[IS_INVERSE] != 0
    step = position[QTY_STEP]
    held, qty = position[LOTS], abs(lots) * step
    if held == 0.0:
        position[TRADE_TIME], position[TRADE_CANDLE] = time_ms, candle
        position[TRADE_SIDE] = 1.0 if lots > 0.0 else -1.0
        position[ENTRY_QTY : TRADE_FUNDING + 1] = 0.0
        position[ENTRY], position[REFERENCE], position[BEST] = price, reference, reference
    else:
        before = abs(held) * step
        if inverse:
            position[ENTRY] = (before + qty) / (before / position[ENTRY] + qty / price)
            position[REFERENCE] = (before + qty) / (before / position[REFERENCE] + qty / reference)
        else:
            position[ENTRY] = (before * position[ENTRY] + qty * price) / (before + qty)
            position[REFERENCE] = (before * position[REFERENCE] + qty * reference) / (before + qty)
    worth = value(inverse, qty, price)
    position[MARGIN] += worth / position[LEVERAGE]
    position[ENTRY_QTY] += qty
    position[ENTRY_VALUE] += worth
    position[TRADE_FEES] += fee
    position[LOTS] = held + lots


@part
def end_trade(books, s, time_ms, candle, reason):  # type: ignore[no-untyped-def]
    """Write the round trip that has just ended and leave no position behind."""
    position, inverse = books.positions[s], books.counts[IS_INVERSE] != 0
    row = log_row(books, TRADE, s)
    entered, left = position[ENTRY_QTY], position[EXIT_QTY]
    row[2], row[3], row[4], row[5] = position[TRADE_TIME], time_ms, position[TRADE_CANDLE], candle
    row[6], row[7] = position[TRADE_SIDE], entered
    row[8] = entered / position[ENTRY_VALUE] if inverse else position[ENTRY_VALUE] / entered
    row[9] = left / position[EXIT_VALUE] if inverse else position[EXIT_VALUE] / left
    row[10], row[11], row[12] = position[TRADE_PNL], position[TRADE_FEES], position[TRADE_FUNDING]
    row[13] = position[TRADE_PNL] - position[TRADE_FEES] + position[TRADE_FUNDING]
    row[14] = reason
    position[LOTS], position[ENTRY], position[REFERENCE], position[MARGIN] = 0.0, 0.0, 0.0, 0.0
    books.places[s, EXITING] = 0
    reprice(books, s)


@part
def settle(books, s, time_ms, size, mark, rate):  # type: ignore[no-untyped-def]
    """Book funding of a signed ``size``: it comes from cash and leaves the isolated margin alone (L2, L13)."""
    position = books.positions[s]
    payment = -value(books.counts[IS_INVERSE] != 0, size, mark) * rate
    books.account[CASH] += payment
    position[FUNDING] += payment
    position[TRADE_FUNDING] += payment
    row = log_event(books, SETTLEMENT, s)
    row[3], row[4], row[5], row[6], row[7] = time_ms, size, mark, rate, payment
