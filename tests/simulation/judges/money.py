"""Guarantee 3: money is counted once an attempt, and a budget is never exceeded, not even for a moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from headrace.orchestrator.core.state import Cursor, JobHeader, Phase, StateRecord, TaskRecord, TaskStatus, cursor_key
from headrace.schemas.messages import JobStatus, Outcome
from tests.simulation.history import Attempt, Committed, History
from tests.simulation.nesting import nests

Settled = dict[Attempt, int]
"""Attempts whose result was booked, and up to which offset results had been read by then."""


def money(history: History) -> Iterator[str]:
    """Follow the headers, then look at the receipts."""
    held: dict[str, StateRecord] = {}
    settled: Settled = {}
    last: Settled = {}
    """Attempts of jobs that were closed in the transaction that ended them: of their last results no record tells."""
    read: dict[int, int] = {}
    for each in history.committed:
        ended = {key.removeprefix("marker/") for _, key, _ in each.state if key.startswith("marker/")}
        for partition, key, record in each.state:
            if key == cursor_key("results") and isinstance(record, Cursor):
                read[partition] = record.offset
        for partition, key, record in each.state:
            before = held.get(key)
            if isinstance(before, TaskRecord) and isinstance(record, TaskRecord):
                attempts = _settled(key.removeprefix("task/"), before, record)
                settled.update(dict.fromkeys(attempts, read.get(partition, 0)))
            if isinstance(before, TaskRecord) and record is None and key.split("/")[1] in ended:
                last.update(dict.fromkeys(_open(key.removeprefix("task/"), before), read.get(partition, 0)))
            if record is None:
                held.pop(key, None)
            else:
                held[key] = record
        yield from _headers(each, held)
    yield from _receipts(history, settled, last)


def _open(task_id: str, record: TaskRecord) -> list[Attempt]:
    """Return the attempts of a task whose result would still be booked."""
    out = [record.attempt] if record.status is TaskStatus.LIVE else []
    return [(task_id, attempt) for attempt in (*out, *(owed.attempt for owed in record.owed))]


def _settled(task_id: str, before: TaskRecord, record: TaskRecord) -> list[Attempt]:
    """Return the attempts that a change of a task's record settled."""
    owed = {each.attempt for each in record.owed}
    found = [(task_id, each.attempt) for each in before.owed if each.attempt not in owed]
    left = before.status is TaskStatus.LIVE and (record.status, record.attempt) != (TaskStatus.LIVE, before.attempt)
    if left and before.attempt not in owed:
        found.append((task_id, before.attempt))
    return found


def _headers(each: Committed, held: dict[str, StateRecord]) -> Iterator[str]:
    for _, key, header in each.state:
        if not isinstance(header, JobHeader):
            continue
        where = f"{key} in transaction {each.sequence}"
        tokens = sum(s.input_tokens + s.output_tokens + s.unconfirmed_tokens for _, s in header.spent)
        microusd = sum(s.cost_microusd + s.unconfirmed_microusd for _, s in header.spent)
        if header.spec.budget_tokens is not None and tokens + header.reserved_tokens > header.spec.budget_tokens:
            yield f"{where}: {tokens} tokens spent, {header.reserved_tokens} reserved of {header.spec.budget_tokens}"
        most = header.spec.budget_microusd
        if most is not None and microusd + header.reserved_microusd > most:
            yield f"{where}: {microusd} spent, {header.reserved_microusd} reserved of {most}"
        reserved = (header.reserved_tokens, header.reserved_microusd)
        if header.phase is Phase.RUNNING and reserved != (out := _reserved(header, held)):
            yield f"{where}: {reserved} reserved where the attempts that are out make {out}"


def _reserved(header: JobHeader, held: dict[str, StateRecord]) -> tuple[int, int]:
    tokens = microusd = 0
    for name, state in header.steps:
        for index in range(state.next):
            record = held.get(f"task/{header.spec.job_id}/{name}/{index}")
            if isinstance(record, TaskRecord) and record.status is TaskStatus.LIVE and record.reserved:
                tokens += record.reserved[0]
                microusd += record.reserved[1]
    return tokens, microusd


def _receipts(history: History, settled: Settled, last: Settled) -> Iterator[str]:
    """Every attempt stands on the receipt once, at what its result says, or among those of unknown fate.

    Results are booked in the order of the log until the job is over. So of the last ones, which were read in the batch
    that ended it, some of the first are booked and none after them.
    """
    asked = Counter(task_id.split("/")[0] for task_id, _ in history.dispatched)
    paid: Counter[str] = Counter()
    for attempt, read_to in settled.items():
        paid[attempt[0].split("/")[0]] += _cost(history, attempt, read_to)
    for job_id, records in history.outcomes.items():
        outcome = Outcome.model_validate_json(records[0][0].value() or b"")
        if outcome.status is JobStatus.REJECTED:
            continue
        receipt = outcome.receipt
        known = receipt.attempts - sum(pool.unconfirmed.attempts for pool in receipt.pools.values())
        below = any(nests(each) for each in history.submissions.get(job_id, ()))
        if not below and known + receipt.unconfirmed.attempts != asked[job_id]:
            booked = f"{known} known and {receipt.unconfirmed.attempts} unconfirmed attempts"
            yield f"{job_id}: the receipt has {booked}, {asked[job_id]} were dispatched"
        if receipt.cost_microusd not in _sums(history, paid[job_id], job_id, last):
            yield f"{job_id}: the receipt says {receipt.cost_microusd}, its results cost {paid[job_id]}"


def _sums(history: History, paid: int, job_id: str, last: Settled) -> list[int]:
    """Return what the job may have cost: what is known to be booked, and with it one after the other of the last."""
    found = [
        _settling(history, attempt, read_to) for attempt, read_to in last.items() if attempt[0].split("/")[0] == job_id
    ]
    costs = [cost for _, cost in sorted(each for each in found if each is not None)]
    return list(accumulate(costs, initial=paid))


def _cost(history: History, attempt: Attempt, read_to: int) -> int:
    """Return what an attempt is booked at that is settled."""
    found = _settling(history, attempt, read_to)
    return found[1] if found is not None else 0


def _settling(history: History, attempt: Attempt, read_to: int) -> tuple[int, int] | None:
    """Return offset and cost of the result that settles an attempt: the first one read by then that knows its fate."""
    for offset, result in history.results.get(attempt, ()):
        unknown = result.get("unconfirmed", False) or (result.get("failure") or {}).get("kind") == "interrupted"
        if offset < read_to and not unknown:
            return offset, int(result.get("cost_microusd", 0))
    return None
