"""The same plan on the same candles in ours and in the peers: final equity and every trade, to 1e-9."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import pandas as pd

from bybit.backtest.engine import BacktestResult, MarketData
from bybit.rules.periods import Period
from tests.fidelity.plan import Plan, Terms, trade, without_limits
from tests.peers import Answer, Books, Case, Trade

TOLERANCE = 1e-9
CAPITAL = 100_000.0
FLAT_FEE = "0.00055"
FINE_STEP = Decimal("0.00000001")
KINDS = {
    "costs off": ("0", True),
    "flat fee": (FLAT_FEE, True),
    "flat fee, quantities to 8 decimals": (FLAT_FEE, False),
}
# Stops inside the candle of the entry: the other two cannot be asked for them.
STOPPED, STOPPED_BY = "flat fee, protective stops", ("backtesting",)


@dataclass(frozen=True, slots=True)
class Question:
    """One case, with our own books of it."""

    case: Case
    symbol: str
    kind: str
    ours: Books


@dataclass(frozen=True, slots=True)
class Comparison:
    """One engine beside ours: the largest differences, as fractions of the capital and of the value of the trade."""

    engine: str
    question: Question
    theirs: Books
    equity_difference: float
    trade_difference: float
    same_times: bool

    @property
    def equal(self) -> bool:
        return self.same_times and max(self.equity_difference, self.trade_difference) <= TOLERANCE


def question(market: MarketData, period: Period, plan: Plan, kind: str, folder: Path) -> Question:
    """Trade a plan in ours and write down what the peers are asked."""
    stopped = kind == STOPPED
    fee, whole_lots = KINDS["flat fee" if stopped else kind]
    contract = market.instrument
    step = contract.qty_step if whole_lots else FINE_STEP
    wanted = plan.lots(step)
    wanted = wanted.protected(market) if stopped else wanted
    # Nothing but prices and one fee: no funding, no slippage, no maintenance margin, capital enough for 1x.
    bare = without_limits(market, lots=whole_lots, ticks=True, maintenance=False)
    result = trade(bare, period, wanted, Terms(CAPITAL, maker=fee, taker=fee))
    path = folder / f"{market.symbol}-{len(list(folder.iterdir()))}.parquet"
    candles(market, period, wanted).to_parquet(path)
    case = Case(
        name=f"{market.symbol}: {kind}",
        candles=str(path),
        symbol=market.symbol,
        interval=market.interval.value,
        tick_size=str(contract.tick_size),
        qty_step=f"{step:f}",
        capital=CAPITAL,
        fee_rate=float(fee),
    )
    return Question(case, market.symbol, kind, books(result))


def nearest(asked: Question, capital: float, leverage: float, slippage_rate: float) -> Case:
    """Return the case as near to the venue as the peers can be set: small capital, leverage, slippage."""
    name = f"{asked.symbol}: nearest"
    return replace(asked.case, name=name, capital=capital, leverage=leverage, slippage_rate=slippage_rate)


def candles(market: MarketData, period: Period, plan: Plan) -> pd.DataFrame:
    """Return the candles of the period with the plan beside them, the position decided at each close."""
    table = market.candles
    table = table[(table.index >= period.start) & (table.index < period.end)]
    closes = table.index + pd.Timedelta(milliseconds=market.interval.ms)
    chosen = table[["open", "high", "low", "close", "volume"]].reset_index()
    chosen["open_time"] = table.index.as_unit("ms").asi8
    chosen["target"] = plan.target.reindex(closes).to_numpy()
    if plan.stop is not None:
        chosen["stop"] = plan.stop.reindex(closes).to_numpy()
    return chosen


def books(result: BacktestResult) -> Books:
    """Return our result as the peers give theirs."""
    assert result.open_positions.empty
    assert not result.rejected_orders
    assert result.liquidations.empty
    rows = result.trades
    trades = [
        Trade(
            entry_ms,
            exit_ms,
            int(row.side),
            row.qty,
            row.entry_price,
            row.exit_price,
            row.net_pnl,
            row.fees,
        )
        for entry_ms, exit_ms, row in zip(
            rows["entry_time"].dt.as_unit("ms").astype("int64"),
            rows["exit_time"].dt.as_unit("ms").astype("int64"),
            rows.itertuples(),
            strict=True,
        )
    ]
    return Books(result.costs.net, tuple(trades))


def compare(answer: Answer, questions: Iterable[Question]) -> list[Comparison]:
    """Hold one engine's books against ours."""
    found = []
    for asked in questions:
        if asked.case.name not in answer.books:
            continue
        theirs = answer.books[asked.case.name]
        ours = asked.ours
        pairs = list(zip(ours.trades, theirs.trades, strict=False))
        same = len(ours.trades) == len(theirs.trades) and all(
            (_hour(a.entry_ms), _hour(a.exit_ms), a.side) == (_hour(b.entry_ms), _hour(b.exit_ms), b.side)
            for a, b in pairs
        )
        found.append(
            Comparison(
                engine=f"{answer.engine} {answer.version}",
                question=asked,
                theirs=theirs,
                equity_difference=abs(ours.net - theirs.net) / asked.case.capital,
                trade_difference=max((difference(a, b) for a, b in pairs), default=0.0),
                same_times=same,
            )
        )
    return found


def _hour(time_ms: int) -> int:
    # What happens inside a candle has no time of its own: ours puts it at the end, theirs at the open.
    return time_ms // 3_600_000


def difference(a: Trade, b: Trade) -> float:
    """Return the largest difference of two trades: prices and quantity in themselves, money per value entered."""
    value = a.qty * a.entry_price
    return max(
        abs(a.qty / b.qty - 1.0),
        abs(a.entry_price / b.entry_price - 1.0),
        abs(a.exit_price / b.exit_price - 1.0),
        abs(a.net_pnl - b.net_pnl) / value,
        abs(a.fees - b.fees) / value,
    )


def broken(books: Books) -> Books:
    """Return books with one trade a millionth of its value off: what a comparison has to notice."""
    first, *rest = books.trades
    return Books(books.net, (replace(first, net_pnl=first.net_pnl + 1e-6 * first.qty * first.entry_price), *rest))
