"""A job is submitted: known already, refused, or written down and begun."""

from __future__ import annotations

from dataclasses import replace

from headrace.orchestrator.core.admission import Accepted, admit
from headrace.orchestrator.core.events import (
    JobRefused,
    JobSubmitted,
)
from headrace.orchestrator.core.inputs import is_same, read_input
from headrace.orchestrator.core.nested_answer import answer_parent, as_parent, refuse_parent
from headrace.orchestrator.core.outcome import end_job, marker_outcome, refuse_job, repeat_outcome
from headrace.orchestrator.core.parent import Parent
from headrace.orchestrator.core.progress import advance
from headrace.orchestrator.core.sessions import join
from headrace.orchestrator.core.state import (
    INPUT_PART_BYTES,
    InputPart,
    JobHeader,
    JobSpec,
    StepState,
    WorkflowRecord,
    input_key,
    items_key,
    workflow_key,
)
from headrace.orchestrator.core.turn import Turn
from headrace.schemas.codec import encode
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, JobStatus


def submitted(turn: Turn, event: JobSubmitted) -> None:
    if _known(turn, event):
        return
    given = read_input(turn, event.submission)
    if isinstance(given, Failure):
        refuse_job(turn, event, given.kind, given.message)
        return
    event = replace(event, content_hash=given.content_hash or event.content_hash)
    verdict = admit(event.submission, given.value, turn.environment, job_id=turn.job_id)
    if isinstance(verdict, Failure):
        refuse_job(turn, event, verdict.kind, verdict.message)
        return
    if verdict.graph.in_turn and (full := join(turn)) is not None:
        refuse_job(turn, event, full.kind, full.message)
        return
    _write_job(turn, event, verdict)
    turn.announce("job.accepted", workflow=verdict.graph.ref, tenant=event.submission.tenant)
    if event.submission.deadline is not None and (turn.header.spec.deadline_ms or 0) <= turn.now_ms:
        end_job(turn, JobStatus.EXPIRED, ErrorKind.DEADLINE_EXCEEDED, "the deadline had passed before the job was read")
        return
    advance(turn)


def refused(turn: Turn, event: JobRefused) -> None:
    if not _known(turn, event):
        refuse_job(turn, event, event.kind, event.message)


def _known(turn: Turn, event: JobSubmitted | JobRefused) -> bool:
    """Answer a submission whose id is in use or spent; return whether it was."""
    marker, header = turn.marker(), turn.header_or_none()
    if marker is None and header is None:
        return False
    parent, trace = (event.submission.parent, event.trace) if isinstance(event, JobSubmitted) else (None, ())
    content_hash = marker.content_hash if marker is not None else turn.header.spec.content_hash
    if marker is not None and not marker.outcome:
        turn.set_aside("outcome_lost", f"job {turn.job_id} ended before; its outcome stands on topic outcomes only")
    elif content_hash and not is_same(turn, event, content_hash):
        if parent is not None:
            refuse_parent(turn, parent, f"the id of nested job {turn.job_id} is taken by another job", trace)
        turn.set_aside("job_conflict", f"job {turn.job_id} was submitted before with another workflow or input")
    elif marker is not None and parent is not None:
        answer_parent(turn, Parent(parent.task_id, parent.attempt, parent.depth), marker_outcome(marker), trace)
    elif marker is not None:
        repeat_outcome(turn, marker, trace)
    else:
        turn.announce("job.resubmitted", subject=str(turn.now_ms))
    return True


def _write_job(turn: Turn, event: JobSubmitted, accepted: Accepted) -> None:
    submission, graph = event.submission, accepted.graph
    parts, ref = _cut(accepted.input_text), None
    if len(accepted.input_text.encode()) > turn.environment.limits.inline_bytes and turn.environment.objects:
        # A copy under its own address, also of what came by reference: nobody else changes or deletes that.
        parts, ref = [], turn.store(accepted.input_text.encode())
    for number, text in enumerate(parts):
        turn.put(input_key(turn.job_id, number), InputPart(text))
    items = _cut(encode(submission.items).decode()) if submission.items is not None else []
    for number, text in enumerate(items):
        turn.put(items_key(turn.job_id, number), InputPart(text))
    if turn.record(workflow_key(graph.sha256)) is None:
        turn.put(workflow_key(graph.sha256), WorkflowRecord(graph.canonical.decode()))
    spending = submission.budget
    spec = JobSpec(
        job_id=turn.job_id,
        workflow=graph.ref,
        workflow_sha256=graph.sha256,
        content_hash=event.content_hash,
        tenant=submission.tenant,
        lane=submission.lane.value,
        priority=submission.priority,
        sensitivity=submission.sensitivity.value,
        submitted_at_ms=event.submitted_at_ms,
        accepted_at_ms=turn.now_ms,
        tokens_rule=turn.environment.tokens_rule,
        deadline_ms=int(submission.deadline.timestamp() * 1000) if submission.deadline else None,
        labels=tuple(submission.labels.items()),
        input_parts=len(parts),
        input_ref=ref,
        items_total=submission.items.total if submission.items is not None else 0,
        items_parts=len(items),
        trace=tuple((name, value.decode("ascii", "replace")) for name, value in event.trace),
        budget_microusd=spending.microusd if spending else None,
        budget_tokens=spending.tokens if spending else None,
        parent=as_parent(submission.parent),
    )
    turn.header = JobHeader(spec, steps=tuple((graph_step.name, StepState()) for graph_step in graph.steps))


def _cut(text: str) -> list[str]:
    """Cut a text so that no part is above 256 KB in UTF-8 (a character takes at most four bytes)."""
    size = INPUT_PART_BYTES // 4
    return [text[start : start + size] for start in range(0, len(text), size)]
