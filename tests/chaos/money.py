"""Whether each job's receipt holds every call that the provider got for it, and its budget what they cost. Pure."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.chaos.evidence import Call, Submitted

POOL = "http"


def unpaid(calls: Iterable[Call], outcomes: Mapping[str, bytes], submitted: Mapping[str, Submitted]) -> Iterator[str]:
    """Yield where a receipt has fewer attempts or less money than the provider's log, or a budget was exceeded.

    Args:
        calls: the provider's log. Of calls under one idempotency key the dearest counts: what is called twice is a
            matter of `duplicates`.
        outcomes: each job's outcome.
    """
    by_job: dict[str, dict[str, int]] = defaultdict(dict)
    for call in calls:
        costs = by_job[call.job_id]
        costs[call.key] = max(costs.get(call.key, 0), call.cost_microusd)
    for job_id, costs in by_job.items():
        if job_id not in outcomes:
            continue
        yield from _receipt(job_id, costs, json.loads(outcomes[job_id]).get("receipt", {}))
        known = submitted.get(job_id)
        budget = known.expects.budget_microusd if known else None
        if budget is not None and sum(costs.values()) > budget:
            yield f"{job_id} cost {sum(costs.values())} micro-dollars, its budget has {budget}"


def _receipt(job_id: str, costs: Mapping[str, int], receipt: Mapping[str, Any]) -> Iterator[str]:
    pools = receipt.get("pools", {})
    unconfirmed = receipt.get("unconfirmed", {})
    # What is out when the job ends is on the receipt as a whole, and on no pool's.
    out = unconfirmed.get("attempts", 0) - sum(
        pool.get("unconfirmed", {}).get("attempts", 0) for pool in pools.values()
    )
    attempts = pools.get(POOL, {}).get("attempts", 0) + out
    if attempts < len(costs):
        yield f"{job_id}: the provider was called for {len(costs)} attempts, the receipt knows {attempts}"
    settled = receipt.get("cost_microusd", 0) + unconfirmed.get("cost_microusd", 0)
    if settled < sum(costs.values()):
        yield f"{job_id}: the provider billed {sum(costs.values())} micro-dollars, the receipt has {settled}"
