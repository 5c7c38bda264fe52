"""The venue over HTTP: sending, signing, limits and parsing."""

from bybit.client.clock import Clock, SystemClock
from bybit.client.errors import (
    AddressBanned,
    AuthenticationFailed,
    BybitError,
    ClockSkew,
    InsufficientBalance,
    MalformedResponse,
    NoResponse,
    RateLimited,
    RegionBlocked,
    RequestRejected,
    VenueUnavailable,
)
from bybit.client.limits import Breaker, TokenBucket
from bybit.client.replies import CandleColumns, CandlePage, Conflict, Listing, RejectedRow, Ticker
from bybit.client.rest import BybitClient
from bybit.client.retries import RetryPolicy
from bybit.client.transport import Reply, RequestsTransport, Timeout, Transport
from bybit.client.wallet import CoinBalance, WalletBalance

__all__ = [
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
    "Conflict",
    "InsufficientBalance",
    "Listing",
    "MalformedResponse",
    "NoResponse",
    "RateLimited",
    "RegionBlocked",
    "RejectedRow",
    "Reply",
    "RequestRejected",
    "RequestsTransport",
    "RetryPolicy",
    "SystemClock",
    "Ticker",
    "Timeout",
    "TokenBucket",
    "Transport",
    "VenueUnavailable",
    "WalletBalance",
]
