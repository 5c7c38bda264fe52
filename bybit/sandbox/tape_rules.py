"""Contract rules for a tape: its own, else the recorded ones, else what its prices give away."""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from bybit.rules.candles import Category, PriceType, SeriesKey
from bybit.rules.errors import NotEstablished
from bybit.rules.instruments import Instrument, recorded_instruments
from bybit.rules.periods import utc
from bybit.sandbox.market import Rows
from bybit.sandbox.tape_files import Recording

_QUOTES = ("USDT", "USDC", "USD")
_MOST_DECIMALS = 10


def contract_rules(recording: Recording) -> tuple[dict[Category, tuple[Instrument, ...]], list[str]]:
    """Return the contracts to list by category, each sorted by symbol, and a sentence for every figure not recorded.

    A contract with candles or funding takes its rules from the tape's ``instruments/``, else from the newest record of
    the project's table, else from its candles: the price and quantity steps are the largest that all prices and
    volumes are multiples of. A launch that nobody recorded is the first row.
    """
    found = dict(recording.instruments)
    notes = []
    for category, symbol in sorted({(key.category, key.symbol) for key in recording.candles} | set(recording.funding)):
        if (category, symbol) not in found:
            found[category, symbol], note = _rules(category, symbol, recording)
            notes += note
        if found[category, symbol].launch_time is None:
            # A contract's first settlement may come hours before its first trade.
            firsts = [utc(int(rows[0, 0])) for _, rows in _of(recording, category, symbol)]
            firsts += [rate.funding_time for rate in recording.funding.get((category, symbol), ())[:1]]
            if firsts:
                found[category, symbol] = replace(found[category, symbol], launch_time=min(firsts))
                notes.append(f"launch time of {category} {symbol} is its first row on the tape")
    listed = sorted(found.values(), key=lambda item: item.symbol)
    return {category: tuple(item for item in listed if item.category is category) for category in Category}, notes


def _of(recording: Recording, category: Category, symbol: str) -> Iterable[tuple[SeriesKey, Rows]]:
    return (
        (key, rows)
        for key, rows in recording.candles.items()
        if (key.category, key.symbol) == (category, symbol) and len(rows)
    )


def _rules(category: Category, symbol: str, recording: Recording) -> tuple[Instrument, list[str]]:
    try:
        return recorded_instruments(category, symbol)[-1], []
    except NotEstablished:
        pass
    last = [rows for key, rows in _of(recording, category, symbol) if key.price is PriceType.LAST]
    prices = np.unique(np.concatenate([rows[:, 1:5].ravel() for rows in last])) if last else np.array([1.0])
    volumes = np.unique(np.concatenate([rows[:, 5] for rows in last])) if last else np.array([1.0])
    tick, step = _grid(prices), _grid(volumes)
    quote = next((quote for quote in _QUOTES if symbol.endswith(quote)), "USDC" if symbol.endswith("PERP") else "")
    base = symbol.removesuffix("PERP") if symbol.endswith("PERP") else symbol.removesuffix(quote)
    perpetual = {Category.LINEAR: "LinearPerpetual", Category.INVERSE: "InversePerpetual", Category.SPOT: ""}
    instrument = Instrument(
        category=category,
        symbol=symbol,
        contract_type=perpetual[category],
        base_coin=base,
        quote_coin=quote,
        settle_coin=base if category is Category.INVERSE else quote,
        status="Trading",
        tick_size=tick,
        qty_step=step,
        min_order_qty=step,
        max_order_qty=None,
        max_market_order_qty=None,
        min_notional=None,
        max_leverage=None,
        leverage_step=None,
        funding_interval=None,
        upper_funding_rate=None,
        lower_funding_rate=None,
        launch_time=None,
        delivery_time=None,
        as_of=utc(0),
    )
    note = f"contract rules of {category} {symbol} are not recorded: tick {tick} and quantity step {step} are inferred"
    return instrument, [note]


def _grid(values: NDArray[np.float64]) -> Decimal:
    # The largest step that all values are whole multiples of, to ten decimals.
    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive):
        return Decimal(1)
    for decimals in range(_MOST_DECIMALS + 1):
        scaled = positive * 10.0**decimals
        whole = np.rint(scaled)
        if decimals == _MOST_DECIMALS or np.allclose(scaled, whole, rtol=1e-12, atol=1e-6):
            break
    step = int(np.gcd.reduce(whole.astype(np.int64)))
    return Decimal(max(step, 1)).scaleb(-decimals)
