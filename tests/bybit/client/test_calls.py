"""What one call does with each fault: wait, sign again, turn to another host, stop."""

import random
import threading

import pytest

from bybit.client import (
    AddressBanned,
    AuthenticationFailed,
    Breaker,
    ClockSkew,
    NoResponse,
    RateLimited,
    RegionBlocked,
    RequestRejected,
    RetryPolicy,
    TokenBucket,
    VenueUnavailable,
)
from bybit.client.calls import _encoded
from tests.bybit.client.fakes import HOST, KEY, NOW_MS, OTHER, FakeClock, client_of, clock_answer, coded, http, ok

LOST = NoResponse("lost")


def ask(client):
    return client._caller.get("/v5/market/x", {"a": 1})


def ask_signed(client):
    return client._caller.get("/v5/private/x", {"a": 1}, signed=True)


def post(client):
    return client._caller.post("/v5/private/x", {"qty": "0.001", "symbol": "BTCUSDT"})


@pytest.mark.parametrize("fault", [LOST, http(500), http(503), http(522), coded(10016), coded(10000)])
def test_faults_5_6_9_11_a_read_is_tried_again_with_growing_jittered_waits(fault):
    client, transport, clock = client_of(fault, fault, fault, ok({}))
    ask(client)
    assert len(transport.requests) == client.request_count == 4
    assert len(clock.sleeps) == 3
    assert all(0.05 <= wait_s <= 0.25 * 2 ** (i + 1) for i, wait_s in enumerate(clock.sleeps))


@pytest.mark.parametrize(
    ("fault", "kind"), [(LOST, NoResponse), (http(503), VenueUnavailable), (coded(10006), RateLimited)]
)
def test_faults_4_5_9_a_read_that_keeps_failing_ends_within_seconds_and_stays_retryable(fault, kind):
    client, transport, clock = client_of(fault)
    with pytest.raises(kind) as caught:
        ask(client)
    assert caught.value.retryable
    assert len(transport.requests) == 6
    assert sum(clock.sleeps) <= 30


def test_the_budget_in_seconds_ends_a_call_before_its_tries():
    client, transport, _ = client_of(
        coded(10006, x_bapi_limit_reset_timestamp=str(NOW_MS + 10**9)), retry=RetryPolicy(budget_s=15)
    )
    with pytest.raises(RateLimited) as caught:
        ask(client)
    assert len(transport.requests) == 2
    assert caught.value.reset_at is not None


@pytest.mark.parametrize("fault", [LOST, http(500), http(504), coded(10016), coded(10000)])
def test_fault_29_a_write_that_may_have_been_applied_is_never_repeated(fault):
    client, transport, _ = client_of(fault, ok({}), signed=True)
    with pytest.raises((NoResponse, VenueUnavailable)):
        post(client)
    assert len(transport.requests) == 1


def test_a_write_refused_for_its_pace_is_sent_again():
    client, transport, _ = client_of(coded(10006), ok({}), signed=True)
    post(client)
    assert len(transport.requests) == 2


@pytest.mark.parametrize(
    ("reset_ms", "least_s", "most_s"),
    [
        (NOW_MS + 700, 0.7, 0.75),
        (NOW_MS - 5_000, 0.05, 0.1),
        (NOW_MS + 5 * 3_600_000, 10, 10.05),
        (None, 0.05, 0.5),
        (10**15, 0.05, 0.5),
    ],
)
def test_fault_4_the_wait_after_too_many_visits_lies_between_floor_and_cap(reset_ms, least_s, most_s):
    header = {} if reset_ms is None else {"x_bapi_limit_reset_timestamp": str(reset_ms)}
    client, _, clock = client_of(coded(10006, "Too many visits!", **header), ok({}))
    # The wait counts from the venue's time, whatever this machine believes.
    clock.skew_ms = 20_000
    client._caller._venue_clock.sync(clock.venue_ms, clock.now_s)
    ask(client)
    (wait_s,) = clock.sleeps
    assert least_s <= wait_s <= most_s


@pytest.mark.parametrize(
    ("retry_after", "least_s", "most_s"), [("3", 3, 3.05), ("-4", 0.05, 0.1), ("1000000000", 10, 10.05)]
)
def test_fault_3_retry_after_is_obeyed_up_to_a_maximum(retry_after, least_s, most_s):
    client, _, clock = client_of(http(429, retry_after=retry_after), ok({}))
    ask(client)
    (wait_s,) = clock.sleeps
    assert least_s <= wait_s <= most_s


