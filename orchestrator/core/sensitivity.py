"""Who may see what a task is made of: the job says it, or the step, and the stricter word counts."""

from __future__ import annotations

from headrace.orchestrator.core.steps import Step
from headrace.orchestrator.core.turn import Turn
from headrace.schemas.base import Sensitivity


def sensitivity_of(turn: Turn, step: Step) -> Sensitivity:
    """Return the sensitivity of a step's tasks."""
    return Sensitivity.CONFIDENTIAL if step.confidential else Sensitivity(turn.header.spec.sensitivity)


def is_confidential(turn: Turn, step: Step) -> bool:
    """Return whether nothing of a step's tasks may be seen by everybody."""
    return sensitivity_of(turn, step) is Sensitivity.CONFIDENTIAL
