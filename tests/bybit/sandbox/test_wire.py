import json
from decimal import Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bybit.sandbox.wire import decimal_text, decode_cursor, encode_cursor, envelope, rows_json

numbers = st.floats(-1e12, 1e12, allow_nan=False).filter(lambda x: abs(x) > 1e-12 or x == 0)


@given(arrays(np.float64, st.tuples(st.integers(1, 20), st.just(5)), elements=numbers))
def test_candles_are_written_newest_first_as_the_shortest_plain_decimals(rows: np.ndarray) -> None:
    rows = rows + 0.0
    written = json.loads(rows_json(rows))
    assert [[float(text) for text in row] for row in written] == rows[::-1].tolist()
    for row in written:
        for text in row:
            assert "e" not in text.lower()
            assert text == decimal_text(float(text))


def test_a_whole_number_has_no_point_and_a_small_one_no_exponent() -> None:
    rows = np.array([[1_670_608_800_000, 17071.0, 0.00002, -2e-07, 0.0]])
    assert rows_json(rows) == b'[["1670608800000","17071","0.00002","-0.0000002","0"]]'


def test_a_missing_number_is_an_empty_text() -> None:
    assert rows_json(np.array([[1_670_608_800_000, np.nan, 1.5, 2.0, 3.0]])) == b'[["1670608800000","","1.5","2","3"]]'


def test_a_decimal_keeps_its_own_digits_and_none_is_empty() -> None:
    assert [decimal_text(Decimal("0.10")), decimal_text(Decimal("1E+3")), decimal_text(None)] == ["0.10", "1000", ""]


def test_the_envelope_has_the_five_fields_of_the_venue() -> None:
    body = json.loads(envelope({"list": []}, 1_672_025_956_592, 10001, 'a "quoted" text'))
    assert list(body) == ["retCode", "retMsg", "result", "retExtInfo", "time"]
    assert body["retMsg"] == 'a "quoted" text'
    assert body["time"] == 1_672_025_956_592


def test_a_cursor_is_already_encoded_and_survives_being_encoded_again() -> None:
    cursor = encode_cursor("BTC-27MAR26")
    assert cursor == "last%3DBTC-27MAR26"
    assert decode_cursor(cursor) == decode_cursor("last=BTC-27MAR26") == "BTC-27MAR26"
    assert decode_cursor("page2") is None
