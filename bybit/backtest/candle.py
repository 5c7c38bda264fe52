"""One symbol inside one candle: settlements, resting orders and exits, in the order that is the worse for the account.

Orders that the candle may or may not have filled are decided against the account:

- a limit fills only when the last price trades through it, and not when a stop or liquidation could come first;
- an order that opens or adds fills before the stop or liquidation that it could lead to;
- when both stop and liquidation were reached, the one that loses more happens; a stop comes before a take-profit;
- a settlement inside the candle is charged first where it costs, and paid last, on what is then held, where it pays.

What happens inside carries the candle's last millisecond: it is known no earlier.
"""

import math

from bybit.backtest.compilation import part
from bybit.backtest.exits import enters_first, exit_inside
from bybit.backtest.fees import fail
from bybit.backtest.holdings import fill, settle
from bybit.backtest.judgement import candle_of
from bybit.backtest.orders import (
    count_ambiguous,
    go_on_exiting,
    is_reached,
    only_reduces,
    place,
    taker_price,
    trade_at_open,
    trade_inside,
)
from bybit.backtest.prices import value
from bybit.backtest.records import (
    ACTIVE,
    ADDED,
    BEGINS_ROW,
    BY_RUIN,
    CANDLE,
    CLOSE,
    CLOSE_BEFORE,
    DUE,
    DUE_MS,
    ENTERED,
    EXITING,
    FEE_TIER,
    FIRST_INSIDE,
    FROM_LIMIT,
    FROM_OPEN,
    FROM_TRIGGER,
    HIGH,
    INSIDE_MS,
    IS_INVERSE,
    LAST_FOR_MARK,
    LIMIT,
    LOTS,
    LOTS_BEFORE,
    LOW,
    MARK,
    MARK_MISSING,
    MARK_OF_CANDLE,
    NEVER,
    NO_ORDER,
    OPEN,
    ORDER_KIND,
    ORDER_LOTS,
    ORDER_PRICE,
    PENDING,
    QTY_STEP,
    RESTS,
    TAKER,
    TRADED,
    WAS_HELD,
)


@part
def mark_at(books, settlements, k, size, first, second):  # type: ignore[no-untyped-def]
    """Return the mark of settlement k; where it is unknown the worse of two last prices for ``size``."""
    mark = settlements.mark[k]
    if not math.isnan(mark):
        return mark
    # The value is what counts, and of an inverse contract the lower price has the larger one.
    larger = min(first, second) if books.counts[IS_INVERSE] else max(first, second)
    smaller = max(first, second) if books.counts[IS_INVERSE] else min(first, second)
    return larger if size * settlements.rate[k] > 0.0 else smaller


@part
def is_marked(books, settlements, k):  # type: ignore[no-untyped-def]
    """Return whether settlement k has a mark, or something that may stand in for it, which is counted."""
    if math.isnan(settlements.mark[k]):
        if not books.counts[LAST_FOR_MARK]:
            fail(books, MARK_MISSING, k)
            return False
        books.counts[MARK_OF_CANDLE] += 1
    return True


@part
def pass_settlement(books, settlements, s):  # type: ignore[no-untyped-def]
    """Go on to the next settlement of symbol s."""
    due = books.places[s, DUE] + 1
    books.places[s, DUE] = due
    books.places[s, DUE_MS] = settlements.time_ms[due] if due < settlements.first[s + 1] else NEVER


@part
def settle_at_open(books, settlements, s, now):  # type: ignore[no-untyped-def]
    """Settle what is due at this instant, or was inside a gap before it, on what was held before."""
    position = books.positions[s]
    while books.places[s, DUE_MS] <= now:
        k = books.places[s, DUE]
        if position[LOTS] != 0.0 and is_marked(books, settlements, k):
            size = position[LOTS] * position[QTY_STEP]
            mark = mark_at(books, settlements, k, size, position[CLOSE_BEFORE], position[OPEN])
            settle(books, s, settlements.time_ms[k], size, mark, settlements.rate[k])
            position[MARK] = mark
        pass_settlement(books, settlements, s)


@part
def trade_opens(books, now):  # type: ignore[no-untyped-def]
    """Place the orders of new rows and fill what takes at the opens: first what reduces, then what opens."""
    places = books.places
    for s in range(len(places)):
        places[s, TRADED] = 0
        if not places[s, ACTIVE]:
            continue
        i = places[s, CANDLE]
        if places[s, EXITING]:
            go_on_exiting(books, s, i, now)
        if places[s, BEGINS_ROW]:
            places[s, ORDER_KIND], places[s, RESTS] = NO_ORDER, 0
            if places[s, PENDING] and not places[s, EXITING]:
                place(books, s, now)
    for reducing in (True, False):
        for s in range(len(places)):
            if not places[s, ACTIVE] or places[s, ORDER_KIND] == NO_ORDER or places[s, TRADED]:
                continue
            if not reducing or only_reduces(books, s):
                places[s, TRADED] = 1
                i = places[s, CANDLE]
                trade_at_open(books, s, i, now)


