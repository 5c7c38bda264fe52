"""May a strategy move up a stage? A pure judgement, and the manager that keeps the record of every decision."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from bybit.rules.errors import InvalidInput
from bybit.rules.periods import to_ms, utc
from bybit.store import DecisionRecord
from validation.criteria import PAPER_GATES, SIMULATION_GATES, Evidence, Gate, GateConfig, GateResult, Grid, Run
from validation.errors import ApprovalRefused
from validation.evidence import evidence_hash
from validation.stages import Stage, Standing, Verdict, standing
from validation.terms import TERMS_GATES

__all__ = [
    "Decision",
    "DecisionRecord",
    "Gate",
    "GateConfig",
    "GateResult",
    "Run",
    "Stage",
    "Standing",
    "StrategyGraduationManager",
    "Verdict",
    "evidence_hash",
    "gates_of",
    "judge",
    "standing",
]


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of one judgement with every reason. ``to_stage`` is ``stage`` itself on HOLD."""

    strategy: str
    stage: Stage
    verdict: Verdict
    to_stage: Stage
    gates: tuple[GateResult, ...]
    evidence_hash: str

    @property
    def reasons(self) -> list[str]:
        """The failing gates in words; on a pass, every gate."""
        failed = [gate for gate in self.gates if not gate.passed]
        return [f"{gate.name}: {gate.reason}" for gate in failed or self.gates]


def gates_of(stage: Stage, config: GateConfig) -> tuple[Gate, ...]:
    """Return the gates a strategy must pass to enter ``stage``; RESEARCH has none."""
    if stage is Stage.RESEARCH:
        return ()
    on_paper = stage.needs_a_person and config.min_paper_days > 0
    simulated = SIMULATION_GATES + TERMS_GATES
    return simulated + PAPER_GATES if on_paper else simulated


def judge(strategy: str, stage: Stage, runs: Iterable[Any], config: GateConfig) -> Decision:
    """Return what the evidence says about a strategy at ``stage``; nothing is stored and no clock is read.

    Parameters
    ----------
    runs : iterable
        One record or result row per fee tier and period, in any order; see ``Run.of``.

    Raises
    ------
    InvalidInput
        When a run belongs to another strategy or cannot be placed.
    """
    rows = [Run.of(row) for row in runs]
    if strangers := sorted({run.strategy for run in rows} - {strategy}):
        raise InvalidInput(f"runs of {', '.join(strangers)} were given as evidence for {strategy}")
    evidence = Evidence(Grid(rows, config), tuple(run for run in rows if run.on_paper), config)

    # At the top there is nothing above: the question is only whether the stage is still deserved.
    results = tuple(gate.judge(evidence) for gate in gates_of(stage.above or stage, config))
    verdict, to_stage = Verdict.HOLD, stage
    if stage.below is not None and _undeserved(stage, evidence, config):
        verdict, to_stage = Verdict.DEMOTE, stage.below
    elif stage.above is not None and results and all(result.passed for result in results):
        verdict, to_stage = Verdict.REVIEW if stage.above.needs_a_person else Verdict.PROMOTE, stage.above
    return Decision(strategy, stage, verdict, to_stage, results, evidence_hash(strategy, stage, rows, config))


def _undeserved(stage: Stage, evidence: Evidence, config: GateConfig) -> bool:
    # Only figures that were computed take a strategy down; missing ones stop it from rising and are for a person.
    results = [gate.judge(evidence) for gate in gates_of(stage, config)]
    return all(r.measured is not None for r in results) and not all(r.passed for r in results)


AUTOMATIC: Final = "perpflow"
"""Who decided when no person did; a person may not sign with it."""


class _Decisions(Protocol):
    def add(self, record: DecisionRecord) -> object: ...
    def list(self, strategy: str | None = None) -> "list[DecisionRecord]": ...


class _Runs(Protocol):
    def list(self) -> "list[Any]": ...


class GraduationStore(Protocol):
    """What the manager needs of a store: an append-only log, oldest first, and the runs."""

    @property
    def decisions(self) -> _Decisions:
        """The log of decisions."""
        ...

    @property
    def runs(self) -> _Runs:
        """The recorded runs."""
        ...


