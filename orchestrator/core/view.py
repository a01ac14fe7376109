"""What `machine.step` may see of one job: its records, and an environment of pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.orchestrator.core.graph import Graph
from headrace.orchestrator.core.parts import LinesCache
from headrace.orchestrator.core.state import JobHeader, Marker, StateRecord, TaskRecord, job_key, marker_key, task_key
from headrace.schemas.messages import ObjectRef
from headrace.schemas.pools import Pool
from headrace.schemas.submission import MAX_JOB_BYTES


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that decisions depend on."""

    max_in_flight: int = 256
    inline_bytes: int = 262_144
    item_inline_bytes: int = 4_096
    retention_ms: int = 86_400_000
    max_job_bytes: int = MAX_JOB_BYTES
    """Largest input of a job, as JSON; a pure reducer takes no more from items by reference."""
    max_value_bytes: int = 67_108_864
    """Largest value of one step, its tasks' outputs together: it passes through memory as a whole."""
    queue_limit_ms: int = 432_000_000
    """How long a task may wait for a worker before it is dispatched anew: within the retention of task topics."""
    lost_grace_ms: int = 60_000
    """How long a task whose offset is done has beyond its call's time before it counts as lost."""
    prefix_keys: int = 4
    """On how many keys, and so partitions at most, the tasks of one prompt prefix are spread."""
    max_kills: int = 3
    """So many workers that died during a task put it into quarantine."""
    max_stops: int = 10
    """So many attempts that were interrupted or lost otherwise end a task."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What decisions need beside the records. Every function here is pure, or content-addressed."""

    pools: Mapping[str, Pool]
    limits: Limits
    resolve: Callable[[str | dict[str, Any], str], dict[str, Any]]
    """From a submission's ``workflow`` and the job's id to its document; `ContractError` where there is none."""
    compile: Callable[[str], Graph]
    """From a workflow's canonical text to its graph, cached by the text. Raises `WorkflowInvalid`."""
    load: Callable[[ObjectRef], bytes]
    """Content of a claim check, with its checksum checked. Raises `ContractError` where it is gone or another, and
    `DependencyUnavailable` where it cannot be read now."""
    counters: Mapping[str, Callable[[str], int]]
    """Token counters by the name of their rule."""
    tokens_rule: str
    """The rule that new jobs take."""
    public_pools: tuple[str, ...] = ()
    """Pools whose endpoint lies outside: nothing confidential goes there."""
    objects: bool = True
    """Whether there is an object store for what is above the inline limits."""
    expect: Callable[[tuple[ObjectRef, ...]], None] = lambda _refs: None
    """Told what will be loaded soon, so that it can be read side by side. May do nothing."""
    lines: LinesCache = field(default_factory=LinesCache)
    """Parts of items by reference that were looked at last. By content, so it changes no decision."""


@dataclass(slots=True)
class JobMemo:
    """Values derived from a job's records, kept while the job is in memory; dropped when a transaction aborts."""

    values: dict[str, Any] = field(default_factory=dict)
    """Values of finished steps, and ``input``."""


@dataclass(slots=True)
class JobView:
    """One job as the decision sees it: what is committed, and over it what this batch has decided so far."""

    job_id: str
    partition: int
    records: Callable[[str], StateRecord | None]
    memo: JobMemo
    environment: Environment

    def header(self) -> JobHeader | None:
        """Return the header, or None where no such job runs."""
        record = self.records(job_key(self.job_id))
        return record if isinstance(record, JobHeader) else None

    def marker(self) -> Marker | None:
        """Return how the job ended, or None."""
        record = self.records(marker_key(self.job_id))
        return record if isinstance(record, Marker) else None

    def task(self, step: str, index: int) -> TaskRecord | None:
        """Return a task's record, or None before its dispatch."""
        record = self.records(task_key(self.job_id, step, index))
        return record if isinstance(record, TaskRecord) else None
