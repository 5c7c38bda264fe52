"""The account and position endpoints, and what unmodified clients ask besides. No HTTP in here."""

from decimal import Decimal
from typing import Any

from bybit.rules.candles import Category
from bybit.rules.errors import NotEstablished
from bybit.rules.instruments import check_leverage
from bybit.rules.positions import notional
from bybit.sandbox.accounts import Position, TradingAccount
from bybit.sandbox.exchange import Exchange
from bybit.sandbox.listing import Row, page, select, time_span
from bybit.sandbox.margins import standing
from bybit.sandbox.order_desk import check_mode, check_protection
from bybit.sandbox.order_endpoints import CATEGORIES, Answer, PrivateEndpoint, Request
from bybit.sandbox.orders import PRICES
from bybit.sandbox.query import Query, Refusal
from bybit.sandbox.statements import position_row, wallet_row
from bybit.sandbox.wire import decimal_text

_DAY_MS = 86_400_000
_MODES = ("ISOLATED_MARGIN", "REGULAR_MARGIN")


class AccountEndpoints:
    """Answers ``/v5/account/...`` and ``/v5/position/...``; ``reads`` are GET, ``writes`` are POST."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.reads: dict[str, PrivateEndpoint] = {
            "/v5/account/wallet-balance": self.wallet_balance,
            "/v5/account/info": self.info,
            "/v5/account/fee-rate": self.fee_rate,
            "/v5/account/transaction-log": self.transaction_log,
            "/v5/account/collateral-info": self.collateral,
            "/v5/position/list": self.positions,
            "/v5/position/closed-pnl": self.closed_pnl,
            "/v5/asset/coin/query-info": lambda request: Answer({"rows": []}),
            "/v5/user/query-api": self.key,
        }
        self.writes: dict[str, PrivateEndpoint] = {
            "/v5/account/set-margin-mode": self.set_margin_mode,
            "/v5/position/set-leverage": self.set_leverage,
            "/v5/position/trading-stop": self.trading_stop,
            "/v5/position/switch-mode": self.switch_mode,
            "/v5/position/switch-isolated": self.switch_isolated,
        }

    def wallet_balance(self, request: Request) -> Answer:
        """Return the wallet; coins without a balance only when asked for."""
        if request.query.text("accountType") != "UNIFIED":
            raise Refusal(10001, "accountType only support UNIFIED.")
        row = wallet_row(self._exchange, request.account)
        if asked := [coin for coin in request.query.text("coin").split(",") if coin]:
            empty: dict[str, Any] = {name: "0" if value != "" else "" for name, value in row["coin"][0].items()}
            empty |= {"collateralSwitch": True, "marginCollateral": True}
            row["coin"] = [row["coin"][0] if coin == "USDT" else {**empty, "coin": coin} for coin in asked]
        return Answer({"list": [row]})

    def info(self, request: Request) -> Answer:
        """Return what kind of account it is: a unified one of the second generation."""
        return Answer(
            {
                "marginMode": request.account.margin_mode,
                "updatedTime": str(request.account.updated_ms),
                "unifiedMarginStatus": 5,
                "dcpStatus": "OFF",
                "timeWindow": 10,
                "smpGroup": 0,
                "isMasterTrader": False,
                "spotHedgingStatus": "OFF",
            }
        )

    def fee_rate(self, request: Request) -> Answer:
        """Return the rates in force now, of one contract or of all; linear unless another category is named."""
        query, now_ms = request.query, self._exchange.now_ms
        # Required by the venue's documents, yet left out by ccxt.
        category, symbol = query.category(CATEGORIES, default="linear"), query.symbol()
        rows = []
        for item in self._exchange.market.instruments(Category.LINEAR, now_ms) if category == "linear" else ():
            try:
                rates = request.account.rates(item.symbol, now_ms)
            except NotEstablished:
                continue
            if symbol in (None, item.symbol) and rates.taker.is_finite() and rates.maker.is_finite():
                taker, maker = decimal_text(rates.taker), decimal_text(rates.maker)
                rows.append({"symbol": item.symbol, "takerFeeRate": taker, "makerFeeRate": maker, "baseCoin": ""})
        if symbol is not None and not rows:
            raise Refusal(10001, "Not supported symbols")
        return Answer({"category": category, "list": rows} if category == "spot" else {"list": rows})

    def transaction_log(self, request: Request) -> Answer:
        """Return the transactions of a window, 24 hours unless two bounds say otherwise."""
        query = request.query
        if query.text("accountType") not in ("", "UNIFIED"):
            raise Refusal(10001, "accountType only support UNIFIED.")
        first, last = time_span(query, self._exchange.now_ms, _DAY_MS)
        rows: list[Row] = [
            row for row in reversed(request.account.transactions) if first <= int(row["transactionTime"]) <= last
        ]
        names = {"category": "category", "currency": "currency", "type": "type", "transSubType": "transSubType"}
        rows = select(rows, **{field: query.text(name) for name, field in names.items()})
        if base := query.text("baseCoin"):
            rows = [row for row in rows if row["symbol"].startswith(base)]
        chosen, cursor = page(query, rows, lambda row: row["id"], default=20, largest=50)
        return Answer({"list": chosen, "nextPageCursor": cursor})

    def collateral(self, request: Request) -> Answer:
        """Return what USDT counts as collateral: all of it. Nothing can be borrowed."""
        row = {
            "currency": "USDT",
            "hourlyBorrowRate": "0",
            "maxBorrowingAmount": "0",
            "freeBorrowingLimit": "0",
            "freeBorrowAmount": "0",
            "borrowAmount": "0",
            "freeBorrowingAmount": "",
            "otherBorrowAmount": "0",
            "availableToBorrow": "0",
            "borrowable": False,
            "borrowUsageRate": "0",
            "marginCollateral": True,
            "collateralSwitch": True,
            "collateralRatio": "1",
        }
        return Answer({"list": [row] if request.query.text("currency") in ("", "USDT") else []})

    def key(self, request: Request) -> Answer:
        """Return the rights of the key: trade and read, no withdrawal."""
        account = request.account
        permissions: dict[str, list[str]] = {
            "ContractTrade": ["Order", "Position"],
            "Spot": [],
            "Wallet": [],
            "Options": [],
            "Derivatives": ["DerivativesTrade"],
            "CopyTrading": [],
            "BlockTrade": [],
            "Exchange": [],
            "NFT": [],
            "Affiliate": [],
        }
        return Answer(
            {
                "id": account.uid,
                "note": "sandbox",
                "apiKey": "",
                "readOnly": 0,
                "secret": "",
                "permissions": permissions,
                "ips": ["*"],
                "type": 1,
                "deadlineDay": 90,
                "expiredAt": "",
                "createdAt": "",
                "unified": 0,
                "uta": 1,
                "userID": int(account.uid),
                "inviterID": 0,
                "vipLevel": "No VIP" if account.tier == "vip0" else account.tier.upper(),
                "mktMakerLevel": "0",
                "affiliateID": 0,
                "rsaPublicKey": "",
                "isMaster": True,
                "parentUid": "0",
            }
        )

    def set_margin_mode(self, request: Request) -> Answer:
        """Switch the account between regular (cross) and isolated margin; only while nothing is held or ordered."""
        account, mode = request.account, request.query.choice("setMarginMode", (*_MODES, "PORTFOLIO_MARGIN"))
        if mode == account.margin_mode:
            raise Refusal(110026, "Cross/isolated margin mode is not modified")
        busy = any(position.size for position in account.positions.values()) or any(account.open_orders.values())
        if mode not in _MODES or busy:
            raise Refusal(3400045, "Set margin mode failed")
        account.margin_mode, account.updated_ms = mode, self._exchange.now_ms
        return Answer({"reasons": []})

    def positions(self, request: Request) -> Answer:
        """Return the position of one symbol, flat or not, or all that are not flat."""
        query, account = request.query, request.account
        category, symbol = query.category(CATEGORIES), query.symbol()
        base, settle = query.text("baseCoin"), query.text("settleCoin")
        if category == "linear" and not (symbol or settle or base):
            raise Refusal(10001, "params error: symbol or settleCoin is required")
        rows: list[Row] = []
        if category == "linear" and symbol:
            self._exchange.instrument(symbol)
            rows = [position_row(self._exchange, account, symbol)]
        elif category == "linear":
            held = [name for name, position in sorted(account.positions.items()) if position.size]
            chosen = [name for name in held if not base or self._exchange.instrument(name).base_coin == base]
            rows = [position_row(self._exchange, account, name) for name in chosen] if settle in ("", "USDT") else []
        shown, cursor = page(query, rows, lambda row: row["symbol"], default=20, largest=200)
        return Answer({"category": category, "list": shown, "nextPageCursor": cursor})

    def closed_pnl(self, request: Request) -> Answer:
        """Return what orders have closed in a window, the latest first."""
        query = request.query
        category = query.category(CATEGORIES)
        first, last = time_span(query, self._exchange.now_ms)
        trades = sorted(reversed(request.account.closed.values()), key=lambda trade: -trade.updated_ms)
        inside = [trade.row() for trade in trades if first <= trade.updated_ms <= last]
        rows = select(inside, symbol=query.symbol() or "") if category == "linear" else []
        shown, cursor = page(query, rows, lambda row: row["orderId"], default=50, largest=100)
        return Answer({"category": category, "list": shown, "nextPageCursor": cursor})

    def set_leverage(self, request: Request) -> Answer:
        """Change a contract's leverage, its position's too."""
        exchange, account, query = self._exchange, request.account, request.query
        position = self._position(account, query)
        symbol = position.symbol
        buy, sell = query.decimal("buyLeverage"), query.decimal("sellLeverage")
        if buy is None or buy != sell:
            raise Refusal(10001, "buy leverage not equal sell leverage")
        if buy == position.leverage:
            raise Refusal(110043, "leverage not modified")
        step = exchange.instrument(symbol).leverage_step
        if step and buy % step:
            raise Refusal(10001, "leverage invalid")
        value = notional(Category.LINEAR, position.size, exchange.tick(symbol).mark)
        if problem := check_leverage(exchange.tiers(symbol), value, buy):
            raise Refusal(problem.ret_code, problem.reason)
        before = position.leverage
        account.relever(position, buy, exchange.held_terms(symbol), exchange.now_ms)
        if buy < before and not standing(account, exchange.terms_of(account)).may_open:
            account.relever(position, before, exchange.held_terms(symbol), exchange.now_ms)
            raise Refusal(110044, "Available margin is insufficient")
        exchange.tell_position(account, symbol)
        return Answer({})

    def trading_stop(self, request: Request) -> Answer:
        """Set, change or ("0") remove a position's take profit, stop loss and trailing stop, for all of its size."""
        exchange, account, query = self._exchange, request.account, request.query
        check_mode(query)
        position = self._position(account, query)
        if not position.size:
            raise Refusal(10001, "can not set tp/sl/ts for zero position")
        instrument, last = exchange.instrument(position.symbol), exchange.tick(position.symbol).last
        before = _protection(position)
        profit, loss = query.decimal("takeProfit"), query.decimal("stopLoss")
        check_protection(position.side, last, profit or None, loss or None, instrument)
        distance, active = query.decimal("trailingStop"), query.decimal("activePrice")
        if active:
            sign = 1 if position.size > 0 else -1
            if (active - last) * sign <= 0:
                raise Refusal(10001, "params error: activePrice is on the wrong side of the last price")
        tp_by = query.choice("tpTriggerBy", PRICES, position.tp_trigger_by)
        sl_by = query.choice("slTriggerBy", PRICES, position.sl_trigger_by)
        after = (
            _kept(position.take_profit, profit),
            _kept(position.stop_loss, loss),
            _kept(position.trailing_stop, distance),
            _kept(position.active_price, active),
            tp_by,
            sl_by,
        )
        if after == before:
            raise Refusal(34040, "not modified")
        (
            position.take_profit,
            position.stop_loss,
            position.trailing_stop,
            position.active_price,
            position.tp_trigger_by,
            position.sl_trigger_by,
        ) = after
        if after[2:4] != before[2:4]:
            position.trail_extreme = None
        position.updated_ms = exchange.now_ms

        def protect() -> None:
            exchange.matching.protect(account, position)
            exchange.tell_position(account, position.symbol)

        exchange.do_later(protect)
        return Answer({})

    def switch_mode(self, request: Request) -> Answer:
        """Refuse hedge mode: positions are one-way."""
        query = request.query
        if query.category(CATEGORIES) != "linear":
            raise Refusal(10001, "params error: Category is invalid")
        if query.symbol() is not None:
            self._exchange.instrument(query.required_symbol())
        elif not query.has("coin"):
            raise Refusal(10001, "params error: symbol or coin is required")
        if query.choice("mode", ("0", "3")) == "3":
            raise Refusal(110029, "Hedge mode is not supported for this symbol")
        raise Refusal(110025, "Position mode is not modified")

    def switch_isolated(self, request: Request) -> Answer:
        """Refuse the classic account's switch by contract: a unified account's mode is the account's."""
        raise Refusal(100028, "unified account is forbidden")

    def _position(self, account: TradingAccount, query: Query) -> Position:
        if query.category(CATEGORIES) != "linear":
            raise Refusal(10001, "Not supported symbols")
        return account.position(self._exchange.instrument(query.required_symbol()).symbol)


def _protection(position: Position) -> tuple[Any, ...]:
    return (
        position.take_profit,
        position.stop_loss,
        position.trailing_stop,
        position.active_price,
        position.tp_trigger_by,
        position.sl_trigger_by,
    )


def _kept(before: Decimal | None, asked: Decimal | None) -> Decimal | None:
    return before if asked is None else asked or None
