"""Orders asked for, changed and withdrawn: what is refused at once, and the acknowledgement of everything else."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bybit.rules.candles import Category
from bybit.rules.errors import NotEstablished
from bybit.rules.fees import Liquidity
from bybit.rules.instruments import Instrument, OrderProblem, check_leverage, check_order
from bybit.rules.positions import notional
from bybit.sandbox.accounts import TradingAccount
from bybit.sandbox.closed import maintenance_at
from bybit.sandbox.exchange import Exchange
from bybit.sandbox.margins import standing
from bybit.sandbox.orders import PRICES, SIDES, Order, Status, link_id_of
from bybit.sandbox.path import Tick
from bybit.sandbox.query import Query, Refusal
from bybit.sandbox.wire import MAX_PRICE_TICKS

_ZERO = Decimal(0)
_MOST_ACTIVE, _MOST_CONDITIONAL = 500, 10
_GONE = "order not exists or too late to "


@dataclass(frozen=True, slots=True)
class _Trigger:
    price: Decimal | None
    direction: int
    by: str


class OrderDesk:
    """Takes the order requests of the accounts of an exchange; every method raises ``Refusal`` as the venue refuses."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def create(self, account: TradingAccount, query: Query) -> dict[str, str]:
        """Accept an order; it meets the market after the acknowledgement."""
        self._check_open()
        exchange = self._exchange
        instrument = self._contract(account, query)
        symbol = instrument.symbol
        side = query.choice("side", SIDES)
        order_type = query.choice("orderType", ("Market", "Limit"))
        is_market = order_type == "Market"
        link_id = link_id_of(query)
        if link_id in account.link_ids and link_id:
            raise Refusal(110072, "OrderLinkedID is duplicate")
        check_mode(query)
        reduce_only, closes = query.flag("reduceOnly"), query.flag("closeOnTrigger")
        last = exchange.tick(symbol).last
        trigger = _trigger(query, instrument, exchange.tick(symbol))
        order = Order(
            order_id=exchange.next_id(),
            link_id=link_id,
            symbol=symbol,
            side=side,
            order_type=order_type,
            qty=query.decimal("qty") or _ZERO,
            price=None if is_market else query.decimal("price"),
            time_in_force="IOC" if is_market else query.choice("timeInForce", ("GTC", "IOC", "FOK", "PostOnly"), "GTC"),
            reduce_only=reduce_only or closes,
            close_on_trigger=closes,
            created_ms=exchange.now_ms,
            updated_ms=exchange.now_ms,
            status=Status.UNTRIGGERED if trigger.price is not None else Status.NEW,
            last_on_created=last,
            trigger_price=trigger.price,
            trigger_direction=trigger.direction,
            trigger_by=trigger.by,
            stop_order_type="Stop" if trigger.price is not None else "",
            take_profit=query.decimal("takeProfit") or None,
            stop_loss=query.decimal("stopLoss") or None,
            tp_trigger_by=query.choice("tpTriggerBy", PRICES, "LastPrice"),
            sl_trigger_by=query.choice("slTriggerBy", PRICES, "LastPrice"),
            smp_type=query.choice("smpType", ("None", "CancelMaker", "CancelTaker", "CancelBoth"), "None"),
        )
        if not is_market and order.price is None:
            raise Refusal(10001, "params error: price is required")
        self._check(account, order, instrument)
        account.add_order(order)
        try:
            self._check_means(account, order)
        except Refusal:
            account.forget(order)
            raise
        exchange.do_later(lambda: exchange.matching.enter(account, order))
        return {"orderId": order.order_id, "orderLinkId": order.link_id}

    def amend(self, account: TradingAccount, query: Query) -> dict[str, str]:
        """Accept a change of an open order: quantity (the new total), prices, take profit and stop loss."""
        self._check_open()
        exchange = self._exchange
        order = self._find(account, query, "replace")
        instrument = self._contract(account, query)
        before = (order.qty, order.price, order.trigger_price, order.take_profit, order.stop_loss)
        qty, price, trigger = (query.decimal(name) for name in ("qty", "price", "triggerPrice"))
        if qty is not None and qty <= order.cum_qty:
            raise Refusal(110064, "The order quantity is not above what is filled already")
        if trigger is not None and order.status is not Status.UNTRIGGERED:
            raise Refusal(10001, "params error: the order has no trigger price to change")
        if trigger is not None:
            _check_side(trigger, order.trigger_direction, _price_by(exchange.tick(order.symbol), order.trigger_by))
        changed = (
            order.qty if qty is None else qty,
            order.price if price is None or order.order_type == "Market" else price,
            order.trigger_price if trigger is None else trigger,
            _changed(order.take_profit, query.decimal("takeProfit")),
            _changed(order.stop_loss, query.decimal("stopLoss")),
        )
        if changed == before:
            raise Refusal(10001, "The order remains unchanged as the parameters entered match the existing ones.")

        def apply(values: tuple[Decimal, Decimal | None, Decimal | None, Decimal | None, Decimal | None]) -> None:
            order.qty, order.price, order.trigger_price, order.take_profit, order.stop_loss = values

        apply(changed)
        try:
            self._check(account, order, instrument)
            self._check_means(account, order)
        except Refusal:
            apply(before)
            raise
        order.updated_ms = exchange.now_ms
        exchange.do_later(lambda: exchange.matching.reenter(account, order))
        return {"orderId": order.order_id, "orderLinkId": order.link_id}

    def cancel(self, account: TradingAccount, query: Query) -> dict[str, str]:
        """Accept the withdrawal of an open order."""
        self._check_open()
        order = self._find(account, query, "cancel")
        self._exchange.do_later(lambda: self._exchange.matching.cancel(account, order))
        return {"orderId": order.order_id, "orderLinkId": order.link_id}

    def cancel_all(self, account: TradingAccount, query: Query) -> dict[str, Any]:
        """Accept the withdrawal of the open orders of a symbol, base or settle coin."""
        self._check_open()
        if query.category(["spot", "linear", "inverse", "option"]) != "linear":
            return {"list": [], "success": "1"}
        symbol, base, settle = query.symbol(), query.text("baseCoin"), query.text("settleCoin")
        if not (symbol or base or settle):
            raise Refusal(10001, "params error: symbol, baseCoin or settleCoin is required")
        kind = query.choice("orderFilter", ("", "Order", "StopOrder", "tpslOrder", "OpenOrder"))
        chosen = []
        for name in [symbol] if symbol else list(account.open_orders):
            instrument = self._exchange.instrument(name)
            if symbol or instrument.base_coin == base or (not base and instrument.settle_coin == settle):
                chosen += [order for order in account.orders_of(name) if _is_kind(order, kind)]
        for order in chosen[:_MOST_ACTIVE]:
            self._exchange.do_later(lambda order=order: self._exchange.matching.cancel(account, order))  # type: ignore[misc]
        return {
            "list": [{"orderId": order.order_id, "orderLinkId": order.link_id} for order in chosen[:_MOST_ACTIVE]],
            "success": "1",
        }

    def _check_open(self) -> None:
        # Which code the venue gives during a maintenance is not recorded.
        if maintenance_at(self._exchange.market.maintenances(), self._exchange.now_ms) is not None:
            raise Refusal(110074, "contract is not live")

    def _contract(self, account: TradingAccount, query: Query) -> Instrument:
        if query.category(["spot", "linear", "inverse", "option"]) != "linear":
            raise Refusal(10001, "Not supported symbols")
        instrument = self._exchange.instrument(query.required_symbol())
        try:
            rates = account.rates(instrument.symbol, self._exchange.now_ms)
            # An order may turn out as either.
            for liquidity in Liquidity:
                rates.rate(liquidity)
        except NotEstablished as error:
            raise Refusal(10001, f"not served: {error}") from error
        return instrument

    def _find(self, account: TradingAccount, query: Query, what: str) -> Order:
        category, symbol = query.category(["spot", "linear", "inverse", "option"]), query.required_symbol()
        order_id, link_id = query.text("orderId"), query.text("orderLinkId")
        if not order_id and not link_id:
            raise Refusal(10001, "params error: orderId or orderLinkId is required")
        order = account.orders.get(order_id) if order_id else account.link_ids.get(link_id)
        if order is None or not order.is_open or order.symbol != symbol or category != "linear":
            raise Refusal(110001, _GONE + what)
        return order

    def _check(self, account: TradingAccount, order: Order, instrument: Instrument) -> None:
        # What the contract, the position and the order's own parts object to.
        position = account.position(order.symbol)
        if order.close_on_trigger and not order.qty:
            order.qty = min(abs(position.size), instrument.max_market_order_qty or abs(position.size))
        opposes = position.size * order.sign < 0
        if order.reduce_only and not opposes and order.trigger_price is None:
            raise Refusal(110017, "current position is zero, cannot fix reduce-only order qty")
        if order.reduce_only and order.create_type == "CreateByUser" and (order.take_profit or order.stop_loss):
            raise Refusal(10001, "params error: a reduce-only order carries no takeProfit or stopLoss")
        price = order.price if order.order_type == "Limit" else order.trigger_price or order.last_on_created
        assert price is not None
        if order.qty or not order.close_on_trigger:
            _refuse(
                check_order(
                    instrument,
                    order.qty,
                    price,
                    is_market=order.order_type == "Market",
                    reduce_only=order.reduce_only,
                )
            )
        if order.order_type == "Limit" and price > instrument.tick_size * MAX_PRICE_TICKS:
            raise Refusal(110003, "Order price exceeds the allowable range.")
        check_protection(order.side, price, order.take_profit, order.stop_loss, instrument)

    def _check_means(self, account: TradingAccount, order: Order) -> None:
        # ``order`` stands among the open ones already, so that what it binds is part of the account's standing.
        exchange, symbol = self._exchange, order.symbol
        position, orders = account.position(symbol), account.orders_of(symbol)
        conditional = [other for other in orders if other.status is Status.UNTRIGGERED]
        if order.status is Status.UNTRIGGERED:
            if len([other for other in conditional if other.create_type == "CreateByUser"]) > _MOST_CONDITIONAL:
                raise Refusal(110009, "The number of stop orders exceeds maximum limit allowed")
            return
        if len(orders) - len(conditional) > _MOST_ACTIVE:
            raise Refusal(110020, f"You can't query more than {_MOST_ACTIVE} active orders under your account.")
        if order.reduce_only:
            return
        if order.order_type == "Market":
            book = exchange.book(symbol)
            fills = book.take(order.side, order.qty, book.band(order.side))
            total = sum((qty for _, qty in fills), _ZERO)
            order.price = sum((price * qty for price, qty in fills), _ZERO) / total if total else book.last
        assert order.price is not None
        ours = [other for other in orders if other.side == order.side and other.is_working and not other.reduce_only]
        size = position.size + order.sign * sum((other.leaves for other in ours), _ZERO)
        if size * order.sign > 0:
            value = notional(Category.LINEAR, size, order.price)
            problem = check_leverage(exchange.tiers(symbol), value, position.leverage)
            _refuse([problem] if problem else [])
        now = standing(account, exchange.terms_of(account))
        del account.open_orders[symbol][order.order_id]
        without = standing(account, exchange.terms_of(account))
        account.open_orders[symbol][order.order_id] = order
        if not now.may_open and now.order_initial > without.order_initial:
            raise Refusal(110007, "ab not enough for new order")


