"""Guarantee 3: money is counted once an attempt, and a budget is never exceeded, not even for a moment."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.orchestrator.core.state import JobHeader, Phase, StateRecord, TaskRecord, TaskStatus
from headrace.schemas.messages import JobStatus, Outcome
from tests.simulation.history import Attempt, Committed, History


def money(history: History) -> Iterator[str]:
    """Follow the headers, then look at the receipts."""
    held: dict[str, StateRecord] = {}
    answered: dict[Attempt, None] = {}
    """Attempts of which the record says that their result was taken."""
    for each in history.committed:
        for _, key, record in each.state:
            before = held.get(key)
            if isinstance(before, TaskRecord) and before.status is TaskStatus.LIVE and isinstance(record, TaskRecord):
                answered[key.removeprefix("task/"), before.attempt] = None
            if record is None:
                held.pop(key, None)
            else:
                held[key] = record
        yield from _headers(each, held)
    yield from _receipts(history, answered)


def _headers(each: Committed, held: dict[str, StateRecord]) -> Iterator[str]:
    for _, key, header in each.state:
        if not isinstance(header, JobHeader):
            continue
        where = f"{key} in transaction {each.sequence}"
        tokens = sum(spent.input_tokens + spent.output_tokens for _, spent in header.spent)
        microusd = sum(spent.cost_microusd for _, spent in header.spent)
        if header.budget_tokens is not None and tokens + header.reserved_tokens > header.budget_tokens:
            yield f"{where}: {tokens} tokens spent, {header.reserved_tokens} reserved of {header.budget_tokens}"
        if header.budget_microusd is not None and microusd + header.reserved_microusd > header.budget_microusd:
            yield f"{where}: {microusd} spent, {header.reserved_microusd} reserved of {header.budget_microusd}"
        reserved = (header.reserved_tokens, header.reserved_microusd)
        if header.phase is Phase.RUNNING and reserved != (out := _reserved(header, held)):
            yield f"{where}: {reserved} reserved where the attempts that are out make {out}"


def _reserved(header: JobHeader, held: dict[str, StateRecord]) -> tuple[int, int]:
    tokens = microusd = 0
    for name, state in header.steps:
        for index in range(state.next):
            record = held.get(f"task/{header.job_id}/{name}/{index}")
            if isinstance(record, TaskRecord) and record.status is TaskStatus.LIVE and record.reserved:
                tokens += record.reserved[0]
                microusd += record.reserved[1]
    return tokens, microusd


def _receipts(history: History, answered: dict[Attempt, None]) -> Iterator[str]:
    """What a receipt says is the sum over the attempts that were answered, each once."""
    by_job: dict[str, list[Attempt]] = {}
    for attempt in answered:
        by_job.setdefault(attempt[0].split("/")[0], []).append(attempt)
    for job_id, records in history.outcomes.items():
        outcome = Outcome.model_validate_json(records[0][0].value() or b"")
        if outcome.status is JobStatus.REJECTED:
            continue
        taken = by_job.get(job_id, [])
        receipt = outcome.receipt
        if receipt.attempts != len(taken):
            yield f"{job_id}: the receipt has {receipt.attempts} attempts, the records say {len(taken)}"
        paid = sum(history.first_results.get(each, {}).get("cost_microusd", 0) for each in taken)
        if receipt.cost_microusd != paid:
            yield f"{job_id}: the receipt says {receipt.cost_microusd}, its results cost {paid}"
