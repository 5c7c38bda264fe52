"""What the venue does to positions that are lost at their mark.

Isolated, at the liquidation price on the tick: orders of the contract go first, then the position is brought down tier
by tier (``bybit.rules.stepdown``), and what is still lost is taken over at its bankruptcy price. Cross, at a
maintenance margin rate of 100 %: orders go first; an account that is still lost then is closed at its marks.
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from bybit.rules.fees import Liquidity
from bybit.rules.stepdown import step_down
from bybit.sandbox.accounts import TAKEN_OVER, Position, TradingAccount
from bybit.sandbox.margins import is_lost
from bybit.sandbox.orders import Order, Status

if TYPE_CHECKING:
    from bybit.sandbox.exchange import Exchange

_STEP: Final = ("CreateByLiq", "Trade", "FOK")
_TAKEOVER: Final = ("CreateByTakeOver_PassThrough", TAKEN_OVER, "IOC")


class Liquidations:
    """Judges the accounts of an exchange at its mark prices."""

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange

    def check(self, symbol: str) -> None:
        """Liquidate what the current mark price of a contract has ruined."""
        for account in self._exchange.accounts:
            position = account.positions.get(symbol)
            if position is None or not position.size:
                continue
            if account.is_isolated:
                if self._is_lost(account, position):
                    self._isolated(account, position)
            elif is_lost(account, self._exchange.terms_of(account)):
                self._cross(account)

    def _is_lost(self, account: TradingAccount, position: Position) -> bool:
        terms = self._exchange.held_terms(position.symbol)
        # A ladder that has changed, or the rule of 2025-09-02, moves the price of what is held.
        account.reprice(position, terms)
        return bool(position.size) and terms.is_lost(position.held, self._exchange.tick(position.symbol).mark)

    def _isolated(self, account: TradingAccount, position: Position) -> None:
        exchange, symbol = self._exchange, position.symbol
        position.status = "Liq"
        exchange.tell_position(account, symbol)
        self._withdraw_all(account, symbol, "CancelByPrepareLiq")
        below: Decimal | None = None
        mark = exchange.tick(symbol).mark
        while self._is_lost(account, position):
            terms, item = exchange.held_terms(symbol), exchange.instrument(symbol)
            step = step_down(terms, position.held, mark, item.qty_step, below)
            if step is None:
                # The whole position at its bankruptcy price, so that exactly its margin is lost.
                price = item.tick_size if position.bankruptcy_price is None else position.bankruptcy_price
                self._close(account, position, abs(position.size), price, _TAKEOVER, position.margin)
                break
            below = step.bound
            self._close(account, position, abs(step.qty), mark, _STEP, limit=position.bankruptcy_price)
        position.status = "Normal"
        exchange.tell_position(account, symbol)
        exchange.tell_wallet(account)

    def _cross(self, account: TradingAccount) -> None:
        # Every position at its mark, a taker fee on each; the wallet ends at 0 or above.
        exchange = self._exchange
        for symbol in list(account.open_orders):
            self._withdraw_all(account, symbol, "CancelAllBeforeLiq")
        if not is_lost(account, exchange.terms_of(account)):
            return
        for position in [held for held in account.positions.values() if held.size]:
            mark = exchange.tick(position.symbol).mark
            self._close(account, position, abs(position.size), mark, _TAKEOVER)
            exchange.tell_position(account, position.symbol)
        account.cover_shortfall(exchange.now_ms)
        exchange.tell_wallet(account)

    def _withdraw_all(self, account: TradingAccount, symbol: str, cancel_type: str) -> None:
        for order in account.orders_of(symbol):
            self._exchange.matching.withdraw(account, order, cancel_type=cancel_type)

    def _close(
        self,
        account: TradingAccount,
        position: Position,
        qty: Decimal,
        price: Decimal,
        kind: tuple[str, str, str],
        loss: Decimal | None = None,
        limit: Decimal | None = None,
    ) -> None:
        # Filled at ``price``; ``limit`` is what the order would have gone to.
        exchange, symbol = self._exchange, position.symbol
        create_type, exec_type, time_in_force = kind
        order = Order(
            order_id=exchange.next_id(),
            link_id="",
            symbol=symbol,
            side="Sell" if position.size > 0 else "Buy",
            order_type="Market",
            qty=qty,
            price=price if limit is None else limit,
            time_in_force=time_in_force,
            reduce_only=True,
            close_on_trigger=False,
            created_ms=exchange.now_ms,
            updated_ms=exchange.now_ms,
            status=Status.NEW,
            last_on_created=exchange.tick(symbol).last,
            create_type=create_type,
        )
        account.add_order(order)
        exchange.matching.book_fill(
            account, order, qty, price, Liquidity.TAKER, exec_type=exec_type, takeover_loss=loss
        )
        exchange.tell(account, "order", [{**order.row(), "category": "linear"}])
