"""backtesting.py: market orders in next(), filled at the next open. Run by the peers' interpreter: FILE REQUEST."""

import json
import sys
from pathlib import Path

import backtesting
import pandas as pd
from backtesting import Backtest, Strategy
from backtesting.lib import FractionalBacktest


class Planned(Strategy):
    """Holds the plan's target: one market order for the difference, as its documentation does with buy and sell."""

    unit = 1.0

    def init(self):
        self.wanted = 0

    def next(self):
        wanted = round(self.data.Target[-1] / self.unit)
        if wanted == self.wanted:
            return
        self.wanted = wanted
        order = wanted - self.position.size
        # Its stops are judged before the market order at the open: the old one is withdrawn with the decision.
        for trade in self.trades:
            trade.sl = None
        stop = self.data.Stop[-1] * self.unit if wanted and "Stop" in self.data.df else None
        if order > 0:
            self.buy(size=order, sl=stop)
        elif order < 0:
            self.sell(size=-order, sl=stop)


def run(case):
    candles = pd.read_parquet(case["candles"])
    data = candles.rename(columns=str.capitalize).drop(columns="Open_time")
    data.index = pd.to_datetime(candles["open_time"], unit="ms", utc=True)
    step = float(case["qty_step"])
    # Sizes are whole numbers there: steps below one go through its own FractionalBacktest.
    kind, extra, unit = (Backtest, {}, 1.0) if step >= 1.0 else (FractionalBacktest, {"fractional_unit": step}, step)
    test = kind(
        data,
        Planned,
        cash=case["capital"],
        commission=case["fee_rate"],
        # Charged once, at the entry: twice the rate for both.
        spread=2.0 * case["slippage_rate"],
        margin=1.0 / case["leverage"],
        **extra,
    )
    Planned.unit = unit
    stats = test.run()
    rows = stats["_trades"].sort_values(["ExitBar", "EntryBar"])
    times = candles["open_time"].to_numpy()
    trades = [
        [
            int(times[row.EntryBar]),
            int(times[row.ExitBar]),
            1 if row.Size > 0 else -1,
            abs(row.Size),
            row.EntryPrice,
            row.ExitPrice,
            row.PnL,
            row.Commission,
        ]
        for row in rows.itertuples()
    ]
    return {"net": float(stats["_equity_curve"]["Equity"].iloc[-1]) - case["capital"], "trades": trades}


if __name__ == "__main__":
    cases = json.loads(Path(sys.argv[1]).read_text())
    found = {case["name"]: run(case) for case in cases}
    print(json.dumps({"engine": "backtesting.py", "version": backtesting.__version__, "cases": found}))
