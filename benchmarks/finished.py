"""What a finished task takes in the memory of an orchestrator beside its output: a store with nothing else in it."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace
from typing import Any

from benchmarks.memory import resident_mb
from headrace.orchestrator.core.state import TaskRecord, TaskStatus, task_key
from headrace.orchestrator.core.view import Limits
from headrace.orchestrator.shell.store import PartitionStore

COUNT, BATCH = 200_000, 500
OUTPUTS = ("text", "object")


def finished_items() -> dict[str, float]:
    """Return the bytes of a finished task beside its output's JSON, by kind of output; each in a new process."""
    found = {}
    for kind in OUTPUTS:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
            found[f"bytes_beside_{kind}"] = round(other.submit(measure, kind).result(), 1)
    return {"tasks": COUNT, **found}


def measure(kind: str) -> float:
    """Fill a store, a batch at a time as the loop does; return bytes a task."""
    environment: Any = SimpleNamespace(limits=Limits())
    store = PartitionStore(0, environment)
    gc.collect()
    before, outputs = resident_mb(os.getpid()), 0
    for start in range(0, COUNT, BATCH):
        records = {
            task_key("a-job-with-a-name", "work", number): TaskRecord(
                TaskStatus.DONE, 1, 1, output=output(kind, number)
            )
            for number in range(start, start + BATCH)
        }
        outputs += sum(len(json.dumps(record.output, separators=(",", ":"))) for record in records.values())
        store.put(records, "a-job-with-a-name")
        store.commit()
    return ((resident_mb(os.getpid()) - before) * 2**20 - outputs) / COUNT


def output(kind: str, number: int) -> Any:
    """Return one of two kinds of output, each another."""
    text = f"{number}:{'x' * 100}"
    return text if kind == "text" else {"label": "spam", "score": number / COUNT, "why": text}
