"""Orders are sent once, whatever happens to their answers."""

import math
from decimal import Decimal
from typing import Any

import orjson
import pytest

from bybit.client import InvalidOrder, NoResponse, OrderStateUnknown, RequestRejected, VenueUnavailable
from bybit.rules.errors import InvalidInput
from tests.bybit.client.fakes import HOST, NOW_MS, OTHER, Reply, client_of, coded, http, ok

INSTRUMENT = {
    "symbol": "BTCUSDT",
    "contractType": "LinearPerpetual",
    "status": "Trading",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "settleCoin": "USDT",
    "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
    "priceFilter": {"tickSize": "0.10"},
    "lotSizeFilter": {
        "minOrderQty": "0.001",
        "maxOrderQty": "100",
        "maxMktOrderQty": "50",
        "qtyStep": "0.001",
        "minNotionalValue": "5",
    },
    "fundingInterval": 480,
}
LADDER = [
    {"riskLimitValue": "2000000", "maintenanceMargin": "0.005", "initialMargin": "0.01", "maxLeverage": "100.00"},
    {"riskLimitValue": "10000000", "maintenanceMargin": "0.01", "initialMargin": "0.02", "maxLeverage": "50.00"},
]
GOOD = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "side": "Buy",
    "orderType": "Limit",
    "qty": "0.01",
    "price": "30000.1",
}


