"""A call that never returns holds nobody."""

from __future__ import annotations

import threading

import pytest

from headrace.runtime.bounded import within


def test_what_the_call_returns_and_raises_comes_back() -> None:
    assert within(5, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)


def test_a_call_that_does_not_come_back_is_left_behind() -> None:
    with pytest.raises(TimeoutError):
        within(0.05, threading.Event().wait)


def test_somebody_is_told_how_long_it_takes_and_may_end_the_wait() -> None:
    told: list[float] = []

    def waiting(seconds: float) -> None:
        told.append(seconds)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        within(30, threading.Event().wait, waiting=waiting, every_s=0.01)
    assert told == sorted(told)
