"""Return series (NAME.csv, NAME.expected.json) and trade lists with their statistics."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bybit.backtest.metrics import return_metrics, trade_metrics
from tests.oracles.case import Case
from tests.oracles.floats import close


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
        yield Case(
            f"{path} {case['id']}", lambda case=case: close(case["id"], case["expected"], _trades(case["inputs"]))
        )


def _series(path: Path, expected: dict[str, Any]) -> list[str]:
    table = pd.read_csv(str(path).removesuffix(".expected.json") + ".csv")
    actual = return_metrics(table["return"].to_numpy(dtype=np.float64), expected["periods_per_year"])
    # The reference counts a drawdown as a loss, we as a depth.
    depth = actual["max_drawdown"]
    return close(
        path.name,
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
