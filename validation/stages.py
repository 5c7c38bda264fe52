"""How near to real money a strategy stands, and the log that alone decides it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from bybit.store import DecisionRecord


class Stage(StrEnum):
    """How near to real money a strategy is; the order of the members is the order of the way up."""

    RESEARCH = "RESEARCH"
    PAPER_VALIDATION = "PAPER_VALIDATION"
    LIVE_CANDIDATE = "LIVE_CANDIDATE"
    LIVE_TRADING = "LIVE_TRADING"

    @property
    def above(self) -> "Stage | None":
        """The next stage up; None at the top."""
        return _STAGES[_STAGES.index(self) + 1] if self is not _STAGES[-1] else None

    @property
    def below(self) -> "Stage | None":
        """The next stage down; None at the bottom."""
        return _STAGES[_STAGES.index(self) - 1] if self is not _STAGES[0] else None

    @property
    def needs_a_person(self) -> bool:
        """Whether only a named person may let a strategy in: real money is near."""
        return self in (Stage.LIVE_CANDIDATE, Stage.LIVE_TRADING)


_STAGES: Final = tuple(Stage)


class Verdict(StrEnum):
    """What a record of the log says. Only PROMOTE, DEMOTE and APPROVED move a strategy."""

    PROMOTE = "PROMOTE"
    """Every gate passed and no person is needed."""
    REVIEW = "REVIEW"
    """Every gate passed; a person decides."""
    HOLD = "HOLD"
    """A gate said no, or could not be computed."""
    DEMOTE = "DEMOTE"
    """Down one stage: whole evidence no longer carries the present one, or a person said so."""
    APPROVED = "APPROVED"
    """A person said yes to a review."""
    REJECTED = "REJECTED"
    """A person said no to a review."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a strategy stands after its log so far.

    ``evaluation`` is the last judgement by the gates, ``review`` the one that waits for a person, ``spent`` the
    evidence that a person has already decided on.
    """

    stage: Stage = Stage.RESEARCH
    evaluation: DecisionRecord | None = None
    review: DecisionRecord | None = None
    spent: frozenset[str] = frozenset()

    def after(self, record: DecisionRecord) -> "Standing":
        """Return the standing once ``record`` is taken into account; a record that may not move changes nothing.

        That rule makes the log a compare-and-set: of two approvals that race, the one stored second finds another
        stage or no open review, and so does a record that somebody wrote by hand.
        """
        if record.from_stage != self.stage:
            return self
        verdict, target = Verdict(record.verdict), Stage(record.to_stage)
        if verdict in (Verdict.APPROVED, Verdict.REJECTED):
            if self.review is None or record.evidence_hash != self.review.evidence_hash:
                return self
            # The target is the review's: an approval cannot lead further than what was reviewed.
            stage = Stage(self.review.to_stage) if verdict is Verdict.APPROVED else self.stage
            return replace(self, stage=stage, review=None, spent=self.spent | {record.evidence_hash})
        judged = replace(self, evaluation=record, review=None)
        if verdict is Verdict.DEMOTE and target is self.stage.below:
            return replace(judged, stage=target)
        if verdict is Verdict.PROMOTE and target is self.stage.above and not target.needs_a_person:
            return replace(judged, stage=target)
        if verdict is Verdict.REVIEW and target is self.stage.above and record.evidence_hash not in self.spent:
            return replace(judged, review=record)
        return judged if verdict is Verdict.HOLD else self


def standing(history: Iterable[DecisionRecord]) -> Standing:
    """Return where one strategy stands: its log, oldest first, replayed from RESEARCH."""
    state = Standing()
    for record in history:
        state = state.after(record)
    return state