def check_mode(query: Query) -> None:
    """Refuse a hedge-mode position and what only a partial take profit or stop loss has."""
    if query.choice("positionIdx", ("0", "1", "2"), "0") != "0":
        raise Refusal(10001, "position idx not match position mode")
    partial = ("tpLimitPrice", "slLimitPrice", "tpSize", "slSize")
    if query.text("tpslMode") == "Partial" or any(query.decimal(name) for name in partial):
        raise Refusal(10001, "not served: tpslMode Partial; use Full")


def check_protection(
    side: str, base: Decimal, take_profit: Decimal | None, stop_loss: Decimal | None, instrument: Instrument
) -> None:
    """Refuse a take profit or stop loss on the wrong side of ``base``, or off the tick, with 10001."""
    sign = 1 if side == "Buy" else -1
    for name, price, away in (("TakeProfit", take_profit, sign), ("StopLoss", stop_loss, -sign)):
        if price is None:
            continue
        if price % instrument.tick_size:
            raise Refusal(10001, f"params error: {name} {price} is not a multiple of tick {instrument.tick_size}")
        if (price - base) * away <= 0:
            where = "higher" if away > 0 else "lower"
            raise Refusal(10001, f"{name}:{price} set for {side} position should be {where} than base_price:{base}")


def _trigger(query: Query, instrument: Instrument, tick: Tick) -> _Trigger:
    price = query.decimal("triggerPrice")
    by = query.choice("triggerBy", PRICES, "LastPrice")
    if not price:
        return _Trigger(None, 0, "")
    direction = int(query.choice("triggerDirection", ("1", "2")))
    if price % instrument.tick_size:
        raise Refusal(10001, f"params error: triggerPrice {price} is not a multiple of tick {instrument.tick_size}")
    _check_side(price, direction, _price_by(tick, by))
    return _Trigger(price, direction, by)


def _check_side(price: Decimal, direction: int, current: Decimal) -> None:
    if direction == 1 and price <= current:
        raise Refusal(110092, f"expect Rising, but trigger_price[{price}] <= current[{current}]")
    if direction == 2 and price >= current:
        raise Refusal(110093, f"expect Falling, but trigger_price[{price}] >= current[{current}]")


def _price_by(tick: Tick, by: str) -> Decimal:
    return {"MarkPrice": tick.mark, "IndexPrice": tick.index}.get(by, tick.last)


def _refuse(problems: Sequence[OrderProblem]) -> None:
    if problems:
        raise Refusal(problems[0].ret_code, problems[0].reason)


def _changed(before: Decimal | None, asked: Decimal | None) -> Decimal | None:
    # "0" takes it off, absent leaves it.
    return before if asked is None else asked or None


def _is_kind(order: Order, kind: str) -> bool:
    is_protection = order.create_type.startswith("CreateBy") and order.create_type != "CreateByUser"
    if kind in ("Order", "OpenOrder"):
        return order.is_working
    if kind == "StopOrder":
        return not order.is_working and not is_protection
    return kind != "tpslOrder" or is_protection
