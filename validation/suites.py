"""What candles and funding rates have to be: the suites, as data.

A line is a check: its name, what it expects in words, and the expectation of Great Expectations that decides it.
Columns beyond those of the table (``step_ms``, ``missing_before``, ...) are computed beside it, one per question that
takes more than one row to answer.
"""

import sys
from dataclasses import dataclass
from typing import Any, Final

from bybit.rules.candles import PriceType, SeriesKey
from validation.expectations import Rule

PRICES: Final = ("open", "high", "low", "close")
VOLUMES: Final = ("volume", "turnover")
COLUMNS: Final = (*PRICES, *VOLUMES)
_LARGEST: Final = sys.float_info.max


@dataclass(frozen=True, slots=True)
class CandleLimits:
    """From where on a value is strange (warn) or cannot be (block). Fractions; each default is argued beside it."""

    warn_jump: float = 0.10
    """Close to close: rare enough to be read one by one; BTCUSDT reached 8 % in five minutes of 2025."""
    block_factor: float = 5.0
    """Up or down: WIFUSDT fell by 71 % in five minutes (2025-10-10); a slipped decimal or a split is 10 or more."""
    warn_frozen: int = 30
    """Candles at one single price: quiet recorded minutes came to 9 in a row, a dead feed does not stop."""
    warn_mark_deviation: float = 0.01
    """Last against mark price: recorded years of BTC, ETH, BNB and ADA stay under 0.7 %."""
    block_mark_deviation: float = 0.10
    """A listing day came to 5.3 %; at twice that one of the two is another contract."""


@dataclass(frozen=True, slots=True)
class FundingLimits:
    """From where on a funding rate or its time cannot be; each default is argued beside it."""

    cap_rate: float = 0.05
    """Fraction per settlement: the widest limit the venue was seen to set, on a pre-market contract."""
    warn_rate: float = 0.01
    """Beyond the limits recorded for ordinary contracts (0.375 % to 1 %): a settlement worth reading."""


def _between(
    name: str, expected: str, *columns: str, low: float | None = None, high: float | None = None, **more: Any
) -> Rule:
    bounds = {"min_value": low, "max_value": high}
    return Rule(name, expected, "ExpectColumnValuesToBeBetween", tuple({"column": c} for c in columns), bounds, **more)


def _zero(name: str, expected: str, column: str, **more: Any) -> Rule:
    return _between(name, expected, column, low=0, high=0, **more)


def _positive(name: str, expected: str, *columns: str, **more: Any) -> Rule:
    bounds = {"min_value": 0, "strict_min": True}
    return Rule(name, expected, "ExpectColumnValuesToBeBetween", tuple({"column": c} for c in columns), bounds, **more)


def _present(name: str, expected: str, *columns: str, **more: Any) -> Rule:
    return Rule(name, expected, "ExpectColumnValuesToNotBeNull", tuple({"column": c} for c in columns), **more)


def _ordered(name: str, expected: str, higher: str, lower: str, **more: Any) -> Rule:
    # A missing price is the business of prices_present.
    options = {"or_equal": True, "ignore_row_if": "either_value_is_missing"}
    pair = ({"column_A": higher, "column_B": lower},)
    return Rule(name, expected, "ExpectColumnPairValuesAToBeGreaterThanB", pair, options, **more)


def _unique(name: str, expected: str, column: str, **more: Any) -> Rule:
    return Rule(name, expected, "ExpectColumnValuesToBeUnique", ({"column": column},), **more)


