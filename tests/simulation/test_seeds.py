"""Seeds that CI runs, and every seed that once found a bug."""

from __future__ import annotations

import pytest

from tests.simulation.__main__ import tell
from tests.simulation.faults import only
from tests.simulation.run import run_seed

pytestmark = pytest.mark.slow  # Five seconds each where nothing else runs; it is all computing, so load shows at once.

SEEDS, CHUNK = 300, 10

FOUND = {
    "a restore that stood still took another's progress for a log that was cut": (55, 66, 68, 170, 182),
    "a call neither handed over nor begun at a revocation was begun later": (296,),
    "a worker cut off past its session called beside the new owner": (647,),
    "a result settled an interruption in the transaction that booked it": (454,),
    "a deployment with little room needs longer than a minute": (846,),
}
"""What seeds with their own faults found, in production or in the simulation itself."""
LAST_WORDS = 14
"""With passing errors alone: a lane that ended by one committed past records that came with it."""


@pytest.mark.parametrize("first", range(1, SEEDS + 1, CHUNK))
def test_no_judge_sees_a_broken_promise(first: int) -> None:
    failed = [verdict for seed in range(first, first + CHUNK) if (verdict := run_seed(seed)).problems]
    assert not failed, "\n".join(map(tell, failed))


@pytest.mark.parametrize("bug", FOUND)
def test_what_a_seed_found_stays_fixed(bug: str) -> None:
    failed = [verdict for seed in FOUND[bug] if (verdict := run_seed(seed)).problems]
    assert not failed, "\n".join(map(tell, failed))


def test_the_last_error_of_a_lane_loses_no_record() -> None:
    verdict = run_seed(LAST_WORDS, switches=only("errors"))
    assert not verdict.problems, tell(verdict)
