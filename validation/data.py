"""Is the data true? One door to the checks of candles, funding rates and recorded files."""

from pathlib import Path
from typing import Final

import pandas as pd

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period
from validation.candles import check_candles
from validation.errors import QualityError
from validation.funding import check_funding
from validation.reports import CheckResult, QualityReport
from validation.suites import COLUMNS, CandleLimits, FundingLimits, candle_suite, funding_suite
from validation.tables import failed_check, report

__all__ = [
    "CandleLimits",
    "CheckResult",
    "FundingLimits",
    "QualityError",
    "QualityReport",
    "candle_suite",
    "check_candles",
    "check_file",
    "check_funding",
    "funding_suite",
]

_EIGHT_HOURS_MS: Final = 8 * 3_600_000


def check_file(path: Path, *, mark: Path | None = None) -> QualityReport:
    """Check one recorded Parquet file of candles or funding rates, from its first row to its last.

    Columns are symbol, interval, open_time (ms UTC), open, high, low, close, volume, turnover, or symbol,
    funding_time (ms UTC), funding_rate. Exchange, category and price type come from the file's name, for example
    ``bybit_linear_mark_BTCUSDT_1h_2024.parquet``.

    Parameters
    ----------
    mark : Path, optional
        A file of mark prices to compare with.

    Raises
    ------
    InvalidInput
        When the name or the columns do not say what the file holds.
    """
    path = Path(path)
    frame = pd.read_parquet(path)
    if "funding_time" in frame:
        return _check_funding_file(path, frame)
    key = _key(path, frame)
    if not len(frame):
        return report(path.name, [failed_check("rows_present", "0 rows", "at least one row")], 0)
    table = _indexed(frame, "open_time")
    last = key.interval.floor_ms(int(frame["open_time"].max()))
    period = Period.from_ms(int(frame["open_time"].min()), key.interval.close_ms(last))
    marks = None if mark is None else _indexed(pd.read_parquet(mark), "open_time")
    found = check_candles(table.reindex(columns=list(COLUMNS)), key, period, mark=marks)
    checks = [*_one_series(frame, key.symbol, key.interval), *found.checks]
    return report(f"{path.name} {period}", checks, len(frame), found.gaps)


def _check_funding_file(path: Path, frame: pd.DataFrame) -> QualityReport:
    category, _, rest = _named(path)
    symbol = rest[0]
    if not len(frame):
        return report(path.name, [failed_check("rows_present", "0 rows", "at least one row")], 0)
    times = frame["funding_time"]
    period = Period.from_ms(int(times.min()), int(times.max()) + 1)
    found = check_funding(_indexed(frame, "funding_time"), category, symbol, period)
    return report(f"{path.name} {period}", [*_one_series(frame, symbol, None), *found.checks], len(frame), found.gaps)


def _indexed(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    if column not in frame:
        raise InvalidInput(f"no column {column}: found {', '.join(map(str, frame.columns))}")
    return frame.set_index(pd.to_datetime(frame[column], unit="ms", utc=True)).drop(columns=column)


def _named(path: Path) -> tuple[Category, PriceType, list[str]]:
    """Return what the name says, and its words from the symbol on."""
    words = path.name.removesuffix(".parquet").split("_")
    categories, prices = {item.value for item in Category}, {item.value for item in PriceType}
    if len(words) < 3 or words[0] != "bybit" or words[1] not in categories:
        raise InvalidInput(
            f"the name {path.name} does not say what it holds: expected bybit_CATEGORY_[PRICE_]SYMBOL_..., "
            f"with a category of {', '.join(sorted(categories))}"
        )
    price = PriceType(words[2]) if words[2] in prices else PriceType.LAST
    rest = words[3:] if words[2] in prices else words[2:]
    return Category(words[1]), price, rest or [""]


def _key(path: Path, frame: pd.DataFrame) -> SeriesKey:
    category, price, rest = _named(path)
    intervals = {item.value for item in Interval}
    named = next((word for word in rest[1:] if word in intervals), None)
    if named is None and ("interval" not in frame or frame["interval"].nunique() != 1):
        raise InvalidInput(f"neither the name of {path.name} nor its column interval names one interval")
    return SeriesKey(category, rest[0], price, Interval.parse(named or str(frame["interval"].iloc[0])))


def _one_series(frame: pd.DataFrame, symbol: str, interval: Interval | None) -> list[CheckResult]:
    """Return whether the labels inside the file say what its name says."""
    allowed = {"symbol": {symbol}} | ({"interval": {interval.value, interval.wire}} if interval else {})
    labels = {
        column: frame[column].astype("string").fillna("missing").unique() for column in allowed if column in frame
    }
    strange = {column: sorted(set(found) - allowed[column]) for column, found in labels.items()}
    told = "; ".join(f"{column} is also {', '.join(found[:5])}" for column, found in strange.items() if found)
    expected = f"one series: {', '.join('/'.join(sorted(values)) for values in allowed.values())}"
    return [CheckResult("one_series", not told, "block", told or "one series", expected, [], 0)]
