"""What the venue says of a contract as of a day: steps, limits, dates; and the orders it refuses because of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.instrument_table import INSTRUMENT_ROWS
from bybit.rules.margin import RiskTier, max_notional_at, tier_of
from bybit.rules.periods import parse_time, utc
from bybit.rules.positions import check_price, notional

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Instrument:
    """Contract rules as of one day. Prices in quote coin, quantities in base coin (inverse: USD contracts).

    ``funding_interval`` is the interval in force on ``as_of`` only: it changes without notice, so a settlement's
    time always comes from the funding history. None where the venue gave no figure; missing is never zero.
    """

    category: Category
    symbol: str
    contract_type: str
    base_coin: str
    quote_coin: str
    settle_coin: str
    status: str
    tick_size: Decimal
    qty_step: Decimal
    min_order_qty: Decimal
    max_order_qty: Decimal | None
    max_market_order_qty: Decimal | None
    min_notional: Decimal | None
    max_leverage: Decimal | None
    leverage_step: Decimal | None
    funding_interval: timedelta | None
    upper_funding_rate: Decimal | None
    lower_funding_rate: Decimal | None
    launch_time: datetime | None
    delivery_time: datetime | None
    as_of: datetime


def recorded_instruments(category: Category, symbol: str) -> tuple[Instrument, ...]:
    """Return every record of a contract in the project's own dated table, oldest first.

    The recorded replies were asked without a status filter, which lists contracts in status Trading only; a
    pre-market contract is PreLaunch.

    Raises
    ------
    NotEstablished
        When the table has none; names the symbols it knows of that category.
    """
    rows = [(row.split(), source) for row, source in INSTRUMENT_ROWS]
    found = [_instrument(cells, source) for cells, source in rows if cells[:2] == [category.value, symbol]]
    if not found:
        known = ", ".join(sorted({cells[1] for cells, _ in rows if cells[0] == category.value}))
        raise NotEstablished(
            f"no contract rules of {category} {symbol} are recorded: known are {known}; fetch them from the venue"
        )
    return tuple(sorted(found, key=lambda instrument: instrument.as_of))


def _instrument(cells: list[str], source: str) -> Instrument:
    numbers = [None if cell == "-" else Decimal(cell) for cell in cells[6:17]]
    tick, step, least, largest, largest_market, least_notional, leverage, leverage_step, minutes, upper, lower = numbers
    if tick is None or step is None or least is None:
        raise InvalidInput(f"the table's row of {cells[0]} {cells[1]} lacks a tick, step or least quantity")
    return Instrument(
        category=Category(cells[0]),
        symbol=cells[1],
        contract_type="" if cells[2] == "-" else cells[2],
        base_coin=cells[3],
        quote_coin=cells[4],
        settle_coin="" if cells[5] == "-" else cells[5],
        status="PreLaunch" if "pre-market" in source else "Trading",
        tick_size=tick,
        qty_step=step,
        min_order_qty=least,
        max_order_qty=largest,
        max_market_order_qty=largest_market,
        min_notional=least_notional,
        max_leverage=leverage,
        leverage_step=leverage_step,
        funding_interval=None if minutes is None else timedelta(minutes=int(minutes)),
        upper_funding_rate=upper,
        lower_funding_rate=lower,
        launch_time=None if cells[17] == "-" else utc(cells[17]),
        delivery_time=None if cells[18] == "-" else utc(cells[18]),
        as_of=parse_time(cells[19]),
    )


def round_price(price: Decimal, tick_size: Decimal, rounding: str = ROUND_HALF_UP) -> Decimal:
    """Return ``price`` on the tick; ``rounding`` is one of ``decimal``'s modes."""
    check_price(tick_size)
    return (price / tick_size).to_integral_value(rounding) * tick_size


def round_qty(qty: Decimal, qty_step: Decimal) -> Decimal:
    """Return ``qty`` on the step, toward zero: an order never grows by rounding."""
    check_price(qty_step)
    return (qty / qty_step).to_integral_value(ROUND_DOWN) * qty_step


@dataclass(frozen=True, slots=True)
class OrderProblem:
    """Why the venue refuses an order. ``ret_code`` is the venue's number, ``reason`` our words."""

    ret_code: int
    reason: str


def check_order(
    instrument: Instrument, qty: Decimal, price: Decimal, *, is_market: bool, reduce_only: bool = False
) -> tuple[OrderProblem, ...]:
    """Return everything the contract's rules object to in an order; empty when the venue accepts its shape.

    Parameters
    ----------
    qty : Decimal
        Base coin (inverse: USD contracts), without a sign.
    price : Decimal
        Limit price; for a market order the price its notional is judged at (its tick is not checked).
    is_market : bool
        A market order has an upper bound of its own.
    reduce_only : bool
        Spared the least notional, so that a small rest can be closed.

    Notes
    -----
    The numbers of the notional checks are documented. That derivatives answer 10001 for a price off the tick and for
    quantities off the step or out of bounds is presumed: the documents only call it the parameter error.
    """
    is_spot = instrument.category is Category.SPOT
    problems = []
    if not price > _ZERO or (not is_market and price % instrument.tick_size):
        code = 170134 if is_spot else 10001
        problems.append(OrderProblem(code, f"price {price} is not a positive multiple of tick {instrument.tick_size}"))
    if not qty > _ZERO or qty % instrument.qty_step:
        code = 170137 if is_spot else 10001
        problems.append(OrderProblem(code, f"quantity {qty} is not a positive multiple of step {instrument.qty_step}"))
    if qty < instrument.min_order_qty:
        code = 170136 if is_spot else 10001
        problems.append(OrderProblem(code, f"quantity {qty} is below the least {instrument.min_order_qty}"))
    largest = instrument.max_market_order_qty if is_market else instrument.max_order_qty
    if largest is not None and qty > largest:
        code = 170124 if is_spot else 10001
        kind = "market" if is_market else "limit"
        problems.append(OrderProblem(code, f"quantity {qty} is above the largest of a {kind} order, {largest}"))
    if price > _ZERO and instrument.min_notional is not None and not reduce_only:
        # The bound of inverse contracts is in USD, which is what their quantity counts.
        value = qty if instrument.category is Category.INVERSE else notional(instrument.category, qty, price)
        if value < instrument.min_notional:
            code = 170140 if is_spot else 110094
            problems.append(OrderProblem(code, f"notional {value} is below the least {instrument.min_notional}"))
    return tuple(problems)


def check_leverage(tiers: Sequence[RiskTier], value: Decimal, leverage: Decimal) -> OrderProblem | None:
    """Return why a position of notional ``value`` may not be held at ``leverage``, None when it may.

    The tier of the whole position decides, open orders included: the lower its leverage limit, the larger the value.
    """
    highest = tier_of(tiers, _ZERO).max_leverage
    if not 1 <= leverage <= highest:
        return OrderProblem(110013, f"leverage {leverage} is not between 1 and the contract's {highest}")
    bound = max_notional_at(tiers, leverage)
    if bound is not None and value > bound:
        return OrderProblem(110090, f"a position of {value} is above {bound}, the most that leverage {leverage} allows")
    return None
