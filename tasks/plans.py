"""What a run is asked to do, as typed parameters that the Prefect UI shows as a form."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from bybit.backtest.slippage import Slippage
from bybit.rules.candles import Category, Interval, PriceType, check_symbol
from bybit.rules.errors import InvalidInput
from bybit.rules.fees import FeeSchedule
from bybit.rules.instruments import Instrument
from bybit.rules.periods import Period
from bybit.strategies import registry

ACCOUNT_TIER = "account"
"""The tier that stands for the account's own stored rates."""


Contracts = Literal[Category.LINEAR, Category.INVERSE]
"""What is traded: contracts that settle in a dollar coin, or in their own base coin."""

_DEFAULT_CAPITAL = {Category.LINEAR: 10_000.0, Category.INVERSE: 1.0}


def table_tier(tier: str) -> str:
    """Return the tier of the venue's table whose rates hold where ``tier`` has none of its own."""
    return "vip0" if tier == ACCOUNT_TIER else tier


class Plan(BaseModel):
    """Base of every plan: frozen, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


P = TypeVar("P", bound=Plan)


class Span(Plan):
    """A half-open period [start, end), UTC."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, period: Period) -> "Span":
        """Return ``period`` as a parameter."""
        return cls(start=period.start, end=period.end)

    @property
    def period(self) -> Period:
        """The same span in the words of the rules."""
        return Period(self.start, self.end)


class Source(Plan):
    """Where the market data of a run comes from."""

    kind: Literal["live", "sandbox", "url"]
    base_url: str
    origin: str = Field(description="names the market itself: bybit, synthetic-SEED, tape-HASH or url-ADDRESS")
    tape: str | None = Field(default=None, description="folder that the sandbox replays; None: synthetic or live")
    assumptions: tuple[str, ...] = Field(default=(), description="what the sandbox had to assume")

    def __str__(self) -> str:
        """Return the source in words, for the first line of a run and its report."""
        if self.kind == "live":
            return f"live public market data of {self.base_url}"
        if self.kind == "url":
            return f"v5 endpoint {self.base_url}"
        what = "a seeded synthetic market" if self.tape is None else f"the recorded tape {self.tape}"
        return f"local sandbox with {what} (not the live exchange)"


class SymbolPlan(Plan):
    """The series of one symbol: what to fetch and over which span.

    ``mark`` and ``funding`` are None where the source has none: a back-test then refuses the symbol, or uses the
    fallback asked for by name.
    """

    category: Contracts = Category.LINEAR
    symbol: str
    settle_coin: str = Field(description="what profit, fees and funding are counted in, e.g. USDT, BTC")
    interval: str
    candles: Span
    mark_interval: str | None
    mark: Span | None
    funding: Span | None
    detail_interval: str | None = Field(default=None, description="shorter candles that decide inside the longer ones")
    detail: Span | None = None

    @classmethod
    def of(
        cls,
        instrument: Instrument,
        interval: Interval,
        candle_span: Callable[[PriceType, Interval], Span | None],
        funding: Span | None,
        detail: Interval | None = None,
    ) -> "SymbolPlan | None":
        """Return the plan of what ``candle_span`` and ``funding`` say there is; None without last-price candles.

        ``instrument`` is that of a linear or inverse contract.

        Mark candles of the same length come first, longer ones up to an hour stand in. With ``detail`` the last and
        mark prices of that length are wanted too; without them there is no plan.
        """
        candles = candle_span(PriceType.LAST, interval)
        if candles is None:
            return None
        inside = None if detail is None else candle_span(PriceType.LAST, detail)
        if detail is not None and inside is None:
            return None
        order = list(Interval)
        first = order.index(detail or interval)
        lengths = order[first : max(order.index(Interval.HOUR_1), first) + 1]
        marks = ((length, candle_span(PriceType.MARK, length)) for length in lengths)
        mark_interval, mark = next(((length, span) for length, span in marks if span is not None), (None, None))
        return cls(
            category=contracts(instrument.category),
            symbol=instrument.symbol,
            settle_coin=instrument.settle_coin,
            interval=interval.value,
            candles=candles,
            mark_interval=mark_interval.value if mark_interval else None,
            mark=mark,
            funding=funding,
            detail_interval=None if detail is None else detail.value,
            detail=inside,
        )

    @property
    def usable(self) -> Period | None:
        """The span of whole candles that every series of the symbol covers, or None."""
        interval = Interval.parse(self.interval)
        period: Period | None = self.candles.period
        for other in (self.mark, self.funding, self.detail):
            if other is not None and period is not None:
                period = period.overlap(other.period)
        if period is None:
            return None
        opens = interval.open_times(*period.span_ms)
        whole = [(int(opens[0]), interval.floor_ms(period.end_ms))] if len(opens) else []
        return next((Period.from_ms(start, end) for start, end in whole if start < end), None)


