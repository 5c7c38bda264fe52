"""Orders: sized by the decision, placed in the first candle of a row, refused or filled, in part when volume lacks."""

import math

from bybit.backtest.compilation import part
from bybit.backtest.fees import fail, fee_rate
from bybit.backtest.holdings import fill, log_row
from bybit.backtest.prices import gain, round_price, value, whole, whole_lots
from bybit.backtest.records import (
    ABOVE_QTY,
    ABOVE_RISK_LIMIT,
    ACTED,
    ALLOCATION,
    AMBIGUOUS,
    AMBIGUOUS_CANDLE,
    ASK,
    BACKING,
    BELOW_NOTIONAL,
    BELOW_QTY,
    BID,
    BY_LIMIT,
    BY_MARKET,
    BY_TRIGGER,
    CASH,
    CROSSED,
    ENTRY,
    EXIT_REASON,
    EXITING,
    FEE_TIER,
    FLAGS,
    HAS_QUOTES,
    HIGH,
    IMPACT,
    IS_CROSS,
    IS_INVERSE,
    LEVERAGE,
    LIMIT,
    LIMIT_PRICE,
    LOTS,
    LOW,
    MAKER,
    MARGIN,
    MARK,
    MARKET,
    MAX_LIMIT_QTY,
    MAX_MARKET_QTY,
    MAX_VALUE,
    MIN_NOTIONAL,
    MIN_QTY,
    NO_MARGIN,
    NO_ORDER,
    NO_QUOTE,
    NOTHING_TO_REDUCE,
    OPEN,
    ORDER_KIND,
    ORDER_LOTS,
    ORDER_PRICE,
    ORDER_TIER,
    ORDER_TOTAL,
    PARTIAL,
    PARTICIPATION,
    PENDING,
    POST_ONLY,
    QTY_STEP,
    REDUCE_ONLY,
    REJECTION,
    RESTS,
    SIZED_AT,
    SLIPPAGE_RATE,
    TAKER,
    TICK_SIZE,
    TRIGGER,
    TRIGGER_PRICE,
    UNFILLED,
    USED_CANDLE,
    USED_LOTS,
    VOLUME,
    VOLUME_MISSING,
    WORTH,
)


@part
def count_ambiguous(books, candle):  # type: ignore[no-untyped-def]
    """Count a candle, once, in which the order of two things was not certain and the worse was taken."""
    if books.counts[AMBIGUOUS_CANDLE] != candle:
        books.counts[AMBIGUOUS_CANDLE] = candle
        books.counts[AMBIGUOUS] += 1


@part
def reject(books, s, time_ms, why, lots, price):  # type: ignore[no-untyped-def]
    """Write an order, or the opening part of one, that the venue would refuse."""
    row = log_row(books, REJECTION, s)
    row[2], row[3], row[4], row[5] = time_ms, why, lots * books.positions[s, QTY_STEP], price


@part
def drop(books, s):  # type: ignore[no-untyped-def]
    """Forget the order in hand: it is done, refused or cancelled."""
    if books.places[s, RESTS]:
        books.counts[UNFILLED] -= 1
    books.places[s, PENDING], books.places[s, ORDER_KIND], books.places[s, RESTS] = 0, NO_ORDER, 0


@part
def room(books, s, candle):  # type: ignore[no-untyped-def]
    """Return how many lots may still fill in this candle."""
    position, account = books.positions[s], books.account
    if account[IMPACT] == 0.0 and account[PARTICIPATION] == math.inf:
        return math.inf
    volume = position[VOLUME]
    if math.isnan(volume):
        fail(books, VOLUME_MISSING, candle)
        return 0.0
    # What moves the price by its share of the volume cannot be more than all of it.
    lots = whole(min(account[PARTICIPATION], 1.0) * volume / position[QTY_STEP])
    if books.places[s, USED_CANDLE] == candle:
        lots -= position[USED_LOTS]
    return max(lots, 0.0)


@part
def clip(books, s, candle, lots):  # type: ignore[no-untyped-def]
    """Return what of signed ``lots`` the candle's volume lets through."""
    n_lots = room(books, s, candle)
    if n_lots >= abs(lots):
        return lots
    books.counts[PARTIAL] += 1
    return math.copysign(n_lots, lots)


@part
def taker_price(books, s, candle, lots, reference, is_open):  # type: ignore[no-untyped-def]
    """Return what taking ``lots`` costs or brings: the quote at the open, else the reference and its slippage."""
    position, account = books.positions[s], books.account
    side, tick = 1.0 if lots > 0.0 else -1.0, position[TICK_SIZE]
    rate = account[SLIPPAGE_RATE]
    if books.counts[HAS_QUOTES]:
        bid, ask = position[BID], position[ASK]
        if math.isnan(bid) or math.isnan(ask):
            books.counts[NO_QUOTE] += 1
        elif is_open:
            return ask if side > 0.0 else bid
        else:
            rate = (ask - bid) / (ask + bid)
    if account[IMPACT] > 0.0:
        if math.isnan(position[VOLUME]):
            fail(books, VOLUME_MISSING, candle)
        # More than the whole volume trades by force only: then the whole is all that the model knows of.
        qty = abs(lots) * position[QTY_STEP]
        share = qty / position[VOLUME] if qty < position[VOLUME] else 1.0
        rate += account[IMPACT] * share * share
    return max(round_price(reference * (1.0 + side * rate), tick, side), tick)


