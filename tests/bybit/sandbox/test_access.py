import pytest

from bybit.sandbox.access import KeyRing
from bybit.sandbox.limits import AccountLimits
from bybit.sandbox.query import Refusal

KEY, SECRET, STAMP = "TESTKEY0123456789", "TESTSECRET0123456789", 1672211928338
GET_TEXT = b"category=linear&symbol=BTCUSDT"
GET_SIGN = "5a1c0c66206fb2e49baf980833cdd76b8a7aae43f74852660168ccbeb214b1de"
BODY = (
    b'{"category":"linear","symbol":"BTCUSDT","side":"Buy","orderType":"Limit",'
    b'"qty":"0.001","price":"25000.00","timeInForce":"GTC"}'
)
BODY_SIGN = "5503c26a2db5c235505065a44bfe3eec71f5d223d54c10eb5db47f11809e6b98"
STREAM_SIGN = "b79fcdcfce8836955f71b644a983bfc0ef2ea1dc1bff319cbaec5884fc4b7ab6"


@pytest.fixture
def ring() -> KeyRing[str]:
    ring: KeyRing[str] = KeyRing()
    ring.add(KEY, SECRET, "mine")
    return ring


def headers(**changed: str) -> dict[str, str]:
    sent = {"key": KEY, "timestamp": str(STAMP), "sign": GET_SIGN, "recv": "5000"} | changed
    names = {"key": "api-key", "timestamp": "timestamp", "sign": "sign", "recv": "recv-window"}
    return {f"x-bapi-{names[name]}": value for name, value in sent.items()}


def code(ring: KeyRing[str], now_ms: int = STAMP, payload: bytes = GET_TEXT, **changed: str) -> int:
    try:
        assert ring.authenticate(headers(**changed), payload, now_ms) == "mine"
    except Refusal as refusal:
        return refusal.ret_code
    return 0


def test_the_published_vectors_are_accepted(ring: KeyRing[str]) -> None:
    assert code(ring) == 0
    assert code(ring, payload=BODY, sign=BODY_SIGN) == 0
    assert ring.authenticate_stream(KEY, 1672211938338, STREAM_SIGN, STAMP) == "mine"


def test_one_changed_byte_is_10004_and_an_unknown_key_10003(ring: KeyRing[str]) -> None:
    assert code(ring, payload=GET_TEXT + b" ") == 10004
    assert code(ring, payload=b"symbol=BTCUSDT&category=linear") == 10004
    assert code(ring, sign=GET_SIGN.upper()) == 10004
    assert code(ring, sign="") == 10004
    assert code(ring, recv="5001") == 10004
    assert code(ring, key="ANOTHER") == 10003
    assert code(ring, key="") == 10003
    with pytest.raises(Refusal, match="10004"):
        ring.authenticate_stream(KEY, 1672211938339, STREAM_SIGN, STAMP)
    with pytest.raises(Refusal, match="10004"):
        ring.authenticate_stream(KEY, 1672211938338, STREAM_SIGN, 1672211938338)


@pytest.mark.parametrize(
    ("lead_ms", "expected"), [(999, 0), (1000, 10002), (60_000, 10002), (-5000, 0), (-5001, 10002)]
)
def test_the_window_is_wide_behind_and_narrow_ahead(ring: KeyRing[str], lead_ms: int, expected: int) -> None:
    assert code(ring, now_ms=STAMP - lead_ms) == expected


def test_a_wider_window_helps_a_slow_clock_only(ring: KeyRing[str]) -> None:
    assert code(ring, now_ms=STAMP + 9_000, recv="10000") == 10004
    assert code(ring, now_ms=STAMP - 1_000, recv="10000") == 10002
    assert code(ring, timestamp="soon") == 10001


def test_a_secret_shows_nowhere(ring: KeyRing[str]) -> None:
    assert SECRET not in repr(ring)
    with pytest.raises(Refusal) as caught:
        ring.authenticate(headers(sign="x"), GET_TEXT, STAMP)
    assert SECRET not in f"{caught.value!r}{caught.value}"


def test_an_account_has_so_many_calls_a_second_at_each_endpoint() -> None:
    limits, second = AccountLimits(), 1_000_000_000

    def passes(path: str, at: float, tier: str = "vip0", units: int = 1, uid: str = "1") -> int:
        return limits.take(uid, path, tier, units, int(at * second)).n_passed

    assert [passes("/v5/order/create", 0.0) for _ in range(11)] == [1] * 10 + [0]
    assert passes("/v5/order/create", 0.0, uid="2") == 1
    assert passes("/v5/order/amend", 0.0) == 1
    assert passes("/v5/order/create", 0.999) == 0
    assert passes("/v5/order/create", 1.0) == 1
    assert passes("/v5/order/create-batch", 0.0, units=20) == 10
    assert passes("/v5/order/cancel", 0.0, tier="vip3", units=100) == 60
    assert [passes("/v5/account/fee-rate", 0.0) for _ in range(6)] == [1] * 5 + [0]


def test_the_headers_tell_the_limit_what_is_left_and_when_it_is_whole_again() -> None:
    limits = AccountLimits()
    first = limits.take("1", "/v5/order/create", "vip0", 1, 0)
    assert first.headers(1_000_000, 1.0) == {
        "X-Bapi-Limit": "10",
        "X-Bapi-Limit-Status": "9",
        "X-Bapi-Limit-Reset-Timestamp": "1000000",
    }
    limits.take("1", "/v5/order/create", "vip0", 9, 0)
    refused = limits.take("1", "/v5/order/create", "vip0", 1, 400_000_000)
    assert refused.headers(1_000_000, 1.0)["X-Bapi-Limit-Reset-Timestamp"] == "1000600"
    assert refused.headers(1_000_000, 10.0)["X-Bapi-Limit-Reset-Timestamp"] == "1006000"