class StrategyGraduationManager:
    """Moves strategies between stages by the record, and only by the record.

    Parameters
    ----------
    store : GraduationStore
        Holds ``decisions`` and ``runs``.
    config : GateConfig, optional
        The thresholds; they are part of the evidence that a reviewer signs.
    clock : callable, optional
        Returns the present time, aware UTC.
    """

    def __init__(
        self,
        store: GraduationStore,
        config: GateConfig | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._config = config or GateConfig()
        self._clock = clock

    def history(self, strategy: str | None = None) -> list[DecisionRecord]:
        """Return the decisions on one strategy, or on all of them, oldest first."""
        return list(self._store.decisions.list(strategy=strategy))

    def show(self, strategy: str) -> Standing:
        """Return the stage of a strategy, the review that waits, and its last evaluation; RESEARCH when unknown."""
        return standing(self.history(strategy))

    def list_stages(self) -> dict[str, Standing]:
        """Return where every strategy with a record stands, by name."""
        by_name: dict[str, list[DecisionRecord]] = {}
        for record in self.history():
            by_name.setdefault(record.strategy, []).append(record)
        return {name: standing(by_name[name]) for name in sorted(by_name)}

    def evaluate(self, strategy: str, runs: Iterable[Any] | None = None) -> Decision:
        """Judge a strategy at its present stage and append the decision.

        Moves it at once from RESEARCH to PAPER_VALIDATION, and down; every step nearer to real money only opens a
        review for a person. ``runs`` None takes the newest stored run of each fee tier and period.

        Raises
        ------
        InvalidInput
            When a run belongs to another strategy.
        """
        state = self.show(strategy)
        rows = _newest(self._store.runs.list(), strategy) if runs is None else [Run.of(row) for row in runs]
        decision = judge(strategy, state.stage, rows, self._config)
        if decision.verdict is Verdict.REVIEW and decision.evidence_hash in state.spent:
            decision = _answered_already(decision)
        metrics = {
            "measured": {gate.name: gate.measured for gate in decision.gates},
            "run_keys": sorted(run.run_key for run in rows),
            "authors": sorted({str(run.provenance["author"]) for run in rows if run.provenance.get("author")}),
        }
        self._append(strategy, state.stage, decision, [asdict(gate) for gate in decision.gates], metrics, AUTOMATIC)
        return decision

    def evaluate_all_strategies(self, runs: Iterable[Any] | None = None) -> list[Decision]:
        """Evaluate every strategy that has a run or a record, by name.

        One without runs is judged all the same: no evidence is a no, and the log says so.
        """
        stored = runs is None
        rows = [Run.of(row) for row in (self._store.runs.list() if runs is None else runs)]
        names = {run.strategy for run in rows} | set(self.list_stages())
        return [
            self.evaluate(name, None if stored else [run for run in rows if run.strategy == name])
            for name in sorted(names)
        ]

    def approve(
        self, strategy: str, *, evidence_hash: str, decided_by: str, reason: str, runs: Iterable[Any] | None = None
    ) -> Stage:
        """Let a strategy into the stage that its open review asks for; return that stage.

        Parameters
        ----------
        evidence_hash : str
            The hash the reviewer read: the approval holds for this evidence only, and once.
        decided_by, reason : str
            A person's name and why; both end in the log. The name is a claim, not a proof of identity.
        runs : iterable, optional
            The runs as they are now; when given they are judged again and must still be the same evidence.

        Raises
        ------
        ApprovalRefused
            When no review is open, the evidence differs or has been used, the review is too old, the name or the
            reason is missing, the reviewer wrote the strategy, or somebody else decided first.
        """
        state, review = self._open_review(strategy, evidence_hash, decided_by, reason)
        authors = review.metrics.get("authors", [])
        if decided_by.strip().casefold() in {str(author).strip().casefold() for author in authors}:
            raise ApprovalRefused(f"{decided_by} is an author of {strategy}: a second person has to approve")
        if runs is not None and judge(strategy, state.stage, runs, self._config).evidence_hash != evidence_hash:
            raise ApprovalRefused(f"the runs of {strategy} changed since the review: evaluate again and review that")
        self._answer(strategy, state, review, Verdict.APPROVED, decided_by, reason)
        return Stage(review.to_stage)

    def reject(self, strategy: str, *, evidence_hash: str, decided_by: str, reason: str) -> Stage:
        """Close the open review with a no; return the stage, which stays. The same evidence is not reviewed again.

        Raises
        ------
        ApprovalRefused
            As ``approve``.
        """
        state, review = self._open_review(strategy, evidence_hash, decided_by, reason)
        self._answer(strategy, state, review, Verdict.REJECTED, decided_by, reason)
        return state.stage

    def demote(self, strategy: str, *, decided_by: str, reason: str) -> Stage:
        """Take a strategy one stage down at a person's word; return the new stage. No evidence is needed.

        Raises
        ------
        ApprovalRefused
            When it is at the bottom already, or name or reason is missing.
        """
        _signed(decided_by, reason)
        state = self.show(strategy)
        if state.stage.below is None:
            raise ApprovalRefused(f"{strategy} is in {state.stage}, the lowest stage")
        decision = Decision(strategy, state.stage, Verdict.DEMOTE, state.stage.below, (), "")
        self._append(strategy, state.stage, decision, [{"name": "person", "reason": reason.strip()}], {}, decided_by)
        return self.show(strategy).stage

    def _open_review(
        self, strategy: str, evidence_hash: str, decided_by: str, reason: str
    ) -> tuple[Standing, DecisionRecord]:
        _signed(decided_by, reason)
        state = self.show(strategy)
        if evidence_hash in state.spent:
            raise ApprovalRefused(f"this evidence of {strategy} was decided on before: it counts once")
        if state.review is None:
            raise ApprovalRefused(f"{strategy} in {state.stage} has no open review: evaluate it first")
        if state.review.evidence_hash != evidence_hash:
            raise ApprovalRefused(
                f"the open review of {strategy} is about evidence {state.review.evidence_hash[:12]}, "
                f"not {evidence_hash[:12]}: read that one"
            )
        age, limit = self._clock() - state.review.decided_at, timedelta(days=self._config.review_valid_days)
        if age > limit:
            raise ApprovalRefused(
                f"the review of {strategy} is {age.days} days old, {limit.days} are allowed: evaluate"
            )
        return state, state.review

    def _answer(
        self, strategy: str, state: Standing, review: DecisionRecord, verdict: Verdict, decided_by: str, reason: str
    ) -> None:
        target = Stage(review.to_stage) if verdict is Verdict.APPROVED else state.stage
        decision = Decision(strategy, state.stage, verdict, target, (), review.evidence_hash)
        mine = self._append(
            strategy, state.stage, decision, [{"name": "person", "reason": reason.strip()}], review.metrics, decided_by
        )
        # The log's order decides between two people at once; the later one must not believe it counted.
        if not _counted(mine, self.history(strategy)):
            raise ApprovalRefused(f"somebody else decided on {strategy} first: it is in {self.show(strategy).stage}")

    def _append(
        self,
        strategy: str,
        stage: Stage,
        decision: Decision,
        reasons: list[dict[str, Any]],
        metrics: dict[str, Any],
        decided_by: str,
    ) -> DecisionRecord:
        record = DecisionRecord(
            strategy=strategy,
            from_stage=stage.value,
            to_stage=decision.to_stage.value,
            verdict=decision.verdict.value,
            reasons=reasons,
            metrics=metrics,
            evidence_hash=decision.evidence_hash,
            decided_by=decided_by.strip(),
            # The log keeps milliseconds; a record has to equal what is read back.
            decided_at=utc(to_ms(self._clock())),
        )
        self._store.decisions.add(record)
        return record


def _counted(mine: DecisionRecord, history: Iterable[DecisionRecord]) -> bool:
    state = Standing()
    for record in history:
        before, state = state, state.after(record)
        if (record.verdict, record.decided_by, record.decided_at) == (mine.verdict, mine.decided_by, mine.decided_at):
            return state != before
    return False


def _signed(decided_by: str, reason: str) -> None:
    if not decided_by.strip() or decided_by.strip().casefold() == AUTOMATIC:
        raise ApprovalRefused("real money is near: a named person has to decide (decided_by is missing)")
    if not reason.strip():
        raise ApprovalRefused(f"{decided_by.strip()} gave no reason: the log keeps one with every decision")


def _answered_already(decision: Decision) -> Decision:
    words = "a person decided on exactly this evidence before; it takes new runs to ask again"
    again = GateResult("new_evidence", False, None, None, None, words)
    return replace(decision, verdict=Verdict.HOLD, to_stage=decision.stage, gates=(*decision.gates, again))


def _newest(records: Iterable[Any], strategy: str) -> list[Run]:
    """Return a strategy's runs, of each kind, fee tier and period the one recorded last."""
    newest: dict[Any, Run] = {}
    for record in sorted((r for r in records if r.strategy == strategy), key=lambda r: r.created_at):
        run = Run.of(record)
        newest[run.on_paper, run.tier, run.period] = run
    return list(newest.values())
