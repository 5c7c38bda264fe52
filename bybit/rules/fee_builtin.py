"""The project's own dated fee tables as records: general terms, terms by group, recorded symbols, uncertain windows."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal

from bybit.rules.candles import Category
from bybit.rules.fee_groups import (
    EARLIER_G1_FROM,
    EARLIER_G1_MAKERS,
    EARLIER_G1_SOURCE,
    GROUP_RATES,
    GROUP_SYMBOLS,
    GROUPS_FROM,
    GROUPS_SOURCE,
)
from bybit.rules.fee_rates import MARKETS, UNKNOWN, FeeEra, FeeRates, FeeSighting, UncertainWindow
from bybit.rules.fee_sightings import REMARK, REMARKED_GROUP, SIGHTING_ROWS
from bybit.rules.fee_table import FEE_ROWS, GROUP_FROM, SYMBOL_ROWS, UNCERTAIN_WINDOWS
from bybit.rules.fee_table import GROUP_SYMBOLS as MAJOR_COINS
from bybit.rules.periods import Period, parse_time

_LINEAR, _INVERSE = MARKETS[Category.LINEAR], MARKETS[Category.INVERSE]
# BTCUSD and its futures BTCUSDU26 settle in coin; everything else of the groups in USDT or USDC.
_INVERSE_NAME = re.compile(r"USD([FGHJKMNQUVXZ]\d\d)?$")
_MAJOR = "G1(Major Coins)"


def builtin_eras() -> list[FeeEra]:
    """Return every dated row of the tables."""
    return [*_general(), *_symbol_rows(), *_groups(), *_earlier_makers()]


def builtin_windows() -> list[UncertainWindow]:
    """Return the spans in which a change happened on a day that is not recorded."""
    windows = [
        UncertainWindow(_period(start, end), market, "vip0")
        for start, end in UNCERTAIN_WINDOWS
        for market in (_LINEAR, _INVERSE)
    ]
    # The earlier maker rates were still seen on the day of their one record.
    last_seen = _period(EARLIER_G1_FROM, GROUPS_FROM)
    return windows + [UncertainWindow(last_seen, _LINEAR, tier) for tier, _ in EARLIER_G1_MAKERS]


def builtin_sightings() -> list[FeeSighting]:
    """Return the rates recorded on single symbols."""
    return [
        FeeSighting(
            symbol,
            Decimal(taker),
            parse_time(seen_from),
            parse_time(seen_to),
            source,
            confidence,
            category=Category(category) if category else None,
        )
        for symbol, taker, seen_from, seen_to, source, confidence, category in SIGHTING_ROWS
    ]


def builtin_remarks() -> Mapping[str, str]:
    """Return, by symbol, what is known beyond the tables as a sentence."""
    return {symbol: REMARK.format(symbol=symbol) for symbol in GROUP_SYMBOLS[REMARKED_GROUP].split()}


def _general() -> Iterator[FeeEra]:
    for market, tier, maker, taker, valid_from, valid_to, source, confidence in FEE_ROWS:
        symbols = MAJOR_COINS if tier.startswith("pro") and valid_from >= GROUP_FROM else ()
        yield _era(market, tier, maker, taker, valid_from, valid_to, source, confidence, symbols)


def _symbol_rows() -> Iterator[FeeEra]:
    for market, tier, symbol, maker, taker, valid_from, valid_to, source, confidence in SYMBOL_ROWS:
        yield _era(market, tier, maker, taker, valid_from, valid_to, source, confidence, (symbol,))


def _groups() -> Iterator[FeeEra]:
    for group, (pro, makers) in GROUP_RATES.items():
        source = GROUPS_SOURCE.format(group=group)
        levels = [(f"mm{level}", maker, "") for level, maker in enumerate(makers.split(), start=1)]
        if group != _MAJOR:
            # The Pro rates of the major coins are rows of the general table, from 2025-09-25 on.
            for level, terms in enumerate(pro.split(), start=1):
                maker, taker = terms.split("/")
                levels.append((f"pro{level}", maker, taker))
        for market, symbols in _by_market(GROUP_SYMBOLS[group].split()).items():
            for tier, maker, taker in levels:
                yield _era(market, tier, maker, taker, GROUPS_FROM, "", source, "high", symbols)


def _earlier_makers() -> Iterator[FeeEra]:
    for tier, maker in EARLIER_G1_MAKERS:
        yield _era(
            _LINEAR, tier, maker, "", EARLIER_G1_FROM, GROUPS_FROM, EARLIER_G1_SOURCE, "low", tuple(sorted(MAJOR_COINS))
        )


def _by_market(symbols: list[str]) -> dict[str, tuple[str, ...]]:
    found = {
        _LINEAR: tuple(symbol for symbol in symbols if not _INVERSE_NAME.search(symbol)),
        _INVERSE: tuple(symbol for symbol in symbols if _INVERSE_NAME.search(symbol)),
    }
    return {market: names for market, names in found.items() if names}


def _era(
    market: str,
    tier: str,
    maker: str,
    taker: str,
    valid_from: str,
    valid_to: str,
    source: str,
    confidence: str,
    symbols: tuple[str, ...],
) -> FeeEra:
    rates = FeeRates(Decimal(maker) if maker else UNKNOWN, Decimal(taker) if taker else UNKNOWN)
    end = parse_time(valid_to) if valid_to else None
    return FeeEra(market, tier, rates, parse_time(valid_from), end, source, confidence, symbols)


def _period(start: str, end: str) -> Period:
    return Period(parse_time(start), parse_time(end))
