"""How each recorded file of the team is read: the parser of its family, and the outcome that is right."""

from collections.abc import Callable
from typing import Any

import orjson

from bybit.client import parse
from bybit.client.accounts import account_info, collateral, symbol_fees, transaction
from bybit.client.envelope import Envelope, open_envelope
from bybit.client.errors import MalformedResponse
from bybit.client.feeds import feed_of
from bybit.client.fields import each
from bybit.client.market import insurance_pools, open_interest, order_book, public_trades
from bybit.client.orders import ack, fill, order
from bybit.client.placing import acks_of
from bybit.client.positions import position, trade
from bybit.client.replies import Listing
from bybit.client.signing import redact_signatures
from bybit.client.transport import Reply
from bybit.client.wallet import wallet_balance
from bybit.rules.candles import Category, PriceType
from bybit.rules.periods import utc

ALL_TIME = (1_000_000_000_000, 9_999_999_999_999)
NOW = utc(1_760_000_000_000)


def envelope_of(body: bytes, *, is_bare: bool) -> Envelope:
    """Open a recorded reply; a bare one holds the result without its envelope."""
    if is_bare:
        body = orjson.dumps({"retCode": 0, "retMsg": "OK", "result": orjson.loads(body), "time": 1_760_000_000_000})
    return open_envelope(Reply(200, {}, body), "GET", 0, redact_signatures)


def rows_by(record: Callable[..., Any], category: Category | None = None) -> Callable[[Envelope], list[Any]]:
    """Read every row of a list with one parser."""

    def read(envelope: Envelope) -> list[Any]:
        rows = parse.rows_of(envelope.result, dict)
        return each(rows, lambda row: record(row) if category is None else record(row, category), "recording")

    return read


def listing_by(make: Callable[[list[dict[str, Any]]], Listing[Any]]) -> Callable[[Envelope], list[Any]]:
    """Read a listing that leaves rows out with a reason; here each must be usable."""

    def read(envelope: Envelope) -> list[Any]:
        found = make(parse.rows_of(envelope.result, dict))
        if found.rejected:
            raise MalformedResponse(found.rejected[0].reason)
        return list(found)

    return read


def of_category(category: Category) -> Callable[[Envelope], list[Any]]:
    """Read a list of contracts, when they are of that category."""

    def read(envelope: Envelope) -> list[Any]:
        parse.check_echo(envelope.result, category=category.value)
        return listing_by(lambda rows: parse.instruments(rows, category, NOW))(envelope)

    return read


def tickers(category: Category) -> Callable[[Envelope], list[Any]]:
    """Read tickers of one category."""
    return listing_by(lambda rows: parse.tickers(rows, category, NOW))


def candles(price: PriceType) -> Callable[[Envelope], list[Any]]:
    """Read candles of one price."""

    def read(envelope: Envelope) -> list[Any]:
        page = parse.candle_page(envelope.result, price, ALL_TIME)
        assert page.rejected == ()
        return list(page.candles.open_time_ms)

    return read


def messages(category: Category | None) -> Callable[[bytes], list[Any]]:
    """Read what a stream sent: one message, a whole conversation, or the bare row of a position."""

    def read(body: bytes) -> list[Any]:
        talk = orjson.loads(body)
        if isinstance(talk, dict) and "symbol" in talk:
            talk = {"topic": "position", "creationTime": 1_760_000_000_000, "data": [talk]}
        said = [step["msg"] for step in talk if step["dir"] == "in"] if isinstance(talk, list) else [talk]
        found = []
        for message in said:
            if isinstance(message.get("topic"), str):
                found.extend(feed_of(message["topic"], category).take(message))
        return found

    return read


def nothing(envelope: Envelope) -> list[Any]:
    """Read a reply whose result says no more than that it was done."""
    assert envelope.ret_code == 0
    return [envelope.result]


LINEAR, INVERSE, SPOT = Category.LINEAR, Category.INVERSE, Category.SPOT
FILLS = rows_by(fill, LINEAR)
BATCH = lambda envelope: list(acks_of(envelope.result, envelope.extra, len(envelope.result["list"])))  # noqa: E731
WALLET = lambda envelope: [wallet_balance(envelope.result, "UNIFIED", NOW)]  # noqa: E731
PART = {
    "hirokisan_v5-market-get-instruments-info-inverse": "LinearInverse",
    "hirokisan_v5-market-get-instruments-info-spot": "Spot",
    "hirokisan_v5-market-get-tickers-option": "Option",
    "hirokisan_v5-cancel-all-orders": "LinearInverseOption",
}
"""Files of a library that put a result below a name of its own."""