MarginMode = Literal["isolated", "cross"]
MarkPolicy = Literal["exact", "coarser", "last"]
FundingPolicy = Literal["recorded", "zero"]
LiquidationProcess = Literal["step_down", "takeover"]


class BacktestTerms(Plan):
    """The terms under which every back-test of a run trades. None of them has a hidden default in the engine."""

    initial_capital: float = Field(
        default=_DEFAULT_CAPITAL[Category.LINEAR],
        gt=0,
        description="settle coin of the one account of all symbols (USDT; inverse: BTC of BTCUSD, 1 when not given)",
    )
    leverage: float = Field(default=5.0, ge=1, description="leverage set on the venue, for every symbol")
    margin_mode: MarginMode = Field(
        default="isolated",
        description="isolated: a position loses its own margin; cross: the account stands for all",
    )
    slippage: str = Field(
        default="fixed:0.0002",
        description="what a taker loses: fixed:RATE, spread:HALF_SPREAD or volume_share:IMPACT:RATE",
    )
    participation_rate: float | None = Field(
        default=None, gt=0, le=1, description="largest share of a candle's volume that fills; None: no limit"
    )
    liquidation: LiquidationProcess = Field(
        default="step_down",
        description="step_down: tier by tier, as the venue does; takeover: all at once",
    )
    detail: str | None = Field(default=None, description="length of shorter candles that decide inside the longer ones")
    mark_policy: MarkPolicy = Field(
        default="coarser",
        description="exact: mark candles of the same interval or refuse; coarser: a longer mark interval, decided "
        "against the account and counted; last: last price stands in, counted",
    )
    funding_policy: FundingPolicy = Field(default="recorded", description="zero only by name; it is counted")
    tier_by_volume: bool = Field(
        default=False, description="the account earns its tier: from the one named, by its own 30-day volume"
    )
    fee_bounds: bool = Field(
        default=False, description="run both rates where nobody knows the day on which the fees changed"
    )
    allow_gaps: bool = Field(default=False, description="trade over recorded holes, counted in the result")

    @field_validator("slippage", mode="before")
    @classmethod
    def _slippage_is_a_model(cls, slippage: str | float) -> str:
        # A bare number has only one meaning here.
        is_number = str(slippage).replace(".", "", 1).isdigit()
        model = Slippage.parse(f"fixed:{slippage}" if is_number else str(slippage))
        if model.kind == "quotes":
            raise ValueError("recorded quotes are not stored: give them to BacktestEngine.run as MarketData.quotes")
        return str(model)

    @field_validator("detail")
    @classmethod
    def _detail_is_served(cls, detail: str | None) -> str | None:
        return None if detail is None else Interval.parse(detail).value

    def in_coin_of(self, category: Category) -> "BacktestTerms":
        """Return these terms, with the default capital of ``category`` when none was given: a BTC is no USDT."""
        if "initial_capital" in self.model_fields_set:
            return self
        return self.model_copy(update={"initial_capital": _DEFAULT_CAPITAL[category]})

    def detail_of(self, interval: str) -> Interval | None:
        """Return the length of the candles that decide inside those of ``interval``.

        Raises
        ------
        InvalidInput
            When they are not shorter.
        """
        if self.detail is None:
            return None
        detail, candles = Interval.parse(self.detail), Interval.parse(interval)
        if not detail < candles:
            raise InvalidInput(f"detail candles of {detail.value} are not shorter than the candles, {candles.value}")
        return detail


class MatrixPlan(Plan):
    """Which strategies, fee tiers and periods a run fans out over."""

    symbols: tuple[SymbolPlan, ...]
    strategies: tuple[str, ...]
    tiers: tuple[str, ...] = ("vip0", "vip2", "vip5")
    n_periods: int = Field(default=4, ge=1, le=120)
    terms: BacktestTerms = BacktestTerms()


