"""What a strategy must show before it may move up: the criteria, one small function each.

Every criterion fails closed. What cannot be computed (no run, a missing tier or period, None, NaN, an impossible
value) counts as not met, with the reason in words.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Final

from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period, merge_spans, parse_time
from validation.errors import NotComputable

_DAY_MS: Final = 86_400_000
PAPER: Final = "paper"
"""``provenance["kind"]`` of a run that traded on paper; anything else is a simulation."""


@dataclass(frozen=True, slots=True)
class GateConfig:
    """Thresholds of the gates. Rates are fractions; each default is argued beside it.

    Raises
    ------
    InvalidInput
        For an empty list of tiers, a threshold that is not finite, or a percentage where a fraction belongs.
    """

    tiers: tuple[str, ...] = ("vip0",)
    """Fee tiers that must all pass: every account starts at vip0, the dearest one."""
    periods: tuple[Period, ...] | None = None
    """Periods that must all be there; None takes those of the runs, each of which every tier must then have."""
    min_periods: int = 3
    """Fewer than three periods cannot show a majority that is not all or nothing."""
    min_trades: int = 100
    """At 100 trades the mean result of a trade is known to a tenth of its spread; below, luck decides."""
    min_net_return: float = 0.0
    """Must be exceeded after fees, funding, slippage and liquidation losses: break-even is not a reason to trade."""
    max_drawdown: float = 0.20
    """A fall of a fifth takes a gain of a quarter to repair; deeper ones are abandoned before they recover."""
    max_liquidations: int = 0
    """A liquidation is a failure of sizing, not a cost of trading: none is acceptable."""
    min_slippage_rate: float = 0.0001
    """A taker who loses less than a basis point between decision and fill is trading in a simulation."""
    min_profitable_share: float = 0.5
    """More than this share of periods must end in profit, so that one lucky quarter cannot carry the rest."""
    min_paper_days: float = 28.0
    """Before real money: four whole weeks hold every weekday four times. 0 asks for no paper trading at all."""
    review_valid_days: float = 7.0
    """A review that nobody answered within a week is about a market that has moved on."""

    def __post_init__(self) -> None:
        """Refuse settings under which a gate would say nothing."""
        if not self.tiers or len(set(self.tiers)) != len(self.tiers):
            raise InvalidInput(f"gates need one or more different fee tiers, found {self.tiers}")
        if self.periods is not None and not self.periods:
            raise InvalidInput("gates need at least one period; leave periods out to take those of the runs")
        for name, low, high in _LIMITS:
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidInput(f"{name} is {value!r}, expected {low} to {high} (fractions, not per cent)")


_LIMITS: Final = (
    ("min_periods", 1, 10_000),
    ("min_trades", 1, 10**9),
    ("min_net_return", 0.0, 10.0),
    ("max_drawdown", 0.0, 1.0),
    ("max_liquidations", 0, 10**9),
    ("min_slippage_rate", 0.0, 0.05),
    ("min_profitable_share", 0.0, 1.0),
    ("min_paper_days", 0.0, 3650.0),
    ("review_valid_days", 0.0, 365.0),
)


@dataclass(frozen=True, slots=True)
class Run:
    """What one strategy x fee tier x period run measured, wherever it was recorded.

    ``metrics`` holds net_return (fraction of the starting equity), max_drawdown (fraction >= 0), n_trades,
    n_liquidations and refused (None, or why the run did not happen); None elsewhere means not computable.
    """

    strategy: str
    tier: str
    period: Period
    metrics: Mapping[str, Any]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    symbols: tuple[str, ...] = ()
    run_key: str = ""

    @classmethod
    def of(cls, row: Any) -> "Run":
        """Return the run in a stored record (attributes) or a result row (a mapping, metrics nested or flat).

        Raises
        ------
        InvalidInput
            When strategy, tier or period is missing: such a row belongs nowhere.
        """
        if isinstance(row, Run):
            return row
        get = row.get if isinstance(row, Mapping) else lambda name, default=None: getattr(row, name, default)
        missing = [name for name in ("strategy", "tier", "period") if not get(name)]
        if missing:
            raise InvalidInput(f"a run without {', '.join(missing)} cannot be judged: {row!r:.200}")
        metrics = get("metrics")
        if metrics is None and isinstance(row, Mapping):
            metrics = {name: value for name, value in row.items() if name not in _NOT_METRICS}
        return cls(
            strategy=str(get("strategy")),
            tier=str(get("tier")),
            period=_period(get("period")),
            metrics=metrics or {},
            provenance=get("provenance") or {},
            params=get("params") or {},
            symbols=tuple(get("symbols") or ()),
            run_key=str(get("run_key") or ""),
        )

    @property
    def on_paper(self) -> bool:
        """Whether the run traded on paper in real time rather than in a simulation of the past."""
        return self.provenance.get("kind") == PAPER

    def figure(self, name: str, low: float = -math.inf) -> float:
        """Return the metric ``name`` as a finite float that is at least ``low``.

        Raises
        ------
        NotComputable
            When it is missing, None, NaN, infinite, text, or below ``low``.
        """
        value = self.metrics.get(name)
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value < low:
            raise NotComputable(f"{name} of {self.tier} in {self.period} is {value!r}")
        return float(value)

    @property
    def refused(self) -> str | None:
        """Why the run did not happen; a run that does not say raises ``NotComputable``."""
        if "refused" not in self.metrics:
            raise NotComputable(f"{self.tier} in {self.period} does not say whether it was refused")
        reason = self.metrics["refused"]
        return None if reason is None else str(reason)


_NOT_METRICS: Final = frozenset(
    {"strategy", "tier", "period", "provenance", "params", "symbols", "run_key", "created_at"}
)


def _period(value: Any) -> Period:
    if isinstance(value, Period):
        return value
    start, mark, end = str(value).partition("..")
    if not mark:
        raise InvalidInput(f"period {value!r} is not written as start..end")
    return Period(parse_time(start), parse_time(end))


@dataclass(frozen=True, slots=True)
class GateResult:
    """One criterion's answer. ``margin`` is how far on the right side of the threshold; negative is short of it."""

    name: str
    passed: bool
    measured: float | None
    threshold: float | None
    margin: float | None
    reason: str