REPLIES: dict[str, Callable[[Envelope], list[Any]]] = {
    "jkorf_AddOrReduceMargin": lambda envelope: [position(envelope.result)],
    "jkorf_CancelOrder": lambda envelope: [ack(envelope.result)],
    "jkorf_EditMultipleOrders": BATCH,
    "jkorf_GetClosedProfitLoss": rows_by(trade, LINEAR),
    "jkorf_GetFundingRateHistory": listing_by(lambda rows: parse.funding_rates(rows, "ETHPERP", ALL_TIME)),
    "jkorf_GetIndexPriceKlines": candles(PriceType.INDEX),
    "jkorf_GetKlines": candles(PriceType.LAST),
    "jkorf_GetLinearInverseSymbols": of_category(LINEAR),
    "jkorf_GetLinearInverseTickers": tickers(INVERSE),
    "jkorf_GetMarginAccountInfo": lambda envelope: [account_info(envelope.result)],
    "jkorf_GetOpenInterest": rows_by(open_interest),
    "jkorf_GetOptionSymbols": of_category(LINEAR),
    "jkorf_GetPremiumIndexPriceKlines": candles(PriceType.PREMIUM),
    "jkorf_GetSpotTickers": tickers(SPOT),
    "jkorf_GetUserTrades": FILLS,
    "jkorf_PlaceMultipleOrders": BATCH,
    "jkorf_SetDisconnectCancelAll": nothing,
    "jkorf_SetLeverage": nothing,
    "jkorf_SetMarginMode": nothing,
    "jkorf_SetTradingStop": nothing,
    "jkorf_SwitchPositionMode": nothing,
    "burakoner_Account_account-info": lambda envelope: [account_info(envelope.result)],
    "burakoner_Account_account-instrument-spot": of_category(SPOT),
    "burakoner_Account_transaction-log": rows_by(transaction),
    "burakoner_Account_wallet-balance-empty-account-fields": WALLET,
    "burakoner_Market_futures-ticker-empty-fields": tickers(INVERSE),
    "burakoner_Market_recent-public-trade": lambda envelope: public_trades(parse.rows_of(envelope.result, dict)),
    "burakoner_Market_spot-instrument": of_category(SPOT),
    "burakoner_Position_position-info": rows_by(position, INVERSE),
    "burakoner_Trade_batch-place-response": BATCH,
    "burakoner_Trade_execution-history": FILLS,
    "burakoner_Trade_order-history": rows_by(order, LINEAR),
    "hirokisan_v5-account-get-collateral-info": rows_by(collateral),
    "hirokisan_v5-account-get-wallet-balance": WALLET,
    "hirokisan_v5-cancel-all-orders": rows_by(ack),
    "hirokisan_v5-cancel-order": lambda envelope: [ack(envelope.result)],
    "hirokisan_v5-get-history-orders": rows_by(order, SPOT),
    "hirokisan_v5-get-open-orders": rows_by(order, SPOT),
    "hirokisan_v5-market-get-instruments-info-inverse": of_category(LINEAR),
    "hirokisan_v5-market-get-instruments-info-spot": of_category(SPOT),
    "hirokisan_v5-market-get-insurance": lambda envelope: insurance_pools(envelope.result),
    "hirokisan_v5-market-get-mark-price-kline": candles(PriceType.MARK),
    "hirokisan_v5-market-get-orderbook": lambda envelope: [order_book(envelope.result, "BTCUSDT")],
    "hirokisan_v5-market-get-risk-limit": listing_by(lambda rows: parse.risk_tiers(rows, NOW)),
    "hirokisan_v5-market-get-tickers-option": tickers(LINEAR),
    "hirokisan_v5-position-get-closed-pnl": rows_by(trade, LINEAR),
    "nautilus_http_get_account_info": lambda envelope: [account_info(envelope.result)],
    "nautilus_http_get_executions": FILLS,
    "nautilus_http_get_fee_rate": rows_by(symbol_fees, LINEAR),
    "nautilus_http_get_instruments_inverse_symbol_type": of_category(INVERSE),
    "nautilus_http_get_instruments_linear_symbol_type": of_category(LINEAR),
    "nautilus_http_get_instruments_option_symbol_id": of_category(LINEAR),
    "nautilus_http_get_instruments_spot_xstocks": of_category(SPOT),
    "nautilus_http_get_klines_linear": candles(PriceType.LAST),
    "nautilus_http_get_orders_history": rows_by(order, LINEAR),
    "nautilus_http_get_orders_realtime": rows_by(order, LINEAR),
    "nautilus_http_get_positions": rows_by(position, LINEAR),
    "nautilus_http_get_wallet_balance_spot_short": WALLET,
}

STREAMS: dict[str, Callable[[bytes], list[Any]]] = {
    "jkorf_ws_Linear_Liquidations": messages(LINEAR),
    "jkorf_ws_Linear_Ticker": messages(LINEAR),
    "jkorf_ws_Option_Trades": messages(LINEAR),
    "jkorf_ws_Private_Balance": messages(None),
    "jkorf_ws_Private_Order": messages(None),
    "jkorf_ws_Private_SpreadUserTrade": messages(None),
    "jkorf_ws_Private_UserTrades": messages(None),
    "jkorf_ws_Spot_PriceLimit": messages(SPOT),
    "jkorf_ws_Spot_Ticker": messages(SPOT),
    "burakoner_WebSocket_all-liquidation": messages(LINEAR),
    "burakoner_WebSocket_order-price-limit": messages(LINEAR),
    "burakoner_WebSocket_order": messages(None),
    "hirokisan_private-v5-position": messages(None),
    "hirokisan_public-v5-orderbook": messages(LINEAR),
    "hirokisan_public-v5-ticker-option": messages(LINEAR),
    "nautilus_ws_account_execution_adl": messages(None),
    "nautilus_ws_account_execution_fast_envelope_id": messages(None),
    "nautilus_ws_account_order_buy_stop_market": messages(None),
    "nautilus_ws_account_order_limit_if_touched": messages(None),
    "nautilus_ws_account_order_partially_filled_rejected": messages(None),
    "nautilus_ws_account_order_stop_limit": messages(None),
    "nautilus_ws_account_order_stop_market": messages(None),
    "nautilus_ws_account_position": messages(None),
    "nautilus_ws_account_position_with_open_time": messages(None),
    "nautilus_ws_account_wallet_locked_exceeds_total": messages(None),
    "nautilus_ws_kline": messages(LINEAR),
    "nautilus_ws_orderbook_delta": messages(LINEAR),
    "nautilus_ws_public_trade": messages(LINEAR),
    "nautilus_ws_ticker_option": messages(LINEAR),
}
