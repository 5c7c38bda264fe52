"""Contract rules as the venue gave them on single days, with their sources.

A row is text, cells separated by spaces, "-" where the venue gave no figure: category, symbol, contract type, base,
quote and settle coin, tick size, quantity step, least and largest order quantity, largest market order quantity,
least notional, max leverage, leverage step, funding interval (minutes), upper and lower funding limit, launch and
delivery time (ms UTC), as of. Numbers keep the digits of the reply.
"""

_SOURCE_0 = (
    "ccxt/ccxt ts/src/test/static/markets/bybit.json @1f8d53ec6ee5 (recorded reply; spring 2025, date approximate)"
)
_SOURCE_1 = (
    "bybit-exchange/docs docs/v5/market/instrument.mdx @072c197d0 (test-network example, reply time 1735809771618)"
)
_SOURCE_2 = (
    "JKorf/Bybit.Net Bybit.UnitTests/Endpoints/V5Api/ExchangeData/GetLinearInverseSymbols.txt @d84528f "
    "(reply time 1707186451514)"
)
_SOURCE_3 = (
    "bybit-exchange/docs docs/v5/market/instrument.mdx @072c197d0 (pre-market contract example, reply "
    "time 1735810114435)"
)
_SOURCE_4 = "public test fixture recorded from the live venue 2026-09-26"
_SOURCE_5 = "same fixture (delivery 1798185600000, delivery fee rate 0.0005)"
_SOURCE_6 = "JKorf/Bybit.Net GetSpotSymbols.txt (official example shape)"

INSTRUMENT_ROWS: tuple[tuple[str, str], ...] = (
    (
        "linear BTCUSDT LinearPerpetual BTC USDT USDT 0.10 0.001 0.001 1190.000 119.000 5 100.00 0.01 480 "
        "0.005 -0.005 1584230400000 - 2025-04-15",
        _SOURCE_0,
    ),
    (
        "linear BTCUSDT LinearPerpetual BTC USDT USDT 0.10 0.001 0.001 1190.000 500.000 5 100.00 0.01 480 "
        "0.00375 -0.00375 1585526400000 - 2025-01-02",
        _SOURCE_1,
    ),
    (
        "linear BTCUSDT LinearPerpetual BTC USDT USDT 0.10 0.001 0.001 100.000 100.000 5 100.00 0.01 480 "
        "0.00375 -0.00375 1585526400000 - 2024-02-06",
        _SOURCE_2,
    ),
    (
        "linear ETHUSDT LinearPerpetual ETH USDT USDT 0.01 0.01 0.01 7240.00 724.00 5 100.00 0.01 480 0.005 "
        "-0.005 1615766400000 - 2025-04-15",
        _SOURCE_0,
    ),
    (
        "linear LTCUSDT LinearPerpetual LTC USDT USDT 0.01 0.1 0.1 28740.0 6160.0 5 50.00 0.01 480 0.01 -0.01 "
        "1514764800000 - 2025-04-15",
        _SOURCE_0,
    ),
    (
        "linear ADAUSDT LinearPerpetual ADA USDT USDT 0.0001 1 1 6315500 1109600 5 75.00 0.01 480 0.0058 "
        "-0.0058 1610668800000 - 2025-04-15",
        _SOURCE_0,
    ),
    (
        "linear XRPUSDT LinearPerpetual XRP USDT USDT 0.0001 1 1 10965300 2467800 5 75.00 0.01 480 0.0058 "
        "-0.0058 1620898440000 - 2025-04-15",
        _SOURCE_0,
    ),
    (
        "linear DOGEUSDT LinearPerpetual DOGE USDT USDT 0.00001 1 1 43678900 5991100 5 75.00 0.01 480 0.0058 "
        "-0.0058 1622630640000 - 2025-04-15",
        _SOURCE_0,
    ),
    (
        "linear TRXUSDT LinearPerpetual TRX USDT USDT 0.00001 1 1 5417800 1356000 5 75.00 0.01 480 0.0058 "
        "-0.0058 1628726400000 - 2025-04-15",
        _SOURCE_0,
    ),
    (
        "linear BIOUSDT LinearPerpetual BIO USDT USDT 0.0001 1 1 70000 14000 5 5.00 0.01 480 0.05 -0.05 "
        "1735032510000 - 2025-01-02",
        _SOURCE_3,
    ),
    (
        "inverse BTCUSD InversePerpetual BTC USD BTC 0.10 1 1 25000000 5000000 - 100.00 0.01 480 0.00375 "
        "-0.00375 1542211200000 - 2025-04-15",
        _SOURCE_0,
    ),
    (
        "inverse BTCUSD InversePerpetual BTC USD BTC 0.10 1 1 25000000 5000000 5 100.00 0.01 480 0.005 -0.005 "
        "1542211200000 - 2026-09-26",
        _SOURCE_4,
    ),
    (
        "inverse BTCUSDZ26 InverseFutures BTC USD BTC 0.50 1 1 5000000 1000000 5 100.00 0.01 - - - "
        "1781251200000 1798185600000 2026-09-26",
        _SOURCE_5,
    ),
    (
        "inverse LTCUSD InversePerpetual LTC USD LTC 0.01 1 1 400000 80000 - 50.00 0.01 480 0.0075 -0.0075 "
        "1648684800000 - 2025-04-15",
        _SOURCE_0,
    ),
    (
        "spot BTCUSDT - BTC USDT - 0.1 0.000001 0.000011 83 - 5 - - - - - - - 2025-04-15",
        _SOURCE_0,
    ),
    (
        "spot ETHUSDT - ETH USDT - 0.01 0.00001 0.00029 4616.1353715 - 5 - - - - - - - 2025-04-15",
        _SOURCE_0,
    ),
    (
        "spot ADAUSDT - ADA USDT - 0.0001 0.01 1.07 7591573.353578 - 5 - - - - - - - 2025-04-15",
        _SOURCE_0,
    ),
    (
        "spot LTCUSDT - LTC USDT - 0.01 0.00001 0.00923 22975.3015508 - 5 - - - - - - - 2025-04-15",
        _SOURCE_0,
    ),
    (
        "spot XRPUSDT - XRP USDT - 0.0001 0.01 0.44 2390343.014223 - 5 - - - - - - - 2025-04-15",
        _SOURCE_0,
    ),
    (
        "spot DOGEUSDT - DOGE USDT - 0.00001 0.1 3 22340128.455739 - 5 - - - - - - - 2025-04-15",
        _SOURCE_0,
    ),
    (
        "spot TRXUSDT - TRX USDT - 0.0001 0.01 3.91 11125945.705385 - 5 - - - - - - - 2025-04-15",
        _SOURCE_0,
    ),
    (
        "spot BTCUSDT - BTC USDT - 0.01 0.000001 0.000048 71.73956243 - 1 - - - - - - - 2022-12-29",
        _SOURCE_6,
    ),
)