@part
def enter_inside(books, settlements, s):  # type: ignore[no-untyped-def]
    """Charge what settlements inside the candle cost; fill a reached order that opens or adds."""
    position, places = books.positions[s], books.places
    i = places[s, CANDLE]
    held, fills = position[LOTS], is_reached(books, s)
    position[LOTS_BEFORE], places[s, FIRST_INSIDE] = held, places[s, DUE]
    while places[s, DUE_MS] <= places[s, INSIDE_MS]:
        k = places[s, DUE]
        if (held != 0.0 or fills) and is_marked(books, settlements, k):
            size = held * position[QTY_STEP]
            if size * settlements.rate[k] > 0.0:
                mark = mark_at(books, settlements, k, size, position[LOW], position[HIGH])
                settle(books, s, settlements.time_ms[k], size, mark, settlements.rate[k])
                position[MARK] = mark
        pass_settlement(books, settlements, s)
    if not fills or held * position[ORDER_LOTS] < 0.0:
        return
    if held != 0.0 and not enters_first(books, s, i):
        return
    is_limit = places[s, ORDER_KIND] == LIMIT
    trade_inside(books, s, i, places[s, INSIDE_MS])
    if held == 0.0:
        places[s, ENTERED] = FROM_LIMIT if is_limit else FROM_TRIGGER
    elif is_limit:
        places[s, ENTERED] = ADDED


@part
def leave_inside(books, settlements, s):  # type: ignore[no-untyped-def]
    """Protect or liquidate what is held, fill a reached order that reduces, pay what settlements inside pay."""
    position, places = books.positions[s], books.places
    i = places[s, CANDLE]
    before = position[LOTS]
    places[s, WAS_HELD] = 1 if before != 0.0 else 0
    entered_at = position[OPEN] if places[s, ENTERED] == FROM_OPEN else position[ORDER_PRICE]
    if before != 0.0:
        exit_inside(books, s, i, entered_at)
    if position[LOTS] * position[ORDER_LOTS] < 0.0 and is_reached(books, s):
        is_limit = places[s, ORDER_KIND] == LIMIT
        trade_inside(books, s, i, places[s, INSIDE_MS])
        if position[LOTS] * before < 0.0:
            places[s, ENTERED] = FROM_LIMIT if is_limit else FROM_TRIGGER
            exit_inside(books, s, i, position[ORDER_PRICE])
        elif position[LOTS] != 0.0:
            # What is left may have waited for that order.
            exit_inside(books, s, i, entered_at)
    for k in range(places[s, FIRST_INSIDE], places[s, DUE]):
        receive(books, settlements, s, i, k)
    places[s, FIRST_INSIDE] = places[s, DUE]


@part
def receive(books, settlements, s, candle, k):  # type: ignore[no-untyped-def]
    """Book a settlement inside the candle that was not charged yet, on the size that is the worse for the account."""
    position, rate = books.positions[s], settlements.rate[k]
    step, inverse = position[QTY_STEP], books.counts[IS_INVERSE] != 0
    before, size = position[LOTS_BEFORE] * step, position[LOTS] * step
    if before * rate > 0.0:
        return
    if before != size:
        count_ambiguous(books, candle)
    mark = mark_at(books, settlements, k, size, position[LOW], position[HIGH])
    mark_before = mark_at(books, settlements, k, before, position[LOW], position[HIGH])
    if value(inverse, before, mark_before) * rate > value(inverse, size, mark) * rate:
        size, mark = before, mark_before
    if size != 0.0:
        settle(books, s, settlements.time_ms[k], size, mark, rate)
        position[MARK] = mark


@part
def close_for_good(books):  # type: ignore[no-untyped-def]
    """Close all positions at the close of their candle: nothing is left to go on with."""
    for s in range(len(books.positions)):
        position = books.positions[s]
        if position[LOTS] != 0.0:
            i, lots, closed = candle_of(books, s), -position[LOTS], position[CLOSE]
            price = taker_price(books, s, i, lots, closed, False)
            time_ms, tier = books.places[s, INSIDE_MS], books.counts[FEE_TIER]
            fill(books, s, i, time_ms, lots, price, closed, TAKER, tier, BY_RUIN)
