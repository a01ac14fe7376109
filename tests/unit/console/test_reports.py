"""The stable JSON formats: a change here is a change of the contract in docs/cli.md."""

from headrace.console.job_report import report_job
from headrace.console.outcome_view import outcome_json, receipt_lines
from headrace.console.pool_lags import PoolLag, lag_lines
from headrace.console.progress import one_line
from headrace.orchestrator.core.state import (
    JobHeader,
    JobSpec,
    Marker,
    PoolSpent,
    StepState,
    StepStatus,
    job_key,
    marker_key,
)
from headrace.runtime.settings import Settings
from headrace.schemas.messages import JobStatus, Outcome, PoolReceipt, Receipt, StepReceipt, Usage

SPEC = JobSpec(
    job_id="j",
    workflow="w@1",
    workflow_sha256="00",
    content_hash="00",
    tenant="t",
    lane="batch",
    priority=0,
    sensitivity="internal",
    submitted_at_ms=1,
    accepted_at_ms=2,
    tokens_rule="chars4",
    labels=(("a", "b"),),
)
HEADER = JobHeader(
    SPEC,
    steps=(("notes", StepState(StepStatus.RUNNING, total=5, next=4, live=2, retrying=1, done=1, failed=1)),),
    spent=(("small", PoolSpent(tasks=2, attempts=3, input_tokens=10, output_tokens=4, cost_microusd=7)),),
)
OUTCOME = Outcome(
    job_id="j",
    status=JobStatus.SUCCEEDED,
    output="o",
    workflow="w@1",
    finished_at_ms=9,
    receipt=Receipt(
        tasks=2,
        steps={"notes": StepReceipt(tasks=2, failed=1, started_ms=1, finished_ms=5)},
        pools={"small": PoolReceipt(tasks=2, usage=Usage(input_tokens=3), models=("m",))},
    ),
)
KEYS = {
    "job_id", "status", "workflow", "tenant", "lane", "labels", "submitted_at_ms", "finished_at_ms", "deadline_ms",
    "reason", "message", "partial", "steps", "pools", "tasks", "tokens", "cost_microusd",
}  # fmt: skip


def test_a_running_job_is_reported_from_its_header():
    plain = report_job("j", {job_key("j"): HEADER}).plain()
    assert set(plain) == KEYS
    assert plain["status"] == "running"
    assert plain["tasks"] == {"total": 5, "in_flight": 2, "retrying": 1, "done": 1, "failed": 1}
    assert plain["tokens"] == {"input": 10, "cached": 0, "output": 4}
    assert plain["cost_microusd"] == 7
    assert set(plain["steps"][0]) == {
        "name", "status", "total", "in_flight", "retrying", "done", "failed", "truncated", "started_ms", "finished_ms",
    }  # fmt: skip


def test_a_finished_job_is_reported_from_its_marker_even_while_its_header_is_still_there():
    marker = Marker("00", "succeeded", OUTCOME.model_dump_json(), 9, None)
    plain = report_job("j", {job_key("j"): HEADER, marker_key("j"): marker}).plain()
    assert set(plain) == KEYS
    assert (plain["status"], plain["finished_at_ms"]) == ("succeeded", 9)
    assert plain["tasks"] == {"total": 2, "in_flight": 0, "retrying": 0, "done": 1, "failed": 1}


def test_nothing_is_known_of_an_unknown_job():
    assert report_job("other", {job_key("j"): HEADER}) is None


def test_an_outcome_is_printed_with_every_field():
    assert set(outcome_json(OUTCOME, Settings())) == set(Outcome.model_fields)


def test_the_receipt_says_who_answered():
    assert any("answered by m" in line for line in receipt_lines(OUTCOME.receipt))


def test_lag_has_its_documented_keys():
    lag = PoolLag("small", "batch", 3, 1, 1500, 2)
    assert set(lag.plain()) == {"pool", "lane", "waiting", "in_flight", "oldest_age_ms", "members"}
    assert "1.5 s" in lag_lines([lag])[1]


def test_one_line_of_progress_has_steps_tokens_money_and_lag():
    line = one_line(report_job("j", {job_key("j"): HEADER}), [PoolLag("small", "batch", 2, 1, None, 2)])
    assert line == "running  notes 1/5  14 tokens  $0.000007  lag small=3"
