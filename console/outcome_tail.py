"""A reader that stands at the end of ``outcomes``, so that an answer is heard the moment it is committed."""

from __future__ import annotations

import threading
import time
from typing import Any

from confluent_kafka.admin import AdminClient

from headrace.console.job_reader import read_message
from headrace.console.reader import Place, TopicReader
from headrace.runtime.kafka import admin_client
from headrace.runtime.offsets import stable_ends
from headrace.runtime.settings import Settings
from headrace.schemas.errors import DependencyUnavailable, HeadraceError
from headrace.schemas.messages import Outcome

PATIENCE_S = 5.0
"""How long ends may be unknown: of topics that were made a moment ago, and of those whose leader is being replaced."""


class OutcomeTail:
    """Reads all partitions of ``outcomes`` from the moment it is made, and keeps what somebody expects.

    Memory is bounded by the jobs that are expected and not taken; other jobs' outcomes are passed over by their key.
    """

    def __init__(self, settings: Settings) -> None:
        self._reader = TopicReader(settings, "outcomes")
        topic = settings.topic_names.outcomes
        places = [(topic, partition) for partition in range(self._reader.partitions(topic))]
        # Explicit offsets: the logical end would be looked up only when the first fetch goes out, perhaps too late.
        self._reader.assign(_ends(admin_client(settings, "outcomes"), places))
        self._found: dict[str, Outcome | None] = {}
        self._failure: HeadraceError | None = None
        self._news = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read, name="headrace-outcomes", daemon=True)
        self._thread.start()

    def expect(self, job_id: str) -> None:
        """Keep this job's next outcome."""
        with self._news:
            self._found[job_id] = None

    def expects(self, job_id: str) -> bool:
        """Whether the job is expected, or its outcome lies here."""
        with self._news:
            return job_id in self._found

    def forget(self, job_id: str) -> None:
        """Stop expecting a job."""
        with self._news:
            self._found.pop(job_id, None)

    def take(self, job_id: str, timeout_s: float | None) -> Outcome | None:
        """Wait for an expected job's outcome; None where none came in time (it stays expected).

        Raises:
            DependencyUnavailable: the reader failed.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._news:
            while (outcome := self._found.get(job_id)) is None:
                if self._failure is not None:
                    raise self._failure
                left = 3_600.0 if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    return None
                self._news.wait(left)
            del self._found[job_id]
            return outcome

    def _read(self) -> None:
        try:
            while not self._closing.is_set():
                for message in self._reader.read(0.1):
                    self._keep((message.key() or b"").decode(errors="replace"), message)
        except HeadraceError as error:
            with self._news:
                self._failure = error
                self._news.notify_all()

    def _keep(self, job_id: str, message: Any) -> None:
        if not self.expects(job_id) or (outcome := read_message(Outcome, message)) is None:
            return
        with self._news:
            if job_id in self._found and outcome.job_id == job_id:
                self._found[job_id] = outcome
                self._news.notify_all()

    def close(self) -> None:
        """Stop reading."""
        self._closing.set()
        self._thread.join(5)
        self._reader.close()


def _ends(admin: AdminClient, places: list[Place]) -> dict[Place, int]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return stable_ends(admin, places)
        except DependencyUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
