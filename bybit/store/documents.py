"""JSON columns: text with sorted keys, so that equal content is equal text."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any

import orjson

from bybit.rules.errors import InvalidInput


def dump(value: Any) -> str:
    """Return ``value`` as JSON with sorted keys. NaN becomes null; Decimals become text.

    Raises
    ------
    InvalidInput
        For content that JSON cannot hold.
    """
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode()
    except orjson.JSONEncodeError as error:
        raise InvalidInput(f"the record has no JSON form: {error}; give plain values with text keys") from error


def load(text: str) -> Any:
    """Return what ``dump`` was given, tuples as lists and Decimals as text."""
    return orjson.loads(text)


def digest(value: Any) -> str:
    """Return the sha256 of ``value`` as JSON, as hex."""
    return hashlib.sha256(dump(value).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")
