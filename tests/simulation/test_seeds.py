"""Seeds that CI runs, and every seed that once found a bug."""

from __future__ import annotations

import pytest

from tests.simulation.__main__ import tell
from tests.simulation.run import run_seed

SEEDS, CHUNK = 300, 10


@pytest.mark.parametrize("first", range(1, SEEDS + 1, CHUNK))
def test_no_judge_sees_a_broken_promise(first: int) -> None:
    failed = [verdict for seed in range(first, first + CHUNK) if (verdict := run_seed(seed)).problems]
    assert not failed, "\n".join(map(tell, failed))
