"""What the venue says of an account besides its balance: records and their parsers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from bybit.client.errors import MalformedResponse
from bybit.client.fields import BadRow, flag, label, moment, number, optional, optional_moment, symbol, text, whole
from bybit.client.market import category_of
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.fees import FeeRates
from bybit.rules.periods import parse_time

_MARGIN_MODES = ("ISOLATED_MARGIN", "REGULAR_MARGIN", "PORTFOLIO_MARGIN")
# The reply quotes the key itself.
_SECRET_FIELDS = ("apiKey", "secret")


@dataclass(frozen=True, slots=True)
class AccountInfo:
    """How an account is set up. ``unified_status`` is 3 to 6: unified account 1.0, 1.0 pro, 2.0, 2.0 pro."""

    margin_mode: str
    unified_status: int
    is_master_trader: bool | None
    has_spot_hedging: bool | None
    updated_time: datetime | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class SymbolFees:
    """The account's fee rates for one symbol."""

    category: Category
    symbol: str
    rates: FeeRates
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One line of the transaction log, in ``coin``.

    ``change`` = ``cash_flow`` + ``funding`` - ``fee``: funding received is positive, a fee paid is positive. ``size``
    is the position left, signed. ``wallet_balance`` is the coin's after it. None where the kind has no such figure.
    """

    transaction_id: str
    type: str
    time: datetime
    coin: str
    change: Decimal
    wallet_balance: Decimal | None
    cash_flow: Decimal | None
    funding: Decimal | None
    fee: Decimal | None
    fee_rate: Decimal | None
    category: Category | None
    symbol: str | None
    side: str | None
    qty: Decimal | None
    size: Decimal | None
    price: Decimal | None
    trade_id: str | None
    order_id: str | None
    order_link_id: str | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def adds_up(self) -> bool:
        """Whether the change is the sum of its parts."""
        zero = Decimal(0)
        return self.change == (self.cash_flow or zero) + (self.funding or zero) - (self.fee or zero)


@dataclass(frozen=True, slots=True)
class Collateral:
    """One coin as collateral: amounts in the coin, rates as fractions. None where the venue gives no figure."""

    coin: str
    is_on: bool
    can_be_collateral: bool
    collateral_rate: Decimal | None
    can_be_borrowed: bool
    borrowed: Decimal | None
    max_borrow: Decimal | None
    available_to_borrow: Decimal | None
    free_borrow_limit: Decimal | None
    hourly_borrow_rate: Decimal | None
    borrow_usage_rate: Decimal | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class KeyRights:
    """What a key may do, and from where. The key itself is left out, of ``raw`` too.

    ``permissions`` maps the venue's areas to rights, for example ContractTrade: (Order, Position). ``addresses`` is
    empty when every address may use the key, and then the venue ends it at ``expires``.
    """

    read_only: bool
    permissions: Mapping[str, tuple[str, ...]]
    addresses: tuple[str, ...]
    created: datetime | None
    expires: datetime | None
    is_master: bool | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def can_withdraw(self) -> bool:
        """Whether the key can move money out of the venue."""
        return "Withdraw" in self.permissions.get("Wallet", ())

    @property
    def can_trade(self) -> bool:
        """Whether the key can place orders."""
        return not self.read_only and any(
            self.permissions.get(area) for area in ("ContractTrade", "Spot", "Options", "Derivatives")
        )


def account_info(result: dict[str, Any]) -> AccountInfo:
    """Return an account-info result.

    Raises
    ------
    MalformedResponse
        When it names no margin mode that v5 has, or no kind of account.
    """
    mode, status = result.get("marginMode"), result.get("unifiedMarginStatus")
    if mode not in _MARGIN_MODES or type(status) is not int:
        raise MalformedResponse(
            f"margin mode {str(mode)[:40]!r} of account kind {str(status)[:40]!r} is none v5 has; look at the reply"
        )
    try:
        return AccountInfo(
            margin_mode=mode,
            unified_status=status,
            is_master_trader=flag(result, "isMasterTrader"),
            has_spot_hedging=flag(result, "spotHedgingStatus"),
            updated_time=optional_moment(result, "updatedTime"),
            raw=result,
        )
    except BadRow as error:
        raise MalformedResponse(f"the account's settings cannot be used: {error}; look at the reply") from None


def symbol_fees(row: dict[str, Any], category: Category) -> SymbolFees:
    """Return one fee-rate row; negative rates are rebates."""
    rates = [number(row.get(name), name, signed=True) for name in ("makerFeeRate", "takerFeeRate")]
    if any(abs(rate) >= 1 for rate in rates):
        raise BadRow(f"fee rates {rates[0]} and {rates[1]} are no fractions of a notional")
    return SymbolFees(category_of(row, category), symbol(row), FeeRates(*rates), raw=row)


def transaction(row: dict[str, Any]) -> Transaction:
    """Return one transaction-log row."""
    return Transaction(
        transaction_id=text(row, "id"),
        type=text(row, "type"),
        time=moment(row, "transactionTime"),
        coin=text(row, "currency"),
        change=number(row.get("change"), "change", signed=True),
        wallet_balance=optional(row, "cashBalance", signed=True),
        cash_flow=optional(row, "cashFlow", signed=True),
        funding=optional(row, "funding", signed=True),
        fee=optional(row, "fee", signed=True),
        fee_rate=optional(row, "feeRate", signed=True),
        category=category_of(row, None) if label(row, "category") in set(Category) else None,
        symbol=label(row, "symbol"),
        side=None if row.get("side") == "None" else label(row, "side"),
        qty=optional(row, "qty"),
        size=optional(row, "size", signed=True),
        price=optional(row, "tradePrice") or None,
        trade_id=label(row, "tradeId"),
        order_id=label(row, "orderId"),
        order_link_id=label(row, "orderLinkId"),
        raw=row,
    )


def collateral(row: dict[str, Any]) -> Collateral:
    """Return one collateral-info row."""
    switches = {name: flag(row, name) for name in ("collateralSwitch", "marginCollateral", "borrowable")}
    missing = [name for name, value in switches.items() if value is None]
    if missing:
        raise BadRow(f"{missing[0]}: missing")
    return Collateral(
        coin=text(row, "currency"),
        is_on=bool(switches["collateralSwitch"]),
        can_be_collateral=bool(switches["marginCollateral"]),
        collateral_rate=optional(row, "collateralRatio"),
        can_be_borrowed=bool(switches["borrowable"]),
        borrowed=optional(row, "borrowAmount"),
        max_borrow=optional(row, "maxBorrowingAmount"),
        available_to_borrow=optional(row, "availableToBorrow"),
        free_borrow_limit=optional(row, "freeBorrowingLimit"),
        hourly_borrow_rate=optional(row, "hourlyBorrowRate"),
        borrow_usage_rate=optional(row, "borrowUsageRate"),
        raw=row,
    )


def key_rights(result: dict[str, Any]) -> KeyRights:
    """Return a query-api result without the key it quotes.

    Raises
    ------
    MalformedResponse
        When rights or addresses are not listed: what a key may do is known whole or not at all.
    """
    permissions, addresses = result.get("permissions"), result.get("ips")
    if not isinstance(permissions, dict) or not all(isinstance(rights, list) for rights in permissions.values()):
        raise MalformedResponse("the key's permissions are not lists of rights by area; look at the reply")
    if not isinstance(addresses, list):
        raise MalformedResponse("the key's addresses are not a list; look at the reply")
    try:
        read_only = whole(result, "readOnly")
        if read_only not in (0, 1):
            raise BadRow(f"readOnly: {read_only!r}, expected 0 or 1")
        return KeyRights(
            read_only=read_only == 1,
            permissions={area: tuple(str(right) for right in rights) for area, rights in permissions.items()},
            addresses=tuple(str(address) for address in addresses if address not in ("*", "")),
            created=_iso(result, "createdAt"),
            expires=_iso(result, "expiredAt"),
            is_master=flag(result, "isMaster"),
            raw={name: value for name, value in result.items() if name not in _SECRET_FIELDS},
        )
    except BadRow as error:
        raise MalformedResponse(f"the key's rights cannot be used: {error}; look at the reply") from None


def _iso(row: dict[str, Any], name: str) -> datetime | None:
    found = label(row, name)
    try:
        return None if found is None else parse_time(found)
    except InvalidInput as error:
        raise BadRow(f"{name}: {error}") from None
