"""The fee rate in force: by date, by side of the book, and by the tier that 30 days of trading have earned."""

import math

from bybit.backtest.compilation import part
from bybit.backtest.records import (
    DONE,
    FEE_ERA,
    FEE_MISSING,
    FEE_TIER,
    MAKER,
    MIN_VOLUMES,
    N_FEE_TIERS,
    N_VOLUME_DAYS,
    NEVER,
    NEXT_TIER_MS,
    STATUS,
    VOLUME_DAY,
    VOLUMES,
    WHERE,
)

DAY_MS = 86_400_000
# The venue looks at the last 30 days at 07:00 UTC.
EVALUATED_MS = 7 * 3_600_000
N_DAYS = 30


@part
def fail(books, status, where):  # type: ignore[no-untyped-def]
    """Note the first thing that was missing; the run ends at the next look."""
    if books.counts[STATUS] == DONE:
        books.counts[STATUS], books.counts[WHERE] = status, where


@part
def fee_rate(books, s, candle, time_ms, tier, liquidity):  # type: ignore[no-untyped-def]
    """Return the rate in force at ``time_ms``; times never go back, so the pointer only moves forward."""
    era = books.places[s, FEE_ERA]
    while era + 1 < len(books.fee_start_ms) and books.fee_start_ms[era + 1] <= time_ms:
        era += 1
    books.places[s, FEE_ERA] = era
    rate = books.fees[s, 0 if liquidity == MAKER else 1, tier, era]
    if math.isnan(rate):
        fail(books, FEE_MISSING, candle)
        return 0.0
    return rate


@part
def count_volume(books, time_ms, traded):  # type: ignore[no-untyped-def]
    """Add a fill's notional (USD) to its UTC day."""
    if books.counts[N_FEE_TIERS] > 1:
        day = time_ms // DAY_MS
        turn_day(books, day)
        books.account[VOLUMES + day % N_VOLUME_DAYS] += traded


@part
def turn_day(books, day):  # type: ignore[no-untyped-def]
    """Empty the days of the ring between the last one written and ``day``."""
    for d in range(max(books.counts[VOLUME_DAY] + 1, day - N_VOLUME_DAYS + 1), day + 1):
        books.account[VOLUMES + d % N_VOLUME_DAYS] = 0.0
    books.counts[VOLUME_DAY] = max(books.counts[VOLUME_DAY], day)


@part
def turn_tier(books, now):  # type: ignore[no-untyped-def]
    """Put the tier in force that the 30 days before the last 07:00 UTC have earned, and note the next such time."""
    n_tiers = books.counts[N_FEE_TIERS]
    if n_tiers == 1:
        books.counts[NEXT_TIER_MS] = NEVER
        return
    day = (now - EVALUATED_MS) // DAY_MS
    turn_day(books, day)
    total = 0.0
    for d in range(day - N_DAYS, day):
        total += books.account[VOLUMES + d % N_VOLUME_DAYS]
    tier = 0
    while tier + 1 < n_tiers and total >= books.account[MIN_VOLUMES + tier + 1]:
        tier += 1
    books.counts[FEE_TIER] = tier
    books.counts[NEXT_TIER_MS] = (day + 1) * DAY_MS + EVALUATED_MS
