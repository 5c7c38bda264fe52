"""The venue over HTTP: one method per call, typed results, every limit and fault handled below them."""

import logging
import random
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NoReturn, TypeVar

from pydantic import SecretStr

from bybit.client import parse
from bybit.client.calls import Caller, Value
from bybit.client.clock import Clock
from bybit.client.errors import MalformedResponse
from bybit.client.limits import Breaker, TokenBucket
from bybit.client.replies import CandlePage, Listing, Ticker
from bybit.client.retries import MAIN_HOSTS, TEST_HOSTS, Hosts, RetryPolicy
from bybit.client.signing import Signer
from bybit.client.transport import Timeout, Transport
from bybit.client.wallet import WalletBalance, wallet_balance
from bybit.rules.candles import Category, Interval, PriceType, check_symbol
from bybit.rules.errors import InvalidInput
from bybit.rules.funding import FundingRate
from bybit.rules.instruments import Instrument
from bybit.rules.margin import RiskTier
from bybit.rules.periods import Span, to_ms, utc

T = TypeVar("T", Instrument, RiskTier, Ticker)

_log = logging.getLogger(__name__)

MAX_CANDLES = 1000
"""Most candles in one kline page."""

MAX_SETTLEMENTS = 200
"""Most settlements in one funding history page."""

_MAX_PAGES = 2000
_HOUR_MS = 3_600_000
_KLINE_PATHS = {
    PriceType.LAST: "/v5/market/kline",
    PriceType.MARK: "/v5/market/mark-price-kline",
    PriceType.INDEX: "/v5/market/index-price-kline",
    PriceType.PREMIUM: "/v5/market/premium-index-price-kline",
}
_KLINE_CATEGORIES = {
    PriceType.LAST: tuple(Category),
    PriceType.MARK: (Category.LINEAR, Category.INVERSE),
    PriceType.INDEX: (Category.LINEAR, Category.INVERSE),
    PriceType.PREMIUM: (Category.LINEAR,),
}

Time = datetime | int
"""A bound: an aware datetime or ms since 1970."""


