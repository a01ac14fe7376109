"""The client's end of a peer: told on standard input what to do, says on standard output how long each took.

Standard library only: it runs in the peers' environment.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
import time
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
"""Source: prctl(2)."""
FAN_OUT, ROUND_TRIPS = "fan-out", "round-trips"


def serve(*, fan_out: Callable[[int], None] | None = None, round_trip: Callable[[], None]) -> None:
    """Do what each line says, until there are no more.

    Args:
        fan_out: sends so many tasks and returns when all their results are gathered.
        round_trip: sends one task and returns with its result.
    """
    for line in sys.stdin:
        what, count = line.split()
        if what == FAN_OUT:
            assert fan_out is not None
            seconds = [timed(lambda: fan_out(int(count)))]  # noqa: B023 - called at once
        else:
            seconds = [timed(round_trip) for _ in range(int(count))]
        print(json.dumps(seconds), flush=True)


def end_with_parent() -> None:
    """Let the kernel kill this process when its parent ends (Linux): Dramatiq's workers would stay after a kill -9."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def timed(act: Callable[[], None]) -> float:
    """Return the seconds that something takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
