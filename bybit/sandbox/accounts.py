"""One account: its wallet, positions and orders, and the statements that every fill and settlement leaves.

Cash moves by fills, funding and liquidations only, each with one transaction row: the wallet is the opening balance
plus the sum of ``change``. Fees and funding are booked as the venue rounds them, realized P&L to 8 decimals half even.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from bybit.rules.candles import Category
from bybit.rules.fees import FeeRates, FeeSchedule, Liquidity, Rounding
from bybit.rules.funding import funding_payment
from bybit.rules.holdings import Terms
from bybit.rules.ledger import Position as HeldPosition
from bybit.rules.margin import initial_margin
from bybit.rules.positions import average_entry_price, notional, unrealized_pnl
from bybit.sandbox.orders import Order, number_text
from bybit.sandbox.records import ClosedTrade, execution_row, transaction_row
from bybit.sandbox.wire import decimal_text

_ZERO = Decimal(0)
_EIGHT_DECIMALS = Decimal("1e-8")
DEFAULT_LEVERAGE = Decimal(10)
TAKEN_OVER = "BustTrade"
"""Executions of positions that the venue took over."""


def to_cents(amount: Decimal) -> Decimal:
    """Return an amount at the 8 decimals that the wallet keeps."""
    return amount.quantize(_EIGHT_DECIMALS)


@dataclass(slots=True)
class Position:
    """One contract's one-way position. ``size`` is signed base coin (long +), amounts in settle coin.

    ``margin`` is what isolated mode locks, the fee to close left out. ``open_fee`` is the part of opening fees that
    closing fills have not taken yet.
    """

    symbol: str
    leverage: Decimal = DEFAULT_LEVERAGE
    size: Decimal = _ZERO
    entry_price: Decimal | None = None
    margin: Decimal = _ZERO
    open_fee: Decimal = _ZERO
    realized: Decimal = _ZERO
    realized_ever: Decimal = _ZERO
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    trailing_stop: Decimal | None = None
    active_price: Decimal | None = None
    tp_trigger_by: str = "LastPrice"
    sl_trigger_by: str = "LastPrice"
    # Best price since the trailing stop became active; None while it waits for the active price.
    trail_extreme: Decimal | None = None
    # Of an isolated position, on the tick; and the terms that they were reckoned by.
    liquidation_price: Decimal | None = None
    bankruptcy_price: Decimal | None = None
    priced_by: Terms | None = None
    status: str = "Normal"
    created_ms: int = 0
    updated_ms: int = 0
    opened_ms: int = 0
    seq: int = 0

    @property
    def side(self) -> str:
        """Buy, Sell, or "" when flat."""
        return "" if not self.size else "Buy" if self.size > 0 else "Sell"

    @property
    def held(self) -> HeldPosition:
        """The position as the rules know it."""
        prices = self.liquidation_price, self.bankruptcy_price
        return HeldPosition(self.size, self.entry_price, self.margin, *prices)

    def unrealized(self, mark_price: Decimal) -> Decimal:
        """Return what the position has gained at a mark price."""
        if self.entry_price is None:
            return _ZERO
        return unrealized_pnl(Category.LINEAR, self.entry_price, self.size, mark_price)


@dataclass(slots=True, eq=False)
class TradingAccount:
    """An account and everything it has done.

    Parameters
    ----------
    uid : str
        Its number.
    wallet : Decimal
        Opening balance, USDT.
    tier : str
        Whose dated fees it pays, e.g. "vip0".
    margin_mode : str
        REGULAR_MARGIN (cross) or ISOLATED_MARGIN.
    next_id : callable
        Gives unique ids for executions and transactions.
    """

    uid: str
    wallet: Decimal
    tier: str
    margin_mode: str
    next_id: Callable[[], str]
    schedule: FeeSchedule = field(default_factory=FeeSchedule.builtin)
    updated_ms: int = 0
    positions: dict[str, Position] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    open_orders: dict[str, dict[str, Order]] = field(default_factory=dict)
    link_ids: dict[str, Order] = field(default_factory=dict)
    executions: list[dict[str, Any]] = field(default_factory=list)
    transactions: list[dict[str, Any]] = field(default_factory=list)
    closed: dict[str, ClosedTrade] = field(default_factory=dict)

    @property
    def is_isolated(self) -> bool:
        """Whether each position stands on its own margin."""
        return self.margin_mode == "ISOLATED_MARGIN"

    def position(self, symbol: str) -> Position:
        """Return the position of a contract, made flat on first use."""
        return self.positions.setdefault(symbol, Position(symbol))

    def orders_of(self, symbol: str) -> list[Order]:
        """Return the open orders of a contract, oldest first."""
        return list(self.open_orders.get(symbol, {}).values())

    def rates(self, symbol: str, time_ms: int) -> FeeRates:
        """Return the fee rates in force."""
        return self.schedule.rates(Category.LINEAR, self.tier, time_ms, symbol)

    def add_order(self, order: Order) -> None:
        """Keep a new order."""
        self.orders[order.order_id] = order
        if order.link_id:
            self.link_ids[order.link_id] = order
        if order.is_open:
            self.open_orders.setdefault(order.symbol, {})[order.order_id] = order

    def forget(self, order: Order) -> None:
        """Undo ``add_order`` for an order that was refused after all."""
        del self.orders[order.order_id]
        self.open_orders.get(order.symbol, {}).pop(order.order_id, None)
        if order.link_id:
            del self.link_ids[order.link_id]

    def drop_closed(self, order: Order) -> None:
        """Take an order that is no longer open from the open ones."""
        if not order.is_open:
            self.open_orders.get(order.symbol, {}).pop(order.order_id, None)

    def fill(
        self,
        order: Order,
        qty: Decimal,
        price: Decimal,
        liquidity: Liquidity,
        mark_price: Decimal,
        time_ms: int,
        terms: Terms,
        *,
        seq: int,
        exec_type: str = "Trade",
        takeover_loss: Decimal | None = None,
    ) -> dict[str, Any]:
        """Book a fill of ``qty`` (without a sign) and return its execution as the stream tells it.

        ``takeover_loss`` is what a takeover at the bankruptcy price costs, exactly, instead of the price's own
        result; it pays no fee.
        """
        position = self.position(order.symbol)
        signed = order.sign * qty
        opposes = position.size * signed < 0
        closed = min(qty, abs(position.size)) if opposes else _ZERO
        value = notional(Category.LINEAR, qty, price)
        rate = self.rates(order.symbol, time_ms).rate(liquidity) if takeover_loss is None else _ZERO
        fee = Rounding.VENUE.book(value * rate)
        realized = _ZERO
        close_fee = fee if closed == qty else to_cents(fee * closed / qty)
        if closed and position.entry_price is not None:
            released = closed if position.size > 0 else -closed
            realized = to_cents(unrealized_pnl(Category.LINEAR, position.entry_price, released, price))
            if takeover_loss is not None:
                realized = -to_cents(takeover_loss)
            self._count_closed(order, position, closed, price, realized, close_fee, time_ms, exec_type)
        self._move(position, order.sign * (qty - closed), closed, price, fee - close_fee, time_ms)
        gained = realized - fee
        position.realized += gained
        position.realized_ever += gained
        position.seq = seq
        self.wallet += gained
        self._price(position, terms)
        order.cum_qty += qty
        order.cum_value += value
        order.cum_fee += fee
        order.updated_ms = time_ms
        row = execution_row(
            order.symbol,
            order.side,
            qty,
            price,
            fee,
            rate,
            mark_price,
            time_ms,
            kind=exec_type,
            order=order,
            exec_id=self.next_id(),
            is_maker=liquidity is Liquidity.MAKER,
            closed=closed,
            seq=seq,
        )
        self.executions.append(row)
        is_forced = exec_type == TAKEN_OVER or order.create_type == "CreateByLiq"
        self._log(row, "LIQUIDATION" if is_forced else "TRADE", realized, _ZERO, fee, position.size)
        # The list has no word for what a fill realized; the stream has, before fees.
        return {**row, "execPnl": number_text(realized)}

    def settle_funding(self, symbol: str, rate: Decimal, mark_price: Decimal, time_ms: int, seq: int) -> dict[str, Any]:
        """Book a funding settlement on the position held; return its execution as the stream tells it.

        ``execFee`` is positive when paid.
        """
        position = self.position(symbol)
        paid = Rounding.VENUE.book(-funding_payment(position.size, mark_price, rate))
        self.wallet -= paid
        position.realized -= paid
        position.realized_ever -= paid
        position.updated_ms, position.seq = time_ms, seq
        row = execution_row(
            symbol,
            position.side,
            abs(position.size),
            mark_price,
            paid,
            rate,
            mark_price,
            time_ms,
            kind="Funding",
            order=None,
            exec_id=self.next_id(),
            is_maker=False,
            closed=_ZERO,
            seq=seq,
        )
        self.executions.append(row)
        # The log shows the rate as it meets the position: what a long pays, a short receives.
        log_row = {**row, "feeRate": decimal_text(rate if position.size > 0 else -rate)}
        self._log(log_row, "SETTLEMENT", _ZERO, -paid, _ZERO, position.size)
        return {**row, "execPnl": "0"}

    def cover_shortfall(self, time_ms: int) -> None:
        """Lift a wallet that a liquidation took below zero to zero: the loss beyond it is not the account's."""
        if self.wallet < 0:
            lifted = -self.wallet
            self.wallet = _ZERO
            row = {
                "symbol": "",
                "side": "None",
                "execTime": str(time_ms),
                "execQty": "",
                "execPrice": "",
                "feeRate": "",
            }
            ids = {"execId": "", "orderId": "", "orderLinkId": ""}
            self._log({**row, **ids}, "LIQUIDATION", lifted, _ZERO, _ZERO, None)

    def _move(
        self, position: Position, opening: Decimal, closed: Decimal, price: Decimal, fee: Decimal, time_ms: int
    ) -> None:
        # What is closed frees margin in proportion; what is opened goes into the average.
        kept = position.size
        if closed:
            position.margin -= position.margin * closed / abs(position.size)
            kept = position.size + (-closed if position.size > 0 else closed)
        if not kept:
            position.entry_price, position.margin, position.open_fee = None, _ZERO, _ZERO
        if opening:
            if not kept:
                position.opened_ms, position.realized = time_ms, _ZERO
                position.created_ms = position.created_ms or time_ms
            parts = [(abs(opening), price)]
            if kept and position.entry_price is not None:
                parts.insert(0, (abs(kept), position.entry_price))
            position.entry_price = average_entry_price(Category.LINEAR, parts) if len(parts) > 1 else price
            position.margin += initial_margin(notional(Category.LINEAR, opening, price), position.leverage)
            position.open_fee += fee
        position.size = kept + opening
        position.updated_ms = time_ms

    def _price(self, position: Position, terms: Terms) -> None:
        bare = HeldPosition(position.size, position.entry_price, position.margin)
        priced = terms.priced(bare) if self.is_isolated else HeldPosition()
        position.liquidation_price, position.bankruptcy_price = priced.liquidation_price, priced.bankruptcy_price
        position.priced_by = terms

    def reprice(self, position: Position, terms: Terms) -> None:
        """Reckon a position's prices again if other terms hold than those they were reckoned by."""
        if position.priced_by is not terms and position.priced_by != terms:
            self._price(position, terms)

    def relever(self, position: Position, leverage: Decimal, terms: Terms, time_ms: int) -> None:
        """Change a position's leverage; an isolated one locks value at entry / leverage from now on."""
        position.leverage, position.updated_ms = leverage, time_ms
        if position.entry_price is not None:
            position.margin = initial_margin(notional(Category.LINEAR, position.size, position.entry_price), leverage)
        self._price(position, terms)

    def _count_closed(
        self,
        order: Order,
        position: Position,
        closed: Decimal,
        price: Decimal,
        realized: Decimal,
        close_fee: Decimal,
        time_ms: int,
        exec_type: str,
    ) -> None:
        whole = closed == abs(position.size)
        open_fee = position.open_fee if whole else to_cents(position.open_fee * closed / abs(position.size))
        position.open_fee -= open_fee
        trade = self.closed.get(order.order_id)
        if trade is None:
            trade = ClosedTrade(order, order.side, exec_type, position.leverage, time_ms, time_ms)
            self.closed[order.order_id] = trade
        exit_value = closed * price
        trade.closed_size += closed
        trade.exit_value += exit_value
        # So that entry and exit values differ by the gross result to the last digit.
        trade.entry_value += exit_value - realized if position.size > 0 else exit_value + realized
        trade.gross += realized
        trade.open_fee += open_fee
        trade.close_fee += close_fee
        trade.n_fills += 1
        trade.updated_ms = time_ms

    def _log(
        self,
        row: dict[str, Any],
        kind: str,
        cash_flow: Decimal,
        funding: Decimal,
        fee: Decimal,
        size: Decimal | None,
    ) -> None:
        row_id, balance = self.next_id(), self.wallet
        self.transactions.append(transaction_row(row_id, row, kind, cash_flow, funding, fee, size, balance))
