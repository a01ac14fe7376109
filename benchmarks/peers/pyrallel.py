"""Runs Pyrallel Consumer on a topic: `pyrallel_worker.py`, by the interpreter of the peers' environment."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path

from benchmarks.peers.venv import python

IN_FLIGHT = {"key_hash": 2_000, "unordered": 100}
"""By its ordering, how many messages it may have in flight: its published case, and one without order."""
NAMES = {"key_hash": "pyrallel", "unordered": "pyrallel_unordered"}
SETTINGS = "order key_hash with max_in_flight 2000 (as published), and unordered with 100; async engine"
SCRIPT = Path(__file__).parent / "pyrallel_worker.py"
TIMEOUT_S = 300


def calls_per_s(
    servers: str, topic: str, *, order: str, in_flight: int, latency_ms: int, warm: int, total: int
) -> float:
    """Let it work off a filled topic in a group of its own; return calls a second after the first ``warm``."""
    options = {
        "bootstrap": servers,
        "topic": topic,
        "group": f"pyrallel-{uuid.uuid4().hex[:6]}",
        "order": order,
        "in-flight": in_flight,
        "latency-ms": latency_ms,
        "warm": warm,
        "total": total,
    }
    command = [str(python()), str(SCRIPT), *(f"--{name}={value}" for name, value in options.items())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    return float(json.loads(done.stdout.splitlines()[-1])["calls_per_s"])
