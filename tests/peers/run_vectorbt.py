"""vectorbt: target amounts, filled at the next open. Run by the peers' interpreter: run_vectorbt.py REQUEST."""

import json
import sys
from pathlib import Path

import pandas as pd
import vectorbt


def run(case):
    candles = pd.read_parquet(case["candles"])
    candles.index = pd.to_datetime(candles["open_time"], unit="ms", utc=True)
    # It knows no margin: whoever wants leverage gives it the cash that would have been borrowed.
    cash = case["capital"] * case["leverage"]
    portfolio = vectorbt.Portfolio.from_orders(
        close=candles["close"],
        # Decided at a close, ordered at the next open: the usual shift by one row. NaN orders nothing.
        size=changes(candles["target"]).shift(1),
        size_type="targetamount",
        direction="both",
        price=candles["open"],
        fees=case["fee_rate"],
        slippage=case["slippage_rate"],
        init_cash=cash,
        freq=case["interval"],
        raise_reject=case["leverage"] == 1.0,
    )
    records = portfolio.trades.records
    times = candles["open_time"].to_numpy()
    # Direction 0 is long, 1 short; a flip is one order whose fee vectorbt shares out over the two trades.
    trades = [
        [
            int(times[row.entry_idx]),
            int(times[row.exit_idx]),
            1 if row.direction == 0 else -1,
            row.size,
            row.entry_price,
            row.exit_price,
            row.pnl,
            row.entry_fees + row.exit_fees,
        ]
        for row in records.itertuples()
    ]
    return {"net": float(portfolio.final_value()) - cash, "trades": trades}


def changes(target):
    return target.where(target != target.shift(1, fill_value=0.0))


if __name__ == "__main__":
    cases = json.loads(Path(sys.argv[1]).read_text())
    found = {case["name"]: run(case) for case in cases}
    print(json.dumps({"engine": "vectorbt", "version": vectorbt.__version__, "cases": found}))
