"""Books what the kernel says happened into the ``Decimal`` ledger and compares every figure on the way.

The ledger liquidates on its own: one that happens there and not here, or the other way round, fails.
"""

from collections import Counter
from decimal import Decimal

from bybit.backtest import records as r
from bybit.backtest.records import (
    BY_LIMIT,
    BY_RUIN,
    BY_TRIGGER,
    CROSS,
    FILL,
    FUND,
    LIQUIDATION,
    LOG_COLUMNS,
    REASONS,
    REJECTION,
    REJECTIONS,
    SETTLEMENT,
    TAKEOVER,
    TRADE,
)
from bybit.backtest.records import LIQUIDATION_KINDS as KINDS
from bybit.backtest.simulation import run_simulation
from bybit.rules.account import Account
from bybit.rules.fees import Liquidity
from bybit.rules.funding import funding_payment
from bybit.rules.ledger import MarkCandle
from bybit.rules.liquidation import LiquidationMode, MarginBasis
from tests.scenarios.draw import TICK, Scenario

D = Decimal
# A difference this small on the scale of the account is none, whatever the figure itself is.
TOLERANCE = 1e-9


class Replay:
    """One scenario in both books; ``worst`` is the largest relative difference, ``events`` counts what was compared."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, rules = scenario, scenario.inputs.rules
        self.outcome = run_simulation(scenario.step_ms, scenario.inputs, scenario.cash, scenario.backing)
        assert self.outcome.status == 0, self.outcome.status
        self.account = Account(
            D(str(scenario.cash)),
            contracts=scenario.contracts,
            fees=scenario.fees,
            margin_mode="cross" if rules.cross else "isolated",
            basis=MarginBasis.BY_DATE,
            liquidation=LiquidationMode.STEP_DOWN if rules.step_down else LiquidationMode.TAKEOVER,
        )
        self.names = [contract.symbol for contract in scenario.contracts]
        self.worst, self.events, self.clock = 0.0, Counter(), 0
        self.rows = [
            (int(row[0]), dict(zip(LOG_COLUMNS[int(row[0])], row[1:].tolist(), strict=False)))
            for row in self.outcome.log
            if int(row[0]) != TRADE
        ]
        self.place = 0

    def compare(self, ours: float, exact: Decimal | None, scale: float) -> None:
        """Demand a relative 1e-9, measured against ``scale`` where the figure itself is small."""
        if exact is None:
            # A price at exactly zero may come out a rounding above it: no mark gets there either way.
            assert ours != ours or abs(ours) < 1e-9 * scale, ours
            return
        difference = abs(ours - float(exact)) / max(abs(float(exact)), scale)
        assert difference <= TOLERANCE, (ours, exact, scale)
        self.worst = max(self.worst, difference)

    def run(self) -> "Replay":
        """Go through all steps; raise AssertionError at the first difference."""
        candles = self.scenario.inputs.candles
        next_candle = candles.first[:-1].copy()
        backing = self.scenario.backing
        for symbol, candle in enumerate(next_candle.tolist()):
            self.account.marks(0, {self.names[symbol]: D(repr(float(candles.mark_open[candle])))}, judge=False)
        for step, now in enumerate(self.scenario.step_ms.tolist()):
            if len(backing) > 1 or backing[0]:
                self.account.back(self.tick(now), D(repr(float(backing[min(step, len(backing) - 1)]))), judge=False)
            active = {}
            for symbol in range(len(self.names)):
                i = int(next_candle[symbol])
                if i < candles.first[symbol + 1] and candles.open_ms[i] == now:
                    active[symbol] = i
                    next_candle[symbol] += 1
            self.step(now, active)
            self.compare(self.outcome.equity[step], self.account.equity, self.scenario.cash)
            if step == self.outcome.ruined:
                break
        assert self.place == len(self.rows), self.rows[self.place :]
        self.compare_sums()
        return self

    def step(self, now: int, active: dict[int, int]) -> None:
        """Book one step in the kernel's order."""
        cross = self.scenario.inputs.rules.cross
        bars = {symbol: self.bar(i) for symbol, i in active.items()}
        inside = now + 3_600_000 - 1
        while (row := self.peek(SETTLEMENT)) and row["funding_time"] <= now:
            self.settle(now)
        if cross:
            self.account.marks(self.tick(now), {self.names[s]: bar.open for s, bar in bars.items()}, judge=False)
        while (kind := self.kind()) is not None and kind in (FILL, REJECTION) and self.time() == now:
            self.trade(is_open=True)
        if cross:
            self.judged(lambda: self.account.marks(self.tick(now), self.marks(bars, "open")), now)
        before = {s: self.account.positions[self.names[s]].size for s in active}
        self.entered: set[int] = set()
        self.judged_bars: set[int] = set()
        while self.is_entry(inside, before):
            if self.kind() == SETTLEMENT:
                self.settle(inside)
            else:
                self.trade(is_open=False)
        if cross:
            self.inside_cross(bars, inside)
        else:
            self.inside_isolated(bars, inside)

    def inside_cross(self, bars: dict[int, MarkCandle], inside: int) -> None:
        held = {s: self.account.positions[self.names[s]].size for s in bars}
        paths, ends = {}, {}
        for s, bar in bars.items():
            mark = self.account._book.marks[self.names[s]]
            paths[self.names[s]] = MarkCandle(mark, max(bar.high, mark), min(bar.low, mark), mark)
            ends[self.names[s]] = mark if not held[s] else bar.low if held[s] > 0 else bar.high
        lost = self.judged(lambda: self.account.bars(self.tick(inside), paths), inside)
        if not lost:
            self.account.marks(self.tick(inside), ends, judge=False)
        while (kind := self.kind()) is not None and self.time() <= inside and kind != LIQUIDATION:
            if kind == FILL and self.rows[self.place][1]["reason"] == BY_RUIN:
                break
            if kind == SETTLEMENT:
                self.settle(inside)
            else:
                self.trade(is_open=False)
        self.judged(lambda: self.account.marks(self.tick(inside), self.marks(bars, "close")), inside)
        self.trade_ruin()

    def inside_isolated(self, bars: dict[int, MarkCandle], inside: int) -> None:
        while (kind := self.kind()) is not None and self.time() <= inside:
            row = self.rows[self.place][1]
            if kind == FILL and row["reason"] == BY_RUIN:
                break
            if kind == LIQUIDATION:
                assert self.judge_bar(int(row["symbol"]), bars, inside), ("only the kernel liquidates", row)
            elif kind == SETTLEMENT:
                self.settle(inside)
            else:
                self.trade(is_open=False)
        for s in bars:
            # A candle is judged once, but for what it opened after that.
            if s not in self.judged_bars:
                self.judge_bar(s, bars, inside)
        self.account.marks(self.tick(inside), self.marks(bars, "close"), judge=False)
        self.trade_ruin()

    def judge_bar(self, s: int, bars: dict[int, MarkCandle], inside: int) -> bool:
        """Let the ledger judge a mark candle; entered inside, the position begins at its best mark at most."""
        bar, size = bars[s], self.account.positions[self.names[s]].size
        if s in self.entered and size:
            bar = MarkCandle(bar.high if size > 0 else bar.low, bar.high, bar.low, bar.close)
        self.judged_bars.add(s)
        prices = (bar.open, bar.high, bar.low, bar.close)
        return self.judged(lambda: self.account.bar(self.tick(inside), self.names[s], *prices), inside)

    def trade_ruin(self) -> None:
        while self.kind() == FILL and self.rows[self.place][1]["reason"] == BY_RUIN:
            self.trade(is_open=False)

    # Where the kernel's log stands

    def kind(self) -> int | None:
        return self.rows[self.place][0] if self.place < len(self.rows) else None

    def peek(self, kind: int) -> dict[str, float] | None:
        return self.rows[self.place][1] if self.kind() == kind else None

    def time(self) -> int:
        row = self.rows[self.place][1]
        return int(
            next(row[name] for name in ("fill_time", "funding_time", "liquidation_time", "order_time") if name in row)
        )

    def is_entry(self, inside: int, before: dict[int, Decimal]) -> bool:
        """Return whether the next row belongs to what settlements cost and orders open inside the candles."""
        kind = self.kind()
        if kind is None or self.time() > inside or kind == LIQUIDATION:
            return False
        row = self.rows[self.place][1]
        s = int(row["symbol"])
        size = self.account.positions[self.names[s]].size
        if kind == SETTLEMENT:
            return row["payment"] < 0.0 and abs(row["size"] - float(before[s])) < 1e-9 and size == before[s]
        if kind == REJECTION:
            return size * D(repr(row["qty"])) >= 0
        return row["reason"] in (BY_LIMIT, BY_TRIGGER) and size * D(repr(row["qty"])) >= 0

    def tick(self, now: int) -> int:
        """Return a time for the ledger: never back, and new at every event, as the kernel's order says."""
        self.clock = max(self.clock + 1, now - 100_000 if now % 1_000 else now)
        return self.clock

    def marks(self, bars: dict[int, MarkCandle], name: str) -> dict[str, Decimal]:
        return {self.names[s]: getattr(bar, name) for s, bar in bars.items()}

    def bar(self, i: int) -> MarkCandle:
        candles = self.scenario.inputs.candles
        columns = (candles.mark_open, candles.mark_high, candles.mark_low, candles.mark_close)
        return MarkCandle(*(D(repr(float(column[i]))) for column in columns))

    # Events

    def settle(self, now: int) -> None:
        row = self.rows[self.place][1]
        self.place += 1
        self.events["funding"] += 1
        name = self.names[int(row["symbol"])]
        before = self.account.totals.funding
        held = self.account.positions[name].size
        mark, rate = D(repr(row["mark_price"])), D(repr(row["funding_rate"]))
        if abs(row["size"] - float(held)) < 1e-9:
            self.account.funding(self.tick(now), name, rate, mark, judge=False)
        else:
            # Inside a candle the kernel takes the worse of two sizes: of the time before a fill or after it.
            self.events["funding_on_the_worse_size"] += 1
            size = (D(repr(row["size"])) / self.scenario.contracts[0].qty_step).to_integral_value()
            size *= self.scenario.contracts[0].qty_step
            self.account._book.pay_funding(-funding_payment(size, mark, rate, self.scenario.category))
            self.account.marks(self.tick(now), {name: mark}, judge=False)
        self.compare(row["payment"], before - self.account.totals.funding, 1e-3 * self.scenario.cash)

    def trade(self, *, is_open: bool) -> None:
        kind, row = self.rows[self.place]
        self.place += 1
        s = int(row["symbol"])
        name, step = self.names[s], self.scenario.contracts[s].qty_step
        qty = (D(repr(row["qty"])) / step).to_integral_value() * step
        price = (D(repr(row["price"])) / TICK).to_integral_value() * TICK
        now = self.time_of(kind, row)
        if kind == REJECTION:
            reason = REJECTIONS[int(row["reason"])]
            self.events[f"rejected_{reason}"] += 1
            if reason == "margin":
                maker = not is_open and self.limit_rests(s, now)
                logged = self.account.fill(
                    self.tick(now), name, qty, price, Liquidity.MAKER if maker else Liquidity.TAKER
                )
                assert logged["kind"] == "rejected", (row, logged)
            return
        self.events[f"fill_{REASONS[int(row['reason'])]}"] += 1
        before = self.account.positions[name].size
        if before * qty < 0 and abs(qty) > abs(before):
            self.events["flip"] += 1
        if not is_open and (not before or (before * qty < 0 and abs(qty) > abs(before))):
            self.entered.add(s)
            self.judged_bars.discard(s)
        if is_open:
            getattr(self, "entered", set()).discard(s)
        logged = self.account.fill(
            self.tick(now), name, qty, price, Liquidity.TAKER if row["taker"] else Liquidity.MAKER
        )
        assert logged["kind"] == "fill", (row, logged)
        worth = float(abs(qty) / price if self.scenario.inputs.rules.inverse else abs(qty) * price)
        self.compare(row["fee"], logged["fee"], 0.0)
        self.compare(row["realized_pnl"], logged["realized"], worth)
        self.compare(row["size_after"], logged["qty"], 1.0)

    def limit_rests(self, s: int, now: int) -> bool:
        candles, decisions = self.scenario.inputs.candles, self.scenario.inputs.decisions
        i = int(candles.first[s]) + int((candles.open_ms[candles.first[s] : candles.first[s + 1]] <= now).sum()) - 1
        row = i if len(candles.row) == 1 else int(candles.row[i])
        return bool(decisions.trigger[row] != decisions.trigger[row])

    @staticmethod
    def time_of(kind: int, row: dict[str, float]) -> int:
        return int(row["order_time"] if kind == REJECTION else row["fill_time"])

    def judged(self, judge, now: int) -> bool:
        """Let the ledger judge prices; hold its liquidations against the kernel's next rows. Return whether any."""
        n_before = len(self.account.liquidations)
        judge()
        found = self.account.liquidations[n_before:]
        for logged in found:
            row = self.peek(LIQUIDATION)
            assert row is not None, ("the ledger liquidates", logged, self.rows[self.place : self.place + 1])
            self.place += 1
            self.events[f"liquidation_{KINDS[int(row['kind'])]}"] += 1
            assert self.names[int(row["symbol"])] == logged["symbol"], (row, logged)
            assert KINDS[int(row["kind"])] == logged["how"], (row, logged)
            self.compare_liquidation(row, logged)
        return bool(found)

    def compare_liquidation(self, row: dict[str, float], logged) -> None:
        cash = self.scenario.cash
        self.compare(row["size"], logged["qty"], 1.0)
        self.compare(row["trigger_price"], logged["trigger_mark"], 0.0)
        if row["kind"] != CROSS:
            self.compare(row["liquidation_price"], logged["liq_price"], 1e-3 * row["entry_price"])
        if row["kind"] == TAKEOVER:
            self.events["gap_through_bankruptcy"] += int(row["fund"] < 0.0)
        for ours, exact in (("loss", "loss"), ("realized_pnl", "realized"), ("fee", "fee"), ("fund", "fund")):
            self.compare(row[ours], logged[exact], cash)

    def compare_sums(self) -> None:
        """Compare what the account and its symbols add up to, and L16."""
        totals, positions, cash = self.account.totals, self.outcome.positions, self.scenario.cash
        traded = max(cash, float(totals.fees) / 1e-4)
        for column, exact in (
            (r.REALIZED, totals.realized),
            (r.MAKER_FEES, totals.maker_fees),
            (r.TAKER_FEES, totals.taker_fees),
            (r.LIQUIDATION_LOSS, totals.liquidation_loss),
        ):
            self.compare(float(positions[:, column].sum()), exact, traded)
        self.compare(float(self.outcome.account[FUND]), totals.fund, traded)
        parts = positions[:, r.GROSS] - positions[:, r.MAKER_FEES] - positions[:, r.TAKER_FEES]
        parts = parts + positions[:, r.FUNDING] - positions[:, r.SLIPPAGE] - positions[:, r.LIQUIDATION_LOSS]
        inverse = self.scenario.inputs.rules.inverse
        for position in positions:
            if position[r.LOTS]:
                size = position[r.LOTS] * position[r.QTY_STEP]
                ends = (position[r.REFERENCE], position[r.MARK])
                parts[0] += size / ends[0] - size / ends[1] if inverse else size * (ends[1] - ends[0])
        self.compare(cash + float(parts.sum()), D(repr(float(self.outcome.account[r.WORTH]))), traded)


def replay(scenario: Scenario) -> Replay:
    """Simulate ``scenario`` and hold it against the ledger."""
    return Replay(scenario).run()
