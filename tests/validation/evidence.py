"""Runs and a store that live in memory, for the tests of the gates."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bybit.rules.periods import Period
from validation.criteria import Run
from validation.stages import DecisionRecord

START = datetime(2025, 1, 1, tzinfo=UTC)
QUARTERS = tuple(Period(START + timedelta(days=90 * i), START + timedelta(days=90 * (i + 1))) for i in range(4))
GOOD = {
    "net_return": 0.04,
    "max_drawdown": 0.08,
    "n_trades": 60,
    "n_liquidations": 0,
    "refused": None,
    "sharpe": 1.4,
    "fees": 12.5,
    "funding": -3.0,
}
ORIGIN = {
    "data": "d1",
    "engine_version": "1",
    "fee_schedule_version": "f1",
    "origin": "tape-1",
    "funding_policy": "recorded",
    "mark_policy": "exact",
    "slippage": "fixed:0.0002",
}


def a_run(tier: str = "vip0", period: Period = QUARTERS[0], strategy: str = "trend", **changes: Any) -> Run:
    about = {name: changes.pop(name) for name in ("provenance", "params", "symbols", "run_key") if name in changes}
    return Run(strategy, tier, period, GOOD | changes, **({"provenance": ORIGIN} | about))


def good_runs(tiers: tuple[str, ...] = ("vip0",), **changes: Any) -> list[Run]:
    return [a_run(tier, period, **changes) for tier in tiers for period in QUARTERS]


def paper_run(days: float = 30, **changes: Any) -> Run:
    period = Period(QUARTERS[-1].end, QUARTERS[-1].end + timedelta(days=days))
    return a_run(period=period, provenance={"kind": "paper"}, **changes)


@dataclass
class MemoryDecisions:
    rows: list[DecisionRecord] = field(default_factory=list)

    def add(self, record: DecisionRecord) -> None:
        self.rows.append(record)

    def list(self, strategy: str | None = None) -> list[DecisionRecord]:
        return [row for row in self.rows if strategy in (None, row.strategy)]


@dataclass
class StoredRun:
    """Shaped like the store's record of a run."""

    run_key: str
    created_at: datetime
    strategy: str
    tier: str
    period: Period
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    params: dict[str, Any] = field(default_factory=dict)
    symbols: tuple[str, ...] = ()


@dataclass
class MemoryRuns:
    rows: list[Any] = field(default_factory=list)

    def list(self) -> list[Any]:
        return self.rows


@dataclass
class MemoryStore:
    decisions: MemoryDecisions = field(default_factory=MemoryDecisions)
    runs: MemoryRuns = field(default_factory=MemoryRuns)


@dataclass
class Clock:
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now
