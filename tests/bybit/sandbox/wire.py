"""Small helpers of these tests: one HTTP request, one tape file."""

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

MINUTE = 60_000
HOUR = 3_600_000
DAY = 86_400_000


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def rows(self) -> list[Any]:
        assert self.json["retCode"] == 0, self.json
        return self.json["result"]["list"]


def ask(base: str, path: str, method: str = "GET", body: bytes | None = None, **params: Any) -> Reply:
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=30)
    try:
        query = f"?{urlencode(params)}" if params else ""
        connection.request(method, path + query, body=body)
        response = connection.getresponse()
        return Reply(response.status, dict(response.headers), response.read())
    finally:
        connection.close()


def candle_file(
    path: Path, rows: list[tuple[float | None, ...]], symbol: str = "BTCUSDT", interval: str = "1m"
) -> Path:
    """Write (open_time, open, high, low, close, volume, turnover) rows in the schema of a tape."""
    names = ("open_time", "open", "high", "low", "close", "volume", "turnover")
    columns: dict[str, Any] = {"symbol": [symbol] * len(rows), "interval": [interval] * len(rows)}
    for place, name in enumerate(names):
        kind = pa.int64() if name == "open_time" else pa.float64()
        columns[name] = pa.array([row[place] for row in rows], kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def funding_file(path: Path, rates: list[tuple[int, float]], symbol: str = "BTCUSDT") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    times, values = [time for time, _ in rates], [rate for _, rate in rates]
    table = {"symbol": [symbol] * len(rates), "funding_time": pa.array(times, pa.int64()), "funding_rate": values}
    pq.write_table(pa.table(table), path)
    return path


def minutes(first_ms: int, n_minutes: int, skip: tuple[int, ...] = ()) -> list[tuple[float | None, ...]]:
    """Rows of minutes that tell their own place: minute i opens at 100 + i and trades i + 1."""
    return [
        (first_ms + i * MINUTE, 100.0 + i, 100.9 + i, 99.5 + i, 100.5 + i, 1.0 + i, (1.0 + i) * (100.2 + i))
        for i in range(n_minutes)
        if i not in skip
    ]
