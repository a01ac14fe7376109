"""Submits jobs all the time, as fast as asked and as many at once as the deployment may have open."""

from __future__ import annotations

import heapq
import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from headrace.runtime.settings import Settings
from headrace.schemas.ids import assigned_job_id
from tests.chaos.evidence import Submitted
from tests.chaos.jobs import JobSource, Planned
from tests.chaos.tail import OutcomeTail
from tests.chaos.writer import JobWriter

AFTER_S = 0.5
"""From an outcome to the repetition of its submission."""
LAST_S = 60.0
"""How long after the end of the load acknowledgements are awaited."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is submitted."""

    jobs_per_s: float = 4.0
    max_open: int = 60
    """Jobs without an outcome; above it none is submitted."""


class Load:
    """A thread that submits.

    Args:
        now_s: the run's clock.
    """

    def __init__(
        self, settings: Settings, source: JobSource, pace: Pace, tail: OutcomeTail, now_s: Callable[[], float]
    ) -> None:
        self._source = source
        self._pace = pace
        self._tail = tail
        self._now_s = now_s
        self._topic = settings.topic_names.jobs
        self._writers = (JobWriter(settings), JobWriter(settings, crc=True))
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._waiting: dict[str, Callable[[], None]] = {}
        """What is done when a job has its outcome."""
        self._unanswered: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos-load", daemon=True)
        self.submitted: dict[str, Submitted] = {}
        self.nameless = 0
        self.strays: list[str] = []

    @property
    def unknown(self) -> int:
        """How often an acknowledgement did not come."""
        return sum(writer.unknown for writer in self._writers)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> bool:
        """End the load; return whether everything submitted was acknowledged in time."""
        self._stopping.set()
        self._thread.join(LAST_S + 10)
        return not self._unfinished()

    def _run(self) -> None:
        next_at = time.monotonic()
        while not self._stopping.is_set():
            now = time.monotonic()
            if now >= next_at and self._open() < self._pace.max_open:
                self._submit(self._source.draw())
                next_at = max(next_at + 1.0 / self._pace.jobs_per_s, now - 1.0)
            self._turn()
        deadline = time.monotonic() + LAST_S
        while self._unfinished() and time.monotonic() < deadline:
            self._turn()
        for writer in self._writers:
            writer.close()

    def _unfinished(self) -> bool:
        return bool(self._timers or any(writer.outstanding for writer in self._writers))

    def _turn(self) -> None:
        for writer in self._writers:
            writer.poll(0.01)
        for job_id in [known for known in self._waiting if known in self._tail.seen]:
            self._after(AFTER_S, self._waiting.pop(job_id))
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), act))

    def _open(self) -> int:
        """Return how many jobs have no outcome yet; of those without a name only Kafka knows."""
        self._unanswered = {job_id for job_id in self._unanswered if job_id not in self._tail.seen}
        return len(self._unanswered)

    def _submit(self, planned: Planned) -> None:
        value = _encoded(planned)
        writer = self._writers[planned.crc]
        if planned.job_id is None:
            writer.write(None, value, lambda *place: self._named(planned, *place), self._lost)
            return
        job_id = planned.job_id
        known = self.submitted[job_id] = Submitted(planned.kind, planned.expects)
        self._unanswered.add(job_id)

        def acknowledged(_partition: int, _offset: int) -> None:
            known.copies += 1
            if known.accepted_s is None:
                known.accepted_s = self._now_s()
                self._follow_up(planned, value)

        writer.write(job_id, value, acknowledged)

    def _named(self, planned: Planned, partition: int, offset: int) -> None:
        if planned.kind == "stray":
            self.strays.append(f"{self._topic}[{partition}]@{offset}")
            return
        job_id = assigned_job_id(partition, offset)
        self.submitted[job_id] = Submitted(planned.kind, planned.expects, self._now_s(), 1)

    def _lost(self) -> None:
        self.nameless += 1

    def _follow_up(self, planned: Planned, value: bytes) -> None:
        """Do what else the plan has for a job that was accepted."""
        job_id = planned.job_id
        assert job_id is not None
        known = self.submitted[job_id]
        same, other = self._writers[planned.crc], self._writers[not planned.crc]

        def copied(_partition: int, _offset: int) -> None:
            known.copies += 1

        def conflicted(_partition: int, _offset: int) -> None:
            known.conflicts += 1

        if planned.cancel_after_s is not None:
            order = b'{"type": "cancel"}'
            self._after(planned.cancel_after_s, lambda: other.write(job_id, order, lambda *_place: None))
        match planned.again:
            case "during":
                self._after(0.3, lambda: other.write(job_id, value, copied))
            case "after":
                self._waiting[job_id] = lambda: other.write(job_id, value, copied)
            case "conflict":
                # By the same way: what comes first on another one would be the job, and this the conflict.
                body = json.loads(value)
                body["input"]["text"] = "another"
                self._after(0.1, lambda: same.write(job_id, json.dumps(body).encode(), conflicted))


def _encoded(planned: Planned) -> bytes:
    if isinstance(planned.body, bytes):
        return planned.body
    body = dict(planned.body)
    if planned.deadline_s is not None:
        body["deadline"] = (datetime.now(UTC) + timedelta(seconds=planned.deadline_s)).isoformat()
    return json.dumps(body).encode()
