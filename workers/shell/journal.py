"""Writes the journal: the start and the end of each provider call, on the partition that the task lay in.

The end is built around the result as it travels, so that nothing is encoded twice.
"""

from __future__ import annotations

import time
from json.encoder import encode_basestring_ascii as quoted

from headrace.schemas.codec import Record, encode, schema_headers
from headrace.schemas.messages import Attempt, Task
from headrace.workers.shell.delivery import Delivery

HEADERS = schema_headers(Attempt)


class Journal:
    """Makes the journal's records of one pool.

    Args:
        topic: ``attempts.<pool>``.
        worker: this process.
    """

    def __init__(self, topic: str, *, worker: str) -> None:
        self._topic = topic
        self._worker = worker
        self._quoted_worker = quoted(worker)
        self._last: tuple[tuple[str, str, str, str], str] = (("", "", "", ""), "")
        """What the last task's job wrote: the next one is nearly always of the same job."""

    def started(self, task: Task, delivery: Delivery) -> Record:
        """Return the record that says that a task's call begins now."""
        now_ms = int(time.time() * 1_000)
        note = Attempt(
            task_id=task.task_id,
            attempt=task.attempt,
            phase="started",
            at_ms=now_ms,
            worker=self._worker,
            lane=delivery.lane,
            offset=delivery.offset,
            until_ms=now_ms + task.timeout_ms,
            job_id=task.job_id,
            tenant=task.tenant,
            workflow=task.workflow,
            template_hash=task.template_hash,
        )
        return self._record(task, delivery, encode(note))

    def ended(self, task: Task, delivery: Delivery, result: bytes = b"null") -> Record:
        """Return the record that says how a task's call ended.

        Args:
            result: the result as it travels; left out where the call was given up before it was made.
        """
        head = (
            f'{{"task_id":{quoted(task.task_id)},"attempt":{task.attempt},"phase":"ended",'
            f'"at_ms":{int(time.time() * 1_000)},"worker":{self._quoted_worker},'
            f'"lane":"{delivery.lane.value}","offset":{delivery.offset},{self._of_job(task)},"result":'
        )
        return self._record(task, delivery, b"%b%b}" % (head.encode(), result))

    def _of_job(self, task: Task) -> str:
        key = (task.job_id, task.tenant, task.workflow, task.template_hash)
        if key != self._last[0]:
            names = ("job_id", "tenant", "workflow", "template_hash")
            self._last = (key, ",".join(f'"{name}":{quoted(value)}' for name, value in zip(names, key, strict=True)))
        return self._last[1]

    def _record(self, task: Task, delivery: Delivery, value: bytes) -> Record:
        return Record(self._topic, task.task_id.encode(), value, delivery.assignment.partition, HEADERS)
