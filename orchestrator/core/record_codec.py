"""Between the records of ``state`` and their JSON. Short names, since a record is written for every task."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from hashlib import sha256
from operator import attrgetter
from typing import Any

from pydantic_core import from_json, to_json

from headrace.orchestrator.core.job_ending import Ending
from headrace.orchestrator.core.kept_route import KeptRoute
from headrace.orchestrator.core.kept_signal import KeptSignal
from headrace.orchestrator.core.owed import Owed
from headrace.orchestrator.core.parent import Parent
from headrace.orchestrator.core.record_types import check_types
from headrace.orchestrator.core.repair import Repair
from headrace.orchestrator.core.session_record import Session
from headrace.orchestrator.core.state import (
    OWNER_KEY,
    Cursor,
    InputPart,
    JobHeader,
    JobSpec,
    Marker,
    Owner,
    Phase,
    PoolSpent,
    StateRecord,
    StepState,
    StepStatus,
    TaskRecord,
    TaskStatus,
    WorkflowRecord,
    fields_besides,
)
from headrace.orchestrator.core.task_edit import TaskEdit
from headrace.orchestrator.core.told import Told
from headrace.schemas.agreement import check_ref
from headrace.schemas.errors import DecodeError, ErrorKind
from headrace.schemas.ids import JOB_ID, TASK_ID
from headrace.schemas.messages import AttemptNote, Failure, JobStatus, ObjectRef


def encode_record(record: StateRecord) -> bytes:
    """Return a record's compact JSON."""
    if type(record) is TaskRecord and _is_plain(record):
        output = "" if record.output is None else f',"o":{_text(record.output)}'
        return f'{{"s":"{record.status}","a":{record.attempt},"t":{record.at_ms}{output}}}'.encode()
    return to_json(_plain(record), inf_nan_mode="constants")


_text = json.encoder.encode_basestring


_others = attrgetter(*fields_besides("status", "attempt", "at_ms", "output"))
_NOTHING = _others(TaskRecord(TaskStatus.LIVE, 1, 0))


def _is_plain(record: TaskRecord) -> bool:
    """Whether a task has nothing but its status and perhaps a text, as nearly all: that needs no encoder."""
    return (record.output is None or type(record.output) is str) and _others(record) == _NOTHING


def _plain(record: StateRecord) -> Any:
    match record:
        case TaskRecord():
            return _task_plain(record)
        case JobHeader():
            return _header_plain(record)
        case Marker():
            return {
                "hash": record.content_hash,
                "status": record.status,
                "outcome": record.outcome,
                "at": record.at_ms,
                "due": record.due_ms,
                "cancelled": record.cancelled,
            }
        case KeptSignal():
            return _signal_plain(record)
        case Session():
            return {"jobs": record.jobs}
        case KeptRoute():
            return {"to": record.to, "due": record.due_ms}
        case InputPart() | WorkflowRecord():
            return {"text": record.text}
        case Owner():
            return {"id": record.transactional_id}
        case Cursor():
            return {"offset": record.offset}


def _task_plain(record: TaskRecord) -> dict[str, Any]:
    plain: dict[str, Any] = {"s": record.status.value, "a": record.attempt, "t": record.at_ms}
    if record.due_ms is not None:
        plain["due"] = record.due_ms
    if record.output is not None:
        plain["o"] = record.output
    if record.output_ref is not None:
        plain["ref"] = record.output_ref.model_dump()
    if record.truncated:
        plain["cut"] = True
    if record.failure is not None:
        plain["f"] = record.failure.model_dump(mode="json", exclude_none=True)
    if record.reserved is not None:
        plain["r"] = record.reserved
    if record.told is not None:
        plain["q"] = _slots(record.told)
    if record.free or record.owed or record.history or record.edit is not None:
        _add_troubles(plain, record)
    return plain


def _signal_plain(record: KeptSignal) -> dict[str, Any]:
    ref = record.payload_ref.model_dump() if record.payload_ref else None
    return {"at": record.at_ms, "arrived": record.arrived, "due": record.due_ms, "payload": record.payload, "ref": ref}


def _add_troubles(plain: dict[str, Any], record: TaskRecord) -> None:
    """Add what only a task has that did not go as it should: most have none of it."""
    counts = (record.free, record.kills, record.stops)
    if any(counts):
        plain["n"] = counts
    if record.cause:
        plain["c"] = record.cause
    if record.owed:
        plain["w"] = [[owed.attempt, owed.pool, owed.tokens, owed.cost_microusd] for owed in record.owed]
    if record.history:
        plain["h"] = [note.model_dump(mode="json") for note in record.history]
    if record.edit is not None:
        plain["e"] = {"pool": record.edit.pool, "messages": record.edit.messages}
    if record.redrives:
        plain["x"] = record.redrives
    if record.repair is not None:
        plain["m"] = [record.repair.answer, record.repair.problem]


