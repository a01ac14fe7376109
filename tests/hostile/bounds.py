"""What one hostile input may cost: generous bounds, far below what would stop a process or a partition."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import TypeVar

from tests.hostile.bad import Bad

T = TypeVar("T")

MAX_SECONDS = 6.0
"""Of this thread's own processor time, so that a busy machine makes no test red. The slowest, a template that spins up
to its bound of work, takes one or two; everything else well below one."""
MAX_BYTES = 24 * 1024 * 1024
"""Of Python's own memory, whatever the size of the input: a template may make a value of 200,000 parts."""
BYTES_PER_BYTE = 80
"""Beside that, for each byte of the input: a megabyte of empty lists becomes sixty, read twice over."""


def bounded(bad: Bad, run: Callable[[], T]) -> T:
    """Run twice, once for time and once for memory (which makes Python several times slower).

    Args:
        run: takes the input, and begins from nothing each time.
    """
    found = within_time(bad.name, run)
    return found if bad.works else within_memory(bad.name, bad.size, run)


def within_memory(what: str, size: int, run: Callable[[], T]) -> T:
    """Run once, for memory.

    Args:
        size: bytes of the input.
    """
    tracemalloc.start()
    try:
        found = run()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MAX_BYTES + BYTES_PER_BYTE * size, f"{what}: {size:,} bytes took {peak // 1_048_576} MB"
    return found


def within_time(what: str, run: Callable[[], T]) -> T:
    """Run once, for time."""
    began = time.thread_time()
    found = run()
    took = time.thread_time() - began
    assert took < MAX_SECONDS, f"{what} took {took:.1f} s of processor time"
    return found
