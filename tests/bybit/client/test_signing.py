import pickle

import pytest
from pydantic import SecretStr

from bybit.client.signing import Signer
from bybit.rules.errors import InvalidInput

# The vectors of the team's facts on v5 signatures.
TIMESTAMP_MS = 1672211928338


@pytest.fixture
def signer() -> Signer:
    return Signer(SecretStr("TESTKEY0123456789"), SecretStr("TESTSECRET0123456789"))


@pytest.mark.parametrize(
    ("payload", "signature"),
    [
        ("category=linear&symbol=BTCUSDT", "5a1c0c66206fb2e49baf980833cdd76b8a7aae43f74852660168ccbeb214b1de"),
        (
            '{"category":"linear","symbol":"BTCUSDT","side":"Buy","orderType":"Limit",'
            '"qty":"0.001","price":"25000.00","timeInForce":"GTC"}',
            "5503c26a2db5c235505065a44bfe3eec71f5d223d54c10eb5db47f11809e6b98",
        ),
    ],
)
def test_a_rest_request_is_signed_as_the_venue_signs_it(signer, payload, signature):
    headers = signer.headers(payload, TIMESTAMP_MS, 5000)
    assert headers == {
        "X-BAPI-API-KEY": "TESTKEY0123456789",
        "X-BAPI-TIMESTAMP": "1672211928338",
        "X-BAPI-RECV-WINDOW": "5000",
        "X-BAPI-SIGN": signature,
    }


def test_a_stream_is_signed_as_the_venue_signs_it(signer):
    expected = "b79fcdcfce8836955f71b644a983bfc0ef2ea1dc1bff319cbaec5884fc4b7ab6"
    assert signer.stream_signature(1672211938338) == expected


def test_a_signer_shows_nothing_and_cannot_be_pickled(signer):
    assert "0123456789" not in repr(signer)
    assert "0123456789" not in str(vars(type(signer)))
    with pytest.raises(TypeError, match="never pickled") as caught:
        pickle.dumps(signer)
    assert "0123456789" not in str(caught.value)


def test_key_secret_and_signature_are_blotted_out_of_a_text(signer):
    said = f"error sign! origin_string[TESTKEY0123456789] TESTSECRET0123456789 got {'ab12' * 16}"
    assert signer.redact(said) == "error sign! origin_string[***] *** got ***"


@pytest.mark.parametrize("bad", ["", "with blank", "line\nbreak", "kéy"])
def test_a_key_that_cannot_be_one_is_refused_without_being_shown(bad):
    with pytest.raises(InvalidInput) as caught:
        Signer(SecretStr(bad), SecretStr("x"))
    assert not bad or bad not in str(caught.value)
