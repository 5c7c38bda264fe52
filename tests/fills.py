"""Recomputes the fee of recorded fills: ``python -m tests.fills FILE.parquet...``.

Prints a line per fill that is not explained and, last, one JSON object: rows, exact, within_5e-8, unexplained (they add
up to rows) and, for each of the three, how many there are by reason:

- era: the rate our schedule gives for the fill's time (vip0, taker or maker);
- neighbouring era: the other rate of an uncertain window;
- symbol rate: a rate of the symbol, the region or the account that the record itself names;
- rounding: the right product, booked a few 1e-8 away from it.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bybit.rules.candles import Category
from bybit.rules.errors import NotEstablished
from bybit.rules.fees import FeeRates, FeeSchedule, Liquidity, Rounding
from bybit.rules.funding import funding_payment
from bybit.rules.periods import Period, utc
from bybit.rules.positions import notional

_TOLERANCE = Decimal("5e-8")
Verdict = tuple[str, str]


def judge(row: dict[str, Any]) -> Verdict:
    """Return (exact | within_5e-8 | unexplained, reason) of one recorded fill."""
    if "fees_text" in row:
        return _closed_position(row)
    category = Category(row["market"])
    price, qty, fee = (Decimal(row[f"{name}_text"]) for name in ("price", "qty", "fee"))
    if str(row["kind"]).lower() == "funding":
        size = qty if row["side"] == "Buy" else -qty
        # The fills list books a payment as positive.
        due = -funding_payment(size, price, Decimal(row["fee_rate_text"]), category)
        return _compare(fee, due, "funding") or ("unexplained", f"funding: {due} expected, {fee} booked")
    # Spot charges what is received: a buyer pays in base coin.
    in_base = category is Category.SPOT and row["fee_currency"] != _quote(row)
    value = qty if in_base else notional(category, qty, price)
    near = None
    for rate, reason in _candidates(category, row):
        verdict = _compare(fee, value * rate, reason)
        if verdict and verdict[0] == "exact":
            return verdict
        near = near or verdict
    return near or ("unexplained", f"no known rate: {fee} on {value}, about {fee / value:.6f}")


def _compare(fee: Decimal, due: Decimal, reason: str) -> Verdict | None:
    if fee in (due, Rounding.VENUE.book(due)):
        return "exact", reason
    return ("within_5e-8", f"{reason}, rounding") if abs(fee - due) <= _TOLERANCE else None


def _candidates(category: Category, row: dict[str, Any]) -> Iterator[tuple[Decimal, str]]:
    """Yield the rates that may have applied, the likeliest first."""
    schedule, time_ms = FeeSchedule.builtin(), int(row["exec_time"])
    is_maker = row["is_maker"]
    sides = list(Liquidity) if is_maker is None else [Liquidity.MAKER if is_maker else Liquidity.TAKER]
    for rates in _rates(schedule, category, time_ms):
        yield from ((rates.rate(side), "era") for side in reversed(sides))
    for start_ms, end_ms in _windows(schedule, category):
        if start_ms <= time_ms < end_ms:
            # The old rate holds where the window opens, the new one where it closes.
            for rates in (*_rates(schedule, category, start_ms), *_rates(schedule, category, end_ms)):
                yield from ((rates.rate(side), "neighbouring era") for side in reversed(sides))
    if row["fee_rate_text"]:
        yield Decimal(row["fee_rate_text"]), "symbol rate"


def _windows(schedule: FeeSchedule, category: Category) -> list[tuple[int, int]]:
    if category is Category.SPOT:
        return []
    everything = Period(schedule.known_from(category, "vip0"), datetime(2100, 1, 1, tzinfo=UTC))
    return [window.span_ms for window in schedule.uncertain(everything)]


def _rates(schedule: FeeSchedule, category: Category, time_ms: int) -> Iterator[FeeRates]:
    try:
        yield schedule.rates(category, "vip0", time_ms)
    except NotEstablished:
        return


def _quote(row: dict[str, Any]) -> str:
    return next((coin for coin in ("USDT", "USDC", "EUR", "USD", "BTC") if row["symbol"].endswith(coin)), "USDT")


def _closed_position(row: dict[str, Any]) -> Verdict:
    """Judge a closed position's total: its prices and quantity are shown rounded, so that few can come out exactly."""
    qty, entry, close, fees = (Decimal(row[f"{name}_text"]) for name in ("qty", "entry_price", "exit_price", "fees"))
    value = qty * entry + qty * close
    for rate in (Decimal("0.00055"), Decimal("0.0011")):
        verdict = _compare(fees, value * rate, "total of both legs")
        if verdict:
            return verdict
    return "unexplained", "total of a closed position whose shown quantity and prices are rounded"


def check(path: Path) -> Iterator[tuple[dict[str, Any], Verdict]]:
    """Yield every row of a file of recorded fills with its verdict."""
    for row in pq.read_table(path).to_pylist():
        yield row, judge(row)


def main(paths: list[str]) -> int:
    if not paths:
        print("usage: python -m tests.fills FILE.parquet...", file=sys.stderr)
        return 2
    reasons: dict[str, Counter[str]] = {name: Counter() for name in ("exact", "within_5e-8", "unexplained")}
    for path in paths:
        for number, (row, (outcome, reason)) in enumerate(check(Path(path))):
            reasons[outcome][reason.split(":")[0]] += 1
            if outcome == "unexplained":
                when = utc(int(row["exec_time"])).isoformat() if "exec_time" in row else row["opened_text"]
                print(f"UNEXPLAINED {path} row {number} {row['symbol']} {when}: {reason}")
    counts = {name: counter.total() for name, counter in reasons.items()}
    print(json.dumps({"rows": sum(counts.values()), **counts, "reasons": {k: dict(v) for k, v in reasons.items()}}))
    return 1 if counts["unexplained"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
