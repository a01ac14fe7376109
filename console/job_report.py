"""What is known of one job, from its records on ``state``: the stable format of ``headrace status --json``.

Pure: records in, a report out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from headrace.orchestrator.core.state import JobHeader, Marker, StateRecord, StepState, job_key, marker_key
from headrace.schemas.messages import Outcome, PoolReceipt, StepReceipt, Usage


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step. ``total`` is 0 until the step runs."""

    name: str
    status: str
    """``waiting``, ``running`` or ``done``."""
    total: int = 0
    in_flight: int = 0
    retrying: int = 0
    done: int = 0
    failed: int = 0
    truncated: int = 0
    started_ms: int | None = None
    finished_ms: int | None = None


@dataclass(frozen=True, slots=True)
class PoolReport:
    """What a job used of one pool."""

    tasks: int = 0
    attempts: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_microusd: int = 0
    call_ms: int = 0
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobReport:
    """One job. ``status`` is ``running``, or how it ended."""

    job_id: str
    status: str
    workflow: str = ""
    tenant: str = "default"
    lane: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    submitted_at_ms: int = 0
    finished_at_ms: int | None = None
    deadline_ms: int | None = None
    reason: str | None = None
    message: str = ""
    partial: bool = False
    steps: tuple[StepReport, ...] = ()
    pools: dict[str, PoolReport] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether the job has its outcome."""
        return self.status != "running"

    def plain(self) -> dict[str, Any]:
        """Return the report as documented in docs/cli.md, with totals."""
        pools = self.pools.values()
        totals = {
            "tasks": {
                name: sum(getattr(step, name) for step in self.steps)
                for name in ("total", "in_flight", "retrying", "done", "failed")
            },
            "tokens": {
                name: sum(getattr(pool, f"{name}_tokens") for pool in pools) for name in ("input", "cached", "output")
            },
            "cost_microusd": sum(pool.cost_microusd for pool in pools),
        }
        return {**asdict(self), **totals}


def report_job(job_id: str, records: Mapping[str, StateRecord]) -> JobReport | None:
    """Return the report, or None where nothing is known of the job."""
    marker, header = records.get(marker_key(job_id)), records.get(job_key(job_id))
    if isinstance(marker, Marker) and marker.outcome:
        return report_outcome(Outcome.model_validate_json(marker.outcome))
    return _running(header) if isinstance(header, JobHeader) else None


def _running(header: JobHeader) -> JobReport:
    return JobReport(
        job_id=header.spec.job_id,
        status="running",
        workflow=header.spec.workflow,
        tenant=header.spec.tenant,
        lane=header.spec.lane,
        labels=dict(header.spec.labels),
        submitted_at_ms=header.spec.submitted_at_ms,
        deadline_ms=header.spec.deadline_ms,
        steps=tuple(_step(name, state) for name, state in header.steps),
        pools={
            name: PoolReport(
                **{key: getattr(spent, key) for key in PoolReport.__slots__},
            )
            for name, spent in header.spent
        },
    )


def _step(name: str, state: StepState) -> StepReport:
    return StepReport(
        name=name,
        status=state.status.value,
        total=state.total,
        in_flight=state.live,
        retrying=state.retrying,
        done=state.done,
        failed=state.failed,
        truncated=state.truncated,
        started_ms=state.started_ms,
        finished_ms=state.finished_ms,
    )


def report_outcome(outcome: Outcome) -> JobReport:
    """Return the report of a job that has ended."""
    return JobReport(
        job_id=outcome.job_id,
        status=outcome.status.value,
        workflow=outcome.workflow,
        tenant=outcome.tenant,
        labels=outcome.labels,
        submitted_at_ms=outcome.submitted_at_ms,
        finished_at_ms=outcome.finished_at_ms,
        reason=outcome.reason.value if outcome.reason else None,
        message=outcome.message,
        partial=outcome.partial,
        steps=tuple(_ended_step(name, step) for name, step in outcome.receipt.steps.items()),
        pools={name: _ended_pool(pool) for name, pool in outcome.receipt.pools.items()},
    )


def _ended_step(name: str, step: StepReceipt) -> StepReport:
    return StepReport(
        name=name,
        status="done" if step.finished_ms else "running" if step.started_ms else "waiting",
        total=step.tasks,
        done=step.tasks - step.failed,
        failed=step.failed,
        truncated=step.truncated,
        started_ms=step.started_ms,
        finished_ms=step.finished_ms,
    )


def _ended_pool(pool: PoolReceipt) -> PoolReport:
    usage: Usage = pool.usage
    return PoolReport(
        tasks=pool.tasks,
        attempts=pool.attempts,
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
        cost_microusd=pool.cost_microusd,
        call_ms=pool.call_ms,
        models=pool.models,
    )