def _header_plain(header: JobHeader) -> dict[str, Any]:
    spec = header.spec
    return {
        "job_id": spec.job_id,
        "workflow": spec.workflow,
        "workflow_sha256": spec.workflow_sha256,
        "content_hash": spec.content_hash,
        "tenant": spec.tenant,
        "lane": spec.lane,
        "priority": spec.priority,
        "sensitivity": spec.sensitivity,
        "submitted_at_ms": spec.submitted_at_ms,
        "accepted_at_ms": spec.accepted_at_ms,
        "tokens_rule": spec.tokens_rule,
        "deadline_ms": spec.deadline_ms,
        "labels": dict(spec.labels),
        "input_parts": spec.input_parts,
        "input_ref": spec.input_ref.model_dump() if spec.input_ref else None,
        "items": [spec.items_total, spec.items_parts],
        "phase": header.phase.value,
        "steps": {name: _slots(state) for name, state in header.steps},
        "spent": {pool: _slots(spent) for pool, spent in header.spent},
        "trace": dict(spec.trace),
        "budget": [spec.budget_microusd, spec.budget_tokens],
        "reserved": [header.reserved_microusd, header.reserved_tokens, header.blocked],
        "close": [header.close_step, header.close_index],
        **({"ending": [end.status, end.reason, end.message, dict(end.sagas)]} if (end := header.ending) else {}),
        **({"parent": [parent.task_id, parent.attempt, parent.depth]} if (parent := spec.parent) else {}),
    }


def _slots(value: StepState | PoolSpent | Told) -> dict[str, Any]:
    """Return the fields that differ from zero; a flat dataclass needs no deep copy."""
    return {name: item for name in value.__slots__ if (item := getattr(value, name)) not in (0, None, ())}


def decode_record(key: str, value: bytes) -> StateRecord:
    """Read a record of ``state``.

    Raises:
        DecodeError: the key is of no known kind, or the value is not what its kind needs.
    """
    kind = key.partition("/")[0]
    try:
        if not _KEYS[kind].fullmatch(key):
            raise ValueError("its key has another form")
        # pydantic's parser refuses what `json` takes: lone surrogates, NaN, and nesting that would end the stack.
        record: StateRecord = _decoders[kind](from_json(value, allow_inf_nan=False))
        check_types(record)
        _check_key(key, record)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        cause = f"{type(error).__name__}: {error}"[:500]
        raise DecodeError(f"state record {key[:120]!r} cannot be read: {cause}", kind="broken_state") from error
    return record


_JOB = JOB_ID.pattern
_STEP = "[A-Za-z][A-Za-z0-9_]{0,63}"
_KEYS = {
    "job": re.compile(f"job/{_JOB}"),
    "task": re.compile(f"task/{TASK_ID.pattern}"),
    "input": re.compile(f"input/{_JOB}/(0|[1-9][0-9]{{0,5}})"),
    "items": re.compile(f"items/{_JOB}/(0|[1-9][0-9]{{0,5}})"),
    "session": re.compile(f"session/{_JOB}"),
    "signal": re.compile(f"signal/{_JOB}/{_STEP}"),
    "routed": re.compile(f"routed/{_JOB}/[a-z0-9][a-z0-9-]{{0,99}}/{_STEP}"),
    "marker": re.compile(f"marker/{_JOB}"),
    "workflow": re.compile("workflow/[0-9a-f]{64}"),
    "owner": re.compile(OWNER_KEY),
    "cursor": re.compile("cursor/(jobs|results)"),
}
MAX_TASKS = 10_000_000
"""Of one step; what ends a job may look at each of them."""


def _check_key(key: str, record: StateRecord) -> None:
    """Check what a record and its key must agree on."""
    match record:
        case JobHeader():
            if record.spec.job_id != key.removeprefix("job/"):
                raise ValueError(f"it is the header of job {record.spec.job_id[:80]!r}")
            for name, state in record.steps:
                if not all(0 <= count <= MAX_TASKS for count in (state.total, state.next, state.done, state.failed)):
                    raise ValueError(f"the counters of step {name[:80]!r} count no tasks")
            if not (0 <= record.spec.items_total <= MAX_TASKS and 0 <= record.spec.items_parts <= MAX_TASKS):
                raise ValueError("its items by reference count none")
            if record.spec.input_ref is not None:
                check_ref(record.spec.input_ref)
        case Session() if not record.jobs:
            raise ValueError("it has no jobs")
        case TaskRecord() if record.output_ref is not None:
            check_ref(record.output_ref)
        case KeptSignal() if record.payload_ref is not None:
            check_ref(record.payload_ref)
        case WorkflowRecord():
            if sha256(record.text.encode()).hexdigest() != key.removeprefix("workflow/"):
                raise ValueError("its text is another one")
        case _:
            pass


