"""Interactive callers: one-task jobs at a steady rate, and how long each waits for its outcome."""

from __future__ import annotations

import threading
import time
from random import Random

from benchmarks.deployment import Deployment
from headrace.console.client import HeadraceClient
from headrace.schemas.messages import JobStatus

CALLERS = 4
"""A client serves one thread; so many can wait side by side."""
SEED = 7


class Callers:
    """Submits jobs on a timetable, also while earlier ones wait.

    A job's time runs from the moment it was due, so that a caller who is kept waiting hides nothing. The gaps between
    jobs are drawn evenly from half to one and a half of the mean: an even beat could keep step with the provider.

    Args:
        here: the deployment.
        pool: the pool of each job's one task.
        per_s: jobs a second.
    """

    def __init__(self, here: Deployment, pool: str, *, per_s: float) -> None:
        step = {"llm": {"pool": pool, "prompt": "{{ input.word }}"}}
        self._workflow = {"name": "one", "version": 1, "steps": {"answer": step}}
        self._gap_s = 1.0 / per_s
        self._random = Random(SEED)
        self._clients = [HeadraceClient(here.settings) for _ in range(CALLERS)]

    def call(self, jobs: int) -> list[float]:
        """Have so many jobs done; return the seconds of each, in the order in which they were due."""
        due, at = [], time.perf_counter() + 0.1
        for _ in range(jobs):
            due.append(at)
            at += self._gap_s * self._random.uniform(0.5, 1.5)
        took = [0.0] * jobs

        def caller(number: int, client: HeadraceClient) -> None:
            for index in range(number, jobs, CALLERS):
                time.sleep(max(0.0, due[index] - time.perf_counter()))
                job_id = client.submit(self._workflow, {"word": "word"}, lane="interactive")
                outcome = client.outcome(job_id, timeout_s=30)
                took[index] = time.perf_counter() - due[index]
                assert outcome.status is JobStatus.SUCCEEDED, outcome

        threads = [threading.Thread(target=caller, args=pair, daemon=True) for pair in enumerate(self._clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(took), "a caller gave up"
        return took

    def close(self) -> None:
        """Close the clients."""
        for client in self._clients:
            client.close()
