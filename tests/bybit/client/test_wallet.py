from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from bybit.client import MalformedResponse
from bybit.client.wallet import wallet_balance
from bybit.rules.periods import utc
from tests.bybit.client.fakes import NOW_MS, client_of, ok

COIN = {"coin": "USDT", "equity": "99.5", "walletBalance": "100", "unrealisedPnl": "-0.5", "totalPositionIM": ""}
ACCOUNT = {"accountType": "UNIFIED", "totalEquity": "99.5", "totalInitialMargin": "", "coin": [COIN]}


def test_a_balance_is_asked_with_a_signature_and_read_exactly():
    client, transport, _ = client_of(ok({"list": [ACCOUNT]}), signed=True)
    balance = client.get_wallet_balance(coin="USDT,BTC")
    (request,) = transport.requests
    assert (request.path, request.query) == ("/v5/account/wallet-balance", "accountType=UNIFIED&coin=USDT%2CBTC")
    assert "X-BAPI-SIGN" in request.headers
    assert (balance.equity, balance.initial_margin, balance.time) == (Decimal("99.5"), None, utc(NOW_MS))
    usdt = balance.coin("USDT")
    assert (usdt.wallet_balance, usdt.unrealized_pnl, usdt.initial_margin) == (Decimal(100), Decimal("-0.5"), None)
    assert balance.coin("BTC") is None


@pytest.mark.parametrize(
    "accounts",
    [
        [],
        [ACCOUNT, ACCOUNT | {"totalEquity": "1"}],
        [ACCOUNT | {"accountType": "SPOT"}],
        [ACCOUNT | {"coin": None}],
        [ACCOUNT | {"coin": ["USDT"]}],
        [ACCOUNT | {"totalEquity": "NaN"}],
        [ACCOUNT | {"coin": [COIN | {"walletBalance": ""}]}],
        [ACCOUNT | {"coin": [COIN | {"coin": None}]}],
    ],
)
def test_a_balance_that_is_not_whole_is_refused(accounts):
    client, _, _ = client_of(ok({"list": accounts}), signed=True)
    with pytest.raises(MalformedResponse):
        client.get_wallet_balance()


@pytest.mark.parametrize(
    ("name", "equity", "coin", "held"),
    [
        ("hirokisan/hirokisan_v5-account-get-wallet-balance", "79207.48963775", "USDT", "1439.61537267"),
        ("burakoner/burakoner_Account_wallet-balance-empty-account-fields", None, "BTC", "1.25"),
        ("nautechsystems/nautilus_http_get_wallet_balance_spot_short", "3000.00", "ETH", "0"),
    ],
)
def test_recorded_balances_are_read(shared: Path, name, equity, coin, held):
    reply = orjson.loads((shared / "data" / "responses" / f"{name}.json").read_bytes())
    balance = wallet_balance(reply.get("result", reply), "UNIFIED", utc(NOW_MS))
    assert balance.equity == (None if equity is None else Decimal(equity))
    assert balance.coin(coin).wallet_balance == Decimal(held)
