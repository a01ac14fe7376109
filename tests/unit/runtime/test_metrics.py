"""Observations that are taken together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from headrace.runtime.metrics import BatchHistogram

BOUNDS = (0.001, 0.5, 1.0)


@given(st.lists(st.sampled_from(BOUNDS) | st.floats(0, 5), max_size=20))
def test_observations_that_are_taken_together_are_those_taken_one_by_one(amounts):
    registry = CollectorRegistry()
    together, single = (
        BatchHistogram(name, name, ("pool",), registry=registry, buckets=BOUNDS) for name in ("together", "single")
    )
    together.labels("p").observe_all(amounts)
    one_by_one = single.labels("p")
    for amount in amounts:
        one_by_one.observe(amount)
    for bound in ("0.001", "0.5", "1.0", "+Inf"):
        counted = [registry.get_sample_value(f"{n}_bucket", {"pool": "p", "le": bound}) for n in ("together", "single")]
        assert counted[0] == counted[1]
    assert registry.get_sample_value("together_sum", {"pool": "p"}) == sum(amounts)