class Venue:
    """A small order desk: takes orders once per id, and loses answers on demand."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.lose: list[Any] = []
        self.hides_for = 0
        self.position: dict[str, Any] = {"symbol": "BTCUSDT", "side": "", "size": "0", "positionIdx": 0}
        self.codes: dict[str, int] = {}

    def __call__(self, request: Any) -> Reply | Exception:
        if request.method == "GET":
            return self.read(request)
        body = orjson.loads(request.body)
        self.sent.append((request.path, body))
        lost = self.lose.pop(0) if self.lose else None
        if lost is not None and not lost[1]:
            return lost[0]
        reply = self.write(request.path, body)
        return reply if lost is None else lost[0]

    def read(self, request: Any) -> Reply:
        path = request.path
        if path == "/v5/market/instruments-info":
            return ok({"category": "linear", "list": [INSTRUMENT], "nextPageCursor": ""})
        if path == "/v5/market/risk-limit":
            rows = [{"symbol": "BTCUSDT", "mmDeduction": "", **step} for step in LADDER]
            return ok({"category": "linear", "list": rows, "nextPageCursor": ""})
        if path == "/v5/market/tickers":
            row = {"symbol": "BTCUSDT", "lastPrice": "30000", "markPrice": "30001"}
            return ok({"category": "linear", "list": [row]})
        if path == "/v5/position/list":
            return ok({"list": [self.position], "nextPageCursor": ""})
        assert path in ("/v5/order/realtime", "/v5/order/history")
        if self.hides_for:
            self.hides_for -= 1
            return ok({"list": []})
        wanted = (request.params.get("orderLinkId"), request.params.get("orderId"))
        is_open = path.endswith("realtime")
        found = [
            row
            for row in self.orders.values()
            if (row["orderLinkId"] in wanted or row["orderId"] in wanted or wanted == (None, None))
            and (row["orderStatus"] == "New") == is_open
        ]
        return ok({"category": "linear", "list": found, "nextPageCursor": ""})

    def write(self, path: str, body: dict[str, Any]) -> Reply:
        action = path.rsplit("/", 1)[1]
        if action.endswith("-batch"):
            replies = [orjson.loads(self.one(action[:-6], each).body) for each in body["request"]]
            payload = {
                "retCode": 0,
                "retMsg": "OK",
                "result": {"list": [reply["result"] for reply in replies]},
                "retExtInfo": {"list": [{"code": reply["retCode"], "msg": reply["retMsg"]} for reply in replies]},
                "time": NOW_MS,
            }
            return Reply(200, {}, orjson.dumps(payload))
        return self.one(action, body)

    def one(self, action: str, body: dict[str, Any]) -> Reply:
        if body.get("orderLinkId") in self.codes:
            return coded(self.codes[body["orderLinkId"]])
        if action == "cancel-all":
            gone = [row for row in self.orders.values() if row["orderStatus"] == "New"]
            for row in gone:
                row["orderStatus"] = "Cancelled"
            return ok({"list": [{"orderId": row["orderId"], "orderLinkId": row["orderLinkId"]} for row in gone]})
        if action == "create":
            if body["orderLinkId"] in self.orders:
                return coded(110072, "OrderLinkedID is duplicate")
            self.orders[body["orderLinkId"]] = {
                **{name: body[name] for name in ("symbol", "side", "orderType", "qty", "orderLinkId")},
                "price": body.get("price", ""),
                "orderId": f"id-{len(self.orders)}",
                "orderStatus": "New",
                "cumExecQty": "0",
                "createdTime": str(NOW_MS),
                "updatedTime": str(NOW_MS),
            }
        row = self.orders.get(body.get("orderLinkId", ""))
        if row is None or row["orderStatus"] != "New":
            return coded(110001, "order not exists or too late to cancel")
        if action == "cancel":
            row["orderStatus"] = "Cancelled"
        if action == "amend":
            row.update({name: body[name] for name in ("qty", "price") if name in body})
        return ok({"orderId": row["orderId"], "orderLinkId": row["orderLinkId"]})


@pytest.fixture
def venue() -> Venue:
    return Venue()


@pytest.fixture
def client(venue: Venue):
    return client_of(venue, signed=True, base_urls=[HOST, OTHER])[0]


def creations(venue: Venue) -> list[dict[str, Any]]:
    return [body for path, body in venue.sent if path == "/v5/order/create"]


TORN = http(200, '{"retCode":0,"retMsg":"OK","resu')
LOST = [NoResponse("lost"), http(502), coded(10016), coded(10000), TORN, http(200, "<html>maintenance</html>")]


def test_an_order_always_carries_an_id_of_its_own(client, venue):
    first, second = client.place_order(**GOOD), client.place_order(**GOOD)
    ids = [body["orderLinkId"] for body in creations(venue)]
    assert ids == [first.order_link_id, second.order_link_id]
    assert len(set(ids)) == 2
    assert all(len(name) <= 36 for name in ids)
    assert client.place_order(**GOOD, orderLinkId="my-own_1").order_link_id == "my-own_1"


@pytest.mark.parametrize("answer", LOST)
def test_fault_29_an_order_that_was_taken_without_an_answer_is_found_and_not_sent_again(client, venue, answer):
    venue.lose = [(answer, True)]
    ack = client.place_order(**GOOD)
    assert ack.was_lost
    assert ack.order_id == "id-0"
    assert len(creations(venue)) == len(venue.orders) == 1


@pytest.mark.parametrize("answer", LOST)
def test_fault_29_an_order_that_never_arrived_is_sent_again_with_the_same_id(client, venue, answer):
    venue.lose = [(answer, False)]
    ack = client.place_order(**GOOD)
    assert not ack.was_lost
    first, second = creations(venue)
    assert first == second
    assert len(venue.orders) == 1


def test_fault_29_an_order_that_shows_late_is_waited_for_until_its_signature_is_too_old(venue):
    client, _, clock = client_of(venue, signed=True)
    venue.lose = [(NoResponse("lost"), True)]
    venue.hides_for = 6
    assert client.place_order(**GOOD).was_lost
    assert len(creations(venue)) == 1
    venue.lose = [(NoResponse("lost"), False)]
    clock.sleeps.clear()
    client.place_order(**GOOD)
    assert 6.0 <= sum(clock.sleeps) < 7.0


def test_fault_29_a_request_that_never_left_is_not_waited_for(venue):
    client, _, clock = client_of(venue, signed=True)
    venue.lose = [(NoResponse("refused", maybe_sent=False), False)]
    client.place_order(**GOOD)
    assert len(creations(venue)) == 2
    assert sum(clock.sleeps) == 0


def test_fault_29_after_a_lost_answer_question_and_order_go_to_another_host(venue):
    client, transport, _ = client_of(venue, signed=True, base_urls=[HOST, OTHER])
    venue.lose = [(NoResponse("lost"), False)]
    client.place_order(**GOOD)
    writes = [request.host for request in transport.requests if request.method == "POST"]
    assert writes == [HOST, OTHER]


def test_fault_29_an_order_that_stays_lost_ends_after_four_sends_and_is_not_placed(client, venue):
    venue.lose = [(http(503), False)] * 4
    with pytest.raises(VenueUnavailable):
        client.place_order(**GOOD)
    assert len(creations(venue)) == 4
    assert venue.orders == {}


def test_fault_29_a_duplicate_id_is_the_order_already_placed(client, venue):
    client.place_order(**GOOD, orderLinkId="mine")
    ack = client.place_order(**GOOD, orderLinkId="mine")
    assert ack.was_lost
    assert ack.order_id == "id-0"
    assert len(venue.orders) == 1


def test_fault_29_a_duplicate_id_of_another_order_stays_refused(client, venue):
    client.place_order(**GOOD, orderLinkId="mine")
    with pytest.raises(RequestRejected, match="110072"):
        client.place_order(**{**GOOD, "side": "Sell"}, orderLinkId="mine")


def test_fault_29_when_the_question_fails_too_the_id_is_named(venue):
    def answer(request):
        if request.path.startswith("/v5/order/"):
            return NoResponse("lost")
        return venue(request)

    client, transport, _ = client_of(answer, signed=True)
    with pytest.raises(OrderStateUnknown, match="mine") as caught:
        client.place_order(**GOOD, orderLinkId="mine")
    assert caught.value.order_link_ids == ("mine",)
    assert not caught.value.retryable
    assert sum(request.path == "/v5/order/create" for request in transport.requests) == 1


@pytest.mark.parametrize(
    ("change", "ret_code", "said"),
    [
        ({"qty": "0.0005"}, 10001, "Qty invalid"),
        ({"qty": "0.0105"}, 10001, "Qty invalid"),
        ({"qty": "0"}, 10001, "Qty invalid"),
        ({"qty": "100.001"}, 10001, "exceeds maximum limit"),
        ({"qty": "50.001", "orderType": "Market"}, 10001, "exceeds maximum limit"),
        ({"price": "30000.15"}, 10001, "Price invalid"),
        ({"qty": "0.001", "price": "100"}, 110094, "minimum order value 5USDT"),
        ({"qty": "0.001", "orderType": "Market", "triggerPrice": "100"}, 110094, "minimum order value"),
    ],
)
def test_fault_49_an_order_outside_the_contracts_rules_is_refused_in_the_venues_words_and_not_sent(
    client, venue, change, ret_code, said
):
    with pytest.raises(InvalidOrder, match=said) as caught:
        client.place_order(**(GOOD | change))
    assert caught.value.ret_code == ret_code
    assert isinstance(caught.value, InvalidInput)
    assert venue.sent == []


@pytest.mark.parametrize(
    "change",
    [
        {"side": "Long"},
        {"orderType": "Stop"},
        {"qty": math.nan},
        {"qty": "1e-3"},
        {"qty": None},
        {"price": None},
        {"category": "option"},
        {"symbol": "BTC/USDT"},
        {"orderLinkId": "x" * 37},
        {"orderLinkId": "a b"},
    ],
)
def test_fault_44_61_an_order_that_is_none_is_refused_before_anything_is_asked(change):
    client, transport, _ = client_of(ok({}), signed=True)
    with pytest.raises(InvalidInput):
        client.place_order(**(GOOD | change))
    assert all(request.method == "GET" for request in transport.requests)


def test_amounts_go_out_as_plain_texts_whatever_they_came_as(client, venue):
    client.place_order(**(GOOD | {"qty": 0.001, "price": Decimal("3.00001E+4")}))
    client.place_order(**(GOOD | {"qty": 1, "reduceOnly": True}))
    first, second = creations(venue)
    assert (first["qty"], first["price"]) == ("0.001", "30000.1")
    assert (second["qty"], second["reduceOnly"]) == ("1", True)


def test_the_rules_are_asked_once_and_then_remembered(venue):
    client, transport, _ = client_of(venue, signed=True)
    for _ in range(3):
        client.place_order(**(GOOD | {"orderType": "Market"}))
    reads = [request.path for request in transport.requests if request.method == "GET"]
    assert sorted(reads) == ["/v5/market/instruments-info", "/v5/market/tickers"]


@pytest.mark.parametrize("leverage", ["0.5", "101", "10.005"])
def test_fault_49_a_leverage_no_tier_allows_is_refused_and_not_sent(client, venue, leverage):
    with pytest.raises(InvalidOrder):
        client.set_leverage("linear", "BTCUSDT", leverage)
    assert venue.sent == []


def test_fault_49_the_tier_of_the_position_held_decides_the_leverage(client, venue):
    venue.position |= {"side": "Buy", "size": "100", "positionValue": "3000000"}
    with pytest.raises(InvalidOrder, match="110090"):
        client.set_leverage("linear", "BTCUSDT", "100")


def test_fault_49_an_order_too_large_for_the_leverage_in_use_is_refused(venue):
    venue.position |= {"leverage": "100"}
    client, _, _ = client_of(venue, signed=True)
    client.get_positions("linear", "BTCUSDT")
    with pytest.raises(InvalidOrder, match="110090"):
        client.place_order(**(GOOD | {"qty": "90"}))
    # The same order that closes a short leaves less than the tier allows.
    venue.position |= {"side": "Sell", "size": "60", "positionValue": "1800000"}
    client.place_order(**(GOOD | {"qty": "90"}))


@pytest.mark.parametrize("action", ["leverage", "stop"])
def test_what_is_so_already_is_a_success(action):
    venue = Venue()
    code = {"leverage": 110043, "stop": 34040}[action]
    answer = lambda request: venue(request) if request.method == "GET" else coded(code)  # noqa: E731
    client, _, _ = client_of(answer, signed=True)
    if action == "leverage":
        assert client.set_leverage("linear", "BTCUSDT", 10) is False
    else:
        assert client.set_trading_stop(category="linear", symbol="BTCUSDT", tpslMode="Full", takeProfit=1) is False


def test_a_full_trading_stop_is_repeated_after_a_lost_answer_and_a_partial_one_is_not():
    stop = {"category": "linear", "symbol": "BTCUSDT", "takeProfit": "40000"}
    client, transport, _ = client_of(NoResponse("lost"), ok({}), signed=True)
    assert client.set_trading_stop(**stop, tpslMode="Full")
    assert len(transport.requests) == 2
    client, transport, _ = client_of(NoResponse("lost"), ok({}), signed=True)
    with pytest.raises(NoResponse):
        client.set_trading_stop(**stop, tpslMode="Partial", tpSize="1", slSize="1")
    assert len(transport.requests) == 1


# Amend and cancel


NAME = {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "mine"}


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("action", ["amend", "cancel"])
def test_fault_29_amending_and_cancelling_ask_before_they_repeat(client, venue, action, taken):
    client.place_order(**GOOD, orderLinkId="mine")
    venue.lose = [(http(504), taken)]
    ack = client.amend_order(**NAME, price="29000") if action == "amend" else client.cancel_order(**NAME)
    assert ack.was_lost is taken
    assert len(venue.sent) == (2 if taken else 3)
    order = client.find_order("linear", "BTCUSDT", orderLinkId="mine")
    assert order.price == Decimal(29000) if action == "amend" else order.status == "Cancelled"


def test_cancelling_what_is_gone_is_refused_as_the_venue_refuses_it(client):
    with pytest.raises(RequestRejected) as caught:
        client.cancel_order(**NAME)
    assert caught.value.ret_code == 110001
    with pytest.raises(InvalidInput, match="orderId or orderLinkId"):
        client.cancel_order(category="linear", symbol="BTCUSDT")


@pytest.mark.parametrize(("taken", "n_sent"), [(True, 1), (False, 2)])
def test_cancelling_all_is_repeated_only_while_orders_are_open(client, venue, taken, n_sent):
    client.place_order(**GOOD, orderLinkId="mine")
    venue.sent.clear()
    venue.lose = [(NoResponse("lost"), taken)]
    acks = client.cancel_all_orders(category="linear", symbol="BTCUSDT")
    assert len(venue.sent) == n_sent
    assert [ack.order_link_id for ack in acks] == ([] if taken else ["mine"])
    assert client.get_open_orders("linear", "BTCUSDT") == []


# Batches


def test_a_batch_is_cut_to_the_limit_and_every_order_told_apart(client, venue):
    venue.codes = {"o-3": 110007}
    acks = client.place_orders("linear", [GOOD | {"orderLinkId": f"o-{i}"} for i in range(25)])
    assert [ack.ret_code for ack in acks] == [110007 if i == 3 else 0 for i in range(25)]
    assert [len(body["request"]) for _, body in venue.sent] == [10, 10, 5]
    assert len(venue.orders) == 24


@pytest.mark.parametrize("answer", LOST)
@pytest.mark.parametrize("taken", [True, False])
def test_fault_29_a_batch_without_an_answer_is_asked_for_order_by_order(client, venue, answer, taken):
    venue.lose = [(answer, taken)]
    acks = client.place_orders("linear", [GOOD, GOOD])
    assert all(ack.accepted for ack in acks)
    assert len(venue.orders) == 2
    assert len(venue.sent) == (1 if taken else 2)


def test_orders_a_batch_was_too_fast_for_are_sent_again(client, venue):
    venue.codes = {"o-1": 10006}

    def forgive(seconds: float) -> None:
        venue.codes = {}

    client._caller.sleep = forgive
    acks = client.place_orders("linear", [GOOD | {"orderLinkId": f"o-{i}"} for i in range(3)])
    assert all(ack.accepted for ack in acks)
    assert [len(body["request"]) for _, body in venue.sent] == [3, 1]


def test_a_refusal_of_a_later_part_of_a_batch_keeps_what_was_placed(venue):
    client, transport, _ = client_of(venue, signed=True)
    n_batches = iter(range(9))

    def answer(request):
        is_second = request.path.endswith("create-batch") and next(n_batches) == 1
        return coded(10005, "Permission denied") if is_second else venue(request)

    transport.answers[0] = answer
    acks = client.place_orders("linear", [GOOD] * 12)
    assert [ack.ret_code for ack in acks] == [0] * 10 + [10005] * 2
    assert len(venue.orders) == 10


def test_a_batch_with_one_order_outside_the_rules_sends_nothing(client, venue):
    with pytest.raises(InvalidOrder):
        client.place_orders("linear", [GOOD, GOOD | {"qty": "0.00001"}])
    with pytest.raises(InvalidInput, match="same orderLinkId"):
        client.place_orders("linear", [GOOD | {"orderLinkId": "same"}] * 2)
    assert venue.sent == []


@pytest.mark.parametrize("taken", [True, False])
def test_batches_amend_and_cancel_every_order(client, venue, taken):
    names = [{"symbol": "BTCUSDT", "orderLinkId": f"o-{i}"} for i in range(2)]
    client.place_orders("linear", [GOOD | name for name in names])
    venue.lose = [(http(502), taken)]
    assert all(ack.accepted for ack in client.amend_orders("linear", [name | {"qty": "0.02"} for name in names]))
    venue.lose = [(http(502), taken)]
    assert all(ack.accepted for ack in client.cancel_orders("linear", names))
    assert {row["orderStatus"] for row in venue.orders.values()} == {"Cancelled"}
    assert {row["qty"] for row in venue.orders.values()} == {"0.02"}
