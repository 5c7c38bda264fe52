"""Single calls of market and account: what goes out and what comes back."""

from decimal import Decimal

import pytest

from bybit.client import MalformedResponse, NoResponse
from bybit.client.quotas import Quotas
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import utc
from tests.bybit.client.fakes import HOST, KEY, NOW_MS, OTHER, FakeClock, client_of, coded, ok

BOOK = {"s": "BTCUSDT", "b": [["99", "1"], ["98", "2"]], "a": [["100", "3"]], "ts": NOW_MS, "u": 5, "seq": 7}


def test_a_book_is_read_exactly_and_refused_when_out_of_order_or_of_another_symbol():
    client, transport, _ = client_of(ok(BOOK))
    book = client.get_order_book("BTCUSDT", 2)
    assert book.bids == ((Decimal(99), Decimal(1)), (Decimal(98), Decimal(2)))
    assert (book.update_id, book.sequence, book.time) == (5, 7, utc(NOW_MS))
    assert transport.requests[0].params == {"category": "linear", "symbol": "BTCUSDT", "limit": "2"}
    for bad in ({"b": BOOK["b"][::-1]}, {"s": "ETHUSDT"}, {"a": [["100"]]}, {"a": None}, {"a": [["NaN", "1"]]}):
        client, _, _ = client_of(ok(BOOK | bad))
        with pytest.raises(MalformedResponse):
            client.get_order_book("BTCUSDT", 2)


def test_recent_trades_are_oldest_first():
    row = {"symbol": "BTCUSDT", "price": "1", "size": "2", "side": "Buy", "isBlockTrade": False}
    rows = [row | {"execId": f"e{number}", "time": str(NOW_MS + number)} for number in (2, 1)]
    client, _, _ = client_of(ok({"category": "spot", "list": rows}))
    assert [trade.exec_id for trade in client.get_recent_trades("BTCUSDT", category="spot")] == ["e1", "e2"]
    with pytest.raises(InvalidInput, match="1 to 60"):
        client.get_recent_trades("BTCUSDT", 61, category="spot")
    with pytest.raises(MalformedResponse, match="about BTCUSDT"):
        client.get_recent_trades("ETHUSDT", category="spot")


def test_insurance_and_system_status_are_read():
    pool = {"coin": "USDT", "symbols": "A,B", "balance": "5", "value": "5.01"}
    client, _, _ = client_of(ok({"updatedTime": str(NOW_MS), "list": [pool, pool | {"symbols": ""}]}))
    shared, rest = client.get_insurance("USDT")
    assert (shared.symbols, rest.symbols, shared.usd_value) == (("A", "B"), (), Decimal("5.01"))
    notice = {"id": "1", "title": "upgrade", "state": "scheduled", "begin": str(NOW_MS), "end": "0"}
    client, transport, _ = client_of(ok({"list": [notice]}))
    (found,) = client.get_system_status()
    assert transport.requests[0].path == "/v5/system/status"
    assert (found.state, found.begin, found.end) == ("scheduled", utc(NOW_MS), None)
    assert (found.services, found.products, found.uid_suffixes, found.is_demo) == ((), (), (), False)


def test_a_notice_says_what_it_interrupts_and_for_whom():
    # The example of the venue's documentation, with a title as long as people write them.
    notice = {
        "id": "19bb6f82-587f-11f0-bcc9-56f28c94d6ea",
        "title": "t05" * 60,
        "state": "completed",
        "begin": "1751254200000",
        "end": "1751254500000",
        "href": "",
        "serviceTypes": [1, 4],
        "product": [1],
        "uidSuffix": [],
        "maintainType": 3,
        "env": 1,
    }
    client, _, _ = client_of(ok({"list": [notice, notice | {"id": "2", "env": 2, "uidSuffix": ["7"]}]}))
    first, demo = client.get_system_status()
    assert (first.services, first.products, first.is_demo, len(first.title)) == ((1, 4), (1,), False, 180)
    assert (demo.uid_suffixes, demo.is_demo) == ((7,), True)
    client, _, _ = client_of(ok({"list": [notice | {"serviceTypes": "all"}]}))
    with pytest.raises(MalformedResponse, match="serviceTypes"):
        client.get_system_status()


def test_fee_rates_are_fractions_and_rebates_negative():
    rows = [{"symbol": "ETHUSDT", "takerFeeRate": "0.00055", "makerFeeRate": "-0.00005", "baseCoin": ""}]
    client, _, _ = client_of(ok({"list": rows}), signed=True)
    (fees,) = client.get_fee_rates(symbol="ETHUSDT")
    assert (fees.rates.maker, fees.rates.taker) == (Decimal("-0.00005"), Decimal("0.00055"))
    with pytest.raises(MalformedResponse, match="asked for the fee rate of BTCUSDT"):
        client.get_fee_rates(symbol="BTCUSDT")


