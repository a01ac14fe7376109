"""The judges can fail: production code that is broken on purpose is caught, and the same seeds pass where it is not."""

from __future__ import annotations

import pytest

from tests.simulation.faults import only
from tests.simulation.run import run_seed
from tests.simulation.variants import VARIANTS, Variant

pytestmark = pytest.mark.slow  # Two seconds each while the known seeds know; a search takes longer.

WITHIN = 30
"""Seeds that are tried before the judges count as blind."""


@pytest.mark.parametrize("variant", VARIANTS, ids=[variant.name for variant in VARIANTS])
def test_a_core_that_is_broken_on_purpose_is_caught(variant: Variant) -> None:
    caught = variant.first_seed_caught(WITHIN)
    assert caught is not None, f"{WITHIN} seeds, and no judge noticed {variant.name}"
    sound = run_seed(caught.seed, switches=only(*variant.faults))
    assert not sound.problems, "the seed fails also where nothing is broken, so it shows nothing"