class BybitClient:
    """Bybit v5 over HTTP. Market data needs no key. Thread-safe: share one object between threads.

    Every request passes the venue's address limit and the ban breaker, which all clients of one process share.
    Reads are retried for some seconds, on every host there is; anything that changes an account is retried only
    when the venue certainly did not act. All times are half-open [start, end), everything listed is oldest first.

    Parameters
    ----------
    api_key, api_secret : str or SecretStr, optional
        A pair of one environment. Never shown, logged or pickled.
    testnet : bool
        Which official hosts to use when ``base_urls`` is not given.
    base_urls : sequence of str, optional
        Other addresses of one environment, tried in turn when one does not answer.
    transport : Transport, optional
        The way to the network; a test passes its own.
    recv_window_ms : int
        How old a signed request may be on arrival; never widened.
    limiter, breaker : optional
        Instead of the ones shared by the process.
    clock : Clock, optional
        Time and sleep; a test passes its own.
    retry, timeout : optional
        Bounds of one call and of one request.
    rng : random.Random, optional
        Source of jitter.
    """

    def __init__(
        self,
        api_key: str | SecretStr | None = None,
        api_secret: str | SecretStr | None = None,
        testnet: bool = True,
        base_urls: Sequence[str] | None = None,
        *,
        transport: Transport | None = None,
        recv_window_ms: int = 5000,
        limiter: TokenBucket | None = None,
        breaker: Breaker | None = None,
        clock: Clock | None = None,
        retry: RetryPolicy | None = None,
        timeout: Timeout | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if (api_key is None) != (api_secret is None):
            raise InvalidInput("api_key and api_secret belong together: give both or neither")
        signer: Signer | None = None
        if api_key is not None and api_secret is not None:
            signer = Signer(_secret(api_key), _secret(api_secret))
        self._signed = signer is not None
        self._caller = Caller(
            Hosts(base_urls if base_urls is not None else TEST_HOSTS if testnet else MAIN_HOSTS),
            signer,
            transport=transport,
            recv_window_ms=recv_window_ms,
            limiter=limiter,
            breaker=breaker,
            clock=clock,
            retry=retry,
            timeout=timeout,
            rng=rng,
        )

    @property
    def request_count(self) -> int:
        """HTTP requests sent so far, retries included."""
        return self._caller.request_count

    def close(self) -> None:
        """Let go of all connections."""
        self._caller.close()

    def __enter__(self) -> "BybitClient":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"BybitClient({self._caller.hosts}, {'api_key=***' if self._signed else 'no key'})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a BybitClient holds connections and perhaps a secret: build it where it is used")

    # Market data

    def server_time(self) -> datetime:
        """Return the venue's time."""
        return utc(self._caller.venue_time_ms())

    def get_kline_data(
        self,
        symbol: str,
        interval: Interval | str,
        start: Time,
        end: Time,
        *,
        category: Category | str = Category.LINEAR,
        price: PriceType | str = PriceType.LAST,
    ) -> CandlePage:
        """Return one page: the candles that open in [start, end), oldest first.

        The last one may still be forming: drop it when it closes after :meth:`server_time`.

        Raises
        ------
        InvalidInput
            Before any request: for a symbol, interval, category or price type the venue does not have, or a span
            of more than 1000 candles.
        BybitError
            When the venue or the way to it fails.
        """
        category, price, span = _category(category), _price(price, category), _span(start, end)
        interval = Interval.parse(interval) if isinstance(interval, str) else interval
        n_candles = _n_candles(interval, span)
        if n_candles > MAX_CANDLES:
            raise InvalidInput(
                f"{utc(span[0]).isoformat()} to {utc(span[1]).isoformat()} holds {n_candles} candles of "
                f"{interval.value}, one page at most {MAX_CANDLES}: ask for a shorter span"
            )
        asked = {"category": category.value, "symbol": check_symbol(symbol)}
        if n_candles == 0:
            return parse.candle_page({"list": []}, price, span)
        # The venue's bounds are both inclusive and filter on the open time.
        bounds: dict[str, Value] = {
            "interval": interval.wire,
            "start": span[0],
            "end": span[1] - 1,
            "limit": MAX_CANDLES,
        }
        result = self._caller.get(_KLINE_PATHS[price], {**asked, **bounds}).result
        parse.check_echo(result, **asked)
        return parse.candle_page(result, price, span)

    def get_funding_rate_history(
        self, symbol: str, start_time: Time, end_time: Time, *, category: Category | str = Category.LINEAR
    ) -> Listing[FundingRate]:
        """Return every settlement in [start_time, end_time), oldest first; asks for as many pages as it takes.

        Raises
        ------
        InvalidInput
            For spot, which has no funding, and for bounds or symbols that are none.
        BybitError
            When the venue or the way to it fails, or its pages do not move on.
        """
        category, span = _category(category), _span(start_time, end_time)
        if category is Category.SPOT:
            raise InvalidInput("spot has no funding: use linear or inverse")
        asked = {"category": category.value, "symbol": check_symbol(symbol)}
        rows: list[dict[str, Any]] = []
        newest_ms = span[1] - 1
        for _ in range(_MAX_PAGES):
            # startTime alone is an error; with both, the newest rows of the span come first.
            bounds = {"startTime": span[0], "endTime": newest_ms, "limit": MAX_SETTLEMENTS}
            result = self._caller.get("/v5/market/funding/history", {**asked, **bounds}).result
            parse.check_echo(result, category=category.value)
            page = parse.rows_of(result, dict)
            rows.extend(page)
            times = [rate.funding_time for rate in parse.funding_rates(page, symbol, (span[0], newest_ms + 1))]
            # A short page proves nothing, so only an empty one ends the walk, or less room than any interval.
            if not times or to_ms(times[0]) - span[0] < _HOUR_MS:
                break
            newest_ms = to_ms(times[0]) - 1
        else:
            raise MalformedResponse(f"funding history of {symbol} did not end after {_MAX_PAGES} pages; try later")
        return parse.funding_rates(rows, symbol, span)

    def get_instruments(
        self, category: Category | str, symbol: str | None = None, *, status: str | None = None
    ) -> Listing[Instrument]:
        """Return the contracts of ``category``, or one of them, by symbol, from every page there is.

        The venue lists only those that are trading unless ``status`` names another ("PreLaunch", "Closed", ...).
        Rows that cannot be used are in ``.rejected``; when ``symbol`` is given they raise ``MalformedResponse``.
        """
        category = _category(category)
        params = {"category": category.value, "symbol": _optional_symbol(symbol), "status": status}
        # Spot knows neither pages nor a limit.
        limit = None if category is Category.SPOT else 1000
        rows, as_of_ms = self._caller.every_page("/v5/market/instruments-info", {**params, "limit": limit})
        return _usable(parse.instruments(rows, category, utc(as_of_ms)), symbol)

    def get_risk_limits(
        self, category: Category | str, symbol: str | None = None, *, expected: Collection[str] = ()
    ) -> Listing[RiskTier]:
        """Return the margin ladders of ``category``, or of one symbol, from every page there is.

        The venue sends 15 symbols a page: one request per symbol is cheaper for a few. A listing that breaks off is
        an error, and so is one without a symbol of ``expected``.
        """
        category = _category(category)
        if category is Category.SPOT:
            raise InvalidInput("spot has no risk limits: use linear or inverse")
        params = {"category": category.value, "symbol": _optional_symbol(symbol)}
        rows, as_of_ms = self._caller.every_page("/v5/market/risk-limit", params)
        tiers = _usable(parse.risk_tiers(rows, utc(as_of_ms)), symbol)
        missing = set(expected) - {tier.symbol for tier in tiers}
        if missing:
            raise MalformedResponse(
                f"the list of risk limits lacks {len(missing)} symbols expected in it, such as {min(missing)}: "
                "truncated; ask for them one by one"
            )
        return tiers

    def get_tickers(self, category: Category | str, symbol: str | None = None) -> Listing[Ticker]:
        """Return the current market of every symbol of ``category``, or of one."""
        category = _category(category)
        envelope = self._caller.get(
            "/v5/market/tickers", {"category": category.value, "symbol": _optional_symbol(symbol)}
        )
        parse.check_echo(envelope.result, category=category.value)
        rows = parse.rows_of(envelope.result, dict)
        return _usable(parse.tickers(rows, category, utc(self._caller.time_ms_of(envelope))), symbol)

    # The account

    def get_wallet_balance(self, accountType: str = "UNIFIED", coin: str | None = None) -> WalletBalance:
        """Return what the account holds; needs a key.

        Parameters
        ----------
        accountType : str
            The venue's word for the kind of account.
        coin : str, optional
            Coins separated by commas; without it those with a balance.
        """
        params = {"accountType": accountType, "coin": coin}
        envelope = self._caller.get("/v5/account/wallet-balance", params, signed=True)
        return wallet_balance(envelope.result, accountType, utc(self._caller.time_ms_of(envelope)))


