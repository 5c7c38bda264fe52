"""Liquidations in the ledger: when positions are lost at their marks, and what that does to the book."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from bybit.rules.book import Book
from bybit.rules.fees import Liquidity
from bybit.rules.holdings import after_fill, split
from bybit.rules.joint import Leg, first_loss, is_lost
from bybit.rules.ledger import LogRow, MarkCandle, Position
from bybit.rules.liquidation import LiquidationMode
from bybit.rules.positions import notional
from bybit.rules.stepdown import Step, step_down

_ZERO = Decimal(0)

ASSUMPTIONS = (
    "a lost cross account is closed at once at its marks, each position paying the taker fee, where the venue reduces "
    "step by step; cash ends at zero at the least",
    "inside a candle all contracts of a cross account move together, from the opens to the extremes that hurt",
    "the insurance fund pays without limit: auto-deleveraging is out of the model",
    "a short's liquidation and bankruptcy price is rounded down to the tick: only the long side is recorded",
)
"""What no text of the venue establishes about liquidations, and what is reckoned instead."""


def judge_isolated(
    book: Book,
    row: LogRow,
    time_ms: int,
    symbol: str,
    moves: Iterable[tuple[Decimal, bool | None]],
    mode: LiquidationMode,
) -> bool:
    """Liquidate a position as far as it is lost on its way; return whether it was taken over.

    ``moves`` are (mark price, whether it is a gap); None is an extreme that the price moved to: then each liquidation
    price on the way is the trigger, not the extreme.
    """
    below: Decimal | None = None
    for price, gap in moves:
        while _is_lost(book, time_ms, symbol, price):
            limit = book.positions[symbol].liquidation_price
            trigger = price if gap is not None or limit is None else limit
            lost = True
            # What a step leaves may be lost at the very price that triggered.
            while lost:
                step = _next_step(book, time_ms, symbol, trigger, below) if mode is LiquidationMode.STEP_DOWN else None
                if step is None:
                    _take_over(book, row, time_ms, symbol, trigger, bool(gap))
                    return True
                below = step.bound
                _step_down(book, row, time_ms, symbol, trigger, step.qty, bool(gap))
                lost = _is_lost(book, time_ms, symbol, trigger)
    return False


def _is_lost(book: Book, time_ms: int, symbol: str, price: Decimal) -> bool:
    position = book.positions[symbol]
    # What is flat needs no ladder, which need not be known yet.
    return bool(position.size) and book.terms(symbol, time_ms).is_lost(position, price)


def _next_step(book: Book, time_ms: int, symbol: str, trigger: Decimal, below: Decimal | None) -> Step | None:
    position, contract = book.positions[symbol], book.contracts[symbol]
    return step_down(book.terms(symbol, time_ms), position, trigger, contract.qty_step, below)


def _take_over(book: Book, row: LogRow, time_ms: int, symbol: str, trigger: Decimal, gap: bool) -> None:
    position = book.positions[symbol]
    # The fund receives the position at the bankruptcy price and closes it at the trigger.
    fund = position.margin + book.terms(symbol, time_ms).unrealized(position, trigger)
    book.positions[symbol] = Position()
    book.book(loss=position.margin, fund=fund)
    _log(book, row, symbol, position, trigger, gap, how="takeover", loss=position.margin, fund=fund)


def _step_down(book: Book, row: LogRow, time_ms: int, symbol: str, trigger: Decimal, part: Decimal, gap: bool) -> None:
    contract, position = book.contracts[symbol], book.positions[symbol]
    fee = book.fee(time_ms, symbol, part, trigger, Liquidity.TAKER)
    parts = split(contract, position, -part, trigger)
    book.hold(symbol, time_ms, after_fill(contract.category, position, parts, trigger))
    book.book(realized=parts.realized, fee=fee)
    _log(book, row, symbol, position, trigger, gap, how="step_down", qty=part, fee=fee, realized=parts.realized)


def judge_cross(book: Book, row: LogRow, time_ms: int, *, gap: bool) -> bool:
    """Close everything when the account is lost at its last marks; return whether it was."""
    legs = _legs(book, time_ms, {})
    if not is_lost(book.cash + book.backing, list(legs.values())):
        return False
    _close_all(book, row, time_ms, gap)
    return True


def judge_cross_bars(book: Book, row: LogRow, time_ms: int, candles: Mapping[str, MarkCandle]) -> bool:
    """Move the marks of a cross account through candles of one open time; return whether it was lost.

    First the opens (a gap), then together toward the extremes that hurt what is held: the first marks on the way at
    which the account is lost are those of the liquidation.
    """
    book.marks.update({symbol: candle.open for symbol, candle in candles.items()})
    if judge_cross(book, row, time_ms, gap=True):
        return True
    legs = _legs(book, time_ms, candles)
    fraction = first_loss(book.cash + book.backing, list(legs.values()))
    if fraction is None:
        return False
    book.marks.update({symbol: leg.price(fraction) for symbol, leg in legs.items()})
    _close_all(book, row, time_ms, gap=False)
    return True


def _legs(book: Book, time_ms: int, candles: Mapping[str, MarkCandle]) -> dict[str, Leg]:
    """Return what is held, each on its way from its last mark to its adverse extreme, if it has a candle."""
    legs = {}
    for symbol, position in book.positions.items():
        if position.size:
            mark = book.mark(symbol)
            end = candles[symbol].adverse(position.size) if symbol in candles else mark
            legs[symbol] = Leg(book.terms(symbol, time_ms), position, mark, end)
    return legs


def _close_all(book: Book, row: LogRow, time_ms: int, gap: bool) -> None:
    """Close every position at its mark, as taker; the fund pays what would take cash below -backing.

    Its payment is shared over the positions in proportion to their value, so that the rows add up.
    """
    closed = []
    for symbol, position in book.positions.items():
        if position.size:
            mark = book.mark(symbol)
            fee = book.fee(time_ms, symbol, position.size, mark, Liquidity.TAKER)
            gained = book.terms(symbol, time_ms).unrealized(position, mark)
            value = notional(book.contracts[symbol].category, position.size, mark)
            closed.append((symbol, position, mark, fee, gained, value))
    left = book.cash + sum((gained - fee for _, _, _, fee, gained, _ in closed), _ZERO)
    shortfall = max(-book.backing - left, _ZERO)
    total_value = sum((value for *_, value in closed), _ZERO)
    for symbol, position, mark, fee, gained, value in closed:
        paid = shortfall * value / total_value
        book.positions[symbol] = Position()
        book.book(fee=fee, loss=-gained - paid, fund=-paid)
        if shortfall and symbol == closed[-1][0]:
            # The shares are rounded quotients: the last digit of their sum leaves nothing beside the floor.
            book.cash = -book.backing
        _log(book, row, symbol, position, mark, gap, how="cross", loss=-gained - paid, fee=fee, fund=-paid)


def _log(
    book: Book,
    row: LogRow,
    symbol: str,
    position: Position,
    trigger: Decimal,
    gap: bool,
    *,
    how: str,
    qty: Decimal | None = None,
    loss: Decimal = _ZERO,
    fee: Decimal = _ZERO,
    realized: Decimal = _ZERO,
    fund: Decimal = _ZERO,
) -> None:
    entry: LogRow = {
        "i": row["i"],
        "t": row["t"],
        "kind": "liquidation",
        "how": how,
        "symbol": symbol,
        "trigger_mark": trigger,
        "liq_price": position.liquidation_price,
        "bankruptcy_price": position.bankruptcy_price,
        "qty": position.size if qty is None else qty,
        "loss": loss,
        "fee": fee,
        "realized": realized,
        "fund": fund,
        "gap": gap,
        "cash": book.cash,
    }
    book.log.append(entry)
    book.liquidations.append(entry)
