"""One booked row of an account, whatever file it came from, and the errors of reading one."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.fees import Liquidity
from bybit.rules.periods import to_ms

# The site writes "--" where a kind of row has no such figure.
_NOTHING = ("", "--", "-", "null", "None")
_TIMES = (
    ("%Y-%m-%d %H:%M:%S.%f", 1),
    ("%Y-%m-%dT%H:%M:%S.%f", 1),
    ("%Y-%m-%d %H:%M:%S", 1_000),
    ("%Y-%m-%dT%H:%M:%S", 1_000),
    ("%H:%M:%S %Y-%m-%d", 1_000),
    ("%Y-%m-%d %H:%M", 60_000),
    ("%H:%M %Y-%m-%d", 60_000),
)
_OFFSET = re.compile(r"(?:UTC|GMT)?\s*([+-]\d{1,2})(?::?(\d{2}))?")


class BadExport(InvalidInput):
    """A file that is none of the formats, or that is not complete; nothing of it was judged."""


class BadBooking(Exception):
    """Carries what is wrong with one row to the list of unreadable rows; never leaves the readers."""


class Source(StrEnum):
    """Where a row comes from, the fullest account of the money first: the first that has an event counts its money."""

    TRANSACTION_LOG = "transaction log"
    EXECUTIONS = "executions"
    ASSET_CHANGES = "asset change details"
    TRADE_HISTORY = "trade history"
    RECORDED_FILLS = "recorded fills"
    CLOSED_PNL = "closed P&L"
    CLOSED_POSITIONS = "closed positions"
    FUNDING_ACCOUNT = "funding account"


class Kind(StrEnum):
    """What a row books. OTHER moves no fee and no funding: transfers, interest, legs of a spot trade without a fee."""

    TRADE = "trade"
    FUNDING = "funding"
    CLOSED = "closed position"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Closing:
    """What a closed position or a closing order says of itself; amounts in settle coin, None where it says nothing.

    ``is_rounded``: prices, quantity and profit are shown rounded (the site's lists), so that each stands for all
    figures within half a unit of its last digit. ``pnl`` has the fees inside; where a list shows no fees
    (``is_fee_shown``) they are what the price difference leaves over it.
    """

    is_long: bool | None
    entry_price: Decimal
    exit_price: Decimal
    pnl: Decimal | None
    opened_ms: int | None = None
    entry_value: Decimal | None = None
    exit_value: Decimal | None = None
    open_fee: Decimal | None = None
    close_fee: Decimal | None = None
    funding: Decimal | None = None
    n_fills: int | None = None
    is_rounded: bool = False
    is_fee_shown: bool = True


@dataclass(frozen=True, slots=True)
class Booking:
    """One row as booked.

    Attributes
    ----------
    file, number : str, int
        Name of the file and the row in it, from 1.
    kind_text : str
        The venue's own word for the kind, e.g. "SETTLEMENT".
    time_ms, precision_ms : int or None, int
        UTC; ``precision_ms`` is 1, 1,000 or 60,000: exports cut seconds or milliseconds off.
    qty : Decimal or None
        >= 0, base coin; inverse: USD contracts. For funding the position's size.
    fee : Decimal or None
        In ``coin``; positive is paid. For funding the amount paid, for closed positions both legs together.
    rate : Decimal or None
        Only when the row itself names one.
    row_id, exec_id : str or None
        The row's own id, which no other row of the account has; the id of the fill or settlement it is about.
    effect, closed_qty : str or None, Decimal or None
        Whether a fill opened or closed, in the file's words, and how much of it closed.
    change, cash_flow, balance : Decimal or None
        Of a log: what entered the wallet, the part that is neither fee nor funding, and the coin's balance after it.
    """

    source: Source
    file: str
    number: int
    kind: Kind
    kind_text: str
    category: Category | None
    symbol: str | None
    side: str | None
    time_ms: int | None
    precision_ms: int
    price: Decimal | None
    qty: Decimal | None
    coin: str | None
    fee: Decimal | None
    rate: Decimal | None = None
    liquidity: Liquidity | None = None
    row_id: str | None = None
    exec_id: str | None = None
    order_id: str | None = None
    change: Decimal | None = None
    cash_flow: Decimal | None = None
    balance: Decimal | None = None
    effect: str | None = None
    closed_qty: Decimal | None = None
    closing: Closing | None = None

    @property
    def place(self) -> str:
        """Return e.g. ``log.csv row 12``."""
        return f"{self.file} row {self.number}"


@dataclass(slots=True)
class Export:
    """One file: what it is, its rows, the rows nobody can read, and what is odd about the whole."""

    name: str
    source: Source
    bookings: list[Booking] = field(default_factory=list)
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    account: str | None = None
    cursor: str | None = None


def decimal_of(value: object, name: str) -> Decimal:
    """Return the number in ``value`` exactly; thousands separators and a leading plus are read over.

    Raises
    ------
    BadBooking
        When there is none.
    """
    found = optional_decimal(value, name)
    if found is None:
        raise BadBooking(f"{name} is empty, expected a number")
    return found


def optional_decimal(value: object, name: str) -> Decimal | None:
    """Return the number in ``value``, or None where the row shows nothing ("", "--", null)."""
    text = "" if value is None else str(value).strip()
    if text in _NOTHING:
        return None
    try:
        number = Decimal(text.replace(",", "").removeprefix("+"))
    except InvalidOperation:
        raise BadBooking(f"{name} is {text[:40]!r}, expected a number") from None
    if not number.is_finite():
        raise BadBooking(f"{name} is {text[:40]!r}, expected a finite number")
    return number


def text_of(value: object) -> str | None:
    """Return the text in ``value`` without blanks around it, or None where the row shows nothing."""
    text = "" if value is None else str(value).strip()
    return None if text in _NOTHING else text


def zone_of(name: str) -> tzinfo:
    """Return the zone called ``name``: "UTC", "UTC+1", "+05:30" or an IANA name such as "Europe/Berlin".

    Raises
    ------
    InvalidInput
        When there is no such zone.
    """
    text = name.strip()
    if text.upper() in ("UTC", "GMT", "Z"):
        return UTC
    if match := _OFFSET.fullmatch(text.upper()):
        hours, minutes = int(match[1]), int(match[2] or 0)
        if abs(hours) <= 14 and minutes < 60:
            return timezone(timedelta(hours=hours, minutes=-minutes if match[1].startswith("-") else minutes))
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(
            f"time zone {name[:40]!r} is not known: expected UTC, UTC+1, +05:30 or a name such as Europe/Berlin"
        ) from None


def time_of(text: object, name: str, zone: tzinfo) -> tuple[int, int]:
    """Return (ms UTC, precision in ms) of a time as the site or the API writes it.

    Raises
    ------
    BadBooking
        When it is none of the known spellings.
    """
    shown = "" if text is None else str(text).strip()
    if re.fullmatch(r"\d{13}", shown):
        return int(shown), 1
    for pattern, precision_ms in _TIMES:
        try:
            moment = datetime.strptime(shown, pattern)  # noqa: DTZ007 - the zone comes from the caller
        except ValueError:
            continue
        return to_ms(moment.replace(tzinfo=zone).astimezone(UTC)), precision_ms
    try:
        moment = datetime.fromisoformat(shown)
    except ValueError:
        raise BadBooking(
            f"{name} is {shown[:40]!r}, expected e.g. 2026-03-24 08:00:00, 08:00 2026-03-24 or ms since 1970"
        ) from None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
    return to_ms(aware.astimezone(UTC)), 1_000


def side_of(value: object) -> str | None:
    """Return "Buy" or "Sell" of any of the spellings the exports use; None where the row shows neither."""
    word = (text_of(value) or "").lower()
    if word in ("buy", "long", "open long", "close short"):
        return "Buy"
    if word in ("sell", "short", "open short", "close long"):
        return "Sell"
    return None
