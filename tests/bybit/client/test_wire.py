"""What goes on the wire is signed as the venue's own library and ccxt would sign the same request."""

import hashlib
from typing import Any

import ccxt
import orjson
import pytest
from pybit._http_manager import _V5HTTPManager

from tests.bybit.client.fakes import HOST, KEY, NOW_MS, SECRET, client_of, ok
from tests.bybit.client.test_orders import GOOD, Venue

WINDOW = 5000


def pybit_signature(payload: str, timestamp_ms: str) -> str:
    # Built without its constructor, which would open a session: signing reads three fields.
    manager = object.__new__(_V5HTTPManager)
    manager.api_key, manager.api_secret, manager.rsa_authentication = KEY, SECRET, False
    signature: str = manager._auth(payload=payload, recv_window=WINDOW, timestamp=timestamp_ms)
    return signature


def ccxt_signed(path: str, method: str, params: dict[str, Any], timestamp_ms: int) -> dict[str, Any]:
    exchange = ccxt.bybit({"apiKey": KEY, "secret": SECRET, "options": {"recvWindow": WINDOW}})
    exchange.nonce = lambda: timestamp_ms
    signed: dict[str, Any] = exchange.sign(path.removeprefix("/"), "private", method, params)
    return signed


READS = [
    lambda client: client.get_wallet_balance(coin="USDT,BTC"),
    lambda client: client.get_positions("linear", "BTCUSDT"),
    lambda client: client.get_open_orders("linear", "BTCUSDT"),
    lambda client: client.get_executions("linear", "BTCUSDT", NOW_MS - 1000, NOW_MS),
    lambda client: client.get_transactions(NOW_MS - 1000, NOW_MS, category="linear", type="TRADE"),
    lambda client: client.get_fee_rates("linear", "BTCUSDT"),
]
WRITES = [
    lambda client: client.place_order(**GOOD, orderLinkId="a-1", reduceOnly=True, positionIdx=0),
    lambda client: client.amend_order(category="linear", symbol="BTCUSDT", orderLinkId="a-1", price="1.5"),
    lambda client: client.cancel_order(category="linear", symbol="BTCUSDT", orderLinkId="a-1"),
    lambda client: client.set_leverage("linear", "BTCUSDT", "12.5"),
    lambda client: client.place_orders("linear", [GOOD, GOOD]),
]


def answers(request: Any) -> Any:
    if request.path == "/v5/account/wallet-balance":
        return ok({"list": [{"accountType": "UNIFIED", "coin": []}]})
    if request.path == "/v5/account/fee-rate":
        return ok({"list": [{"symbol": "BTCUSDT", "makerFeeRate": "0", "takerFeeRate": "0"}]})
    return ok({"category": "linear", "list": [], "nextPageCursor": ""})


def check(request: Any, payload: str) -> None:
    headers = request.headers
    assert headers["X-BAPI-RECV-WINDOW"] == str(WINDOW)
    assert headers["X-BAPI-SIGN"] == pybit_signature(payload, headers["X-BAPI-TIMESTAMP"])


@pytest.mark.parametrize("call", READS)
def test_a_signed_read_is_what_pybit_and_ccxt_sign(call):
    client, transport, _ = client_of(answers, signed=True)
    if call is READS[1]:
        transport.answers[0] = Venue()
    call(client)
    request = transport.requests[-1]
    check(request, request.query)
    # The same parameters in the same order, encoded by ccxt: the same bytes and the same signature.
    signed = ccxt_signed(request.path, "GET", request.params, int(request.headers["X-BAPI-TIMESTAMP"]))
    assert signed["headers"]["X-BAPI-SIGN"] == pybit_signature(signed["url"].partition("?")[2], str(NOW_MS))
    if "%2C" not in request.query:
        assert signed["url"].partition("?")[2] == request.query
        assert signed["headers"]["X-BAPI-SIGN"] == request.headers["X-BAPI-SIGN"]


@pytest.mark.parametrize("call", WRITES)
def test_a_signed_write_is_what_pybit_and_ccxt_sign(call):
    venue = Venue()
    client, transport, _ = client_of(venue, signed=True)
    if call in WRITES[1:3]:
        client.place_order(**GOOD, orderLinkId="a-1")
    if call is WRITES[3]:
        venue.one = lambda *_: ok({})  # type: ignore[method-assign]
    call(client)
    request = transport.requests[-1]
    assert request.method == "POST"
    assert request.query == ""
    body = request.body.decode()
    check(request, body)
    signed = ccxt_signed(request.path, "POST", orjson.loads(body), int(request.headers["X-BAPI-TIMESTAMP"]))
    assert signed["body"] == body
    assert signed["headers"]["X-BAPI-SIGN"] == request.headers["X-BAPI-SIGN"]
    assert signed["url"].endswith(request.path)


def test_the_stream_is_signed_as_pybit_signs_it():
    from pybit._http_manager import generate_signature

    client, _, _ = client_of(ok({}), signed=True)
    op, args = client._auth_message().values()
    assert op == "auth"
    assert args == [KEY, NOW_MS + 10_000, generate_signature(False, SECRET, f"GET/realtime{NOW_MS + 10_000}")]


def test_the_bytes_that_are_signed_are_the_bytes_that_are_sent():
    sent: list[tuple[str, bytes | None]] = []
    venue = Venue()
    client, transport, _ = client_of(venue, signed=True)
    client.place_order(**GOOD, orderLinkId="a-1")
    for request in transport.requests:
        if "X-BAPI-SIGN" in request.headers:
            sent.append((request.url, request.body))
            payload = request.query if request.body is None else request.body.decode()
            check(request, payload)
    assert len(sent) == 1
    assert sent[0][0] == f"{HOST}/v5/order/create"
    assert hashlib.sha256(sent[0][1]).hexdigest() == hashlib.sha256(orjson.dumps(orjson.loads(sent[0][1]))).hexdigest()
