"""Reading a request's parameters as strictly as the venue, or more so.

Texts of refusals are not established in general (clients must not match on them). Where the venue's reaction to a
value outside its documented range is not known (limit 0 or too large, start after end), the sandbox refuses with
10001 rather than guess a correction, so that a client's mistake shows.
"""

import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from bybit.rules.candles import Category, Interval, check_symbol
from bybit.rules.errors import InvalidInput, PerpflowError
from bybit.sandbox.market import Window
from bybit.sandbox.wire import decimal_text

_LAST_MS = 9_999_999_999_999
# No price or quantity is longer, and arithmetic with it could take for ever.
_NUMBER = re.compile(r"[0-9]{1,13}(?:\.[0-9]{1,16})?")


class Refusal(PerpflowError):
    """What the venue answers instead of a result; ``ret_code`` is its number, ``status`` the HTTP one."""

    def __init__(self, ret_code: int, ret_msg: str, status: int = 200) -> None:
        super().__init__(f"{ret_code} {ret_msg}")
        self.ret_code, self.ret_msg, self.status = ret_code, ret_msg, status


class Query:
    """One request's parameters; every method raises ``Refusal`` for a value the endpoint does not take."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    @classmethod
    def of_object(cls, values: Mapping[str, Any]) -> "Query":
        """Return the parameters of a JSON object; numbers count as their text, null as absent.

        Raises
        ------
        Refusal
            10001 for a nested value.
        """
        return cls({name: _plain(name, value) for name, value in values.items() if value is not None})

    def has(self, name: str) -> bool:
        """Return whether a parameter was given and is not empty."""
        return bool(self.text(name))

    def required(self, name: str) -> str:
        """Return a parameter's text, refused when absent."""
        if not (value := self.text(name)):
            raise Refusal(10001, f"params error: {name} is required")
        return value

    def choice(self, name: str, allowed: Collection[str], default: str = "") -> str:
        """Return one of ``allowed``; absent is ``default``, and refused where that is empty."""
        value = self.text(name) or default
        if value not in allowed:
            raise Refusal(10001, f"params error: {name} invalid")
        return value

    def flag(self, name: str) -> bool:
        """Return a yes or no, absent is no."""
        return self.choice(name, ("true", "false"), "false") == "true"

    def decimal(self, name: str) -> Decimal | None:
        """Return a plain number of 0 or more, None when absent."""
        value = self.text(name)
        if not value:
            return None
        if not _NUMBER.fullmatch(value):
            raise Refusal(10001, f"params error: {name} invalid")
        return Decimal(value)

    def text(self, name: str) -> str:
        """Return a parameter's text, "" when absent."""
        return self._values.get(name, "")

    def category(self, allowed: Collection[str], default: str = "") -> str:
        """Return the category, one of ``allowed``."""
        value = self.text("category") or default
        if value not in allowed:
            raise Refusal(10001, "params error: Category is invalid")
        return value

    def symbol(self) -> str | None:
        """Return the symbol, None when absent; anything not shaped like one is refused."""
        value = self.text("symbol")
        if not value:
            return None
        try:
            return check_symbol(value)
        except InvalidInput as error:
            raise Refusal(10001, "Not supported symbols") from error

    def required_symbol(self) -> str:
        """Return the symbol of an endpoint that needs one."""
        value = self.symbol()
        if value is None:
            raise Refusal(10001, "params error: symbol is required")
        return value

    def interval(self) -> Interval:
        """Return the candle interval, written the venue's way only ("60", never "1h")."""
        value = self.text("interval")
        for interval in Interval:
            if value == interval.wire:
                return interval
        raise Refusal(10001, "params error: intervalTime is invalid")

    def limit(self, default: int, largest: int) -> int:
        """Return the page size, 1 to ``largest``."""
        value = self._number("limit")
        if value is None:
            return default
        if not 1 <= value <= largest:
            raise Refusal(10001, f"params error: limit must be between 1 and {largest}")
        return value

    def window(self, first: str, last: str, default: int, largest: int) -> Window:
        """Return the window of two parameters in ms, both inclusive, and the limit."""
        return Window(*self.bounds(first, last), self.limit(default, largest))

    def bounds(self, first: str, last: str) -> tuple[int | None, int | None]:
        """Return two times in ms, None where absent; refused when the first is after the last."""
        bounds = self._number(first), self._number(last)
        if bounds[0] is not None and bounds[1] is not None and bounds[0] > bounds[1]:
            raise Refusal(10001, f"params error: {first} is after {last}")
        return bounds

    def category_of(self, allowed: Collection[Category], default: str = "") -> Category:
        """Return the category as ours."""
        return Category(self.category([category.value for category in allowed], default))

    def _number(self, name: str) -> int | None:
        value = self.text(name)
        if not value:
            return None
        if not (value.isascii() and value.isdigit() and int(value[:14]) <= _LAST_MS and len(value) < 15):
            raise Refusal(10001, f"params error: {name} is invalid")
        return int(value)


def _plain(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return decimal_text(value)
    if isinstance(value, (str, int)):
        return str(value)
    raise Refusal(10001, f"params error: {name} is invalid")
