"""Bybit's fee rates by market, tier and date, each row with its source and how far it is to be trusted.

A row applies from ``valid_from`` up to, not including, ``valid_to`` (UTC days; "" means still in force when last seen).
Rates are fractions of traded value, a negative maker rate is a rebate. Two boundaries are the first dated sighting of
the new rate, not the day of the change: ``UNCERTAIN_WINDOWS`` holds the spans in which either rate may have applied.
Tiers of a region carry its name (``vip0@ru``) and end with the last day they were seen; they are nobody's default.
``pre_market`` is what perpetuals pay in the continuous trading before their listing, ``pre_market_auction`` in the
auctions before that. Rates recorded on single symbols stand in ``fee_sightings``, terms by symbol group in
``fee_groups``; ``NOT_MODELLED`` says what stands nowhere.
"""

NOT_MODELLED = (
    "promotions such as zero spot fees or the maker rebates of May-June 2022",
    "the discount for paying fees in MNT",
    "taxes on fees (extraFees: GST, VAT)",
    "the fiat spot pairs' own table, except BTCEUR of the EU entity on 2026-06-05",
    "VIP terms before 2024-03-07, Pro and market-maker terms before their first dated sighting",
)
"""What a fee may hold that no table here does, for the small print of a result."""

# Sources named by the rows.
_SOURCE_0 = (
    "official API docs repo bybit-official-api-docs (2019-03-18 fill example fee_rate -0.00025); hummingbot "
    "bybit_perpetual_utils defaults until 2022-04-20; help-centre order-cost copy (0.075%); end date is an upper "
    "bound"
)
_SOURCE_1 = (
    "recorded fills at 0.0006 dated 2022-07-08/2022-12-27/29 and fee-rate reply 2023-02-14 (bybit-exchange/docs); "
    "hummingbot ec7918c8e2 2022-04-20; learn article dated 2022-04-13; both boundaries are bounds (last seen "
    "2023-02-14, next rate first seen 2023-09-18)"
)
_SOURCE_2 = (
    "QuantConnect/Lean 8a243059b 2023-09-18; Lean.Brokerages.ByBit a5b3f02 2023-11-20; help-centre copy "
    "2024-10-16; recorded fill 2025-05-03 at 0.00055 (bybit-exchange/docs); start is the first dated sighting"
)
_SOURCE_3 = (
    "help-centre trading-fee-structure copy (article 000001634; undated copy, 2025 or later); start is the first "
    "dated sighting of this schedule"
)
_SOURCE_4 = (
    "help-centre trading-fee-structure copy (article 000001634; undated copy, 2025 or later); maker 0.00016 seen "
    "in a recorded fill of 2025-04-08; start is the first dated sighting of this schedule"
)
_SOURCE_5 = (
    "help-centre trading-fee-structure copy (article 000001634; undated copy, 2025 or later); vip4/vip5 rates "
    "also quoted as already in force in a March 2024 news report; start is the first dated sighting of this "
    "schedule"
)
_SOURCE_6 = (
    "hummingbot bybit_utils 2022-05-30; Lean 8a243059b 2023-09-18; help-centre copies; start date approximate; "
    "promotional zero-fee periods existed"
)
_SOURCE_7 = (
    "help-centre trading-fee-structure copy (article 000001634; undated copy, 2025 or later); start date is a "
    "placeholder (earliest dated copy of a sibling article)"
)
_SOURCE_8 = "undated third-party summary of the 2022-23 schedule"
_SOURCE_9 = (
    "bybit-exchange/docs fee-group-info example (group G1: BTCUSDT ETHUSDT XRPUSDT SOLUSDT), added 2025-09-25, "
    "unchanged in the 2026-06-18 version; other groups in fee-groups.csv"
)