@pytest.mark.parametrize("ret_code", [10001, 10003, 10004, 10005, 10010, 33004, 10029])
def test_fault_8_a_permanent_refusal_is_not_repeated_and_shows_no_key(ret_code):
    client, transport, clock = client_of(coded(ret_code, f"bad request of {KEY}"), signed=True)
    with pytest.raises(RequestRejected) as caught:
        ask_signed(client)
    assert caught.value.ret_code == ret_code
    assert KEY not in str(caught.value) + repr(caught.value) + caught.value.ret_msg
    assert len(transport.requests) == 1
    assert clock.sleeps == []


def test_fault_2_a_region_block_fails_at_once_and_opens_no_breaker():
    client, transport, _ = client_of(http(403, "CloudFront: not from your country"), ok({}))
    with pytest.raises(RegionBlocked):
        ask(client)
    ask(client)
    assert len(transport.requests) == 2


def test_a_host_without_a_connection_is_passed_over_while_another_answers():
    dead = NoResponse("refused", maybe_sent=False)
    client, transport, _ = client_of(dead, http(502), http(502), ok({}), base_urls=[HOST, OTHER])
    ask(client)
    assert [request.host for request in transport.requests] == [HOST, OTHER, OTHER, OTHER]


# Clock skew


@pytest.mark.parametrize("skew_ms", [-30_000, -6_000, -300, 0, 900, 1_500, 30_000])
def test_fault_7_a_wrong_clock_is_set_by_the_venue_and_the_call_signed_again(skew_ms):
    clock = FakeClock()
    clock.skew_ms = skew_ms
    tell_time = clock_answer(clock, trip_s=0.2)

    def venue(request):
        if request.path == "/v5/market/time":
            return tell_time(request)
        sent_ms, window_ms = (int(request.headers[f"X-BAPI-{name}"]) for name in ("TIMESTAMP", "RECV-WINDOW"))
        assert window_ms == 5000
        in_time = clock.venue_ms() - window_ms <= sent_ms < clock.venue_ms() + 1000
        return ok({"done": True}) if in_time else coded(10002, "invalid request, please check your server timestamp")

    client, transport, _ = client_of(venue, clock=clock, signed=True)
    assert ask_signed(client).result == {"done": True}
    signed = [request for request in transport.requests if request.path != "/v5/market/time"]
    assert len(signed) == (1 if -5_000 <= skew_ms < 1_000 else 2)
    assert post(client).result == {"done": True}


def test_fault_7_a_clock_that_stays_wrong_ends_in_an_error():
    clock = FakeClock()

    def venue(request):
        return clock_answer(clock)(request) if request.path == "/v5/market/time" else coded(10002)

    client, transport, _ = client_of(venue, clock=clock, signed=True)
    with pytest.raises(ClockSkew) as caught:
        ask_signed(client)
    assert caught.value.retryable
    assert len([request for request in transport.requests if request.path == "/v5/private/x"]) == 3


def test_fault_7_the_clock_is_set_again_after_it_has_drifted():
    clock = FakeClock()

    def venue(request):
        if request.path == "/v5/market/time":
            return clock_answer(clock)(request)
        return ok({}) if abs(int(request.headers["X-BAPI-TIMESTAMP"]) - clock.venue_ms()) < 1000 else coded(10002)

    clock.skew_ms = 5000
    client, _, _ = client_of(venue, clock=clock, signed=True)
    ask_signed(client)
    # A machine that slept: the monotonic clock stood still while the venue's went on.
    clock._zero_ms += 60_000
    ask_signed(client)


# Signatures on the wire


def test_what_is_signed_is_what_is_sent():
    client, transport, _ = client_of(ok({}), signed=True)
    client._caller.get("/v5/x", {"cursor": "lastid%3d19%26t%3D2", "note": "a b+c/ü", "none": None}, signed=True)
    (request,) = transport.requests
    assert request.query == "cursor=lastid%3D19%26t%3D2&note=a%20b%2Bc%2F%C3%BC"
    signer = client._caller._signer
    assert dict(request.headers).items() >= signer.headers(request.query, NOW_MS, 5000).items()
    post(client)
    body = transport.requests[1].body
    assert body == b'{"qty":"0.001","symbol":"BTCUSDT"}'
    assert dict(transport.requests[1].headers).items() >= signer.headers(body.decode(), NOW_MS, 5000).items()


def test_a_signed_call_without_a_key_is_refused_unasked():
    client, transport, _ = client_of(ok({}))
    with pytest.raises(ValueError, match="needs a key"):
        ask_signed(client)
    assert transport.requests == []


