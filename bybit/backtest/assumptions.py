"""Everything a run assumed rather than knew, by name: a count of how often, or words."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bybit.backtest.portfolio import Portfolio
from bybit.backtest.records import (
    AMBIGUOUS,
    CROSS,
    HELD,
    LIQUIDATION_COLUMNS,
    LOTS,
    MARK_OF_CANDLE,
    NO_QUOTE,
    PARTIAL,
    STEP_DOWN,
)
from bybit.backtest.simulation import Outcome
from bybit.backtest.terms import LIMITS, DatedLadder
from bybit.rules.candles import Category
from bybit.rules.fee_tiers import VolumeTiers
from bybit.rules.fees import FeeSchedule
from bybit.rules.liquidation import MARK_BASED_FROM
from bybit.rules.periods import Period, utc

Assumptions = dict[str, int | str]


def of_data(book: Portfolio, period: Period, dated: Sequence[DatedLadder], leverage: float) -> Assumptions:
    """Return what the data of the markets left open: absent candles, rules of another day, limits without a figure."""
    parts = book.parts
    found: Assumptions = {}
    counts = {
        "absent_candles_in_allowed_gaps": sum(part.n_absent for part in parts),
        "absent_detail_candles_in_allowed_gaps": sum(
            part.detail.n_absent(part.market.closed) for part in parts if part.detail
        ),
        "candles_absent_while_the_venue_was_closed": sum(part.n_closed for part in parts),
        "candles_unlike_their_detail_candles": sum(part.detail.n_differing for part in parts if part.detail),
        "warmup_candles_not_there": sum(part.n_warmup_absent for part in parts),
    }
    found |= {name: count for name, count in counts.items() if count}
    listed = {part.symbol: _time(part.span.listed_ms) for part in parts if part.span.listed_ms is not None}
    delivered = {
        part.symbol: f"{_time(part.span.delivered_ms)}, left at the open of the last candle before it"
        for part in parts
        if part.span.delivered_ms is not None
    }
    rules, ladders, largest, limits = {}, {}, {}, {}
    for part, ladder in zip(parts, dated, strict=True):
        instrument = part.market.instrument
        if not period.start <= instrument.as_of < period.end:
            rules[part.symbol] = f"{instrument.as_of:%Y-%m-%d}"
        days = [tiers[0].as_of for tiers in ladder.ladders]
        if days[0] > period.start or not all(period.start <= day < period.end for day in days):
            ladders[part.symbol] = ", ".join(f"{day:%Y-%m-%d}" for day in days)
        if len({DatedLadder(part.symbol, (tiers,)).max_position_value(leverage) for tiers in ladder.ladders}) > 1:
            largest[part.symbol] = "the smallest that any ladder of the period allows"
        if unknown := [name for name in LIMITS if getattr(instrument, name) is None]:
            limits[part.symbol] = ", ".join(unknown)
    for name, words in (
        ("traded_from_its_listing", listed),
        ("traded_until_its_delivery", delivered),
        ("contract_rules_of", rules),
        ("margin_ladder_of", ladders),
        ("largest_position", largest),
        ("limits_not_known", limits),
    ):
        if words:
            found[name] = _by_symbol(book.symbols, words)
    return found


def of_fees(
    schedule: FeeSchedule,
    category: Category,
    tier: str,
    period: Period,
    symbols: Sequence[str],
    by_volume: VolumeTiers | None,
) -> Assumptions:
    """Return what the fee schedule does not know for sure in ``period``."""
    found: Assumptions = {}
    if uncertain := schedule.uncertain(period, category, tier):
        found["fees_not_established_to_the_day"] = ", ".join(map(str, uncertain))
    doubts = {symbol: "; ".join(schedule.doubts(category, tier, symbol)) for symbol in symbols}
    weak = {
        symbol: ", ".join(
            str(quote) for quote in schedule.eras(category, tier, period, symbol) if quote.confidence == "low"
        )
        for symbol in symbols
    }
    for name, words in (("fees_in_doubt", doubts), ("fees_of_low_confidence", weak)):
        if said := {symbol: text for symbol, text in words.items() if text}:
            found[name] = _by_symbol(symbols, said)
    if by_volume is not None:
        found["fee_tier_by_volume"] = "; ".join(by_volume.assumptions)
    return found


def of_run(book: Portfolio, outcome: Outcome, *, mark_policy: str, funding_policy: str) -> Assumptions:
    """Return how often the simulation fell back on something asked for by name, or had to choose the worse."""
    counts, n_held = outcome.counts, int(outcome.counts[HELD])
    found: Assumptions = {}
    if any(part.mark_is_coarser for part in book.parts):
        found["held_candles_with_a_longer_mark_candle"] = n_held
    if mark_policy == "last":
        found["held_candles_with_last_price_as_mark"] = n_held
        found["settlements_at_the_worse_last_price"] = int(counts[MARK_OF_CANDLE])
    if funding_policy == "zero":
        found["held_candles_without_funding"] = n_held
    elif left_out := _settled_after_the_end(book, outcome):
        found["settlements_after_the_last_candle_not_charged"] = left_out
    for name, place in (
        ("candles_decided_against_the_account", AMBIGUOUS),
        ("fills_without_a_quote", NO_QUOTE),
        ("candles_with_too_little_volume", PARTIAL),
    ):
        if counts[place]:
            found[name] = int(counts[place])
    return found


def _settled_after_the_end(book: Portfolio, outcome: Outcome) -> int:
    """Return how many settlements came after a held symbol's last candle, while others went on being traded."""
    end = max(part.candles.close_ms[-1] for part in book.parts)
    return sum(
        int(((part.settlements.time_ms >= part.candles.close_ms[-1]) & (part.settlements.time_ms < end)).sum())
        for part, position in zip(book.parts, outcome.positions, strict=True)
        if position[LOTS] != 0.0
    )


def of_rules(period: Period, outcome: Outcome, *, cross: bool, quotes: bool) -> Assumptions:
    """Return in words what is not the venue's own rule to the letter; nothing when nothing was held."""
    if not outcome.counts[HELD]:
        return {}
    kinds = set(outcome.logs.liquidations[:, LIQUIDATION_COLUMNS.index("kind")].tolist())
    found: Assumptions = {
        "not_modelled": "auto-deleveraging, and the fee to close that the venue sets aside with an order"
    }
    if period.start < MARK_BASED_FROM:
        later = ", by the mark price from then on" if period.end > MARK_BASED_FROM else ""
        found["maintenance_margin"] = f"by the entry price before {MARK_BASED_FROM:%Y-%m-%d}{later}"
    if cross:
        found["marks_inside_a_candle"] = "those of all positions move together from their opens to their worst"
    if CROSS in kinds:
        found["cross_liquidation"] = "all positions at once at their marks: the venue's own steps are not known"
    if STEP_DOWN in kinds:
        found["step_down_fills"] = "at the mark that triggered them, with the taker fee"
    if quotes:
        found["spread_inside_a_candle"] = "that of the quote at its open"
    return found


def _by_symbol(symbols: Sequence[str], words: Mapping[str, str]) -> str:
    if len(words) == len(symbols) and len(set(words.values())) == 1:
        return next(iter(words.values()))
    return "; ".join(f"{symbol}: {text}" for symbol, text in words.items())


def _time(ms: int | None) -> str:
    time: datetime | Any = utc(ms or 0)
    return f"{time:%Y-%m-%dT%H:%M}"
