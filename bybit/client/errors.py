"""Everything the Bybit client raises.

BybitError
├── NoResponse              timeout, reset, DNS or TLS failure, torn body      retryable
├── RateLimited             HTTP 429 or retCode 10006; carries reset_at        retryable
├── AddressBanned           HTTP 403 "access too frequent"; carries until      retryable, but not before until
├── VenueUnavailable        HTTP 5xx, retCode 10000 and 10016                  retryable
├── RegionBlocked           HTTP 403 or 451 for where the address is           not retryable
├── MalformedResponse       a reply that is not v5-shaped                      not retryable
├── OrderStateUnknown       an order's answer is lost, and so is the question  not retryable
├── StreamClosed            a WebSocket ended or fell silent                   retryable
└── RequestRejected         any other non-zero retCode or HTTP 4xx             not retryable
    ├── AuthenticationFailed    the key, the account or its rights are refused
    ├── InsufficientBalance     not enough balance or margin
    ├── InvalidOrder            the contract's rules forbid it: nothing was sent
    └── ClockSkew               retCode 10002 after the clock was set again    retryable

The client has already retried for some seconds when one of the retryable ones arrives. Orders are never repeated
without asking for them by ``orderLinkId`` first; where that failed too, OrderStateUnknown names the id.
"""

from datetime import datetime

from bybit.rules.errors import InvalidInput, PerpflowError


class BybitError(PerpflowError):
    """The venue, or the way to it, failed."""


class NoResponse(BybitError):
    """No complete reply arrived: timeout, reset, DNS or TLS failure, or a body shorter than announced.

    ``maybe_sent`` is False when the connection never came about, so that the venue cannot have seen the request.
    """

    retryable = True

    def __init__(self, message: str, *, maybe_sent: bool = True) -> None:
        super().__init__(message)
        self.maybe_sent = maybe_sent


class RateLimited(BybitError):
    """The venue asks to slow down; ``reset_at`` is when it will listen again, None where it did not say."""

    retryable = True

    def __init__(self, message: str, reset_at: datetime | None = None) -> None:
        super().__init__(message)
        self.reset_at = reset_at


class AddressBanned(BybitError):
    """The venue shut out this address for too many requests; nothing is sent before ``until``."""

    retryable = True

    def __init__(self, message: str, until: datetime) -> None:
        super().__init__(message)
        self.until = until


class VenueUnavailable(BybitError):
    """The venue answered that it cannot answer now: HTTP 5xx, restart or overload."""

    retryable = True


class RegionBlocked(BybitError):
    """The venue does not serve the country this address is in; trying again cannot help."""


class MalformedResponse(BybitError):
    """The reply is not what v5 documents: not JSON, too large, too deep, or parts of the envelope missing."""


class OrderStateUnknown(BybitError):
    """Nobody knows whether the venue took an order: it may be live under one of ``order_link_ids``.

    Placing it again with the same ``orderLinkId`` is safe: the venue takes an id once.
    """

    def __init__(self, message: str, order_link_ids: tuple[str, ...]) -> None:
        super().__init__(message)
        self.order_link_ids = order_link_ids


class StreamClosed(BybitError):
    """A WebSocket connection ended, could not be opened, or said nothing for too long."""

    retryable = True


class RequestRejected(BybitError):
    """The venue understood the request and refused it.

    ``ret_code`` is the venue's code (the HTTP status where it sent none), ``ret_msg`` its text with key and
    signature blotted out. The text changes without notice: decide by the code.
    """

    def __init__(self, message: str, ret_code: int, ret_msg: str = "") -> None:
        super().__init__(message)
        self.ret_code = ret_code
        self.ret_msg = ret_msg


class AuthenticationFailed(RequestRejected):
    """The key, its rights, its address list or the account is refused: stop and look."""


class InsufficientBalance(RequestRejected):
    """Balance or margin does not cover the order: resize it."""


class InvalidOrder(RequestRejected, InvalidInput):
    """The contract's rules forbid the order. Nothing was sent; code and text are those the venue would answer."""


class ClockSkew(RequestRejected):
    """The signature's time lay outside the venue's window, also after the clock was set again."""

    retryable = True
