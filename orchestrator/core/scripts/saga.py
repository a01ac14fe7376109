"""``saga``: calls of services one after the other; where one fails for good, those before it are undone.

Stages: each call, then each compensation, the last call's first, all by themselves. Every one is a task of its own, so
that it is done once in effect: its id is the idempotency key of all its attempts. A job that would end while a saga
runs waits for it: its header then has an `Ending`, no call goes forward, the one that is out is waited for, and
all that was done is undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headrace.orchestrator.core.scripts.run import Answer, Call, Failed, Finished, News, Run, Stage, Verdict
from headrace.orchestrator.core.scripts.saga_plan import SagaEntry, SagaPlan
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, PatternReceipt

Done = list[tuple[SagaEntry, Answer]]


def decide(plan: SagaPlan, run: Run) -> Verdict:
    """Say what follows."""
    left = [stage[0] for stage in run.past]
    ending = run.turn.header.ending
    begun = None if ending is None else ending.begun(run.step.name)
    done: Done = []
    for entry in plan.entries[:begun]:
        if not left:
            return Stage((Call(tool=entry.tool, names=_names(done)),))
        answer = left.pop(0)
        if not answer.good:
            failure = answer.failure
            return _undo(done, left, failure.model_copy(update={"message": f"{entry.name} failed: {failure.message}"}))
        done.append((entry, answer))
    if begun is None:
        return Finished(_value(done))
    return _undo(done, left, Failure(kind=ErrorKind.CANCELLED, message="its job ended"))


def _undo(done: Done, left: list[Answer], failure: Failure) -> Verdict:
    """Undo what was done, the last first; what cannot be undone does not keep the rest from it."""
    undone: list[str] = []
    failed: list[str] = []
    news: tuple[News, ...] = (News("saga.compensating", "", {"reason": failure.message[:500]}),)
    for at in reversed(range(len(done))):
        entry = done[at][0]
        if entry.compensate is None:
            continue
        if not left:
            call = Call(tool=entry.compensate, names=_names(done[: at + 1]), compulsory=True)
            return Stage((call,), news)
        answer = left.pop(0)
        (undone if answer.good else failed).append(entry.name)
        news = (_told(entry.name, answer),)
    said = [failure.message]
    if undone:
        said.append(f"compensated: {', '.join(undone)}")
    if failed:
        said.append(f"compensation failed: {', '.join(failed)} (see the dead letters)")
    news = news if undone or failed else ()
    receipt = PatternReceipt(compensated=len(undone), uncompensated=len(failed))
    return Failed(failure.model_copy(update={"message": "; ".join(said)[:2_000]}), news, receipt)


def _told(name: str, answer: Answer) -> News:
    if answer.good:
        return News("saga.compensated", name, {"name": name})
    return News("saga.compensation_failed", name, {"name": name, "reason": answer.failure.message[:500]})


def _names(done: Done) -> Callable[[], Mapping[str, Any]]:
    known = list(done)
    return lambda: {entry.name: answer.value() for entry, answer in known}


def _value(done: Done) -> Callable[[], Any]:
    return lambda: {entry.name: answer.value() for entry, answer in done}
