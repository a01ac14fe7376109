"""Headrace on one machine under a prefix of its own: orchestrators, a worker or more a pool, and a client."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from confluent_kafka import OFFSET_BEGINNING, Message

from headrace.console.client import HeadraceClient
from headrace.console.deployment import orchestrator_spec, worker_spec
from headrace.console.job_reader import place_of
from headrace.console.local_stack import start_together
from headrace.console.outcome_view import output_of
from headrace.console.reader import TopicReader, scan
from headrace.runtime.kafka import headers_of, wait_for_broker
from headrace.runtime.pools import load_pools
from headrace.runtime.settings import Settings
from headrace.runtime.supervisor import ProcessSpec, Supervisor
from headrace.runtime.topic_plan import apply, delete_topics
from headrace.schemas.codec import decode, header_map
from headrace.schemas.messages import Event, Outcome

PATIENCE_S = 180.0
"""How long an example waits for an outcome."""
RESTARTS = 3
"""A process that crashes, or that an example kills, is started again."""


@dataclass(slots=True)
class Deployment:
    """A context manager; its processes drain and its topics go when it is left.

    Args:
        settings: with the prefix, the pools file and the folder of logs.
        workflows: files that the orchestrators load.
        workers: how many of a pool, where it is not one.
        orchestrators: how many.
        environment: added to that of every process.
    """

    settings: Settings
    workflows: Sequence[Path]
    workers: Mapping[str, int]
    orchestrators: int
    environment: Mapping[str, str]
    _held: ExitStack = field(default_factory=ExitStack)
    _supervisor: Supervisor = field(init=False)
    _logged: dict[str, int] = field(default_factory=dict)
    """Bytes that earlier runs left in the logs."""
    client: HeadraceClient = field(init=False)

    def __enter__(self) -> Self:
        with self._held:  # Whatever fails half-way stops what was started.
            self._start()
            self._held = self._held.pop_all()
        return self

    def _start(self) -> None:
        admin = wait_for_broker(self.settings)
        pools = load_pools(self.settings.pools_file).pools
        self._held.callback(delete_topics, admin, f"{self.settings.topics.prefix}.")
        apply(admin, self.settings, pools)
        self._logged = {path.name: path.stat().st_size for path in (self.settings.data_path / "logs").glob("*.log")}
        # Entered last, left first: the processes drain before their topics go.
        self._supervisor = self._held.enter_context(Supervisor(self.settings.data_path / "logs"))
        start_together(self._supervisor, [self._own(spec) for spec in self._specs(list(pools))])
        self.client = self._held.enter_context(HeadraceClient(self.settings))

    def _specs(self, pools: Sequence[str]) -> list[ProcessSpec]:
        paths = [*self.workflows]
        orchestrators = [
            orchestrator_spec(self.settings, number, workflows=paths, max_restarts=RESTARTS)
            for number in range(1, self.orchestrators + 1)
        ]
        workers = [
            worker_spec(self.settings, pool, number, max_restarts=RESTARTS)
            for pool in pools
            for number in range(1, self.workers.get(pool, 1) + 1)
        ]
        return [*orchestrators, *workers]

    def _own(self, spec: ProcessSpec) -> ProcessSpec:
        return replace(spec, env={**spec.env, **self.environment})

    def __exit__(self, *raised: object) -> None:
        self._held.close()

    # Jobs

    def submit(self, workflow: str | dict[str, Any], input: Mapping[str, Any] | None = None, **options: Any) -> str:
        """Submit a job and return its id; ``options`` as of `HeadraceClient.submit`."""
        return self.client.submit(workflow, dict(input or {}), **options)

    def outcome(self, job_id: str, timeout_s: float = PATIENCE_S) -> Outcome:
        """Wait for a job's outcome; a large output is fetched.

        Raises:
            OutcomeTimeout: none in time.
        """
        outcome = self.client.outcome(job_id, timeout_s)
        return outcome.model_copy(update={"output": output_of(outcome, self.settings)})

    def run(self, workflow: str | dict[str, Any], input: Mapping[str, Any] | None = None, **options: Any) -> Outcome:
        """Submit a job and wait for its outcome."""
        return self.outcome(self.submit(workflow, input, **options))

    def events(self, job_id: str) -> list[Event]:
        """Return what was announced of a job so far, in order."""
        return self.events_of([job_id])[job_id]

    def events_of(self, job_ids: Sequence[str]) -> dict[str, list[Event]]:
        """Return the same of several jobs; a partition of the topic is read once for all of them."""
        keys, events = {job_id.encode() for job_id in job_ids}, {job_id: list[Event]() for job_id in job_ids}
        with TopicReader(self.settings, "example") as reader:
            homes = {place_of(reader, self.settings, job_id).partition for job_id in job_ids}
            places = {(self.settings.topic_names.events, home): OFFSET_BEGINNING for home in homes}
            for one in scan(reader, places, keep=lambda key: key in keys):
                event = decode(Event, one.value() or b"", header_map(headers_of(one)))
                events[event.job_id].append(event)
        return events

    # What lies on Kafka

    def topics(self) -> list[str]:
        """Return the names of all topics of this run."""
        prefix = self.settings.topics.prefix
        return sorted(name for name in wait_for_broker(self.settings).list_topics().topics if name.startswith(prefix))

    def records(self, topic: str) -> list[Message]:
        """Return all committed records of a topic."""
        with TopicReader(self.settings, "example") as reader:
            places = {(topic, number): OFFSET_BEGINNING for number in range(reader.partitions(topic))}
            return list(scan(reader, places, keep=lambda _key: True))

    def log(self, name: str) -> list[dict[str, Any]]:
        """Return what a process (``worker-small-1``) has logged since the start, line by line."""
        path = self.settings.data_path / "logs" / f"{name}.log"
        with path.open("rb") as lines:
            lines.seek(self._logged.get(path.name, 0))
            return [json.loads(line) for line in lines if line.startswith(b"{")]

    # Faults

    def kill(self, name: Callable[[str], bool] | str) -> None:
        """Kill processes by name (``orchestrator-1``, ``worker-small-1``) as a crash would; each is started again."""
        wanted = name if callable(name) else name.__eq__
        for process in self._supervisor.status():
            if wanted(process.name) and process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)
