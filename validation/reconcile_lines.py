"""Single lines of the CSV files that Bybit's site exports, read by our own column names."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal

from bybit.rules.candles import Category
from validation.reconcile_bookings import (
    BadBooking,
    Booking,
    Closing,
    Kind,
    Source,
    decimal_of,
    optional_decimal,
    side_of,
    text_of,
    time_of,
)

# Types of the log that may book a trade's fee.
_TRADES = ("TRADE", "LIQUIDATION", "ADL", "DELIVERY", "BUST_TRADE")


@dataclass(frozen=True, slots=True)
class Line:
    """One line by our own column names; what the file lacks is absent."""

    file: str
    number: int
    cells: Mapping[str, str]
    zone: tzinfo
    category: Category

    def time(self) -> tuple[int, int]:
        """Return (ms UTC, precision in ms)."""
        return time_of(self.cells["time"], "the time", self.zone)

    def get(self, name: str) -> str | None:
        """Return the text of a column, None where the line or the file shows nothing."""
        return text_of(self.cells.get(name))

    def number_of(self, name: str) -> Decimal | None:
        """Return the number in a column, None where the line or the file shows nothing."""
        return optional_decimal(self.cells.get(name), name)


def asset_change(row: Line) -> Booking:
    """Return one line of the unified account's asset changes, or of the site's transaction log."""
    kind_text, symbol, coin = row.get("type") or "", row.get("contract"), row.get("currency")
    fee, funding = row.number_of("fee") or Decimal(0), row.number_of("funding") or Decimal(0)
    cash_flow, change = row.number_of("cash_flow") or Decimal(0), decimal_of(row.cells["change"], "change")
    # The site writes what is paid as negative, the API as positive; the sum of the row tells which it is.
    paid = fee if fee and change == cash_flow + funding - fee else -fee
    action = (row.get("action") or "").upper()
    is_spot = action not in ("OPEN", "CLOSE") and not row.number_of("position") and kind_text == "TRADE"
    category = Category.SPOT if is_spot else _derivative(symbol, coin, row.category)
    kind, amount = Kind.OTHER, paid
    if kind_text == "SETTLEMENT" or (funding and not fee):
        kind, amount = Kind.FUNDING, -funding
    elif paid or (kind_text in _TRADES and not is_spot):
        # Fees of other kinds are judged too, so that none is passed over.
        kind = Kind.TRADE
    time_ms, precision_ms = row.time()
    qty = row.number_of("position") if kind is Kind.FUNDING else row.number_of("qty")
    return Booking(
        source=Source.ASSET_CHANGES,
        file=row.file,
        number=row.number,
        kind=kind,
        kind_text=kind_text or "no type",
        category=category,
        symbol=symbol,
        side=side_of(row.get("side")),
        time_ms=time_ms,
        precision_ms=precision_ms,
        price=row.number_of("price") or None,
        qty=None if qty is None else abs(qty),
        coin=coin,
        fee=amount,
        exec_id=row.get("exec_id"),
        order_id=row.get("order_id"),
        change=change,
        cash_flow=cash_flow,
        balance=row.number_of("balance"),
        effect=action or None,
    )


def _derivative(symbol: str | None, coin: str | None, otherwise: Category) -> Category:
    # BTCUSD settles in BTC; BTCUSDT, BTCUSDC and BTCPERP do not.
    if symbol and coin and symbol.startswith(coin) and not symbol.endswith(("USDT", "USDC", "PERP")):
        return Category.INVERSE
    return Category.LINEAR if otherwise is Category.SPOT else otherwise


def trade(row: Line) -> Booking:
    """Return one line of the derivatives trade history, funding included."""
    symbol, kind_text = row.get("symbol"), row.get("type") or "Trade"
    coin, fee = row.get("fee_coin"), decimal_of(row.cells["fee"], "Trading Fee")
    if coin is not None and (own := row.number_of("fee_in_coin")) is not None:
        fee = own
    time_ms, precision_ms = row.time()
    is_funding = kind_text.lower() == "funding"
    return Booking(
        source=Source.TRADE_HISTORY,
        file=row.file,
        number=row.number,
        kind=Kind.FUNDING if is_funding else Kind.TRADE,
        kind_text=kind_text,
        category=_derivative(symbol, coin, row.category),
        symbol=symbol,
        side=side_of(row.get("side")),
        time_ms=time_ms,
        precision_ms=precision_ms,
        price=decimal_of(row.cells["price"], "Filled Price"),
        qty=abs(decimal_of(row.cells["qty"], "Filled Quantity")),
        coin=coin,
        fee=fee,
        rate=row.number_of("rate"),
        exec_id=row.get("exec_id"),
        order_id=row.get("order_id"),
    )


def spot_trade(row: Line) -> Booking:
    """Return one line of the spot trade history."""
    side, coin = side_of(row.get("side")), row.get("fee_coin")
    fee = row.number_of("fee_in_coin") if coin is not None else row.number_of("fee")
    if fee is None:
        raise BadBooking("neither Fees nor feeCoin with ExecFeeV2 says what was charged")
    time_ms, precision_ms = row.time()
    return Booking(
        source=Source.TRADE_HISTORY,
        file=row.file,
        number=row.number,
        kind=Kind.TRADE,
        kind_text=row.get("order_type") or "Trade",
        category=Category.SPOT,
        symbol=row.get("symbol"),
        side=side,
        time_ms=time_ms,
        precision_ms=precision_ms,
        price=decimal_of(row.cells["price"], "Filled Price"),
        qty=abs(decimal_of(row.cells["qty"], "Filled Quantity")),
        coin=coin,
        fee=fee,
        exec_id=row.get("exec_id"),
        order_id=row.get("order_id"),
    )


def closed(row: Line) -> Booking:
    """Return one line of the closed P&L list."""
    qty, entry, exit_ = (decimal_of(row.cells[name], name) for name in ("qty", "entry", "exit"))
    pnl, funding = decimal_of(row.cells["pnl"], "P&L"), row.number_of("funding")
    open_fee, close_fee = row.number_of("open_fee"), row.number_of("close_fee")
    is_fee_shown = open_fee is not None and close_fee is not None
    time_ms, precision_ms = row.time()
    is_long = {"Buy": False, "Sell": True}.get(side_of(row.get("side")) or "")
    # The site's realized P&L has the funding inside, ours has not.
    pnl += funding or Decimal(0)
    if open_fee is not None and close_fee is not None:
        fees = open_fee + close_fee
        if is_long is None:
            is_long = (pnl + fees) * (exit_ - entry) >= 0
    elif is_long is not None:
        fees = (exit_ - entry if is_long else entry - exit_) * qty - pnl
    else:
        raise BadBooking("neither the fees of both legs nor the closing direction: nobody can tell fee from price")
    return Booking(
        source=Source.CLOSED_PNL,
        file=row.file,
        number=row.number,
        kind=Kind.CLOSED,
        kind_text=row.get("type") or "Trade",
        category=_derivative(row.get("symbol"), None, row.category),
        symbol=row.get("symbol"),
        side="Sell" if is_long else "Buy",
        time_ms=time_ms,
        precision_ms=precision_ms,
        price=exit_,
        qty=qty,
        coin=None,
        fee=fees,
        order_id=row.get("order_id"),
        closing=Closing(
            is_long,
            entry,
            exit_,
            pnl,
            open_fee=open_fee,
            close_fee=close_fee,
            funding=funding,
            is_rounded=True,
            is_fee_shown=is_fee_shown,
        ),
    )


def funding_account(row: Line) -> Booking:
    """Return one line of the funding account, which pays neither fees nor funding."""
    time_ms, precision_ms = row.time()
    change = decimal_of(row.cells["qty"], "QTY")
    words = " ".join(filter(None, (row.get("type"), row.get("description"))))
    return Booking(
        source=Source.FUNDING_ACCOUNT,
        file=row.file,
        number=row.number,
        kind=Kind.OTHER,
        kind_text=words or "no type",
        category=None,
        symbol=None,
        side=None,
        time_ms=time_ms,
        precision_ms=precision_ms,
        price=None,
        qty=None,
        coin=row.get("currency"),
        fee=None,
        change=change,
    )
