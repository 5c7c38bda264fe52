"""Fee rates that recorded fills of single symbols paid, with the days they were recorded on.

A sighting holds for those days and no longer: what a symbol paid on any other day is not recorded, so a back-test is
told of the doubt instead of being given an extrapolation. All are taken to be of ordinary accounts (vip0). The fills of
the copy-trading account do not say whether they made or took liquidity; its ordinary symbols paid the taker rate.
"""

_COPY = "fills of a copy-trading account 2026-03-23/24, Lawbster/bybit-rev bybit-exports"
_CLOSED = "closed positions of a copy-trading account, exports of 2026-03-18..25 (day not given), Lawbster/bybit-rev"
_SINGLE = "single recorded fill, see Fills in the data notes; its market is not recorded"

# symbol, taker rate, first day, day after the last, source, confidence, category ("" is not recorded)
SIGHTING_ROWS = (
    ("SIRENUSDT", "0.0011", "2026-03-23", "2026-03-25", _COPY, "high", "linear"),
    ("LIGHTUSDT", "0.0011", "2026-03-23", "2026-03-25", _COPY, "high", "linear"),
    ("DUSKUSDT", "0.0011", "2026-03-23", "2026-03-25", _COPY, "high", "linear"),
    ("CUSDT", "0.0011", "2026-03-23", "2026-03-25", _COPY, "high", "linear"),
    ("VVVUSDT", "0.0011", "2026-03-18", "2026-03-26", _CLOSED, "low", "linear"),
    ("BLUAIUSDT", "0.0011", "2026-03-18", "2026-03-26", _CLOSED, "low", "linear"),
    ("PIPPINUSDT", "0.00055", "2026-03-18", "2026-03-26", _CLOSED, "low", "linear"),
    ("RIVERUSDT", "0.00055", "2026-03-25", "2026-03-26", _CLOSED, "medium", "linear"),
    ("SNXUSDT", "0.00085", "2026-04-21", "2026-04-22", _SINGLE, "low", ""),
    ("XAUTUSDT", "0.001", "2026-09-22", "2026-09-23", _SINGLE, "low", ""),
)

REMARKED_GROUP = "Innovation-Zone"
REMARK = (
    "all six symbols on which vip0 fills of 2026-03 paid 0.0011, twice the ordinary taker rate, stood in the group "
    "Innovation-Zone on 2026-06-16, and so does {symbol}: the ordinary rate may be too low for it; the account's own "
    "fee-rate reply decides"
)
"""What is known of a group beyond its own terms: an observation, not a rule."""