def candle_suite(key: SeriesKey, limits: CandleLimits) -> list[Rule]:
    """Return what every candle of a series must be; premium candles may be negative and carry no price."""
    suite = [
        _unique("keys_unique", "each open time once", "open_time_ms", shows=COLUMNS),
        _zero("no_conflicts", "one version of each candle", "conflicting", shows=COLUMNS),
        _between("increasing", "oldest first", "step_ms", low=0),
        _zero("on_grid", f"open times on the {key.interval.value} grid", "off_grid_ms"),
        _zero("inside_period", "no candle outside the period", "outside_ms"),
        _zero("no_gaps", "a candle for every interval", "missing_before"),
        _zero("covers_start", "a candle at the start of the period", "late_ms"),
        _zero("covers_end", "a candle up to the end of the period", "short_ms"),
        _zero("closed", "only candles that have closed", "unfinished_ms"),
        _zero("prices_present", "four prices in every candle", "n_absent", shows=PRICES),
        _zero("finite", "finite figures", "n_infinite", shows=COLUMNS),
        _ordered("high_is_highest", "high >= open, close, low", "high", "highest_other", shows=PRICES),
        _ordered("low_is_lowest", "low <= open, close, high", "lowest_other", "low", shows=PRICES),
        _between("volume_not_negative", "volume and turnover >= 0", *VOLUMES, low=0, shows=COLUMNS),
    ]
    if key.price is PriceType.LAST:
        suite += [
            _present("volume_present", "a volume for every traded candle", "volume", shows=COLUMNS),
            _zero("volume_with_moves", "no move without volume", "unpaid_move", severity="warn", shows=COLUMNS),
        ]
    return suite if key.price is PriceType.PREMIUM else suite + _price_suite(limits)


def _price_suite(limits: CandleLimits) -> list[Rule]:
    jump, factor = limits.warn_jump, limits.block_factor
    block, warn = limits.block_mark_deviation, limits.warn_mark_deviation
    moves = f"a close within {jump:.0%} of the one before"
    leaps = f"no close {factor:g} times the one before, or a {factor:g}th of it"
    still = f"another price within {limits.warn_frozen} candles"
    marks = ("mark_deviation", "open")
    return [
        _positive("prices_positive", "prices > 0", "lowest", shows=PRICES),
        _between("jumps", moves, "jump", low=-jump, high=jump, severity="warn", shows=PRICES),
        _between("absurd_jumps", leaps, "jump", low=1 / factor - 1, high=factor - 1, shows=PRICES),
        _between("not_frozen", still, "frozen_for", high=limits.warn_frozen, severity="warn", shows=("close",)),
        _between("mark_possible", f"within {block:.0%} of the mark price", "mark_deviation", high=block, shows=marks),
        _between("mark_near", f"within {warn:.0%} of the mark price", "mark_deviation", high=warn, severity="warn",
                 shows=marks),
    ]  # fmt: skip


def funding_suite(limits: FundingLimits) -> list[Rule]:
    """Return what every settlement must be; the interval is read from the settlements, never assumed."""
    cap, warn, rate = limits.cap_rate, limits.warn_rate, ("funding_rate",)
    return [
        _unique("keys_unique", "each settlement once", "funding_time_ms", shows=rate),
        _zero("no_conflicts", "one rate for each settlement", "conflicting", shows=rate),
        _between("increasing", "oldest first", "step_ms", low=0),
        _zero("inside_period", "no settlement outside the period", "outside_ms"),
        _present("rates_present", "a rate at every settlement", "funding_rate"),
        _between("finite", "finite rates", "funding_rate", low=-_LARGEST, high=_LARGEST, shows=rate),
        _between("within_cap", f"rates within {cap:.3%}", "funding_rate", low=-cap, high=cap, shows=rate),
        _between("usual_rates", f"rates within {warn:.3%}", "funding_rate", low=-warn, high=warn, severity="warn"),
        _zero("whole_hours", "whole hours from one settlement to the next", "off_hour_ms", shows=("step_h",)),
        _between("no_gaps", "at most 8 hours between settlements", "step_h", high=8),
        _zero("own_interval", "no single step longer than those around it", "lone_step", shows=("step_h",)),
        _zero("usual_steps", "steps of 1, 2, 4 or 8 hours", "odd_step", severity="warn", shows=("step_h",)),
        _zero("covers_start", "a settlement within one interval of the start", "late_ms", shows=("step_h",)),
        _zero("covers_end", "a settlement within one interval of the end", "short_ms", shows=("step_h",)),
    ]  # fmt: skip
