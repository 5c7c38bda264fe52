"""A stored back-test beside an account's executions: tables in, plain values out."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pandas as pd

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period, utc
from validation.reconcile import Reconciliation
from validation.reconcile_bookings import Kind
from validation.reconcile_run import MAX_LAG_MS, Gap, Pair, Trade, compare, orders_of
from validation.reconcile_statement import plain, statement

Row = dict[str, Any]
_FILL_COLUMNS = ("symbol", "fill_time", "qty", "price", "fee")
_LIQUIDATION_COLUMNS = ("symbol", "liquidation_time", "size", "entry_price", "loss", "realized_pnl", "fee")
PAIR_COLUMNS = (
    "kind", "time", "real_time", "symbol", "side", "qty", "real_qty", "price", "real_price", "fee", "real_fee",
    "price_gain", "quantity_gain", "fee_gain",
)  # fmt: skip


def decimal(number: float) -> Decimal:
    """Return the shortest decimal that is ``number``."""
    return Decimal(repr(float(number)))


def simulated_trades(
    fills: pd.DataFrame, liquidations: pd.DataFrame, category: Category = Category.LINEAR
) -> list[Trade]:
    """Return a run's fills as trades, oldest first; a liquidation is one at the price its outcome amounts to.

    Parameters
    ----------
    fills : DataFrame
        Columns symbol, fill_time (aware UTC), qty (signed), price, fee.
    liquidations : DataFrame
        Columns symbol, liquidation_time, size (signed), entry_price, loss, realized_pnl (of a step-down), fee.
    category : Category
        The run's.

    Raises
    ------
    InvalidInput
        When a column is missing.
    """
    for needed, frame in ((_FILL_COLUMNS, fills), (_LIQUIDATION_COLUMNS, liquidations)):
        if missing := [name for name in needed if name not in frame.columns]:
            raise InvalidInput(
                f"the run's tables have the columns {', '.join(map(str, frame.columns))}, and no {', '.join(missing)}: "
                "it was made by another version; back-test again"
            )
    trades = [
        _trade(row["symbol"], row["fill_time"], row["qty"], decimal(row["price"]), decimal(row["fee"]), category)
        for row in fills.to_dict("records")
    ]
    for row in liquidations.to_dict("records"):
        size, entry, fee = (decimal(row[name]) for name in ("size", "entry_price", "fee"))
        outcome = decimal(row["realized_pnl"]) - decimal(row["loss"])
        price = 1 / (1 / entry - outcome / size) if category is Category.INVERSE else entry + outcome / size
        if size and price > 0:
            trades.append(_trade(row["symbol"], row["liquidation_time"], -float(size), price, fee, category))
    return sorted(trades, key=lambda trade: trade.time_ms)


def _trade(symbol: str, time: pd.Timestamp, qty: float, price: Decimal, fee: Decimal, category: Category) -> Trade:
    side = "Buy" if qty > 0 else "Sell"
    return Trade(str(symbol), side, int(time.timestamp() * 1000), abs(decimal(qty)), price, fee, category)


def comparison(
    expected: Sequence[Trade], expected_funding: Decimal, found: Reconciliation, period: Period, symbols: Sequence[str]
) -> Row:
    """Return the gap between a back-test and what was really booked in its period, as plain values.

    Rows of other contracts or times are left out and counted.
    """
    counted = [judgement.booking for judgement in found.judgements if judgement.same_as is None]
    events = [booking for booking in counted if booking.kind in (Kind.TRADE, Kind.FUNDING)]
    inside = [
        booking
        for booking in events
        if booking.symbol in symbols
        and period.start_ms - MAX_LAG_MS <= (booking.time_ms or 0) < period.end_ms + MAX_LAG_MS
    ]
    real_funding = -sum((b.fee or Decimal(0) for b in inside if b.kind is Kind.FUNDING), Decimal(0))
    gap = compare(expected, orders_of(inside), expected_funding, real_funding)
    kinds = Counter(pair.kind for pair in gap.pairs)
    reality = statement(found)
    n_outside = len(events) - len(inside)
    outside = f"{n_outside} of {len(events)} real rows lie outside the run's contracts or its period {period}"
    remarks = [outside] if n_outside else []
    is_whole = not kinds["missed"] and not kinds["extra"]
    return {
        "explained": is_whole and reality["explained"],
        "verdict": _sentence(gap, kinds),
        "matched": kinds["matched"],
        "missed": kinds["missed"],
        "extra": kinds["extra"],
        "gap": _items(gap),
        "fills": [_row(pair) for pair in gap.pairs],
        "unmatched": [_row(pair) for pair in gap.pairs if pair.kind != "matched"],
        "remarks": [*remarks, *reality["remarks"]],
        "reality": reality,
    }


def _items(gap: Gap) -> Row:
    return {
        "backtest_net": plain(gap.backtest_net),
        "price_and_slippage": plain(gap.price),
        "quantity": plain(gap.quantity),
        "missed_fills": plain(gap.missed),
        "extra_fills": plain(gap.extra),
        "fees": plain(gap.fees),
        "funding": plain(gap.funding),
        "reality_net": plain(gap.reality_net),
    }


def _sentence(gap: Gap, kinds: Counter[str]) -> str:
    better = "more" if gap.total >= 0 else "less"
    amount = plain(round(abs(gap.total), 8))
    return (
        f"Reality made {amount} {better} than the back-test: {kinds['matched']} fills matched, "
        f"{kinds['missed']} missed, {kinds['extra']} extra"
    )


def _row(pair: Pair) -> Row:
    first = pair.expected or pair.real
    assert first is not None
    ours, theirs = pair.expected, pair.real
    return {
        "kind": pair.kind,
        "time": "" if ours is None else utc(ours.time_ms).isoformat(),
        "real_time": "" if theirs is None else utc(theirs.time_ms).isoformat(),
        "symbol": first.symbol,
        "side": first.side,
        **{name: "" if ours is None else plain(getattr(ours, name)) for name in ("qty", "price", "fee")},
        **{f"real_{name}": "" if theirs is None else plain(getattr(theirs, name)) for name in ("qty", "price", "fee")},
        "price_gain": plain(pair.price_gain),
        "quantity_gain": plain(pair.qty_gain),
        "fee_gain": plain(pair.fee_gain),
    }