RIGHTS = {
    "apiKey": KEY,
    "secret": "",
    "readOnly": 0,
    "permissions": {"ContractTrade": ["Order", "Position"], "Wallet": ["AccountTransfer", "Withdraw"]},
    "ips": ["*"],
    "expiredAt": "2023-12-14T03:21:05Z",
    "isMaster": True,
}


def test_the_rights_of_a_key_are_told_without_the_key():
    client, _, _ = client_of(ok(RIGHTS), signed=True)
    rights = client.get_key_rights()
    assert (rights.can_withdraw, rights.can_trade, rights.addresses) == (True, True, ())
    assert KEY not in f"{rights!r}{rights.raw}"
    for bad in ({"permissions": None}, {"permissions": {"Wallet": "Withdraw"}}, {"ips": None}, {"readOnly": "?"}):
        client, _, _ = client_of(ok(RIGHTS | bad), signed=True)
        with pytest.raises(MalformedResponse):
            client.get_key_rights()


def test_every_host_is_probed_once():
    clock_reply = ok({"timeSecond": str(NOW_MS // 1000), "timeNano": f"{NOW_MS}000000"})
    client, transport, _ = client_of(clock_reply, NoResponse("gone"), base_urls=[HOST, OTHER])
    up, down = client.probe()
    assert (up.url, up.offset_s, up.error) == (HOST, 0.0, None)
    assert (down.url, down.offset_s) == (OTHER, None)
    assert len(transport.requests) == 2


# Limits per account and endpoint


def test_requests_of_one_endpoint_keep_to_its_rolling_second():
    clock = FakeClock()
    quota = Quotas(clock).of("/v5/order/create", "linear")
    sent = []
    for _ in range(35):
        quota.acquire()
        sent.append(clock.now_s)
    assert max(sum(since <= at < since + 1 for at in sent) for since in sent) == 10
    assert sent[-1] - sent[0] < 3.5


def test_spot_has_a_limit_of_its_own_and_a_batch_costs_its_orders():
    clock = FakeClock()
    quotas = Quotas(clock)
    assert quotas.of("/v5/order/create", "spot").state.limit == 20
    assert quotas.of("/v5/order/create", "linear") is quotas.of("/v5/order/create", "inverse")
    batch = quotas.of("/v5/order/create-batch", "linear")
    assert batch.acquire(8) == 0
    assert batch.acquire(2) == 0
    assert batch.acquire(1) > 1


def test_the_headers_of_replies_correct_the_limit_and_what_is_left_of_it():
    clock = FakeClock()
    headers = {"x_bapi_limit": "20", "x_bapi_limit_status": "1", "x_bapi_limit_reset_timestamp": str(NOW_MS + 9000)}
    answer = lambda _: coded(0, "OK", {"list": []}, **headers)  # noqa: E731
    client, _, _ = client_of(answer, clock=clock, signed=True)
    client.get_open_orders("linear", "BTCUSDT")
    assert client.limits["/v5/order/realtime"].limit == 20
    assert client.limits["/v5/order/realtime"].source == "venue"
    # Others took 18 of the 20: one is left now, whatever the reset time says of a reply that was no refusal.
    client.get_open_orders("linear", "BTCUSDT")
    assert clock.sleeps == []
    client.get_open_orders("linear", "BTCUSDT")
    assert 1.0 < sum(clock.sleeps) < 1.1


@pytest.mark.parametrize(
    ("reset_ms", "least_s", "most_s"), [(NOW_MS + 400, 0.4, 0.6), (NOW_MS - 5000, 0.05, 0.6), (NOW_MS + 10**9, 10, 11)]
)
def test_fault_4_a_refusal_for_its_pace_holds_every_caller_of_that_endpoint(reset_ms, least_s, most_s):
    clock = FakeClock()
    limited = coded(10006, "Too many visits!", x_bapi_limit_reset_timestamp=str(reset_ms), x_bapi_limit="50")
    client, _, _ = client_of(limited, ok({"list": []}), clock=clock, signed=True)
    client.get_open_orders("linear", "BTCUSDT")
    assert least_s <= sum(clock.sleeps) <= most_s


def test_absurd_limit_headers_change_nothing():
    quota = Quotas(FakeClock()).of("/v5/order/realtime", "linear")
    for limit in ("0", "-1", "x", "1" * 30, "", "99999999"):
        quota.learn({"x-bapi-limit": limit, "x-bapi-limit-status": "junk"}, NOW_MS, refused=False)
    assert quota.state.limit == 50
    assert quota.state.source == "default"
