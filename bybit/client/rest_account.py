"""The account over HTTP: one method per call. Needs a key."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from bybit.client import parse
from bybit.client.accounts import (
    AccountInfo,
    Collateral,
    KeyRights,
    SymbolFees,
    Transaction,
    account_info,
    collateral,
    key_rights,
    symbol_fees,
    transaction,
)
from bybit.client.arguments import Time, check_category, optional_symbol, order_params
from bybit.client.calls import Caller
from bybit.client.errors import MalformedResponse
from bybit.client.fields import each
from bybit.client.filters import OrderRules
from bybit.client.pages import CLOSED_PNL, POSITIONS, TRANSACTIONS, records, span_of
from bybit.client.positions import Position, Trade, position, trade
from bybit.client.wallet import WalletBalance, wallet_balance
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import utc

LEVERAGE_SAME = 110043
"""The leverage was already so: success."""

STOPS_SAME = 34040
"""Take profit and stop loss were already so: success."""


class AccountCalls:
    """The account and position methods of ``BybitClient``."""

    _caller: Caller
    _rules: OrderRules

    def get_wallet_balance(self, accountType: str = "UNIFIED", coin: str | None = None) -> WalletBalance:
        """Return what the account holds; needs a key.

        Parameters
        ----------
        accountType : str
            The venue's word for the kind of account.
        coin : str, optional
            Coins separated by commas; without it those with a balance.
        """
        params = {"accountType": accountType, "coin": coin}
        envelope = self._caller.get("/v5/account/wallet-balance", params, signed=True)
        return wallet_balance(envelope.result, accountType, utc(self._caller.time_ms_of(envelope)))

    def get_fee_rates(self, category: Category | str = Category.LINEAR, symbol: str | None = None) -> list[SymbolFees]:
        """Return the account's fee rates of every symbol of ``category``, or of one, by symbol."""
        category = check_category(category)
        params = {"category": category.value, "symbol": optional_symbol(symbol)}
        rows = parse.distinct_rows(self._caller.get("/v5/account/fee-rate", params, signed=True).result)
        found = each(rows, lambda row: symbol_fees(row, category), "fee rate")
        if symbol is not None and [fees.symbol for fees in found] != [symbol]:
            raise MalformedResponse(f"asked for the fee rate of {symbol}, the reply holds {len(found)}; discarded")
        return sorted(found, key=lambda fees: fees.symbol)

    def get_account_info(self) -> AccountInfo:
        """Return how the account is set up."""
        return account_info(self._caller.get("/v5/account/info", {}, signed=True).result)

    def get_collateral_info(self, currency: str | None = None) -> list[Collateral]:
        """Return every coin as collateral, or one."""
        result = self._caller.get("/v5/account/collateral-info", {"currency": currency}, signed=True).result
        return each(parse.distinct_rows(result), collateral, "collateral")

    def get_key_rights(self) -> KeyRights:
        """Return what the key in use may do, and from where."""
        return key_rights(self._caller.get("/v5/user/query-api", {}, signed=True).result)

    def iter_transactions(
        self,
        start: Time | None = None,
        end: Time | None = None,
        *,
        accountType: str = "UNIFIED",
        category: Category | str | None = None,
        currency: str | None = None,
        type: str | None = None,
    ) -> Iterator[Transaction]:
        """Yield the transaction log in [start, end), oldest first; without bounds the last day.

        Follows every cursor, in windows of at most seven days. A listing that breaks off is an error.
        """
        kind = None if category is None else check_category(category).value
        params = {"accountType": accountType, "category": kind, "currency": currency, "type": type}
        return records(self._caller, TRANSACTIONS, params, transaction, span_of(self._caller, start, end))

    def get_transactions(self, start: Time | None = None, end: Time | None = None, **asked: Any) -> list[Transaction]:
        """Return what :meth:`iter_transactions` yields, as a list."""
        return list(self.iter_transactions(start, end, **asked))

    def get_positions(
        self,
        category: Category | str = Category.LINEAR,
        symbol: str | None = None,
        settleCoin: str | None = None,
    ) -> list[Position]:
        """Return positions by symbol, from every page there is.

        Parameters
        ----------
        symbol : str, optional
            Only this one; it is listed also when flat.
        settleCoin : str, optional
            Those settled in this coin that are not flat; USDT when linear is asked for without a symbol.
        """
        category = check_category(category)
        if category is Category.SPOT:
            raise InvalidInput("spot has no positions: use linear or inverse")
        if symbol is None and settleCoin is None and category is Category.LINEAR:
            settleCoin = "USDT"
        params = {"category": category.value, "symbol": optional_symbol(symbol), "settleCoin": settleCoin}
        found = list(records(self._caller, POSITIONS, params, lambda row: position(row, category)))
        strangers = {held.symbol for held in found} - {symbol}
        if symbol is not None and strangers:
            raise MalformedResponse(f"asked for {symbol}, the reply is about {min(strangers)}; discarded")
        for held in found:
            # Hedge mode may hold two: the higher one is the one that limits.
            if held.leverage is not None and held.symbol == symbol:
                self._rules.note_leverage(category, symbol, max(side.leverage or held.leverage for side in found))
        return found

    def set_leverage(
        self,
        category: Category | str,
        symbol: str,
        buyLeverage: str | Decimal | float,
        sellLeverage: str | Decimal | float | None = None,
    ) -> bool:
        """Set the leverage of a symbol; return False when it was already so.

        Parameters
        ----------
        sellLeverage : optional
            Of shorts; the same as ``buyLeverage`` when left out, which one-way mode and cross margin require.

        Raises
        ------
        InvalidOrder
            Before anything is sent, when no tier, or not the one of the position held, allows the leverage.
        """
        category = check_category(category)
        given = {
            "category": category,
            "symbol": symbol,
            "buyLeverage": buyLeverage,
            "sellLeverage": buyLeverage if sellLeverage is None else sellLeverage,
        }
        params = order_params(given, *given)
        if category is Category.SPOT:
            raise InvalidInput("spot has no leverage to set: use linear or inverse")
        values = [held.notional or Decimal(0) for held in self.get_positions(category, symbol)]
        for name in ("buyLeverage", "sellLeverage"):
            self._rules.check_leverage(category, symbol, Decimal(params[name]), max(values, default=Decimal(0)))
        envelope = self._caller.post("/v5/position/set-leverage", params, repeatable=True, same=(LEVERAGE_SAME,))
        self._rules.note_leverage(
            category, symbol, max(Decimal(params["buyLeverage"]), Decimal(params["sellLeverage"]))
        )
        return envelope.ret_code == 0

    def set_trading_stop(self, **given: Any) -> bool:
        """Set take profit, stop loss and trailing stop of a position; return False when they were already so.

        Takes the venue's names: category, symbol, tpslMode (Full or Partial), positionIdx, takeProfit, stopLoss, ...
        "0" cancels. Full replaces and is repeated after a lost answer; Partial adds another one, so it is not.
        """
        params = order_params({"positionIdx": 0, **given}, "category", "symbol", "tpslMode", "positionIdx")
        if params["tpslMode"] not in ("Full", "Partial"):
            raise InvalidInput(f"tpslMode {params['tpslMode']!r} is not Full or Partial")
        envelope = self._caller.post(
            "/v5/position/trading-stop", params, repeatable=params["tpslMode"] == "Full", same=(STOPS_SAME,)
        )
        return envelope.ret_code == 0

    def iter_closed_pnl(
        self,
        category: Category | str = Category.LINEAR,
        symbol: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> Iterator[Trade]:
        """Yield the closed round trips in [start, end), oldest first; without bounds those of the last seven days."""
        category = check_category(category)
        params = {"category": category.value, "symbol": optional_symbol(symbol)}
        return records(
            self._caller, CLOSED_PNL, params, lambda row: trade(row, category), span_of(self._caller, start, end)
        )

    def get_closed_pnl(
        self,
        category: Category | str = Category.LINEAR,
        symbol: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> list[Trade]:
        """Return what :meth:`iter_closed_pnl` yields, as a list."""
        return list(self.iter_closed_pnl(category, symbol, start, end))
