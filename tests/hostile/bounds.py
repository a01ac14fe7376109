"""What one hostile input may cost: generous bounds, far below what would stop a process."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

MAX_SECONDS = 5.0
"""On a machine that six others share; the slowest input takes well below one."""
MAX_BYTES = 96 * 1024 * 1024
"""Of Python's own memory: a megabyte of empty lists is thirty."""


@contextmanager
def bounded(what: str, *, seconds: float = MAX_SECONDS, memory: bool = False) -> Iterator[None]:
    """Fail where something takes too long, or too much memory (which makes it several times slower)."""
    if memory:
        tracemalloc.start()
    began = time.perf_counter()
    try:
        yield
        took = time.perf_counter() - began
        assert took < seconds, f"{what} took {took:.1f} s"
        if memory:
            peak = tracemalloc.get_traced_memory()[1]
            assert peak < MAX_BYTES, f"{what} took {peak // 1_048_576} MB"
    finally:
        if memory:
            tracemalloc.stop()