class Grid:
    """The runs laid out as tier x period; knows what is missing and refuses to answer around it."""

    def __init__(self, runs: Iterable[Run], config: GateConfig) -> None:
        self.simulated = [run for run in runs if not run.on_paper]
        self.tiers = config.tiers
        asked = config.periods or {run.period for run in self.simulated if run.tier in config.tiers}
        self.periods = tuple(sorted(asked))
        self._cells: dict[tuple[str, Period], list[Run]] = {}
        for run in self.simulated:
            self._cells.setdefault((run.tier, run.period), []).append(run)

    @property
    def problems(self) -> list[str]:
        """What keeps the grid from being whole, in words; empty when every cell holds exactly one run."""
        if not self.periods:
            return ["no run at the fee tiers asked"]
        return [
            f"{tier} in {period} has {len(found) or 'no'} run{'s' if len(found) > 1 else ''}"
            for tier in self.tiers
            for period in self.periods
            if len(found := self._cells.get((tier, period), [])) != 1
        ] + [
            f"{first} and {second} overlap, which would count the same market twice"
            for first, second in zip(self.periods, self.periods[1:], strict=False)
            if first.overlap(second)
        ]

    def row(self, tier: str) -> list[Run]:
        """Return one tier's runs, oldest period first; raises ``NotComputable`` unless the grid is whole."""
        if problems := self.problems:
            raise NotComputable(
                "; ".join(problems[:3]) + (f" and {len(problems) - 3} more" if len(problems) > 3 else "")
            )
        return [self._cells[tier, period][0] for period in self.periods]

    @property
    def runs(self) -> list[Run]:
        """Every run of the grid; raises ``NotComputable`` unless it is whole."""
        return [run for tier in self.tiers for run in self.row(tier)]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the gates look at: the simulated grid and the paper record."""

    grid: Grid
    paper: Sequence[Run]
    config: GateConfig


@dataclass(frozen=True, slots=True)
class Gate:
    """One criterion: a name, the question in words, and the function that answers it."""

    name: str
    question: str
    check: Callable[[Evidence], GateResult]

    def judge(self, evidence: Evidence) -> GateResult:
        """Return the answer; what is not computable is a no."""
        try:
            return self.check(evidence)
        except NotComputable as error:
            return GateResult(self.name, False, None, None, None, f"not computable: {error}")


def _at_least(name: str, measured: float, least: float, words: str) -> GateResult:
    return GateResult(name, measured >= least, measured, least, measured - least, words)


def _more_than(name: str, measured: float, bound: float, words: str) -> GateResult:
    return GateResult(name, measured > bound, measured, bound, measured - bound, words)


def at_most(name: str, measured: float, most: float, words: str) -> GateResult:
    """Return the result of a gate that allows ``most`` and no more."""
    return GateResult(name, measured <= most, measured, most, most - measured, words)


def _evidence_complete(evidence: Evidence) -> GateResult:
    n_runs, least = len(evidence.grid.runs), evidence.config.min_periods
    n_periods = len(evidence.grid.periods)
    words = f"{n_runs} runs: {len(evidence.grid.tiers)} fee tiers x {n_periods} periods, at least {least} periods asked"
    return _at_least("evidence_complete", n_periods, least, words)


def _no_refused_run(evidence: Evidence) -> GateResult:
    refused = [(run, run.refused) for run in evidence.grid.runs if run.refused is not None]
    first = f"; first: {refused[0][0].tier} in {refused[0][0].period}: {refused[0][1]}" if refused else ""
    words = f"{len(refused)} of {len(evidence.grid.runs)} runs were refused{first}"
    return at_most("no_refused_run", len(refused), 0, words)


# Figures from different parameters, terms or engines do not describe one strategy.
_SAME: Final = (
    "engine_version",
    "fee_schedule_version",
    "params",
    "interval",
    "leverage",
    "category",
    "margin_mode",
    "slippage",
    "participation_rate",
    "liquidation",
    "initial_capital",
    "mark_policy",
    "funding_policy",
)


def _one_configuration(evidence: Evidence) -> GateResult:
    runs = evidence.grid.runs
    if any(not run.provenance for run in runs):
        raise NotComputable("a run does not say what data, engine and parameters it comes from")
    configurations = {
        json.dumps(
            [run.params, sorted(run.symbols), [run.provenance.get(name) for name in _SAME]], sort_keys=True, default=str
        )
        for run in runs
    }
    words = f"the runs come from {len(configurations)} combination(s) of parameters, symbols, terms and engine"
    return at_most("one_configuration", len(configurations), 1, words)


def _min_trades(evidence: Evidence) -> GateResult:
    grid, least = evidence.grid, evidence.config.min_trades
    per_tier = {tier: sum(run.figure("n_trades", low=0) for run in grid.row(tier)) for tier in grid.tiers}
    tier = min(per_tier, key=lambda name: per_tier[name])
    words = f"{per_tier[tier]:,.0f} trades at {tier} over {len(grid.periods)} periods; at least {least:,} asked"
    return _at_least("min_trades", per_tier[tier], least, words)


def _compounded(runs: Sequence[Run]) -> float:
    # Below -1 two losses would multiply to a gain, so such a figure is refused rather than used.
    return math.prod(1 + run.figure("net_return", low=-1) for run in runs) - 1


def _net_return(evidence: Evidence) -> GateResult:
    grid, bound = evidence.grid, evidence.config.min_net_return
    per_tier = {tier: _compounded(grid.row(tier)) for tier in grid.tiers}
    tier = min(per_tier, key=lambda name: per_tier[name])
    words = f"{per_tier[tier]:+.2%} after all costs at {tier}, the worst tier; more than {bound:.2%} asked"
    return _more_than("net_return", per_tier[tier], bound, words)


def _max_drawdown(evidence: Evidence) -> GateResult:
    most = evidence.config.max_drawdown
    worst = max(evidence.grid.runs, key=_deepest)
    measured = _deepest(worst)
    words = f"deepest fall {measured:.2%} ({worst.tier} in {worst.period}); at most {most:.2%} allowed"
    return at_most("max_drawdown", measured, most, words)


def _deepest(run: Run) -> float:
    # Daily equity hides what happened within the day: where the fall at every close is told, it counts too.
    finer = [run.figure(name, low=0) for name in ("max_drawdown_at_closes",) if name in run.metrics]
    return max([run.figure("max_drawdown", low=0), *finer])


def _no_liquidation(evidence: Evidence) -> GateResult:
    most = evidence.config.max_liquidations
    measured = sum(run.figure("n_liquidations", low=0) for run in evidence.grid.runs)
    words = f"{measured:,.0f} liquidations in {len(evidence.grid.runs)} runs; at most {most:,} allowed"
    return at_most("no_liquidation", measured, most, words)


def _profitable_periods(evidence: Evidence) -> GateResult:
    grid, bound = evidence.grid, evidence.config.min_profitable_share
    n_won = {tier: sum(run.figure("net_return", low=-1) > 0 for run in grid.row(tier)) for tier in grid.tiers}
    tier = min(n_won, key=lambda name: n_won[name])
    words = f"{n_won[tier]} of {len(grid.periods)} periods ended in profit at {tier}; more than {bound:.0%} asked"
    return _more_than("profitable_periods", n_won[tier] / len(grid.periods), bound, words)


def _paper_days(evidence: Evidence) -> GateResult:
    least = evidence.config.min_paper_days
    if not evidence.paper:
        raise NotComputable("the strategy has no paper trading on record")
    refused = [run for run in evidence.paper if run.refused is not None]
    if refused:
        raise NotComputable(f"paper trading in {refused[0].period} was refused: {refused[0].refused}")
    # Merged first: the same day on paper twice is one day.
    n_days = sum((end - start) / _DAY_MS for start, end in merge_spans(run.period.span_ms for run in evidence.paper))
    return _at_least("paper_days", n_days, least, f"{n_days:.1f} days on paper; at least {least:.1f} asked")


def _paper_net_return(evidence: Evidence) -> GateResult:
    bound = evidence.config.min_net_return
    if not evidence.paper:
        raise NotComputable("the strategy has no paper trading on record")
    measured = _compounded(evidence.paper)
    words = f"{measured:+.2%} after all costs on paper; more than {bound:.2%} asked"
    return _more_than("paper_net_return", measured, bound, words)


SIMULATION_GATES: Final = (
    Gate("evidence_complete", "Is there one run for every fee tier and period?", _evidence_complete),
    Gate("no_refused_run", "Did every run happen, with no missing data behind it?", _no_refused_run),
    Gate("one_configuration", "Do all runs describe the same strategy?", _one_configuration),
    Gate("min_trades", "Are there enough trades to tell skill from luck?", _min_trades),
    Gate("net_return", "Is there a profit after all costs, even at the dearest tier?", _net_return),
    Gate("max_drawdown", "Would the deepest fall have been bearable?", _max_drawdown),
    Gate("no_liquidation", "Was the account never taken over?", _no_liquidation),
    Gate("profitable_periods", "Did most periods end in profit?", _profitable_periods),
)
PAPER_GATES: Final = (
    Gate("paper_days", "Has it traded on paper for long enough?", _paper_days),
    Gate("paper_net_return", "Did it earn on paper?", _paper_net_return),
)
