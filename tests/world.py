"""One job's world without Kafka: records in a dict, a window, and an answer for each task. Drives the real machine."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import Any

from headrace.orchestrator.core.acceptance import submission_hash
from headrace.orchestrator.core.effects import (
    AnswerParent,
    DispatchTask,
    Effect,
    EmitOutcome,
    StoreObject,
    SubmitNested,
)
from headrace.orchestrator.core.events import (
    CancelRequested,
    ClosingResumed,
    DispatchGranted,
    Event,
    JobSubmitted,
    TaskFailed,
    TaskSucceeded,
    TimerFired,
)
from headrace.orchestrator.core.graph import Graph, compile_workflow
from headrace.orchestrator.core.machine import standing, step
from headrace.orchestrator.core.record_codec import decode_record, encode_record
from headrace.orchestrator.core.session_record import Session
from headrace.orchestrator.core.state import Decision, JobHeader, Phase, StateRecord, job_key
from headrace.orchestrator.core.view import Environment, JobMemo, JobView, Limits
from headrace.orchestrator.core.window import DispatchWindow
from headrace.schemas.codec import decode, encode
from headrace.schemas.errors import ContractError, DependencyUnavailable
from headrace.schemas.messages import ItemsPart, ItemsRef, ObjectRef, Outcome, Result, Submission, Task, Usage
from headrace.schemas.object_keys import claim_check
from headrace.schemas.pools import Pool, Price

POOLS = {
    "small": Pool(endpoint="local", model="small", price=Price(input=100_000, output=400_000)),
    "large": Pool(endpoint="local", model="large", price=Price(input=1_000_000, output=4_000_000)),
    "tiny": Pool(endpoint="local", model="tiny", context_tokens=64),
    "embed": Pool(endpoint="local", model="embed", serves="embeddings", price=Price(input=100_000)),
}

Answer = Callable[[Task], Result]


def echo(task: Task) -> Result:
    """Answer with the last message, as the noop pool does."""
    assert task.call is not None
    return Result(
        task_id=task.task_id,
        job_id=task.job_id,
        attempt=task.attempt,
        output=task.call.messages[-1].content,
        usage=Usage(input_tokens=10, output_tokens=2),
        cost_microusd=3,
        pool=task.pool,
        model=task.pool,
    )


@dataclass
class World:
    """The committed records of one partition, and what came out of it."""

    workflows: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    pools: Mapping[str, Pool] = field(default_factory=lambda: POOLS)
    tools: Mapping[str, Any] | None = None
    public_pools: tuple[str, ...] = ()
    pool_window: int = 4_096
    now_ms: int = 1_000_000

    def __post_init__(self) -> None:
        self.records: dict[str, StateRecord] = {}
        self.objects: dict[str, bytes] = {}
        self.down = False
        """Whether the object store does not answer."""
        self.loaded: list[str] = []
        """Keys of objects that decisions read, in order."""
        self.memos: dict[str, JobMemo] = {}
        self.window = DispatchWindow(self.pool_window)
        self.tasks: list[Task] = []
        """Dispatched, not yet answered."""
        self.dispatched: list[Task] = []
        self.effects: list[Effect] = []
        self.posted: list[SubmitNested | AnswerParent] = []
        """Between nested jobs and their parents, on the way."""
        self.touched: list[int] = []
        """Records changed by each decision."""
        self.environment = Environment(
            pools=self.pools,
            limits=self.limits,
            resolve=self._resolve,
            compile=cache(self._compile),
            load=self._load,
            counters={"chars4": lambda text: -(-len(text) // 4)},
            tokens_rule="chars4",
            public_pools=self.public_pools,
        )

    def _load(self, ref: ObjectRef) -> bytes:
        if self.down:
            raise DependencyUnavailable("the store does not answer")
        if ref.key not in self.objects:
            raise ContractError(f"object {ref.key} is not in the world", "was it swept?", kind="gone")
        self.loaded.append(ref.key)
        data = self.objects[ref.key]
        if sha256(data).hexdigest() != ref.sha256:
            raise ContractError(f"object {ref.key} is not what its reference says", kind="checksum")
        return data

    def keep(self, data: bytes) -> ObjectRef:
        """Lay an object into the store, as a producer does."""
        ref = claim_check(data)
        self.objects[ref.key] = data
        return ref

    def keep_items(self, *parts: Sequence[Any]) -> ItemsRef:
        """Lay items into the store, each list as one part."""
        return ItemsRef(parts=tuple(self._keep_part(items) for items in parts))

    def _keep_part(self, items: Sequence[Any]) -> ItemsPart:
        ref = self.keep(b"".join(json.dumps(item).encode() + b"\n" for item in items))
        return ItemsPart(key=ref.key, size_bytes=ref.size_bytes, sha256=ref.sha256, items=len(items))

    def _resolve(self, workflow: str | dict[str, Any], _job_id: str) -> dict[str, Any]:
        if isinstance(workflow, dict):
            return workflow
        if workflow not in self.workflows:
            raise ContractError(f"no workflow {workflow!r}", kind="unknown_workflow")
        return self.workflows[workflow]

    def _compile(self, text: str) -> Graph:
        known = {"pools": self.pools, "tools": self.tools, "public_pools": self.public_pools}
        return compile_workflow(json.loads(text), **known)

    def view(self, job_id: str) -> JobView:
        memo = self.memos.setdefault(job_id, JobMemo())
        return JobView(job_id, 0, self.records.get, memo, self.environment)

    def take(self, job_id: str, event: Event) -> Decision:
        """Let the machine decide, and apply what it decided through the codec, as a restart would."""
        view = self.view(job_id)
        before = dict(self.records)
        decision = step(view, event, self.now_ms)
        assert self.records == before, "a decision changes nothing by itself"
        for key, record in decision.changes.items():
            if record is None:
                self.records.pop(key, None)
            else:
                self.records[key] = decode_record(key, encode_record(record))
        self.touched.append(len(decision.changes))
        turns = [record.jobs[0] for record in decision.changes.values() if isinstance(record, Session)]
        for effect in decision.effects:
            self.effects.append(effect)
            if isinstance(effect, StoreObject):
                self.objects[effect.ref.key] = effect.data
            if isinstance(effect, DispatchTask):
                self.tasks.append(effect.task)
                self.dispatched.append(effect.task)
            if isinstance(effect, SubmitNested | AnswerParent):
                self.posted.append(effect)
        for each in (job_id, *turns):
            self.stand(each)
        return decision

    def stand(self, job_id: str) -> None:
        """Set where a job stands with the window, as a take-over does."""
        self.window.update(job_id, standing(self.view(job_id)))

    def submit(
        self, job_id: str, workflow: str | dict[str, Any], input: dict[str, Any] | None = None, **fields: Any
    ) -> Decision:
        submission = Submission(job_id=job_id, workflow=workflow, input=input or {}, **fields)
        return self.take(job_id, JobSubmitted(submission, submission_hash(submission), self.now_ms))

    def deal_once(self, at_most: int = 10_000) -> None:
        """Deal one round."""
        for grant in self.window.deal(at_most):
            self.take(grant.job_id, DispatchGranted(grant.step, grant.count))

    def deal(self) -> None:
        while grants := self.window.deal(10_000):
            for grant in grants:
                self.take(grant.job_id, DispatchGranted(grant.step, grant.count))

    def result(self, result: Result, jitter: float = 0.0) -> Decision:
        event = TaskFailed(result, jitter) if result.failure else TaskSucceeded(result)
        return self.take(result.job_id, event)

    def run(self, answer: Answer = echo, *, shuffle: random.Random | None = None, repeat: bool = False) -> None:
        """Deal, answer and fire timers until nothing is left to do; then close what is over."""
        while True:
            self.deal()
            if self.posted:
                self.deliver(shuffle.randrange(len(self.posted)) if shuffle else 0, repeat=repeat)
            elif self.tasks:
                place = shuffle.randrange(len(self.tasks)) if shuffle else 0
                result = answer(self.tasks.pop(place))
                self.result(result)
                if repeat:
                    self.result(result)
            elif not self._fire_next_timer():
                break
        self.close()

    def deliver(self, place: int = 0, *, repeat: bool = False) -> None:
        """Let a nested job or its answer arrive; of those for one job the first, as on a partition."""
        job = self._addressee(self.posted[place])
        effect = self.posted.pop(next(at for at, each in enumerate(self.posted) if self._addressee(each) == job))
        for _ in range(1 + repeat):
            if isinstance(effect, AnswerParent):
                self.result(decode(Result, encode(effect.result)))
                continue
            submission = decode(Submission, encode(effect.submission))
            event: Event = CancelRequested(self.now_ms)
            if submission.type == "job":
                event = JobSubmitted(submission, submission_hash(submission), self.now_ms, effect.trace)
            self.take(effect.job_id, event)

    @staticmethod
    def _addressee(effect: SubmitNested | AnswerParent) -> str:
        return effect.job_id if isinstance(effect, SubmitNested) else effect.parent_id

    def _fire_next_timer(self) -> bool:
        """Let the next waiting retry go out; deadlines and markers are the test's own business."""
        waiting = [
            (record.due_ms, key)
            for key, record in self.records.items()
            if key.startswith("task/") and getattr(record, "due_ms", None) is not None
        ]
        running = [due for due in sorted(waiting) if self._runs(due[1].split("/")[1])]
        if not running:
            return False
        due, key = running[0]
        self.now_ms = max(self.now_ms, due)
        self.take(key.split("/")[1], TimerFired(key))
        return True

    def _runs(self, job_id: str) -> bool:
        header = self.records.get(job_key(job_id))
        return isinstance(header, JobHeader) and header.phase is Phase.RUNNING

    def close(self) -> None:
        for record in list(self.records.values()):
            if isinstance(record, JobHeader) and record.phase is Phase.CLOSING:
                while job_key(record.spec.job_id) in self.records:
                    self.take(record.spec.job_id, ClosingResumed())

    def put(self, content: bytes) -> ObjectRef:
        """Store an object, as an object store does."""
        digest = sha256(content).hexdigest()
        self.objects[f"sha256/{digest}"] = content
        return ObjectRef(key=f"sha256/{digest}", size_bytes=len(content), sha256=digest)

    def load(self, ref: ObjectRef) -> Any:
        return json.loads(self.objects[ref.key])

    def outcomes(self, job_id: str) -> list[Outcome]:
        return [
            Outcome.model_validate_json(effect.value)
            for effect in self.effects
            if isinstance(effect, EmitOutcome) and effect.job_id == job_id
        ]

    def outcome(self, job_id: str) -> Outcome:
        outcomes = self.outcomes(job_id)
        assert len(outcomes) == 1, f"{len(outcomes)} outcomes of {job_id}"
        return outcomes[0]