@part
def free_cash(books):  # type: ignore[no-untyped-def]
    """Return cash that no position binds."""
    free = books.account[CASH]
    for s in range(len(books.positions)):
        free -= books.positions[s, MARGIN]
    return free


@part
def unrealized_of_others(books, s):  # type: ignore[no-untyped-def]
    """Return the unrealized P&L of all positions but symbol s at their last marks."""
    total = 0.0
    for other in range(len(books.positions)):
        position = books.positions[other]
        if other != s and position[LOTS] != 0.0:
            size = position[LOTS] * position[QTY_STEP]
            total += gain(books.counts[IS_INVERSE] != 0, size, position[ENTRY], position[MARK])
    return total


@part
def refusal(books, s, candle, time_ms, lots, price, liquidity):  # type: ignore[no-untyped-def]
    """Return why a fill of ``lots`` that opens is refused, or 0 when it passes (L8).

    Sizes are judged by the whole order, margin by what fills now.
    """
    position, places, inverse = books.positions[s], books.places, books.counts[IS_INVERSE] != 0
    step, held = position[QTY_STEP], position[LOTS]
    order_qty = abs(position[ORDER_TOTAL]) * step
    if order_qty < position[MIN_QTY]:
        return BELOW_QTY
    if value(inverse, order_qty, price) < position[MIN_NOTIONAL]:
        return BELOW_NOTIONAL
    if order_qty > (position[MAX_LIMIT_QTY] if places[s, ORDER_KIND] == LIMIT else position[MAX_MARKET_QTY]):
        return ABOVE_QTY
    if value(inverse, abs(held + position[ORDER_LOTS]) * step, price) > position[MAX_VALUE]:
        return ABOVE_RISK_LIMIT
    free, opening, stays = free_cash(books), abs(lots), unrealized_of_others(books, s)
    if held * lots < 0.0:
        opening -= abs(held)
        free += position[MARGIN] + gain(inverse, held * step, position[ENTRY], price)
    elif held != 0.0:
        stays += gain(inverse, held * step, position[ENTRY], position[MARK])
    if books.counts[IS_CROSS]:
        free += books.account[BACKING] + min(stays, 0.0)
    fee = value(inverse, abs(lots) * step, price) * fee_rate(
        books, s, candle, time_ms, places[s, ORDER_TIER], liquidity
    )
    if value(inverse, opening * step, price) / position[LEVERAGE] + fee > free:
        return NO_MARGIN
    return 0.0


@part
def execute(books, s, candle, time_ms, lots, price, reference, liquidity, reason):  # type: ignore[no-untyped-def]
    """Fill ``lots`` of the order in hand; when its opening part is refused only what it closes fills."""
    if lots == 0.0:
        return
    position, tier = books.positions[s], books.places[s, ORDER_TIER]
    held = position[LOTS]
    why = 0.0
    if held * lots >= 0.0 or abs(lots) > abs(held):
        why = refusal(books, s, candle, time_ms, lots, price, liquidity)
    if why != 0.0:
        rest = position[ORDER_LOTS]
        if held * lots < 0.0:
            fill(books, s, candle, time_ms, -held, price, reference, liquidity, tier, reason)
            rest += held
        reject(books, s, time_ms, why, rest, price)
        drop(books, s)
        return
    fill(books, s, candle, time_ms, lots, price, reference, liquidity, tier, reason)
    position[ORDER_LOTS] -= lots
    if position[ORDER_LOTS] == 0.0:
        drop(books, s)


@part
def place(books, s, now):  # type: ignore[no-untyped-def]
    """Make the order of a new row out of its decision; one that rested from the row before is replaced."""
    position, places = books.positions[s], books.places
    places[s, ORDER_KIND], places[s, RESTS] = NO_ORDER, 0
    kind, price = TRIGGER, position[TRIGGER_PRICE]
    if math.isnan(price):
        kind, price = LIMIT, position[LIMIT_PRICE]
    if math.isnan(price):
        kind, price = MARKET, position[SIZED_AT]
    equity = books.account[WORTH] + books.account[BACKING]
    exposure = position[ACTED] * position[ALLOCATION]
    lots = whole_lots(exposure, equity, price, position[QTY_STEP], books.counts[IS_INVERSE] != 0) - position[LOTS]
    if lots != 0.0 and books.places[s, FLAGS] & REDUCE_ONLY:
        if position[LOTS] * lots >= 0.0:
            reject(books, s, now, NOTHING_TO_REDUCE, lots, price)
            lots = 0.0
        elif abs(lots) > abs(position[LOTS]):
            lots = -position[LOTS]
    if lots == 0.0:
        places[s, PENDING] = 0
        return
    side = 1.0 if lots > 0.0 else -1.0
    if kind == LIMIT:
        price = round_price(price, position[TICK_SIZE], -side)
    elif kind == TRIGGER:
        price = round_price(price, position[TICK_SIZE], side)
    position[ORDER_LOTS], position[ORDER_TOTAL], position[ORDER_PRICE] = lots, lots, price
    places[s, ORDER_KIND], places[s, ORDER_TIER] = kind, books.counts[FEE_TIER]


