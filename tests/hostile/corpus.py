"""The hostile corpus: everything that was ever found or thought of that a record can be and should not."""

from __future__ import annotations

from tests.hostile.bad import Bad
from tests.hostile.corpus_jobs import JOBS
from tests.hostile.corpus_letters import LETTERS
from tests.hostile.corpus_results import RESULTS
from tests.hostile.corpus_state import OUTCOMES, STATE
from tests.hostile.corpus_tasks import ATTEMPTS, ORDERS, TASKS

CORPUS: list[Bad] = [*JOBS, *RESULTS, *TASKS, *ORDERS, *ATTEMPTS, *STATE, *OUTCOMES, *LETTERS]


def of(topic: str) -> list[Bad]:
    """Return what is for one topic."""
    return [bad for bad in CORPUS if bad.topic == topic]
