"""What a decision of the pure core takes, by kind of step: compiled, warm, and without what is around it.

One decision is one event of one job: a grant that sends a task, or the result that ends a job. It is timed alone, with
the records of other jobs beside it in one store, as a partition has them.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.alone import loaded
from benchmarks.report import Report
from headrace.orchestrator.core.acceptance import submission_hash
from headrace.orchestrator.core.catalogue import WorkflowCatalogue
from headrace.orchestrator.core.effects import DispatchTask
from headrace.orchestrator.core.events import DispatchGranted, Event, JobSubmitted, TaskSucceeded
from headrace.orchestrator.core.machine import step
from headrace.orchestrator.core.state import Decision, StateRecord
from headrace.orchestrator.core.templates import render
from headrace.orchestrator.core.view import JobMemo, JobView
from headrace.orchestrator.core.work import Work
from headrace.orchestrator.service import environment_for
from headrace.runtime.garbage import collect_rarely
from headrace.schemas.messages import Result, Submission, Task

NOW_MS = 1_767_225_600_000
TOOL = {"kind": "noop", "arguments": {"type": "object", "required": ["word"]}, "side_effect": False}
POOLS = {
    "endpoints": {"here": {"adapter": "noop", "public": False}},
    "pools": {"noop": {"endpoint": "here", "model": "noop", "concurrency": 512}},
    "tools": {"echo": TOOL, "undo": {**TOOL, "idempotent": True}},
}
PROMPT = "Say what the customer wants, in one word: {{ input.word }}. " + "Be short, and name no reason. " * 4
LONG = "{{ input.title }}\n{% for line in input.lines %}- {{ line | trim }}\n{% endfor %}{{ input.question }}"
LONG_INPUT = {
    "title": "Notes",
    "lines": ["what was said in the meeting about prices " * 2] * 24,
    "question": "And now?",
}
LLM: dict[str, Any] = {"llm": {"pool": "noop", "prompt": PROMPT, "max_output_tokens": 50}}
CALL = {"pool": "noop", "prompt": PROMPT, "max_output_tokens": 50}
STEPS: dict[str, dict[str, Any]] = {
    "llm": LLM,
    "tool": {"tool": {"name": "echo", "arguments": {"word": "{{ input.word }}"}}},
    "for_each": {**LLM, "for_each": "{{ input.words }}"},
}
BESIDE: dict[str, dict[str, Any]] = {
    "plan": {"plan": {**CALL, "allowed": {"look": {"llm": CALL}}}},
    "agent": {"agent": {**CALL, "tools": ["echo"]}},
    "saga": {"saga": [{"name": "a", "tool": {"name": "echo", "arguments": {"word": "x"}}, "compensate": {
        "name": "undo", "arguments": {"word": "x"}}}]},
}  # fmt: skip


def run(quick: bool) -> Report:
    """Time decisions about 2,000 jobs of each kind of step, a prompt of 2 KB, and jobs beside a thousand others."""
    jobs = 1_000 if quick else 5_000
    collect_rarely()  # As the processes do.
    return Report({"dispatch": _dispatch(jobs), "rendering": _rendering(jobs), "beside": _beside(jobs)})


class Partition:
    """The records of one partition, and jobs that are decided on it."""

    def __init__(self) -> None:
        settings, file = loaded(POOLS)
        self._environment = environment_for(settings, file, WorkflowCatalogue(), None)
        self._records: dict[str, StateRecord] = {}
        self._views: dict[str, JobView] = {}

    def submit(self, job_id: str, spec: dict[str, Any]) -> None:
        """Accept a job of one step; what it may send waits for a grant."""
        workflow = {"name": "w", "version": 1, "steps": {"s": spec}, "output": "{{ s }}"}
        words = {"word": "refund", "words": ["refund"] * 4}
        submission = Submission(job_id=job_id, workflow=workflow, input=words)
        self._views[job_id] = JobView(job_id, 0, self._records.get, JobMemo(), self._environment)
        self.take(job_id, JobSubmitted(submission, submission_hash(submission), NOW_MS))

    def take(self, job_id: str, event: Event) -> tuple[float, Decision]:
        """Decide about an event, keep what changed, and return the seconds of the decision alone."""
        began = time.perf_counter()
        decision = step(self._views[job_id], event, NOW_MS)
        took = time.perf_counter() - began
        for key, record in decision.changes.items():
            if record is None:
                self._records.pop(key, None)
            else:
                self._records[key] = record
        return took, decision


def _task(decision: Decision) -> Task:
    return next(effect.task for effect in decision.effects if isinstance(effect, DispatchTask))


def _dispatch(jobs: int) -> dict[str, float | int]:
    """Time the grant that sends the first task of a job."""
    found: dict[str, float | int] = {"jobs": jobs}
    for name, spec in STEPS.items():
        partition, took = Partition(), []
        for number in range(jobs):
            job_id = f"{name}-{number}"
            partition.submit(job_id, spec)
            seconds, decision = partition.take(job_id, DispatchGranted("s", 1))
            assert _task(decision).job_id == job_id
            took.append(seconds)
        found |= _median(f"{name}_us", took)
    return found


def _rendering(texts: int) -> dict[str, float | int]:
    took, length = [], 0
    for _ in range(texts):
        work = Work()
        began = time.perf_counter()
        text = render(LONG, {"input": LONG_INPUT}, step="s", work=work)
        took.append(time.perf_counter() - began)
        length = len(text)
    return {"texts": texts, "characters": length, **_median("render_us", took)}


def _beside(jobs: int) -> dict[str, float | int]:
    """Time jobs of one task from their grant to their end: alone, and beside a thousand of another kind, by turns."""
    partitions = {"alone": Partition(), **{kind: Partition() for kind in BESIDE}}
    for kind, spec in BESIDE.items():
        for number in range(1_000):
            partitions[kind].submit(f"{kind}-{number}", spec)
            partitions[kind].take(f"{kind}-{number}", DispatchGranted("s", 1))
    took: dict[str, list[float]] = {kind: [] for kind in partitions}
    for number in range(jobs):
        for kind, partition in partitions.items():
            took[kind].append(_whole(partition, f"job-{number}"))
    alone = statistics.median(took["alone"])
    found: dict[str, float | int] = {"jobs": jobs, "alone_us": round(alone * 1e6, 1)}
    return found | {f"beside_{kind}": round(statistics.median(took[kind]) / alone, 3) for kind in BESIDE}


def _whole(partition: Partition, job_id: str) -> float:
    partition.submit(job_id, LLM)
    sent, decision = partition.take(job_id, DispatchGranted("s", 1))
    task = _task(decision)
    result = Result(task_id=task.task_id, job_id=job_id, attempt=1, output="refund", pool="noop", model="noop")
    ended, _ = partition.take(job_id, TaskSucceeded(result))
    return sent + ended


def _median(name: str, took: list[float]) -> dict[str, float | int]:
    warm = took[len(took) // 10 :]
    return {
        f"{name}_p50": round(statistics.median(warm) * 1e6, 1),
        f"{name}_p99": round(sorted(warm)[len(warm) * 99 // 100] * 1e6, 1),
    }
