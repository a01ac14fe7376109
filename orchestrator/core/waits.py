"""Steps that wait for a signal: how they begin, and what they come to."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from headrace.orchestrator.core.kept_signal import KeptSignal, signal_key
from headrace.orchestrator.core.payloads import PayloadLost
from headrace.orchestrator.core.steps import OnErrorMode, Step
from headrace.orchestrator.core.turn import Turn


def kept(turn: Turn, step: Step) -> KeptSignal | None:
    """Return what is known of the signal that a step waits for."""
    record = turn.record(signal_key(turn.job_id, step.name))
    return record if isinstance(record, KeptSignal) else None


def begin(turn: Turn, step: Step) -> None:
    """Begin to wait, unless the signal is here already. The step has one thing to be done: to have it."""
    assert step.wait is not None
    if (found := kept(turn, step)) is not None and found.arrived:
        over(turn, step)
        return
    due_ms = turn.now_ms + step.wait.timeout_ms
    turn.put(signal_key(turn.job_id, step.name), KeptSignal(turn.now_ms, due_ms=due_ms))
    turn.announce("wait.started", step=step.name, signal=step.wait.signal, until_ms=due_ms)


def over(turn: Turn, step: Step) -> None:
    """Note that a step waits no longer: `progress` finishes it."""
    turn.set_step(step.name, turn.step_state(step.name).moved(done=1))


def give_up(turn: Turn, step: Step, record: KeptSignal) -> None:
    """Note that a step's time is over."""
    turn.put(signal_key(turn.job_id, step.name), replace(record, due_ms=None))
    turn.announce("wait.timed_out", step=step.name, signal=step.wait.signal if step.wait else "")


def missed(turn: Turn, step: Step) -> bool:
    """Return whether a step that is done waited in vain."""
    found = kept(turn, step) if step.wait is not None else None
    return found is not None and not found.arrived and found.due_ms is None


def waited_value(turn: Turn, step: Step) -> Any:
    """Return what the signal brought, or what stands in for it.

    Raises:
        PayloadLost: it lay in the object store.
        DependencyUnavailable: it cannot be read now.
    """
    found = kept(turn, step)
    if found is None or not found.arrived:
        return step.on_error.value if step.on_error.mode is OnErrorMode.DEFAULT else None
    if found.payload_ref is None:
        return found.payload
    try:
        return json.loads(turn.load(found.payload_ref))
    except (ValueError, RecursionError):
        raise PayloadLost(f"object {found.payload_ref.key} holds no JSON") from None
