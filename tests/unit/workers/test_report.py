"""What attempts leave in the metrics, once they are exported."""

from __future__ import annotations

import time

from headrace.runtime.metrics import REGISTRY
from headrace.schemas.messages import Result, Usage
from headrace.workers.shell.report import AttemptReport

from .conftest import make_task

USAGE = Usage(input_tokens=5, cached_tokens=4, cache_write_tokens=1, output_tokens=3, reasoning_tokens=2)


def test_all_that_is_counted_is_exported_once():
    report = AttemptReport("counted", "here", quiet=True)
    task = make_task(dispatched_at_ms=int(time.time() * 1_000) - 60)
    result = Result(task_id="j/s/0", job_id="j", attempt=1, usage=USAGE, cost_microusd=7, call_ms=30)
    for _ in range(2):
        report.started(task)
        report.ended(task, result, called=True, trace=[])
    assert value("calls_total", endpoint="here", outcome="ok") == 0
    for _ in range(2):
        report.export()
        assert value("calls_total", endpoint="here", outcome="ok") == 2
        assert value("tasks_total", lane=task.lane.value, outcome="ok") == 2
        assert value("call_seconds_sum", endpoint="here") == 0.06
        assert value("task_wait_seconds_count", lane=task.lane.value) == 2
        assert value("cost_microusd_total") == 14
        tokens = {name: value("tokens_total", type=name) for name in ("input", "cached", "cache_write", "output")}
        assert tokens == {"input": 10, "cached": 8, "cache_write": 2, "output": 6}
        assert value("tokens_total", type="reasoning") == 4
    report.ended(task, result, called=True, trace=[])
    report.export()
    assert value("tokens_total", type="input") == 15


def value(name, **labels):
    return REGISTRY.get_sample_value(f"headrace_{name}", {"pool": "counted", **labels})