@part
def go_on_exiting(books, s, candle, now):  # type: ignore[no-untyped-def]
    """Sell at the open what an exit of an earlier candle left over."""
    position = books.positions[s]
    opened = position[OPEN]
    lots = clip(books, s, candle, -position[LOTS])
    if lots != 0.0:
        price = taker_price(books, s, candle, lots, opened, True)
        tier = books.counts[FEE_TIER]
        fill(books, s, candle, now, lots, price, opened, TAKER, tier, position[EXIT_REASON])
    if position[LOTS] == 0.0:
        books.places[s, EXITING] = 0


@part
def only_reduces(books, s):  # type: ignore[no-untyped-def]
    """Return whether the order in hand opens nothing."""
    held, lots = books.positions[s, LOTS], books.positions[s, ORDER_LOTS]
    return held * lots < 0.0 and abs(lots) <= abs(held)


@part
def crosses(books, s):  # type: ignore[no-untyped-def]
    """Return whether the order in hand takes at the open: a trigger beyond it, a limit that meets the other side."""
    position = books.positions[s]
    side, wanted, opened = (1.0 if position[ORDER_LOTS] > 0.0 else -1.0), position[ORDER_PRICE], position[OPEN]
    if books.places[s, ORDER_KIND] == TRIGGER:
        return side * (opened - wanted) >= 0.0
    best = position[ASK if side > 0.0 else BID]
    return side * (wanted - (opened if math.isnan(best) else best)) >= 0.0


@part
def let_rest(books, s):  # type: ignore[no-untyped-def]
    """Leave the order in the book."""
    if not books.places[s, RESTS]:
        books.places[s, RESTS] = 1
        books.counts[UNFILLED] += 1


@part
def trade_at_open(books, s, candle, now):  # type: ignore[no-untyped-def]
    """Fill at the open what takes there; let the rest of the order rest."""
    position, places = books.positions[s], books.places
    kind, opened, wanted = places[s, ORDER_KIND], position[OPEN], position[ORDER_PRICE]
    reason = BY_MARKET
    if kind != MARKET:
        if (kind == LIMIT and places[s, RESTS]) or not crosses(books, s):
            let_rest(books, s)
            return
        reason = BY_LIMIT if kind == LIMIT else BY_TRIGGER
    if kind == LIMIT and books.places[s, FLAGS] & POST_ONLY:
        # Refused by the venue; the target stays unmet, so the next row quotes again.
        books.counts[CROSSED] += 1
        places[s, ORDER_KIND] = NO_ORDER
        return
    if kind == TRIGGER:
        fire(books, s)
    lots = clip(books, s, candle, position[ORDER_LOTS])
    if lots != 0.0:
        price = taker_price(books, s, candle, lots, opened, True)
        if kind == LIMIT:
            price = min(price, wanted) if lots > 0.0 else max(price, wanted)
        execute(books, s, candle, now, lots, price, opened, TAKER, reason)
    if places[s, ORDER_KIND] == LIMIT:
        # What the volume left over waits in the book.
        let_rest(books, s)


@part
def fire(books, s):  # type: ignore[no-untyped-def]
    """Turn a trigger order that was reached into a market order."""
    if books.places[s, RESTS]:
        books.counts[UNFILLED] -= 1
    books.places[s, ORDER_KIND], books.places[s, RESTS] = MARKET, 0


@part
def is_reached(books, s):  # type: ignore[no-untyped-def]
    """Return whether the resting order fills in this candle: a limit traded through, a trigger touched."""
    position = books.positions[s]
    if not books.places[s, RESTS]:
        return False
    low, high, price, buys = position[LOW], position[HIGH], position[ORDER_PRICE], position[ORDER_LOTS] > 0.0
    if books.places[s, ORDER_KIND] == LIMIT:
        return low < price if buys else high > price
    return high >= price if buys else low <= price


@part
def trade_inside(books, s, candle, time_ms):  # type: ignore[no-untyped-def]
    """Fill the resting order that this candle has reached."""
    position = books.positions[s]
    price = position[ORDER_PRICE]
    lots = clip(books, s, candle, position[ORDER_LOTS])
    if books.places[s, ORDER_KIND] == LIMIT:
        execute(books, s, candle, time_ms, lots, price, price, MAKER, BY_LIMIT)
        return
    fire(books, s)
    if lots != 0.0:
        paid = taker_price(books, s, candle, lots, price, False)
        execute(books, s, candle, time_ms, lots, paid, price, TAKER, BY_TRIGGER)
