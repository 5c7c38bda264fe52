import orjson
import pytest

from bybit.client.envelope import AddressBanSeen, open_envelope
from bybit.client.errors import (
    AuthenticationFailed,
    BybitError,
    ClockSkew,
    InsufficientBalance,
    MalformedResponse,
    RateLimited,
    RegionBlocked,
    RequestRejected,
    VenueUnavailable,
)
from bybit.client.signing import redact_signatures
from bybit.client.transport import Reply
from bybit.rules.periods import to_ms
from tests.bybit.client.fakes import NOW_MS, coded, http, ok

CLOUDFRONT = (
    "<HTML><TITLE>ERROR: The request could not be satisfied</TITLE>The Amazon CloudFront distribution is configured "
    "to block access from your country.</HTML>"
)


def opened(reply: Reply):
    return open_envelope(reply, "GET /v5/x", NOW_MS, redact_signatures)


def error_of(reply: Reply) -> BybitError:
    with pytest.raises(BybitError) as caught:
        opened(reply)
    return caught.value


def test_a_good_reply_gives_its_result_and_time():
    envelope = opened(ok({"list": []}))
    assert envelope.result == {"list": []}
    assert envelope.time_ms == NOW_MS


def test_fault_13_unknown_extra_fields_are_accepted():
    reply = Reply(200, {}, b'{"retCode":0,"retMsg":"","result":{"a":1},"new":{"x":[1]},"time":1700000000000}')
    assert opened(reply).result == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"<html>maintenance</html>",
        b"",
        b'{"retCode":0,"retMsg":"OK","result":null}',
        b'{"retCode":0,"retMsg":"OK"}',
        b'{"retCode":0,"result":[]}',
        b'{"retCode":"0","result":{}}',
        b'{"retCode":false,"result":{}}',
        b'{"result":{}}',
        b"[]",
        b"null",
    ],
)
def test_fault_13_a_body_that_is_no_v5_envelope_is_refused(body):
    error = error_of(Reply(200, {}, body))
    assert type(error) is MalformedResponse
    assert not error.retryable


@pytest.mark.parametrize(
    "body",
    [
        b'{"retCode":0,"result":{"list":[["1700',
        b'{"retCode":0,"result":{"x":"\xff\xfe"}}',
        b'{"retCode":0,"result":{"x":NaN}}',
        b'{"retCode":0,"result":{"x":Infinity}}',
        b'{"retCode":0,"result":{"x":1e999}}',
        b'{"retCode":0,"result":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b'{"retCode":0,"result":{}} trailing',
    ],
)
def test_fault_12_truncated_ill_encoded_non_finite_and_deep_json_is_refused(body):
    error = error_of(Reply(200, {}, body))
    assert type(error) is MalformedResponse
    assert len(str(error)) < 600


def test_fault_12_the_sample_of_a_refused_body_is_redacted():
    assert "ab12" * 16 not in str(error_of(http(200, "<html>" + "ab12" * 16)))


@pytest.mark.parametrize(
    "reply",
    [
        http(403, "access too frequent"),
        http(403, "<html>Access Too Frequent</html>"),
        http(403, '{"retCode":10006,"retMsg":"access too frequent"}'),
        http(403, "something nobody has seen before"),
        http(403),
        coded(10018),
    ],
)
def test_fault_1_an_address_ban_is_known_by_its_body(reply):
    assert type(error_of(reply)) is AddressBanSeen


@pytest.mark.parametrize(
    "reply", [http(403, CLOUDFRONT), http(451), http(403, "Service is not available in your region")]
)
def test_fault_2_a_region_block_is_told_apart_from_a_ban_and_is_final(reply):
    error = error_of(reply)
    assert type(error) is RegionBlocked
    assert not error.retryable


def test_a_403_that_carries_a_refusal_of_the_key_is_that_refusal():
    assert type(error_of(http(403, '{"retCode":10010,"retMsg":"unmatched ip"}'))) is AuthenticationFailed


@pytest.mark.parametrize(
    ("retry_after", "wait_s"),
    [
        ("7", 7),
        ("-5", 0),
        ("1000000000", 3600),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30),
        ("Tue, 14 Nov 2023 22:13:50 -0000", 30),
        ("Tue, 14 Nov 2017 22:13:50 GMT", 0),
        ("soon", None),
        ("", None),
    ],
)
def test_fault_3_retry_after_is_read_in_every_form_and_clamped(retry_after, wait_s):
    error = error_of(http(429, "slow down", retry_after=retry_after))
    assert isinstance(error, RateLimited)
    assert (None if error.reset_at is None else (to_ms(error.reset_at) - NOW_MS) / 1000) == wait_s


@pytest.mark.parametrize(
    ("header", "reset_ms"),
    [(str(NOW_MS + 400), NOW_MS + 400), (str(NOW_MS - 9000), NOW_MS - 9000), ("", None), ("99", None), ("-1", None)],
)
def test_fault_4_the_reset_header_is_read_or_counts_as_missing(header, reset_ms):
    error = error_of(coded(10006, "Too many visits!", **{"x_bapi_limit_reset_timestamp": header}))
    assert isinstance(error, RateLimited)
    assert (None if error.reset_at is None else to_ms(error.reset_at)) == reset_ms


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 522, 524])
def test_fault_5_a_server_failure_is_retryable(status):
    error = error_of(http(status, "<html>"))
    assert type(error) is VenueUnavailable
    assert error.retryable


@pytest.mark.parametrize("ret_code", [10000, 10016])
def test_fault_6_an_internal_error_inside_http_200_is_retryable(ret_code):
    assert type(error_of(coded(ret_code))) is VenueUnavailable


@pytest.mark.parametrize(
    ("ret_code", "kind"),
    [
        (10001, RequestRejected),
        (10002, ClockSkew),
        (10003, AuthenticationFailed),
        (10004, AuthenticationFailed),
        (10005, AuthenticationFailed),
        (10010, AuthenticationFailed),
        (33004, AuthenticationFailed),
        (10029, RequestRejected),
        (110007, InsufficientBalance),
        (110043, RequestRejected),
        (999999, RequestRejected),
    ],
)
def test_fault_8_each_code_has_its_type_and_keeps_its_number(ret_code, kind):
    error = error_of(coded(ret_code, "said the venue", result=None))
    assert type(error) is kind
    assert error.ret_code == ret_code
    assert error.ret_msg == "said the venue"
    assert error.retryable is (kind is ClockSkew)
    assert str(ret_code) in str(error)


def test_a_refusal_may_come_without_a_result():
    assert type(error_of(Reply(200, {}, orjson.dumps({"retCode": 10001, "retMsg": "no", "result": None})))) is (
        RequestRejected
    )


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthenticationFailed), (404, RequestRejected), (400, RequestRejected)]
)
def test_a_client_error_without_json_is_a_refusal_by_status(status, kind):
    error = error_of(http(status, "<html>no</html>"))
    assert type(error) is kind
    assert error.ret_code == status


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_fault_14_a_redirect_is_refused(status):
    assert type(error_of(http(status, location="https://evil.example/v5"))) is MalformedResponse


def test_success_under_a_failing_status_is_refused():
    reply = ok({})
    assert type(error_of(Reply(418, {}, reply.body))) is MalformedResponse


def test_every_error_is_drawn_in_the_tree_at_the_top_of_its_module():
    from bybit.client import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BybitError)]
    assert len(kinds) == 14
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in kinds)
