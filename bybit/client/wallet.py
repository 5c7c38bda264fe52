"""What an account holds: records and their parser."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from bybit.client.errors import MalformedResponse
from bybit.client.fields import BadRow, label, number, optional, text
from bybit.client.parse import distinct_rows


@dataclass(frozen=True, slots=True)
class CoinBalance:
    """One coin of an account, in that coin except ``usd_value``. None where the venue gives no figure.

    ``wallet_balance`` is cash, ``equity`` adds ``unrealized_pnl``; all three may be negative.
    """

    coin: str
    equity: Decimal
    wallet_balance: Decimal
    unrealized_pnl: Decimal | None
    locked: Decimal | None
    borrowed: Decimal | None
    initial_margin: Decimal | None
    maintenance_margin: Decimal | None
    usd_value: Decimal | None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class WalletBalance:
    """An account at ``time``, in US dollars. The totals are None where the margin mode gives them no meaning."""

    account_type: str
    time: datetime
    equity: Decimal | None
    wallet_balance: Decimal | None
    available_balance: Decimal | None
    initial_margin: Decimal | None
    maintenance_margin: Decimal | None
    coins: tuple[CoinBalance, ...]
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def coin(self, name: str) -> CoinBalance | None:
        """Return the balance of one coin; None when the account holds none of it, which the venue leaves out."""
        return next((coin for coin in self.coins if coin.coin == name), None)


def wallet_balance(result: dict[str, Any], account_type: str, time: datetime) -> WalletBalance:
    """Return the account of a ``/v5/account/wallet-balance`` result.

    Raises
    ------
    MalformedResponse
        When the account is missing or any of its figures is not one: a balance is whole or it is none.
    """
    rows = [row for row in distinct_rows(result) if row.get("accountType") == account_type]
    if len(rows) != 1:
        raise MalformedResponse(f"the reply holds {len(rows)} accounts of type {account_type}, expected one; discarded")
    try:
        return wallet_of(rows[0], time)
    except BadRow as error:
        raise MalformedResponse(f"the account's balance cannot be used: {error}; look at the reply") from None


def wallet_of(row: dict[str, Any], time: datetime) -> WalletBalance:
    """Return one account of a list or of the ``wallet`` stream; raise ``BadRow`` when a figure is not one."""
    coins = row.get("coin")
    if not isinstance(coins, list) or not all(isinstance(coin, dict) for coin in coins):
        raise BadRow(f"coin: a {type(coins).__name__}, expected a list of objects")
    return WalletBalance(
        account_type=label(row, "accountType") or "UNIFIED",
        time=time,
        equity=optional(row, "totalEquity", signed=True),
        wallet_balance=optional(row, "totalWalletBalance", signed=True),
        available_balance=optional(row, "totalAvailableBalance", signed=True),
        initial_margin=optional(row, "totalInitialMargin"),
        maintenance_margin=optional(row, "totalMaintenanceMargin"),
        coins=tuple(_coin(coin) for coin in coins),
        raw=row,
    )


def _coin(row: dict[str, Any]) -> CoinBalance:
    return CoinBalance(
        coin=text(row, "coin"),
        equity=number(row.get("equity"), "equity", signed=True),
        wallet_balance=number(row.get("walletBalance"), "walletBalance", signed=True),
        unrealized_pnl=optional(row, "unrealisedPnl", signed=True),
        locked=optional(row, "locked"),
        borrowed=optional(row, "borrowAmount"),
        initial_margin=optional(row, "totalPositionIM"),
        maintenance_margin=optional(row, "totalPositionMM"),
        usd_value=optional(row, "usdValue", signed=True),
        raw=row,
    )
