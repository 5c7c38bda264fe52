"""Account exports as the site and the API write them, for tests: the shapes are real, the numbers our own."""

from typing import Any

import orjson

UTA_HEADER = (
    "Uid,Currency,Contract,Type,Direction,Quantity,Position,Filled Price,Funding,Fee Paid,Cash Flow,Change,"
    "Wallet Balance,Action,Time(UTC)"
)
PREAMBLE = "UID: 4711,Company Name: ,Country: "
TRADES_HEADER = (
    "Market,Filled Type,Filled Quantity,Filled Price,Order Price,Fee Rate,Trading Fee,feeCoin,ExecFeeV2,Direction,"
    "Order Type,Trasaction ID,Order No.,Transaction Time(UTC+0)"
)
SPOT_HEADER = (
    "Spot Pairs,Order Type,Direction,feeCoin,ExecFeeV2,Filled Value,Filled Price,Filled Quantity,Fees,Transaction ID,"
    "Order No.,Timestamp (UTC)"
)
CLOSED_HEADER = (
    "Market,Order Quantity,Entry Price,Exit Price,Opening Fee,Closing Fee,Funding Fee,cumClosedPzOpenFeeInfo,"
    "cumClosedPzTradeFeeInfo,Trade Type,Realized P&L,Trade time"
)
OLD_CLOSED_HEADER = (
    "Contracts,Closing Direction,Qty,Entry Price,Exit Price,Closed P&L,Exit Type,Trade Time(UTC+0),Order No.,"
    "Create Time"
)


def sheet(header: str, *lines: str) -> bytes:
    """A CSV file of the site."""
    return "\n".join((header, *lines, "")).encode()


def execution(**changes: Any) -> dict[str, Any]:
    """One row of /v5/execution/list: 0.1 BTCUSDT at 60,000 bought as taker."""
    return {
        "symbol": "BTCUSDT",
        "orderId": "o-1",
        "orderLinkId": "",
        "side": "Buy",
        "orderPrice": "0",
        "orderQty": "0.1",
        "leavesQty": "0",
        "orderType": "Market",
        "execFee": "3.3",
        "execId": "e-1",
        "execPrice": "60000",
        "execQty": "0.1",
        "execType": "Trade",
        "execValue": "6000",
        "execTime": "1735693200000",
        "feeCurrency": "USDT",
        "isMaker": False,
        "feeRate": "0.00055",
        "markPrice": "60000",
    } | changes


def line(**changes: Any) -> dict[str, Any]:
    """The row of /v5/account/transaction-log about the same fill."""
    return {
        "id": "t-1",
        "symbol": "BTCUSDT",
        "category": "linear",
        "side": "Buy",
        "transactionTime": "1735693200000",
        "type": "TRADE",
        "qty": "0.1",
        "size": "0.1",
        "currency": "USDT",
        "tradePrice": "60000",
        "funding": "",
        "fee": "3.3",
        "cashFlow": "0",
        "change": "-3.3",
        "cashBalance": "996.7",
        "feeRate": "0.00055",
        "tradeId": "e-1",
        "orderId": "o-1",
        "orderLinkId": "",
    } | changes


def closed(**changes: Any) -> dict[str, Any]:
    """One row of /v5/position/closed-pnl: that fill closed at 61,000 by two fills, as taker."""
    return {
        "symbol": "BTCUSDT",
        "orderId": "o-2",
        "side": "Sell",
        "qty": "0.1",
        "orderPrice": "0",
        "orderType": "Market",
        "execType": "Trade",
        "closedSize": "0.1",
        "cumEntryValue": "6000",
        "avgEntryPrice": "60000",
        "cumExitValue": "6100",
        "avgExitPrice": "61000",
        "closedPnl": "93.345",
        "openFee": "3.3",
        "closeFee": "3.355",
        "fillCount": "2",
        "leverage": "5",
        "createdTime": "1735693100000",
        "updatedTime": "1735693300000",
    } | changes


def page(*rows: dict[str, Any], cursor: str = "", **more: Any) -> bytes:
    """A reply as the API sends it."""
    result = {"category": "linear", "list": list(rows), "nextPageCursor": cursor}
    return orjson.dumps(
        {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 1735700000000} | more
    )
