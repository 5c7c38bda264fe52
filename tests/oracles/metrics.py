"""Return series (NAME.csv, NAME.expected.json) and trade lists with their statistics."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bybit.backtest.metrics import return_metrics, trade_metrics
from tests.oracles.case import Case

_RELATIVE, _ABSOLUTE = 1e-9, 1e-12


def recognises(path: Path, document: Any) -> bool:
    if path.name.endswith(".expected.json"):
        return True
    first = document[0] if isinstance(document, list) and document else None
    return isinstance(first, dict) and "trades" in first.get("inputs", {})


def cases(path: Path, document: Any) -> Iterator[Case]:
    if path.name.endswith(".expected.json"):
        yield Case(str(path), lambda: _series(path, document["expected"]))
        return
    for case in document:
        yield Case(f"{path} {case['id']}", lambda case=case: _compare(case["expected"], _trades(case["inputs"])))


def _series(path: Path, expected: dict[str, Any]) -> list[str]:
    table = pd.read_csv(str(path).removesuffix(".expected.json") + ".csv")
    actual = return_metrics(table["return"].to_numpy(dtype=np.float64), expected["periods_per_year"])
    # The reference counts a drawdown as a loss, we as a depth.
    depth = actual["max_drawdown"]
    return _compare(
        expected,
        actual | {"max_drawdown": None if depth is None else -depth, "periods_per_year": expected["periods_per_year"]},
    )


def _trades(inputs: dict[str, Any]) -> dict[str, float | None]:
    trades = pd.DataFrame(inputs["trades"], columns=["entry_bar", "exit_bar", "qty", "entry", "exit", "side", "fee"])
    net = trades["side"] * trades["qty"] * (trades["exit"] - trades["entry"]) - trades["fee"]
    closed = pd.DataFrame(
        {
            "net_pnl": net,
            "notional": trades["qty"] * (trades["entry"] + trades["exit"]),
            "return": net / (trades["qty"] * trades["entry"]),
            "entry_candle": trades["entry_bar"],
            "exit_candle": trades["exit_bar"],
        }
    )
    equity = np.full(inputs["n_bars"], inputs["initial_equity"], dtype=np.float64)
    for exit_bar, pnl in zip(trades["exit_bar"], net, strict=True):
        equity[int(exit_bar) :] += pnl
    return trade_metrics(closed, inputs["n_bars"], equity)


def _compare(expected: dict[str, Any], actual: dict[str, float | None]) -> list[str]:
    lines = []
    for key, value in expected.items():
        if key not in actual:
            lines.append(f"we have no {key!r}")
            continue
        ours = actual[key]
        if value is None or ours is None:
            same = value is None and ours is None
        else:
            same = abs(ours - value) <= max(_RELATIVE * abs(value), _ABSOLUTE)
        if not same:
            lines.append(f"{key}: expected {value}, found {ours}")
    return lines
