"""The venue over HTTP: sending, signing, limits and parsing."""

from bybit.client.accounts import AccountInfo, Collateral, KeyRights, SymbolFees, Transaction
from bybit.client.clock import Clock, SystemClock
from bybit.client.errors import (
    AddressBanned,
    AuthenticationFailed,
    BybitError,
    ClockSkew,
    InsufficientBalance,
    InvalidOrder,
    MalformedResponse,
    NoResponse,
    OrderStateUnknown,
    RateLimited,
    RegionBlocked,
    RequestRejected,
    StreamClosed,
    VenueUnavailable,
)
from bybit.client.feeds import StreamEvent
from bybit.client.limits import Breaker, TokenBucket
from bybit.client.market import InsurancePool, OpenInterest, OrderBook, PublicTrade, SystemNotice
from bybit.client.orders import Fill, Order, OrderAck
from bybit.client.positions import Position, Trade
from bybit.client.quotas import QuotaState
from bybit.client.replies import CandleColumns, CandlePage, Conflict, HostAnswer, Listing, RejectedRow, Ticker
from bybit.client.rest import BybitClient
from bybit.client.retries import RetryPolicy
from bybit.client.stream import Stream
from bybit.client.transport import Reply, RequestsTransport, Timeout, Transport
from bybit.client.wallet import CoinBalance, WalletBalance

__all__ = [
    "AccountInfo",
    "AddressBanned",
    "AuthenticationFailed",
    "Breaker",
    "BybitClient",
    "BybitError",
    "CandleColumns",
    "CandlePage",
    "Clock",
    "ClockSkew",
    "CoinBalance",
    "Collateral",
    "Conflict",
    "Fill",
    "HostAnswer",
    "InsufficientBalance",
    "InsurancePool",
    "InvalidOrder",
    "KeyRights",
    "Listing",
    "MalformedResponse",
    "NoResponse",
    "OpenInterest",
    "Order",
    "OrderAck",
    "OrderBook",
    "OrderStateUnknown",
    "Position",
    "PublicTrade",
    "QuotaState",
    "RateLimited",
    "RegionBlocked",
    "RejectedRow",
    "Reply",
    "RequestRejected",
    "RequestsTransport",
    "RetryPolicy",
    "Stream",
    "StreamClosed",
    "StreamEvent",
    "SymbolFees",
    "SystemClock",
    "SystemNotice",
    "Ticker",
    "Timeout",
    "TokenBucket",
    "Trade",
    "Transaction",
    "Transport",
    "VenueUnavailable",
    "WalletBalance",
]
