"""Every recorded reply of the team: typed, refused for the right reason, or of something the client does not do."""

from pathlib import Path

import orjson
import pytest

from bybit.client.errors import BybitError
from bybit.client.fields import BadRow
from bybit.rules.errors import InvalidInput
from tests.bybit.client.recordings import PART, REPLIES, STREAMS, envelope_of

# How many typed records a file holds, where it is not one.
N_RECORDS = {
    "burakoner_Position_position-info": 2,
    "hirokisan_v5-market-get-instruments-info-inverse": 214,
    "hirokisan_v5-market-get-instruments-info-spot": 190,
    "hirokisan_v5-market-get-insurance": 12,
    "jkorf_EditMultipleOrders": 2,
    "jkorf_GetIndexPriceKlines": 2,
    "jkorf_GetKlines": 3,
    "jkorf_GetOpenInterest": 2,
    "jkorf_GetPremiumIndexPriceKlines": 2,
    "jkorf_PlaceMultipleOrders": 2,
    "nautilus_http_get_executions": 2,
    "nautilus_http_get_fee_rate": 3,
    "nautilus_http_get_orders_realtime": 2,
    "nautilus_http_get_positions": 3,
    # An empty push, a candle that is not closed, and a delta before its snapshot amount to nothing.
    "nautilus_ws_account_execution_fast_envelope_id": 0,
    "nautilus_ws_kline": 0,
    "nautilus_ws_orderbook_delta": 0,
}
REFUSED = {
    # A reply without the side the documents name: nobody knows whether it is long or short.
    "jkorf_AddOrReduceMargin": "side: None of a size of 200",
    # The documents' sample: nanoseconds where the field is milliseconds.
    "jkorf_GetClosedProfitLoss": "createdTime: 1672214887231423699 is not milliseconds",
    "jkorf_GetOptionSymbols": "asked for category linear, the reply is about 'option'",
    "nautilus_http_get_instruments_option_symbol_id": "asked for category linear, the reply is about 'option'",
    "jkorf_SetDisconnectCancelAll": "result is NoneType, expected an object",
    "jkorf_SetMarginMode": "retCode 3400045",
    "jkorf_ws_Private_Order": "category: 'option' is not one of spot, linear, inverse",
    # Another topic than the ones the client reads, or one of before v5.
    "jkorf_ws_Private_SpreadUserTrade": "topic 'spread.execution' is none",
    "jkorf_ws_Spot_PriceLimit": "topic 'priceLimit.BTCUSDT' is none",
    "burakoner_WebSocket_order-price-limit": "topic 'priceLimit.BTCUSDT' is none",
    "nautilus_ws_public_trade": "topic 'trade.linear.BTCUSDT' is none",
    # A push of 2023 that leaves its category empty.
    "hirokisan_private-v5-position": "category: None is not one of",
    # Objects into which a library turned the venue's pairs and rows.
    "hirokisan_public-v5-orderbook": "expected pairs of price and size",
    "hirokisan_v5-market-get-orderbook": "expected pairs of price and size",
    "hirokisan_v5-market-get-mark-price-kline": "holds a dict, expected only list",
    "hirokisan_v5-cancel-all-orders": "list is dict, expected a list",
    # A ladder from before the field exists: missing is not zero.
    "hirokisan_v5-market-get-risk-limit": "mmDeduction: null or missing",
    # Options, which are out of scope.
    "hirokisan_public-v5-ticker-option": "symbol 'BTC-6JAN23-17500-C' is not one",
    "nautilus_ws_ticker_option": "symbol 'BTC-6JAN23-17500-C' is not one",
    "hirokisan_v5-market-get-tickers-option": "symbol 'BTC-10MAR23-21750-C' is not one",
}
# Endpoints and messages the client has no method for.
OUT_OF_SCOPE = {
    "jkorf_GetBorrowHistory": "borrowing",
    "jkorf_GetOrderPriceLimit": "price limits",
    "jkorf_PreCheckOrder": "order pre-check",
    "jkorf_RepayLiabilities": "borrowing",
    "jkorf_SetMultipleCollateralAssets": "collateral switches",
    "jkorf_ws_Private_CancelOrder": "order entry by socket",
    "jkorf_ws_Private_EditOrder": "order entry by socket",
    "jkorf_ws_Private_PlaceOrder": "order entry by socket",
    "burakoner_WebSocket_trade-response": "order entry by socket",
    "burakoner_Account_dcp-info": "disconnect protection",
    "burakoner_Account_option-asset-info": "options",
    "burakoner_Account_pay-info": "borrowing",
    "burakoner_Account_repay-liability": "borrowing",
    "burakoner_Account_trade-analysis": "statistics",
    "burakoner_Account_transferable-amount": "transfers",
    "burakoner_Market_adl-alert": "deleveraging alerts",
    "burakoner_Market_fee-group-info": "fee groups: the project has a dated table",
    "burakoner_Position_move-position": "moving positions",
    "hirokisan_v5-account-set-collateral-coin-batch": "collateral switches",
    "hirokisan_v5-market-get-historical-volatility": "options",
    "hirokisan_v5-position-set-risk-limit": "retired by the venue",
    "hirokisan_v5-position-set-tpsl-mode": "retired by the venue",
    "nautilus_ws_auth_failure": "an answer to the key: see test_stream",
}


def read(shared: Path, name: str) -> list:
    (path,) = (shared / "data" / "responses").rglob(f"{name}.json")
    body = path.read_bytes()
    if name in STREAMS:
        return STREAMS[name](body)
    if name in PART:
        body = orjson.dumps(orjson.loads(body)[PART[name]])
    return REPLIES[name](envelope_of(body, is_bare=name.startswith("hirokisan")))


def test_every_recorded_file_has_its_place_in_the_table(shared: Path):
    names = {path.stem for path in (shared / "data" / "responses").rglob("*/*.json")}
    assert names == REPLIES.keys() | STREAMS.keys() | OUT_OF_SCOPE.keys()
    assert REFUSED.keys() <= REPLIES.keys() | STREAMS.keys()


@pytest.mark.parametrize("name", sorted((REPLIES.keys() | STREAMS.keys()) - REFUSED.keys()))
def test_a_recorded_reply_is_read_into_typed_records(shared: Path, name: str):
    assert len(read(shared, name)) == N_RECORDS.get(name, 1)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_recorded_reply_that_cannot_be_used_is_refused_for_the_right_reason(shared: Path, name: str):
    with pytest.raises((BybitError, BadRow, InvalidInput)) as caught:
        read(shared, name)
    assert REFUSED[name] in str(caught.value)