def _secret(text: str | SecretStr) -> SecretStr:
    return text if isinstance(text, SecretStr) else SecretStr(text)


def _category(category: Category | str) -> Category:
    try:
        return Category(category)
    except ValueError:
        raise InvalidInput(f"category {category!r} is not one of {', '.join(Category)}") from None


def _price(price: PriceType | str, category: Category) -> PriceType:
    try:
        price = PriceType(price)
    except ValueError:
        raise InvalidInput(f"price type {price!r} is not one of {', '.join(PriceType)}") from None
    if category not in _KLINE_CATEGORIES[price]:
        allowed = ", ".join(_KLINE_CATEGORIES[price])
        raise InvalidInput(f"{category} has no {price} candles: the venue serves them for {allowed}")
    return price


def _span(start: Time, end: Time) -> Span:
    span = to_ms(start), to_ms(end)
    if span[0] >= span[1]:
        raise InvalidInput(f"the span ends at {span[1]}, not after its start {span[0]} (ms UTC): [start, end) is empty")
    return span


def _n_candles(interval: Interval, span: Span) -> int:
    if interval is Interval.MONTH_1:
        return len(interval.open_times(*span))
    # Opens on the grid before each bound: no array for a span of years.
    first, last = (interval.floor_ms(bound - 1) for bound in span)
    return (last - first) // interval.ms


def _optional_symbol(symbol: str | None) -> str | None:
    return None if symbol is None else check_symbol(symbol)


def _usable(listing: Listing[T], symbol: str | None) -> Listing[T]:
    strangers = {found.symbol for found in listing} - {symbol}
    if strangers and symbol is not None:
        raise MalformedResponse(f"asked for {symbol}, the reply is about {min(strangers)}; discarded")
    reasons = [row.reason for row in listing.rejected]
    reasons += [f"rows of {conflict.key} that differ" for conflict in listing.conflicts]
    if reasons and symbol is not None:
        raise MalformedResponse(f"the venue's record of {symbol} cannot be used: {reasons[0]}; look at the reply")
    for reason in reasons[:5]:
        _log.warning("left out of a listing of %d (%d left out): %s", len(listing), len(reasons), reason)
    return listing
