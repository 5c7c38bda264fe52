"""``perpflow graduation``: stages of the strategies, evidence, decisions."""

from typing import Annotated, Literal

import typer

from flows.options import AsJson, Database, Tiers, command, names

graduation = typer.Typer(no_args_is_help=True, help="Stages of the strategies: evidence, decisions, reviews.")


@graduation.command("list")
def graduation_list(database: Database = None, as_json: AsJson = False) -> None:
    """Show every strategy's stage and its newest decision."""
    with command(False, database):
        from flows.console import Console
        from tasks.gates import list_stages

        Console(as_json=as_json).show_stages(list_stages())


@graduation.command()
def show(strategy: str, database: Database = None, as_json: AsJson = False) -> None:
    """Show the newest decision on one strategy, gate by gate."""
    with command(False, database):
        from flows.console import Console
        from tasks.gates import newest_decision

        Console(as_json=as_json).show_decision(newest_decision(strategy))


@graduation.command()
def history(strategy: str, database: Database = None, as_json: AsJson = False) -> None:
    """Show every decision on one strategy, oldest first."""
    with command(False, database):
        from flows.console import Console
        from tasks.gates import decisions

        Console(as_json=as_json).show_history(decisions(strategy))


@graduation.command()
def evaluate(tiers: Tiers = "vip0", database: Database = None, as_json: AsJson = False) -> None:
    """Judge every strategy again on the newest stored matrix."""
    with command(False, database):
        from flows.console import Console
        from tasks.gates import judge_stored

        Console(as_json=as_json).show_decisions(judge_stored(names(tiers)))


Reviewer = Annotated[str, typer.Option(help="who decides; kept with the decision")]
Reason = Annotated[str, typer.Option(help="why; kept with the decision")]
Evidence = Annotated[str, typer.Option(help="evidence hash that was reviewed, from 'graduation show'")]


@graduation.command()
def approve(
    strategy: str,
    reviewer: Reviewer,
    reason: Reason,
    evidence: Evidence,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Record a person's yes to the next stage, bound to the evidence that was reviewed."""
    _answer("approve", strategy, reviewer, reason, evidence, database, as_json)


@graduation.command()
def reject(
    strategy: str,
    reviewer: Reviewer,
    reason: Reason,
    evidence: Evidence,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Record a person's no, bound to the evidence that was reviewed."""
    _answer("reject", strategy, reviewer, reason, evidence, database, as_json)


def _answer(
    answer: Literal["approve", "reject"],
    strategy: str,
    reviewer: str,
    reason: str,
    evidence: str,
    database: str | None,
    as_json: bool,
) -> None:
    with command(False, database):
        from flows.console import Console
        from tasks.gates import review

        Console(as_json=as_json).show_decision(review(strategy, answer, reviewer, reason, evidence))