@pytest.mark.parametrize(
    ("value", "wire"), [("BTCUSDT", "BTCUSDT"), (5, "5"), ("50%", "50%25"), ("a%2", "a%252"), ("a=b&c", "a%3Db%26c")]
)
def test_values_are_encoded_once(value, wire):
    assert _encoded(value) == wire


# Hosts


def test_fault_9_a_read_turns_to_the_other_host_and_stays_there():
    def venue(request):
        return LOST if request.host == HOST else ok({})

    client, transport, _ = client_of(venue, base_urls=[HOST, OTHER])
    ask(client)
    ask(client)
    assert [request.host for request in transport.requests] == [HOST, OTHER, OTHER]


def test_fault_9_when_the_other_host_fails_too_the_first_is_tried_again():
    client, transport, _ = client_of(LOST, LOST, ok({}), base_urls=[HOST, OTHER])
    ask(client)
    assert [request.host for request in transport.requests] == [HOST, OTHER, HOST]


def test_a_write_that_got_no_answer_is_not_sent_to_the_other_host():
    client, transport, _ = client_of(LOST, ok({}), base_urls=[HOST, OTHER], signed=True)
    with pytest.raises(NoResponse):
        post(client)
    assert [request.host for request in transport.requests] == [HOST]


# Bans


def test_fault_1_after_a_ban_no_client_of_the_breaker_sends_anything():
    clock = FakeClock()
    breaker = Breaker(clock=clock, rng=random.Random(1))
    banned, transport, _ = client_of(http(403, "access too frequent"), clock=clock, breaker=breaker)
    other, other_transport, _ = client_of(ok({}), clock=clock, breaker=breaker)
    with pytest.raises(AddressBanned) as caught:
        ask(banned)
    assert caught.value.retryable
    for client in (banned, other):
        with pytest.raises(AddressBanned):
            ask(client)
    assert len(transport.requests) == 1
    assert other_transport.requests == []
    clock.now_s += 661
    ask(other)
    ask(other)
    assert len(other_transport.requests) == 2


def test_fault_1_after_the_ban_the_rate_is_lower():
    clock = FakeClock()
    limiter = TokenBucket(clock=clock)
    client, _, _ = client_of(http(403, "access too frequent"), ok({}), clock=clock, limiter=limiter)
    with pytest.raises(AddressBanned):
        ask(client)
    clock.now_s += 661
    ask(client)
    ask(client)
    assert limiter.rate_per_s == pytest.approx(50)


def test_fault_1_a_probe_that_is_lost_is_followed_by_another():
    client, transport, clock = client_of(http(403, "access too frequent"), LOST, ok({}))
    with pytest.raises(AddressBanned):
        ask(client)
    clock.now_s += 661
    ask(client)
    assert len(transport.requests) == 3


def test_fault_1_a_ban_that_comes_while_a_thread_waits_for_its_turn_stops_it():
    clock = FakeClock()
    breaker = Breaker(clock=clock)

    class BanWhileWaiting(TokenBucket):
        def acquire(self) -> float:
            breaker.ban()
            return super().acquire()

    client, transport, _ = client_of(ok({}), clock=clock, breaker=breaker, limiter=BanWhileWaiting(clock=clock))
    with pytest.raises(AddressBanned):
        ask(client)
    assert transport.requests == []


def test_fault_1_many_threads_send_one_probe():
    clock = FakeClock()
    breaker = Breaker(clock=clock)
    probing, release = threading.Event(), threading.Event()

    def venue(request):
        probing.set()
        release.wait(10)
        return ok({})

    client, transport, _ = client_of(venue, clock=clock, breaker=breaker)
    breaker.ban()
    clock.now_s += 661
    outcomes: list[str] = []

    def work():
        try:
            ask(client)
            outcomes.append("answered")
        except AddressBanned:
            outcomes.append("held back")

    first = threading.Thread(target=work)
    first.start()
    assert probing.wait(10)
    others = [threading.Thread(target=work) for _ in range(7)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    release.set()
    first.join()
    assert sorted(outcomes) == ["answered"] + ["held back"] * 7
    assert len(transport.requests) == 1


def test_requests_are_counted_over_all_threads():
    client, _, _ = client_of(ok({}))
    threads = [threading.Thread(target=lambda: [ask(client) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.request_count == 400


def test_an_authentication_failure_names_the_way_out():
    client, _, _ = client_of(coded(10003, "API key is invalid."), signed=True)
    with pytest.raises(AuthenticationFailed, match="environment"):
        ask_signed(client)
