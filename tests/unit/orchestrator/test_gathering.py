"""Batch results that wait for others of their kind while interactive jobs come."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from headrace.orchestrator.shell import gathering
from headrace.orchestrator.shell.gathering import GATHER_S, OUT_FOR_EACH, Gathering
from headrace.orchestrator.shell.input import Read
from headrace.runtime.letters import Source
from headrace.schemas.messages import Lane


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


class Arriving:
    """Input to which the given records come, one a poll, 10 ms apart; then nothing."""

    def __init__(self, clock: Clock, first: Read, later: list[Read]) -> None:
        self.clock, self.queue, self.later = clock, [first], deque(later)

    def in_hand(self) -> list[Read]:
        return self.queue

    def waiting(self) -> int:
        return len(self.queue)

    def poll(self, timeout_s: float, room: int) -> None:
        assert timeout_s > 0
        assert room == 50
        self.clock.now += 0.01 if self.later else timeout_s
        if self.later:
            self.queue.append(self.later.popleft())


def read(topic: str, job: str) -> Read:
    return Read(Source(topic, 0, 0, job.encode(), b""), 0)


BATCH, CALLER, SUBMISSION = read("results", "batch"), read("results", "caller"), read("jobs", "new")


def gathered(
    monkeypatch: pytest.MonkeyPatch, first: Read, later: list[Read], *, out: int = 10_000, lately: bool = True
) -> tuple[int, float]:
    """Return how many records were in hand in the end, and the seconds it took."""
    clock = Clock()
    monkeypatch.setattr(gathering, "time", clock)
    arriving: Any = Arriving(clock, first, later)
    lanes = {"batch": Lane.BATCH, "caller": Lane.INTERACTIVE}
    made = Gathering(arriving, "results", lambda job, lane: out if lanes.get(job) is lane else 0)
    if lately:
        made.expect()
    made.gather(lambda: 50)
    return arriving.waiting(), round(clock.now - 100.0, 6)


def test_results_of_a_batch_job_come_together_for_a_tenth_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gathered(monkeypatch, BATCH, [BATCH] * 3) == (4, GATHER_S)


def test_what_comes_of_an_interactive_job_or_of_a_new_one_is_decided_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gathered(monkeypatch, CALLER, [BATCH]) == (1, 0.0)
    assert gathered(monkeypatch, BATCH, [BATCH, CALLER, BATCH]) == (3, 0.02)
    assert gathered(monkeypatch, BATCH, [SUBMISSION, BATCH]) == (2, 0.01)


def test_without_interactive_jobs_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gathered(monkeypatch, BATCH, [BATCH], lately=False) == (1, 0.0)


def test_a_job_that_has_few_tasks_out_does_not_wait_for_more_results(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gathered(monkeypatch, BATCH, [BATCH] * 9, out=OUT_FOR_EACH - 1) == (1, 0.0)
    assert gathered(monkeypatch, BATCH, [BATCH] * 9, out=2 * OUT_FOR_EACH) == (3, 0.02)