_SOURCE_10 = (
    "announced for Russia, Armenia, Ukraine, Tajikistan, Turkmenistan, Azerbaijan, Moldova, Belarus and Georgia, "
    "non-Pro: phased in 2024-03-07..11, seen again in help-centre copies of 2024-06 and 2024-08-14; "
    "end is the last sighting"
)
_SOURCE_11 = "help-centre copy of 2024-08-14 (Turkish-site mirror), regional schedule; seen on that day only"
_SOURCE_12 = "recorded spot fills of BTCEUR 2026-06-05 (EU entity), rate derived from the fee; seen on that day only"
_SOURCE_13 = "bybit-exchange/docs instruments-info example (auctionFeeInfo), since 2024-06-27, a reply of 2025-01-02"

# market, tier, maker rate, taker rate ("" is not established), valid_from, valid_to, source, confidence
FEE_ROWS: tuple[tuple[str, str, str, str, str, str, str, str], ...] = (
    ("linear_perpetual", "vip0", "-0.00025", "0.00075", "2020-03-15", "2022-04-13", _SOURCE_0, "medium"),
    ("inverse_perpetual", "vip0", "-0.00025", "0.00075", "2018-11-14", "2022-04-13", _SOURCE_0, "medium"),
    ("linear_perpetual", "vip0", "0.0001", "0.0006", "2022-04-13", "2023-09-18", _SOURCE_1, "medium"),
    ("linear_perpetual", "vip0", "0.0002", "0.00055", "2023-09-18", "", _SOURCE_2, "high"),
    ("inverse_perpetual", "vip0", "0.0001", "0.0006", "2022-04-13", "2023-09-18", _SOURCE_1, "medium"),
    ("inverse_perpetual", "vip0", "0.0002", "0.00055", "2023-09-18", "", _SOURCE_2, "high"),
    ("linear_perpetual", "vip1", "0.00018", "0.0004", "2024-03-07", "", _SOURCE_3, "low"),
    ("linear_perpetual", "vip2", "0.00016", "0.000375", "2024-03-07", "", _SOURCE_4, "medium"),
    ("linear_perpetual", "vip3", "0.00014", "0.00035", "2024-03-07", "", _SOURCE_3, "low"),
    ("linear_perpetual", "vip4", "0.00012", "0.00032", "2024-03-07", "", _SOURCE_5, "medium"),
    ("linear_perpetual", "vip5", "0.0001", "0.00032", "2024-03-07", "", _SOURCE_5, "medium"),
    ("linear_perpetual", "supreme_vip", "0", "0.0003", "2024-03-07", "", _SOURCE_3, "low"),
    ("inverse_perpetual", "vip1", "0.00018", "0.0004", "2024-03-07", "", _SOURCE_3, "low"),
    ("inverse_perpetual", "vip2", "0.00016", "0.000375", "2024-03-07", "", _SOURCE_4, "medium"),
    ("inverse_perpetual", "vip3", "0.00014", "0.00035", "2024-03-07", "", _SOURCE_3, "low"),
    ("inverse_perpetual", "vip4", "0.00012", "0.00032", "2024-03-07", "", _SOURCE_5, "medium"),
    ("inverse_perpetual", "vip5", "0.0001", "0.00032", "2024-03-07", "", _SOURCE_5, "medium"),
    ("inverse_perpetual", "supreme_vip", "0", "0.0003", "2024-03-07", "", _SOURCE_3, "low"),
    ("spot", "vip0", "0.001", "0.001", "2021-07-15", "", _SOURCE_6, "medium"),
    ("spot", "vip1", "0.000675", "0.0008", "2024-10-16", "", _SOURCE_7, "low"),
    ("spot", "vip2", "0.00065", "0.000775", "2024-10-16", "", _SOURCE_7, "low"),
    ("spot", "vip3", "0.000625", "0.00075", "2024-10-16", "", _SOURCE_7, "low"),
    ("spot", "vip4", "0.0005", "0.0006", "2024-10-16", "", _SOURCE_7, "low"),
    ("spot", "vip5", "0.0004", "0.0005", "2024-10-16", "", _SOURCE_7, "low"),
    ("spot", "supreme_vip", "0.0003", "0.00045", "2024-10-16", "", _SOURCE_7, "low"),
    ("linear_perpetual", "pro3", "0", "0.0003", "2022-04-13", "2023-09-18", _SOURCE_8, "low"),
    ("linear_perpetual", "pro1", "0.0001", "0.00028", "2025-09-25", "", _SOURCE_9, "high"),
    ("linear_perpetual", "pro2", "0.00005", "0.00025", "2025-09-25", "", _SOURCE_9, "high"),
    ("linear_perpetual", "pro3", "0.000025", "0.00022", "2025-09-25", "", _SOURCE_9, "high"),
    ("linear_perpetual", "pro4", "0.00001", "0.0002", "2025-09-25", "", _SOURCE_9, "high"),
    ("linear_perpetual", "pro5", "0", "0.00018", "2025-09-25", "", _SOURCE_9, "high"),
    ("linear_perpetual", "pro6", "0", "0.00015", "2025-09-25", "", _SOURCE_9, "high"),
    ("linear_perpetual", "vip0@ru", "0.00036", "0.001", "2024-03-11", "2024-08-15", _SOURCE_10, "low"),
    ("linear_perpetual", "vip1@ru", "0.00033", "0.00073", "2024-03-11", "2024-08-15", _SOURCE_10, "low"),
    ("linear_perpetual", "vip2@ru", "0.00029", "0.00068", "2024-03-11", "2024-08-15", _SOURCE_10, "low"),
    ("linear_perpetual", "vip3@ru", "0.00025", "0.00064", "2024-03-11", "2024-08-15", _SOURCE_10, "low"),
    ("linear_perpetual", "vip4@ru", "0.00012", "0.0003", "2024-03-11", "2024-08-15", _SOURCE_10, "low"),
    ("linear_perpetual", "vip5@ru", "0.0001", "0.0003", "2024-03-11", "2024-08-15", _SOURCE_10, "low"),
    ("inverse_perpetual", "vip0@ru", "0.00036", "0.001", "2024-03-11", "2024-08-15", _SOURCE_10, "low"),
    ("inverse_perpetual", "vip1@ru", "0.00033", "0.00073", "2024-03-11", "2024-08-15", _SOURCE_10, "low"),
    ("inverse_perpetual", "vip2@ru", "0.00029", "0.00068", "2024-03-11", "2024-08-15", _SOURCE_10, "low"),
    ("inverse_perpetual", "vip3@ru", "0.00025", "0.00064", "2024-03-11", "2024-08-15", _SOURCE_10, "low"),
    ("inverse_perpetual", "vip4@ru", "0.00012", "0.0003", "2024-03-11", "2024-08-15", _SOURCE_10, "low"),
    ("inverse_perpetual", "vip5@ru", "0.0001", "0.0003", "2024-03-11", "2024-08-15", _SOURCE_10, "low"),
    ("spot", "vip0@ru", "0.001", "0.0018", "2024-08-14", "2024-08-15", _SOURCE_11, "low"),
    ("spot", "vip1@ru", "0.00065", "0.0014", "2024-08-14", "2024-08-15", _SOURCE_11, "low"),
    ("spot", "vip2@ru", "0.0006", "0.0012", "2024-08-14", "2024-08-15", _SOURCE_11, "low"),
    ("linear_perpetual", "pre_market", "0.0004", "0.001", "2024-06-27", "", _SOURCE_13, "medium"),
    ("linear_perpetual", "pre_market_auction", "0", "0", "2024-06-27", "", _SOURCE_13, "medium"),
)

# Recorded on one symbol only: market, tier, symbol, maker, taker, valid_from, valid_to, source, confidence
SYMBOL_ROWS = (("spot", "vip0@eu", "BTCEUR", "", "0.0025", "2026-06-05", "2026-06-06", _SOURCE_12, "medium"),)

# Pro rates differ by symbol group; the rows from 2025-09-25 on are those of group G1 and hold for these symbols only.
GROUP_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
GROUP_FROM = "2025-09-25"

# (last firm sighting of the old perpetual rate, first firm sighting of the new one): run both rates inside.
UNCERTAIN_WINDOWS = (("2021-09-01", "2022-04-13"), ("2023-02-14", "2023-09-18"))
