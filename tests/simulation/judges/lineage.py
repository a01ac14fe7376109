"""The state's own history: one writer at a time, records that only move on, an attempt asked for once.

What a zombie commits, what is decided from memory that does not hold, what is decided twice: it all shows here, as a
record that goes back, an attempt that is dispatched again, or a writer that is not the partition's owner.
"""

from __future__ import annotations

from collections.abc import Iterator

from headrace.orchestrator.core.state import (
    OWNER_KEY,
    Cursor,
    JobHeader,
    Marker,
    Phase,
    StateRecord,
    TaskRecord,
    TaskStatus,
)
from tests.simulation.history import Attempt, Committed, History

Key = tuple[int, str]


def lineage(history: History) -> Iterator[str]:
    """Follow the records through all committed transactions."""
    held: dict[Key, StateRecord] = {}
    owners: dict[int, str] = {}
    asked: set[Attempt] = set()
    ended: set[str] = set()
    for each in history.committed:
        yield from _owners(each, owners)
        live: set[Attempt] = set()
        for partition, key, record in each.state:
            before = held.get((partition, key))
            yield from _moved_on(each, key, before, record, ended)
            if isinstance(record, TaskRecord) and record.status is TaskStatus.LIVE:
                attempt = (key.removeprefix("task/"), record.attempt)
                if not (isinstance(before, TaskRecord) and before.attempt == record.attempt):
                    live.add(attempt)
            if record is None:
                held.pop((partition, key), None)
            else:
                held[partition, key] = record
        over = {key.removeprefix("marker/") for _, key, _ in each.state if key.startswith("marker/")}
        sent = [(task["task_id"], task["attempt"], task["reply_partition"]) for task in each.tasks]
        for task_id, attempt, partition in sent:
            if (task_id, attempt) in asked:
                yield f"{task_id} attempt {attempt} was dispatched twice, the second time by {_who(each)}"
            asked.add((task_id, attempt))
            record = held.get((partition, f"task/{task_id}"))
            if record is None and task_id.split("/")[0] in over:
                continue  # The same batch ended its job and closed it; the order to cancel stands on ``control``.
            if not isinstance(record, TaskRecord) or record.attempt != attempt:
                yield f"{_who(each)} dispatched {task_id} attempt {attempt} and did not write it down"
        for attempt in each.nested:
            if attempt in asked:
                yield f"{attempt} was submitted twice, the second time by {_who(each)}"
            asked.add(attempt)
        for unsent in live - asked:
            yield f"{_who(each)} wrote down that {unsent} is out and did not dispatch it"
        yield from _counters(each, held)


def _who(each: Committed) -> str:
    return f"transaction {each.sequence} of {each.process}"


def _owners(each: Committed, owners: dict[int, str]) -> Iterator[str]:
    """Nobody writes to a partition but who took it over last."""
    for partition, key, _ in each.state:
        if key == OWNER_KEY:
            owners[partition] = each.process
    for partition in dict.fromkeys(partition for partition, _, _ in each.state):
        if owners.get(partition) != each.process:
            yield f"{_who(each)} wrote to state[{partition}], which {owners.get(partition)} owned"


def _moved_on(
    each: Committed, key: str, before: StateRecord | None, record: StateRecord | None, ended: set[str]
) -> Iterator[str]:
    """A record goes forward or away."""
    match record:
        case Cursor():
            if isinstance(before, Cursor) and record.offset < before.offset:
                yield f"{_who(each)} moved {key} back from {before.offset} to {record.offset}"
        case TaskRecord():
            yield from _task(each, key, before, record)
        case JobHeader():
            if before is None and record.spec.job_id in ended:
                yield f"{_who(each)} began {record.spec.job_id} again"
            if isinstance(before, JobHeader):
                if before.phase is Phase.CLOSING and record.phase is Phase.RUNNING:
                    yield f"{_who(each)} opened {record.spec.job_id} again"
                if any(record.step(name).ended < state.ended for name, state in before.steps):
                    yield f"{_who(each)} forgot finished tasks of {record.spec.job_id}"
        case Marker():
            job_id = key.removeprefix("marker/")
            if job_id in ended:
                yield f"{_who(each)} ended {job_id} a second time"
            ended.add(job_id)


def _task(each: Committed, key: str, before: StateRecord | None, record: TaskRecord) -> Iterator[str]:
    if not isinstance(before, TaskRecord):
        if record.attempt > 1 or record.status in (TaskStatus.DONE, TaskStatus.RETRYING):
            yield f"{_who(each)} began {key} as {record.status}, attempt {record.attempt}"
        return
    if before.ended and record.status is not before.status:
        yield f"{_who(each)} changed {key}, which had {before.status}"
    if record.attempt < before.attempt or record.attempt > before.attempt + 1:
        yield f"{_who(each)} moved {key} from attempt {before.attempt} to {record.attempt}"


def _counters(each: Committed, held: dict[Key, StateRecord]) -> Iterator[str]:
    """A header counts what its tasks' records say."""
    for partition, key, header in each.state:
        if not isinstance(header, JobHeader) or header.phase is not Phase.RUNNING:
            continue
        for name, state in header.steps:
            counts = dict.fromkeys(TaskStatus, 0)
            for index in range(state.next):
                record = held.get((partition, f"task/{header.spec.job_id}/{name}/{index}"))
                if isinstance(record, TaskRecord):
                    counts[record.status] += 1
            shown = (state.live, state.retrying, state.done, state.failed)
            found = tuple(counts[status] for status in (*TaskStatus,))
            if found != shown and any(found):
                yield f"{_who(each)}: {key} counts {name} as {shown}, its records say {found}"
