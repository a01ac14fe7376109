"""Judges of a run: each looks at what is left in the logs and at the provider's memory, and at nothing else.

A judge yields sentences, each of which is a broken promise of docs/guarantees.md. None at all is a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.simulation.history import History
from tests.simulation.judges.agents import agents
from tests.simulation.judges.attempts import attempts
from tests.simulation.judges.calls import calls
from tests.simulation.judges.effects import effects
from tests.simulation.judges.letters import letters
from tests.simulation.judges.lineage import lineage
from tests.simulation.judges.money import money
from tests.simulation.judges.outcomes import outcomes
from tests.simulation.judges.payloads import payloads
from tests.simulation.judges.sagas import sagas
from tests.simulation.judges.turns import turns

JUDGES: tuple[Callable[[History], Iterator[str]], ...] = (
    outcomes,
    lineage,
    attempts,
    money,
    payloads,
    calls,
    effects,
    sagas,
    agents,
    letters,
    turns,
)


def judge(history: History) -> list[str]:
    """Return every broken promise, each with the name of its judge."""
    return [f"{each.__name__}: {problem}" for each in JUDGES for problem in each(history)]
