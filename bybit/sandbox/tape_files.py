"""Reading a tape: Parquet files of candles, funding and contract rules, told apart by their columns."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey, check_symbol
from bybit.rules.errors import InvalidInput
from bybit.rules.funding import FundingRate
from bybit.rules.instruments import Instrument
from bybit.rules.periods import parse_time, utc
from bybit.sandbox.market import Rows, n_columns

_FOLDERS = ("klines", "funding", "instruments")
_CANDLE_COLUMNS = ("open_time", "open", "high", "low", "close")
_SYMBOL_WORD = re.compile(r"[A-Z0-9]{5,30}(-[A-Z0-9]+)*")
_INTERVAL_WORD = re.compile(r"\d+[mhdwM]")
_DAY_WORD = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass
class Recording:
    """What the files of a tape hold, each list sorted by time and free of repetitions.

    A row that lacks a figure which another source has, and agrees in all others, counts as a repetition. Rows that
    disagree about one open time are all kept, as recorded: finding them is the reader's business.
    """

    candles: dict[SeriesKey, Rows] = field(default_factory=dict)
    funding: dict[tuple[Category, str], list[FundingRate]] = field(default_factory=dict)
    instruments: dict[tuple[Category, str], Instrument] = field(default_factory=dict)
    unnamed: list[str] = field(default_factory=list)
    """Files whose names tell no category: read as linear."""


def read_tape(path: Path) -> Recording:
    """Return what a tape holds.

    Parameters
    ----------
    path : Path
        A folder with ``klines/`` and ``funding/`` (and ``instruments/``), a folder of Parquet files, or one file.
        Category and price type are words of a file's name (``bybit_linear_mark_BTCUSDT_1h.parquet``); symbol and
        interval are columns, or words of the name where there is no such column.

    Raises
    ------
    InvalidInput
        When there is nothing to read, or a file is not what the schema says; names the file.
    """
    files = _files(path)
    if not files:
        raise InvalidInput(f"the tape {path} holds no Parquet file: expected klines/*.parquet and funding/*.parquet")
    recording = Recording()
    candles: dict[SeriesKey, list[Rows]] = {}
    for file in files:
        table = _table(file)
        columns = set(table.column_names)
        if {"funding_time", "funding_rate"} <= columns:
            _add_funding(recording, table, file)
        elif columns.issuperset(_CANDLE_COLUMNS):
            _add_candles(recording, candles, table, file)
        elif {"tick_size", "quantity_step", "symbol"} <= columns:
            category = _category(recording, file)
            for row in table.to_pylist():
                recording.instruments[category, row["symbol"]] = _instrument(row, category, file)
        else:
            raise InvalidInput(
                f"{file.name} is neither candles ({', '.join(_CANDLE_COLUMNS)}), nor funding (funding_time, funding_"
                f"rate), nor instruments (symbol, tick_size, quantity_step): it has {', '.join(sorted(columns))}"
            )
    recording.candles = {key: _merge(parts) for key, parts in candles.items()}
    recording.funding = {key: sorted(set(rates), key=_by_time) for key, rates in sorted(recording.funding.items())}
    return recording


def _table(file: Path) -> pa.Table:
    try:
        return pq.read_table(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidInput(f"{file.name} cannot be read as Parquet: {error}") from error


def _category(recording: Recording, file: Path) -> Category:
    named = next((Category(word) for word in file.stem.split("_") if word in tuple(Category)), None)
    if named is None:
        recording.unnamed.append(file.name)
    return named or Category.LINEAR


def _add_funding(recording: Recording, table: pa.Table, file: Path) -> None:
    category = _category(recording, file)
    for symbol, part in _by(table, "symbol", file, _SYMBOL_WORD):
        recording.funding.setdefault((category, check_symbol(symbol)), []).extend(_rates(symbol, part, file))


def _add_candles(recording: Recording, found: dict[SeriesKey, list[Rows]], table: pa.Table, file: Path) -> None:
    category = _category(recording, file)
    price = next((PriceType(word) for word in file.stem.split("_") if word in tuple(PriceType)), PriceType.LAST)
    for symbol, part in _by(table, "symbol", file, _SYMBOL_WORD):
        for interval, rows in _by(part, "interval", file, _INTERVAL_WORD):
            key = SeriesKey(category, symbol, price, Interval.parse(interval))
            found.setdefault(key, []).append(_rows(rows, price, file))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InvalidInput(f"there is no tape at {path}: give a folder with klines/ and funding/, or a Parquet file")
    folders = [path / name for name in _FOLDERS if (path / name).is_dir()]
    return sorted(file for folder in folders or [path] for file in folder.glob("*.parquet"))


def _by_time(rate: FundingRate) -> tuple[Any, Decimal]:
    return rate.funding_time, rate.funding_rate


def _by(table: pa.Table, column: str, file: Path, word: re.Pattern[str]) -> list[tuple[str, pa.Table]]:
    # The parts of a table by the values of a column; by a word of the file's name where there is no such column.
    if column in table.column_names:
        values = pc.unique(table[column]).to_pylist()
        if any(value is None for value in values):
            raise InvalidInput(f"{file.name} has rows without a {column}")
        return [(str(value), table.filter(pc.equal(table[column], value))) for value in sorted(values)]
    for part in file.stem.split("_"):
        if word.fullmatch(part):
            return [(part, table)]
    raise InvalidInput(f"{file.name} has no column {column}, and its name does not tell it either")


def _times(table: pa.Table, column: str, file: Path) -> pa.ChunkedArray:
    values = table[column]
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("ms")).cast(pa.int64())
    if not pa.types.is_integer(values.type) or values.null_count:
        raise InvalidInput(f"{file.name}: {column} must be whole milliseconds since 1970, without nulls")
    return values


def _rows(table: pa.Table, price: PriceType, file: Path) -> Rows:
    names = ["open", "high", "low", "close", "volume", "turnover"][: n_columns(price) - 1]
    rows = np.full((table.num_rows, 1 + len(names)), np.nan)
    rows[:, 0] = _times(table, "open_time", file).to_numpy()
    for place, name in enumerate(names, 1):
        if name in table.column_names:
            rows[:, place] = table[name].cast(pa.float64()).to_numpy()
    return rows


def _merge(parts: Sequence[Rows]) -> Rows:
    # Sorted by open time. A row that repeats its neighbour, or lacks a figure of it and agrees in all others, adds
    # nothing: a null is no disagreement. Nulls sort last, so the fuller row comes first and stays.
    rows = np.concatenate(parts)
    if np.all(np.diff(rows[:, 0]) > 0):
        return rows
    rows = rows[np.lexsort(rows.T[::-1])]
    repeats = np.all((rows[1:] == rows[:-1]) | np.isnan(rows[1:]), axis=1)
    return rows[np.concatenate(([True], ~repeats))]


def _rates(symbol: str, table: pa.Table, file: Path) -> list[FundingRate]:
    times = _times(table, "funding_time", file).to_pylist()
    rates = table["funding_rate"].to_pylist()
    if any(rate is None for rate in rates):
        raise InvalidInput(f"{file.name} has a settlement without a rate: missing is never zero, drop the row")
    # A float's shortest text is the figure that was recorded.
    texts = (Decimal(rate if isinstance(rate, str) else repr(rate)) for rate in rates)
    return [FundingRate(symbol, utc(time), rate) for time, rate in zip(times, texts, strict=True)]


def _instrument(row: dict[str, Any], category: Category, file: Path) -> Instrument:
    seen = next((word for word in file.stem.split("_") if _DAY_WORD.fullmatch(word)), None)

    def number(name: str) -> Decimal | None:
        value = row.get(name)
        return None if value in (None, "") else Decimal(str(value))

    def needed(name: str) -> Decimal:
        value = number(name)
        if value is None:
            raise InvalidInput(f"{file.name}: {row['symbol']} has no {name}")
        return value

    minutes, launch, delivery = (
        row.get(name) or None for name in ("funding_interval_minutes", "launch_time_ms", "delivery_time_ms")
    )
    return Instrument(
        category=category,
        symbol=check_symbol(row["symbol"]),
        contract_type=str(row.get("contract_type") or ""),
        base_coin=str(row.get("base_coin") or ""),
        quote_coin=str(row.get("quote_coin") or ""),
        settle_coin=str(row.get("settle_coin") or ""),
        status=str(row.get("status") or "Trading"),
        tick_size=needed("tick_size"),
        qty_step=needed("quantity_step"),
        min_order_qty=needed("min_order_quantity"),
        max_order_qty=number("max_order_quantity"),
        max_market_order_qty=number("max_market_order_quantity"),
        min_notional=number("min_notional"),
        max_leverage=number("max_leverage"),
        leverage_step=number("leverage_step"),
        funding_interval=None if minutes is None else timedelta(minutes=int(minutes)),
        upper_funding_rate=number("upper_funding_rate"),
        lower_funding_rate=number("lower_funding_rate"),
        launch_time=None if launch is None else utc(launch),
        delivery_time=None if delivery is None else utc(delivery),
        as_of=utc(0) if seen is None else parse_time(seen),
    )
