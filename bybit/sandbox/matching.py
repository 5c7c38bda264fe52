"""What prices do to orders: fills, triggers, trailing stops.

An order that waits fills whole, at its own price, once the book has passed it; a book that only touches it gives at
most its best level. Where one price does several things to an account, stop losses come first. The last price acts
before the mark price of the same instant.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from bybit.rules.fees import Liquidity
from bybit.sandbox.accounts import Position, TradingAccount
from bybit.sandbox.margins import standing
from bybit.sandbox.orders import PRICES, Order, Status
from bybit.sandbox.path import Tick

if TYPE_CHECKING:
    from bybit.sandbox.exchange import Exchange

_ZERO = Decimal(0)


class Matching:
    """Applies the exchange's prices to the orders and positions of its accounts."""

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange

    def enter(self, account: TradingAccount, order: Order) -> None:
        """Let an accepted order take what it may, then wait or go."""
        if not order.is_open:
            return
        if order.status is Status.UNTRIGGERED:
            self._tell(account, order)
            return
        exchange = self._exchange
        book = exchange.book(order.symbol)
        limit = order.price = book.band(order.side) if order.order_type == "Market" else order.price
        assert limit is not None
        if order.time_in_force == "PostOnly" and book.crosses(order.side, limit):
            self.withdraw(account, order, reason="EC_PostOnlyWillTakeLiquidity")
            return
        wanted = self._fillable(account, order)
        fills = book.take(order.side, wanted, limit)
        if order.time_in_force == "FOK" and sum((qty for _, qty in fills), _ZERO) < order.qty:
            self.withdraw(account, order, reason="EC_NoEnoughQtyToFill")
            return
        for price, qty in fills:
            self._fill(account, order, qty, price, Liquidity.TAKER)
        if order.leaves and order.time_in_force in ("IOC", "FOK"):
            reason = "EC_CancelForNoFullFill" if order.cum_qty else "EC_NoImmediateQtyToFill"
            self.withdraw(account, order, reason=reason)
        elif order.leaves and order.reduce_only and wanted == sum((qty for _, qty in fills), _ZERO):
            self.withdraw(account, order, cancel_type="CancelByReduceOnly")
        elif fills:
            self._finish(account, order)
        else:
            self._tell(account, order)

    def react(self, symbol: str) -> None:
        """Let the current price of a contract trigger and fill what waits for it."""
        for account in self._exchange.accounts:
            tick = self._exchange.tick(symbol)
            self._trail(account, symbol, tick)
            for order in sorted(account.orders_of(symbol), key=_urgency):
                if order.status is Status.UNTRIGGERED and _is_reached(order, tick):
                    self._trigger(account, order)
                elif order.is_working:
                    self._fill_waiting(account, order)

    def next_stop(self, symbol: str, before: Decimal, after: Decimal) -> Decimal | None:
        """Return the first price strictly between two last prices at which an order would act, None without one."""
        if before == after:
            return None
        stops = [
            price for account in self._exchange.accounts for price in self._stops(account, symbol, rises=after > before)
        ]
        inside = [price for price in stops if min(before, after) < price < max(before, after)]
        if not inside:
            return None
        return min(inside) if after > before else max(inside)

    def _stops(self, account: TradingAccount, symbol: str, *, rises: bool) -> Iterator[Decimal]:
        for order in account.open_orders.get(symbol, {}).values():
            if order.is_working and order.price is not None:
                # A buy is reached by the ask, a tick above the last price.
                if order.side == "Buy" and not rises:
                    yield order.price - self._exchange.instrument(symbol).tick_size
                elif order.side == "Sell" and rises:
                    yield order.price
            elif order.trigger_by == "LastPrice" and (order.trigger_direction == 1) == rises:
                yield order.trigger_price or _ZERO
        position = account.positions.get(symbol)
        if position is not None and position.active_price is not None and position.trail_extreme is None:
            yield position.active_price

    def reenter(self, account: TradingAccount, order: Order) -> None:
        """Let an amended order meet the market again; one that protects a position changes the position's price."""
        position = account.position(order.symbol)
        if order.is_open and order.create_type == "CreateByTakeProfit":
            position.take_profit = order.trigger_price
        elif order.is_open and order.create_type == "CreateByStopLoss":
            position.stop_loss = order.trigger_price
        self.enter(account, order)

    def cancel(self, account: TradingAccount, order: Order) -> None:
        """Cancel an order at its owner's wish; with one that protects a position its price goes as well."""
        if not order.is_open:
            return
        position = account.position(order.symbol)
        if order.create_type == "CreateByTakeProfit":
            position.take_profit = None
        elif order.create_type == "CreateByStopLoss":
            position.stop_loss = None
        elif order.create_type == "CreateByTrailingStop":
            position.trailing_stop = position.active_price = position.trail_extreme = None
        self.withdraw(account, order, cancel_type="CancelByUser")

    def protect(self, account: TradingAccount, position: Position) -> None:
        """Make the position's stop orders those its take profit, stop loss and trailing stop ask for."""
        existing = {
            order.stop_order_type: order
            for order in account.orders_of(position.symbol)
            if order.create_type == f"CreateBy{order.stop_order_type}"
        }
        for kind, price, by in (
            ("TakeProfit", position.take_profit, position.tp_trigger_by),
            ("StopLoss", position.stop_loss, position.sl_trigger_by),
            ("TrailingStop", self._trail_price(position), "LastPrice"),
        ):
            order = existing.get(kind)
            if order is not None and order.status is not Status.UNTRIGGERED:
                continue
            wanted = price if position.size else None
            side = "Sell" if position.size > 0 else "Buy"
            if order is not None and (order.trigger_price, order.trigger_by, order.side) == (wanted, by, side):
                order.qty = abs(position.size)
                continue
            if order is not None:
                self.withdraw(account, order, cancel_type="CancelByTpSlTsClear")
            if wanted is not None:
                self._protect(account, position, kind, wanted, by)

    def _protect(self, account: TradingAccount, position: Position, kind: str, price: Decimal, by: str) -> None:
        exchange = self._exchange
        is_long = position.size > 0
        order = Order(
            order_id=exchange.next_id(),
            link_id="",
            symbol=position.symbol,
            side="Sell" if is_long else "Buy",
            order_type="Market",
            qty=abs(position.size),
            price=None,
            time_in_force="IOC",
            reduce_only=True,
            close_on_trigger=True,
            created_ms=exchange.now_ms,
            updated_ms=exchange.now_ms,
            status=Status.UNTRIGGERED,
            last_on_created=exchange.tick(position.symbol).last,
            trigger_price=price,
            trigger_direction=1 if (kind == "TakeProfit") == is_long else 2,
            trigger_by=by,
            stop_order_type=kind,
            create_type=f"CreateBy{kind}",
        )
        account.add_order(order)
        self._tell(account, order)

    def _trail_price(self, position: Position) -> Decimal | None:
        if position.trailing_stop is None:
            return None
        if position.active_price is None and position.trail_extreme is None:
            position.trail_extreme = self._exchange.tick(position.symbol).last
        if position.trail_extreme is None:
            return None
        away = -position.trailing_stop if position.size > 0 else position.trailing_stop
        return position.trail_extreme + away

    def _trail(self, account: TradingAccount, symbol: str, tick: Tick) -> None:
        # Wakes a trailing stop at its active price and pulls it along behind the best price since.
        position = account.positions.get(symbol)
        if position is None or position.trailing_stop is None or not position.size:
            return
        side = 1 if position.size > 0 else -1
        if position.trail_extreme is None:
            if position.active_price is not None and side * (tick.last - position.active_price) >= 0:
                position.trail_extreme = tick.last
                self.protect(account, position)
            return
        if side * (tick.last - position.trail_extreme) > 0:
            position.trail_extreme = tick.last
            for order in account.orders_of(symbol):
                if order.stop_order_type == "TrailingStop":
                    order.trigger_price, order.updated_ms = self._trail_price(position), tick.time_ms

    def _trigger(self, account: TradingAccount, order: Order) -> None:
        exchange = self._exchange
        order.status, order.updated_ms = Status.TRIGGERED, exchange.now_ms
        exchange.tell(account, "order", [{**order.row(), "category": "linear"}])
        order.status = Status.NEW
        position = account.position(order.symbol)
        if order.close_on_trigger and position.size * order.sign < 0:
            order.qty = abs(position.size)
        if order.reduce_only:
            if position.size * order.sign >= 0:
                self.withdraw(account, order, cancel_type="CancelByReduceOnly")
                return
        elif not self._is_affordable(account, order):
            order.close(Status.REJECTED, exchange.now_ms, reason="EC_Others")
            account.drop_closed(order)
            self._tell(account, order)
            return
        self.enter(account, order)

    def _is_affordable(self, account: TradingAccount, order: Order) -> bool:
        exchange = self._exchange
        if order.price is None:
            order.price = exchange.book(order.symbol).best("Sell" if order.side == "Buy" else "Buy")
        # The order stands in the book by now, so that what it binds is counted.
        return standing(account, exchange.terms_of(account)).may_open

    def _fill_waiting(self, account: TradingAccount, order: Order) -> None:
        book, price = self._exchange.book(order.symbol), order.price
        assert price is not None
        if not book.crosses(order.side, price):
            return
        other = "Sell" if order.side == "Buy" else "Buy"
        qty = self._fillable(account, order)
        is_touched = book.best(other) == price
        self._fill(account, order, min(qty, book.first_size()) if is_touched else qty, price, Liquidity.MAKER)
        if order.leaves and order.reduce_only and not account.position(order.symbol).size * order.sign < 0:
            self.withdraw(account, order, cancel_type="CancelByReduceOnly")
        else:
            self._finish(account, order)

    def _fillable(self, account: TradingAccount, order: Order) -> Decimal:
        if not order.reduce_only:
            return order.leaves
        size = account.position(order.symbol).size
        return min(order.leaves, abs(size)) if size * order.sign < 0 else _ZERO

    def _fill(self, account: TradingAccount, order: Order, qty: Decimal, price: Decimal, liquidity: Liquidity) -> None:
        if qty:
            self.book_fill(account, order, qty, price, liquidity)

    def book_fill(
        self,
        account: TradingAccount,
        order: Order,
        qty: Decimal,
        price: Decimal,
        liquidity: Liquidity,
        *,
        exec_type: str = "Trade",
        takeover_loss: Decimal | None = None,
    ) -> None:
        """Book a fill, tell it, and let the orders that protect the position follow; see ``TradingAccount.fill``."""
        exchange, symbol = self._exchange, order.symbol
        before = account.position(symbol).size
        row = account.fill(
            order,
            qty,
            price,
            liquidity,
            exchange.tick(symbol).mark,
            exchange.now_ms,
            exchange.held_terms(symbol),
            seq=exchange.next_seq(),
            exec_type=exec_type,
            takeover_loss=takeover_loss,
        )
        order.status = Status.PARTIALLY_FILLED if order.cum_qty < order.qty else Status.FILLED
        account.drop_closed(order)
        exchange.tell(account, "execution", [{**row, "category": "linear"}])
        self._after_size(account, order, before)

    def _after_size(self, account: TradingAccount, order: Order, before: Decimal) -> None:
        position = account.position(order.symbol)
        turned = bool(before) and position.size * before <= 0
        if turned:
            position.take_profit = position.stop_loss = position.trailing_stop = None
            position.active_price = position.trail_extreme = None
        if order.take_profit and position.size * order.sign > 0:
            position.take_profit, position.tp_trigger_by = order.take_profit, order.tp_trigger_by
        if order.stop_loss and position.size * order.sign > 0:
            position.stop_loss, position.sl_trigger_by = order.stop_loss, order.sl_trigger_by
        protected = position.take_profit or position.stop_loss or position.trailing_stop
        if turned or protected:
            self.protect(account, position)
        if turned:
            for other in account.orders_of(order.symbol):
                if other.reduce_only and other is not order and other.is_working:
                    self.withdraw(account, other, cancel_type="CancelByReduceOnly")

    def _finish(self, account: TradingAccount, order: Order) -> None:
        self._tell(account, order)
        self._exchange.tell_position(account, order.symbol)
        self._exchange.tell_wallet(account)

    def withdraw(
        self, account: TradingAccount, order: Order, *, cancel_type: str = "UNKNOWN", reason: str = "EC_NoError"
    ) -> None:
        """Take an order out of the market for a reason of the venue's."""
        was_untriggered = order.status is Status.UNTRIGGERED
        status = Status.DEACTIVATED if was_untriggered else Status.CANCELLED
        order.close(status, self._exchange.now_ms, cancel_type=cancel_type, reason=reason)
        account.drop_closed(order)
        if order.cum_qty and not was_untriggered:
            self._finish(account, order)
        else:
            self._tell(account, order)
            # What an order bound is free again.
            self._exchange.tell_wallet(account)

    def _tell(self, account: TradingAccount, order: Order) -> None:
        self._exchange.tell(account, "order", [{**order.row(), "category": "linear"}])


def _urgency(order: Order) -> int:
    kinds = ("StopLoss", "TrailingStop")
    return kinds.index(order.stop_order_type) if order.stop_order_type in kinds else len(kinds)


def _is_reached(order: Order, tick: Tick) -> bool:
    if order.trigger_price is None:
        return False
    price = dict(zip(PRICES, (tick.last, tick.mark, tick.index), strict=True))[order.trigger_by]
    return price >= order.trigger_price if order.trigger_direction == 1 else price <= order.trigger_price
