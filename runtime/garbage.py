"""How often Python looks for reference cycles, in processes that make a hundred objects for every task."""

from __future__ import annotations

import gc

THRESHOLDS = (500_000, 20, 50)
"""Allocations before the youngest objects are looked at, and how many such looks before the older ones are. With
Python's own 700 the orchestrator spent a fifth of its time there, finding nothing: records, messages and effects are
trees. What does make cycles (exceptions with their tracebacks) waits at most 50,000 objects longer, some megabytes."""


def collect_rarely() -> None:
    """Set the thresholds, and keep what is imported by now out of every look."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
