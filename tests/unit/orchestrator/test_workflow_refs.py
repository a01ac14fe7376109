"""Workflow texts go when no job has used them for a while, and not before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from headrace.orchestrator.core.state import JobHeader, JobSpec, WorkflowRecord, job_key, workflow_key
from headrace.orchestrator.core.view import Environment, Limits
from headrace.orchestrator.shell.store import PartitionStore
from headrace.orchestrator.shell.workflow_refs import LINGER_MS


def store() -> PartitionStore:
    return PartitionStore(0, cast(Environment, SimpleNamespace(limits=Limits())))


def job(name: str, sha: str) -> JobHeader:
    return JobHeader(JobSpec(name, "w@1", sha, "", "t", "batch", 0, "internal", 0, 0, "chars4"))


def write(at: PartitionStore, changes: dict[str, Any]) -> None:
    at.put(changes)
    at.commit()


def test_a_text_goes_once_no_job_has_used_it_for_a_minute() -> None:
    at = store()
    write(at, {workflow_key("x"): WorkflowRecord("{}"), job_key("a"): job("a", "x"), job_key("b"): job("b", "x")})
    assert at.workflows.unused(0, 9) == at.workflows.unused(10 * LINGER_MS, 9) == []
    write(at, {job_key("a"): None})
    assert at.workflows.unused(0, 9) == at.workflows.unused(LINGER_MS, 9) == []
    write(at, {job_key("b"): None})
    assert at.workflows.unused(0, 9) == at.workflows.unused(LINGER_MS - 1, 9) == []
    assert at.workflows.unused(LINGER_MS, 9) == [workflow_key("x")]
    write(at, {workflow_key("x"): None})
    assert at.workflows.unused(2 * LINGER_MS, 9) == []


def test_a_job_in_between_begins_the_minute_anew() -> None:
    at = store()
    write(at, {workflow_key("x"): WorkflowRecord("{}"), job_key("a"): job("a", "x")})
    write(at, {job_key("a"): None})
    assert at.workflows.unused(0, 9) == []
    write(at, {job_key("b"): job("b", "x")})
    write(at, {job_key("b"): None})
    assert at.workflows.unused(LINGER_MS, 9) == []
    assert at.workflows.unused(2 * LINGER_MS, 9) == [workflow_key("x")]


def test_what_a_restore_finds_without_a_job_goes_too_and_at_most_so_many_at_a_time() -> None:
    at = store()
    at.load([(workflow_key(str(number)), WorkflowRecord("{}")) for number in range(5)], 10)
    assert at.workflows.unused(0, 2) == []
    assert len(at.workflows.unused(LINGER_MS, 2)) == 2
