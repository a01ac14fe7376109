"""Trouble is waited out ever longer, and said seldom."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from headrace.runtime.trouble import LONGEST_WAIT_S, QUIET_S, SAY_EVERY_S, Trouble


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trouble(clock: Clock) -> Trouble:
    return Trouble("postponed", "session_lost", clock=clock)


def test_the_wait_doubles_with_each_try_and_has_an_end(trouble: Trouble) -> None:
    waits = [trouble.note("postponed", f"failure {number}") for number in range(12)]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == LONGEST_WAIT_S


def test_an_outage_of_ten_minutes_is_a_line_every_half_minute_whatever_each_try_says(
    trouble: Trouble, clock: Clock
) -> None:
    with capture_logs() as lines:
        tries = 0
        while clock.now < 1_600:
            clock.now += trouble.note("postponed", f"failure {tries}")
            tries += 1
        trouble.over()
    said = [line["event"] for line in lines]
    assert tries > 100
    assert said.count("work.postponed") <= 600 / SAY_EVERY_S + 1
    assert said[-1] == "work.resumed"
    assert lines[-1]["seconds"] == pytest.approx(600, abs=LONGEST_WAIT_S)


def test_trouble_of_another_kind_is_said_at_once(trouble: Trouble) -> None:
    with capture_logs() as lines:
        trouble.note("postponed", "a")
        trouble.note("session_lost", "b")
    assert [line["kind"] for line in lines] == ["postponed", "session_lost"]


def test_trouble_that_comes_and_goes_every_second_is_said_as_if_it_had_lasted(trouble: Trouble, clock: Clock) -> None:
    with capture_logs() as lines:
        for _ in range(60):
            trouble.note("postponed", "a")
            trouble.over()
            clock.now += 1
    assert len(lines) <= 60 / SAY_EVERY_S * 2 + 2
    clock.now += QUIET_S
    assert trouble.note("postponed", "a") == 0.1


def test_the_seconds_of_trouble_are_those_of_its_kind_now(trouble: Trouble, clock: Clock) -> None:
    trouble.note("postponed", "a")
    clock.now += 7
    assert (trouble.seconds("postponed"), trouble.seconds("session_lost")) == (7, 0)
    assert trouble.text == "a"
    trouble.over()
    assert (trouble.seconds("postponed"), trouble.text) == (0, None)