def _header(plain: dict[str, Any]) -> JobHeader:
    return JobHeader(
        _spec(plain),
        phase=Phase(plain["phase"]),
        steps=tuple((name, _step(state)) for name, state in plain["steps"].items()),
        spent=tuple((pool, _spent(spent)) for pool, spent in plain["spent"].items()),
        reserved_microusd=plain["reserved"][0],
        reserved_tokens=plain["reserved"][1],
        blocked=plain["reserved"][2],
        close_step=plain["close"][0],
        close_index=plain["close"][1],
        ending=_ending(plain["ending"]) if "ending" in plain else None,
    )


def _ending(plain: list[Any]) -> Ending:
    status, reason, message, sagas = plain
    return Ending(JobStatus(status).value, None if reason is None else ErrorKind(reason).value, message,
                  tuple(sagas.items()))  # fmt: skip


def _spec(plain: dict[str, Any]) -> JobSpec:
    return JobSpec(
        job_id=plain["job_id"],
        workflow=plain["workflow"],
        workflow_sha256=plain["workflow_sha256"],
        content_hash=plain["content_hash"],
        tenant=plain["tenant"],
        lane=plain["lane"],
        priority=plain["priority"],
        sensitivity=plain["sensitivity"],
        submitted_at_ms=plain["submitted_at_ms"],
        accepted_at_ms=plain["accepted_at_ms"],
        tokens_rule=plain["tokens_rule"],
        deadline_ms=plain["deadline_ms"],
        labels=tuple(plain["labels"].items()),
        input_parts=plain["input_parts"],
        input_ref=ObjectRef(**plain["input_ref"]) if plain["input_ref"] else None,
        items_total=plain.get("items", (0, 0))[0],
        items_parts=plain.get("items", (0, 0))[1],
        trace=tuple(plain["trace"].items()),
        budget_microusd=plain["budget"][0],
        budget_tokens=plain["budget"][1],
        parent=Parent(*plain["parent"]) if "parent" in plain else None,
    )


def _step(plain: dict[str, Any]) -> StepState:
    return StepState(**{**plain, "status": StepStatus(plain["status"])})


def _spent(plain: dict[str, Any]) -> PoolSpent:
    return PoolSpent(**{**plain, "models": tuple(plain.get("models", ()))})


def _task(plain: dict[str, Any]) -> TaskRecord:
    failure = plain.get("f")
    record = TaskRecord(
        status=TaskStatus(plain["s"]),
        attempt=plain["a"],
        at_ms=plain["t"],
        due_ms=plain.get("due"),
        output=plain.get("o"),
        output_ref=ObjectRef(**plain["ref"]) if "ref" in plain else None,
        truncated=plain.get("cut", False),
        failure=Failure(**{**failure, "kind": ErrorKind(failure["kind"])}) if failure else None,
        reserved=(plain["r"][0], plain["r"][1]) if "r" in plain else None,
        told=Told(**plain["q"]) if "q" in plain else None,
    )
    return _with_troubles(record, plain) if "n" in plain or "w" in plain or "h" in plain or "e" in plain else record


def _with_troubles(record: TaskRecord, plain: dict[str, Any]) -> TaskRecord:
    free, kills, stops = plain.get("n", (0, 0, 0))
    edit = plain.get("e")
    messages = edit["messages"] if edit else None
    return replace(
        record,
        free=free,
        kills=kills,
        stops=stops,
        cause=plain.get("c", ""),
        redrives=plain.get("x", 0),
        repair=Repair(*plain["m"]) if "m" in plain else None,
        owed=tuple(Owed(*owed) for owed in plain.get("w", ())),
        history=tuple(AttemptNote(**note) for note in plain.get("h", ())),
        edit=TaskEdit(edit["pool"], None if messages is None else tuple((r, c) for r, c in messages)) if edit else None,
    )


def _signal(plain: dict[str, Any]) -> KeptSignal:
    ref = ObjectRef(**plain["ref"]) if plain["ref"] else None
    return KeptSignal(plain["at"], plain["arrived"], plain["due"], plain["payload"], ref)


def _marker(plain: dict[str, Any]) -> Marker:
    return Marker(
        plain["hash"], plain["status"], plain["outcome"], plain["at"], plain["due"], cancelled=plain["cancelled"]
    )


_decoders: dict[str, Any] = {
    "job": _header,
    "task": _task,
    "input": lambda plain: InputPart(plain["text"]),
    "items": lambda plain: InputPart(plain["text"]),
    "session": lambda plain: Session(tuple(plain["jobs"])),
    "signal": _signal,
    "routed": lambda plain: KeptRoute(plain["to"], plain["due"]),
    "marker": _marker,
    "workflow": lambda plain: WorkflowRecord(plain["text"]),
    "owner": lambda plain: Owner(plain["id"]),
    "cursor": lambda plain: Cursor(plain["offset"]),
}