class BacktestCase(Plan):
    """One cell of the matrix: a strategy at one fee tier over one period, all its symbols inside."""

    strategy: str
    tier: str
    span: Span
    symbols: tuple[SymbolPlan, ...]
    terms: BacktestTerms

    @property
    def name(self) -> str:
        """What a reader sees in the UI."""
        return f"{self.strategy}-{self.tier}-{self.span.period}"

    @property
    def category(self) -> Contracts:
        """What its symbols are; one account holds no two kinds."""
        return self.symbols[0].category

    @property
    def settle_coin(self) -> str:
        """The coin that its account counts in."""
        return self.symbols[0].settle_coin


class PipelineRequest(Plan):
    """What one run of the main job is asked for."""

    category: Contracts = Category.LINEAR
    symbols: tuple[str, ...] = Field(default=(), description="empty: what the tape holds, else the largest ones")
    interval: str = "15m"
    lookback: timedelta | None = Field(default=None, description="how far back; a whole tape, else 365 days")
    strategies: tuple[str, ...] = Field(min_length=1)
    tiers: tuple[str, ...] = Field(default=("vip0", "vip2", "vip5"), min_length=1)
    n_periods: int = Field(default=4, ge=1, le=120)
    terms: BacktestTerms = Field(default=BacktestTerms(), validate_default=True)

    @field_validator("symbols", "strategies", "tiers")
    @classmethod
    def _each_is_named_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} stands twice")
        return names

    @field_validator("symbols")
    @classmethod
    def _symbols_are_shaped(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_symbol(symbol) for symbol in symbols)

    @field_validator("tiers")
    @classmethod
    def _tiers_are_known(cls, tiers: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        # Absent when it was refused itself: that is told already.
        for tier in tiers if "category" in info.data else ():
            FeeSchedule.builtin().known_from(info.data["category"], table_tier(tier))
        return tiers

    @field_validator("terms")
    @classmethod
    def _capital_is_in_the_settle_coin(cls, terms: BacktestTerms, info: ValidationInfo) -> BacktestTerms:
        return terms.in_coin_of(info.data.get("category", Category.LINEAR))

    @field_validator("interval")
    @classmethod
    def _interval_is_served(cls, interval: str) -> str:
        return Interval.parse(interval).value

    def matrix(self, symbols: Sequence[SymbolPlan]) -> MatrixPlan:
        """Return the matrix of this request over the symbols that may be used."""
        return MatrixPlan(
            symbols=tuple(symbols),
            strategies=self.strategies,
            tiers=self.tiers,
            n_periods=self.n_periods,
            terms=self.terms,
        )


def checked(kind: type[P], **fields: Any) -> P:
    """Return a plan made of what a person typed.

    Raises
    ------
    InvalidInput
        Names the field, what was found and what is expected.
    """
    try:
        return kind(**fields)
    except ValidationError as error:
        texts = [f"{'.'.join(map(str, e['loc']))}: {e['msg']} (found {e['input']!r})" for e in error.errors()]
        raise InvalidInput("; ".join(texts)) from error


def contracts(category: Category | str) -> Contracts:
    """Return ``category`` when its contracts can be back-tested; else raise ``InvalidInput``."""
    if category == Category.LINEAR:
        return Category.LINEAR
    if category == Category.INVERSE:
        return Category.INVERSE
    raise InvalidInput(f"category {str(category)!r} cannot be back-tested: use linear or inverse")


def one_settle_coin(symbols: Sequence[SymbolPlan]) -> str:
    """Return the coin that all ``symbols`` settle in; ``InvalidInput`` names who settles in what when they differ."""
    coins: dict[str, list[str]] = {}
    for symbol in symbols:
        coins.setdefault(symbol.settle_coin, []).append(symbol.symbol)
    if len(coins) != 1:
        found = "; ".join(f"{' '.join(names)} in {coin}" for coin, names in coins.items())
        raise InvalidInput(
            f"a run counts in one coin, these settle in several: {found}: name those of one in --symbols"
        )
    return next(iter(coins))


def checked_strategies(names: Sequence[str]) -> tuple[str, ...]:
    """Return ``names``, or all strategies when empty; an unknown one raises ``InvalidInput``."""
    known = registry()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidInput(f"no strategy is called {', '.join(unknown)}: there are {', '.join(known)}")
    return tuple(names) or tuple(known)


def checked_price(name: str) -> str:
    """Return ``name`` when candles of that price are served; else raise ``InvalidInput``."""
    if name not in [price.value for price in PriceType]:
        raise InvalidInput(f"price {name!r} is unknown: use {', '.join(price.value for price in PriceType)}")
    return name
