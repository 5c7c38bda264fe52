"""Graduation: judge what the newest matrix says of every strategy."""

from typing import Any

from prefect import flow

from tasks.gates import judge_stored


@flow(name="review-graduation")
def review_graduation() -> list[dict[str, Any]]:
    """Judge every strategy on its newest stored results; decisions are appended, a person's stages stay a person's."""
    return judge_stored()
