"""What the summary says of one question."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the summary: what was asked, what came out, whether it holds."""

    asked: str
    found: str
    holds: bool
