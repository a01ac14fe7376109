"""A signal comes in: kept for the step that waits for it or will, repeated, or of no use."""

from __future__ import annotations

from headrace.orchestrator.core.effects import Ignore
from headrace.orchestrator.core.events import Signalled
from headrace.orchestrator.core.json_schema import findings
from headrace.orchestrator.core.json_value import json_problem
from headrace.orchestrator.core.kept_signal import KeptSignal, signal_key
from headrace.orchestrator.core.outcome import end_job
from headrace.orchestrator.core.problems import suggestion
from headrace.orchestrator.core.progress import advance
from headrace.orchestrator.core.state import Phase, StepStatus
from headrace.orchestrator.core.steps import OnErrorMode, Step
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.waits import give_up, kept, over
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import JobStatus


def signalled(turn: Turn, event: Signalled) -> None:
    """Keep the first signal that fits, also before its step waits; there is one place for each waiting step."""
    header = turn.header_or_none()
    if header is None or header.phase is not Phase.RUNNING:
        if header is None and turn.marker() is None:
            turn.set_aside("unknown_job", f"no job {turn.job_id} to signal")
        else:
            turn.set_aside("job_over", f"job {turn.job_id} ended before signal {event.name[:100]!r} came")
        return
    step = turn.graph.waiting_for(event.name)
    if step is None:
        known = suggestion(event.name, turn.graph.signals)
        turn.set_aside("unknown_signal", f"no step of {turn.graph.ref} waits for {event.name[:100]!r}{known}")
        return
    found, status = kept(turn, step), turn.step_state(step.name).status
    if found is not None and found.arrived:
        turn.effect(Ignore("repeated_signal"))
    elif status is StepStatus.DONE:
        turn.set_aside("signal_too_late", f"step {step.name} of job {turn.job_id} waits no longer for {event.name!r}")
    elif problem := _problem(turn, step, event):
        turn.set_aside("invalid_signal", f"signal {event.name!r} does not fit step {step.name}: {problem}"[:2_000])
    else:
        turn.put(signal_key(turn.job_id, step.name), _record(turn, event))
        turn.announce("signal.received", step=step.name, signal=event.name)
        if status is StepStatus.RUNNING:
            over(turn, step)
            advance(turn)


def waited_long_enough(turn: Turn, record: KeptSignal, step_name: str) -> None:
    """End a wait whose time is over, and the job with it where it cannot do without."""
    header = turn.header_or_none()
    if header is None or header.phase is not Phase.RUNNING:
        turn.effect(Ignore("job_over"))
        return
    step = turn.graph.step(step_name)
    give_up(turn, step, record)
    if step.on_error.mode is OnErrorMode.FAIL and step.wait is not None:
        message = f"step {step.name}: no signal {step.wait.signal!r} within {step.wait.timeout_ms / 1_000:g} s"
        end_job(turn, JobStatus.FAILED, ErrorKind.TIMEOUT, message)
        return
    over(turn, step)
    advance(turn)


def _problem(turn: Turn, step: Step, event: Signalled) -> str:
    """Return what is wrong with a signal's payload; empty where nothing is."""
    assert step.wait is not None
    if found := json_problem(event.payload):
        return f"{found[0] or 'payload'}: {found[1]}"
    if wrong := findings(step.wait.schema, event.payload):
        return "; ".join(wrong)
    limits = turn.environment.limits
    if not turn.environment.objects and len(canonical_json(event.payload)) > limits.inline_bytes:
        return f"a payload above {limits.inline_bytes:,} bytes needs an object store: install the extra `objects`"
    return ""


def _record(turn: Turn, event: Signalled) -> KeptSignal:
    data = canonical_json(event.payload)
    if len(data) <= turn.environment.limits.item_inline_bytes or not turn.environment.objects:
        return KeptSignal(turn.now_ms, arrived=True, payload=event.payload)
    return KeptSignal(turn.now_ms, arrived=True, payload_ref=turn.store(data))
