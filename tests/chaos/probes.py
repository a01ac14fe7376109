"""A job of one task for each partition of ``jobs``, every second: the longest wait for one is the partition's stall."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable

from headrace.runtime.settings import Settings
from headrace.schemas.ids import home_partition
from tests.chaos.evidence import Expectation, Probe, Submitted
from tests.chaos.tail import OutcomeTail
from tests.chaos.writer import JobWriter

EVERY_S = 1.0
MAX_UNACKNOWLEDGED = 5
"""For one partition: a leader that is away gets no heap of probes."""


class Probes:
    """A thread that probes.

    Args:
        now_s: the run's clock.
    """

    def __init__(self, settings: Settings, tail: OutcomeTail, now_s: Callable[[], float]) -> None:
        self._tail = tail
        self._now_s = now_s
        self._partitions = settings.topics.partitions
        self._task_partitions = settings.topics.task_partitions
        self._writer = JobWriter(settings)
        self._numbers = itertools.count()
        self._unacknowledged = dict.fromkeys(range(self._partitions), 0)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos-probes", daemon=True)
        self._acknowledged: dict[str, tuple[int, float]] = {}
        self.submitted: dict[str, Submitted] = {}
        self.slowest_ack_s = 0.0
        """The longest wait for Kafka's acknowledgement of a probe."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(70)

    def results(self) -> list[Probe]:
        """Return every acknowledged probe, and when it was answered."""
        return [
            Probe(job_id, partition, self._task_at(job_id), at_s, self._tail.seen.get(job_id))
            for job_id, (partition, at_s) in self._acknowledged.items()
        ]

    def _run(self) -> None:
        turns = itertools.cycle(range(self._partitions))
        next_at = time.monotonic()
        while not self._stopping.is_set():
            if time.monotonic() >= next_at:
                next_at = max(next_at + EVERY_S / self._partitions, time.monotonic() - EVERY_S)
                self._probe(next(turns))
            self._writer.poll(0.01)
        deadline = time.monotonic() + 60
        while self._writer.outstanding and time.monotonic() < deadline:
            self._writer.poll(0.05)
        self._writer.close()

    def _probe(self, partition: int) -> None:
        if self._unacknowledged[partition] >= MAX_UNACKNOWLEDGED:
            return
        self._unacknowledged[partition] += 1
        job_id = self._id_at(partition)
        known = self.submitted[job_id] = Submitted("probe", Expectation(output=job_id))
        asked_s = self._now_s()

        def acknowledged(_partition: int, _offset: int) -> None:
            self._unacknowledged[partition] -= 1
            known.copies += 1
            known.accepted_s = self._now_s()
            self._acknowledged[job_id] = (partition, known.accepted_s)
            self.slowest_ack_s = max(self.slowest_ack_s, known.accepted_s - asked_s)

        body = {"workflow": "one-noop@1", "input": {"text": job_id}, "lane": "interactive", "tenant": "probe"}
        self._writer.write(job_id, json.dumps(body).encode(), acknowledged)

    def _task_at(self, job_id: str) -> int:
        return home_partition(f"{job_id}/say/0", self._task_partitions)

    def _id_at(self, partition: int) -> str:
        number = next(self._numbers)
        tries = (f"p-{number}-{salt}" for salt in itertools.count())
        return next(job_id for job_id in tries if home_partition(job_id, self._partitions) == partition)
