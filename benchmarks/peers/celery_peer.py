"""Celery: its application, which the workers load, and its client (``python -m benchmarks.peers.celery_peer``).

Settings, each from the chapter "Optimizing" of Celery's own manual or its reference of settings:

- prefetch multiplier 64 instead of 4: for lots of short tasks the manual names 64 or 128.
- rate limits off: a worker has less to do before each task.
- gossip, mingle and heartbeat off (the worker's command line): workers that need not know each other.
- errors are not propagated to the client (it sees them in what it gets): to do so, `get` looks at every task of the
  chord after every message, which is quadratic: half the tasks a second in a chord of 2,000.
- the client of Redis is the fast one: hiredis is installed.
- acknowledgement before the task runs, which is the default; Headrace's worker acknowledges after it.
"""

from __future__ import annotations

import os

from celery import Celery, chord
from celery.signals import worker_ready

from benchmarks.payload import PAYLOAD
from benchmarks.peers.driver import serve

TIMEOUT_S = 300

url = os.environ["PEER_URL"]
app = Celery("bench", broker=url, backend=url)
app.conf.update(worker_prefetch_multiplier=64, worker_disable_rate_limits=True, broker_connection_retry_on_startup=True)


@worker_ready.connect
def say_ready(**_: object) -> None:
    """Tell whoever waits for this worker, once."""
    print("worker is ready", flush=True)


@app.task(name="echo")
def echo(text: str) -> str:
    """Answer what was asked."""
    return text


@app.task(name="count")
def count(texts: list[str]) -> int:
    """Gather: say how many results there are."""
    return len(texts)


def fan_out(tasks: int) -> None:
    """Run a chord: every result reaches its body, whose own result is awaited."""
    header = (echo.s(f"{number}:{PAYLOAD}") for number in range(tasks))
    assert chord(header, count.s()).delay().get(timeout=TIMEOUT_S, propagate=False) == tasks


def round_trip() -> None:
    """Run one task."""
    assert echo.delay("word").get(timeout=TIMEOUT_S) == "word"


if __name__ == "__main__":
    serve(fan_out=fan_out, round_trip=round_trip)
