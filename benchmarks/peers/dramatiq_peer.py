"""Dramatiq: its actor, which the workers load, and its client (``python -m benchmarks.peers.dramatiq_peer``).

Its defaults, but for the prefetch (environment ``dramatiq_queue_prefetch``, set where the workers are started): with
the default of two messages a thread its consumer sleeps between fetches.
"""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.payload import PAYLOAD
from benchmarks.peers.driver import end_with_parent, serve

TIMEOUT_MS = 300_000

end_with_parent()
url = os.environ["PEER_URL"]
broker = RedisBroker(url=url)
broker.add_middleware(Results(backend=RedisBackend(url=url)))
dramatiq.set_broker(broker)


@dramatiq.actor(actor_name="echo", store_results=True)
def echo(text: str) -> str:
    """Answer what was asked."""
    return text


def fan_out(tasks: int) -> None:
    """Run a group and gather the results; Dramatiq has no task that gathers them, so the client does."""
    group = dramatiq.group([echo.message(f"{number}:{PAYLOAD}") for number in range(tasks)]).run()
    assert sum(1 for _ in group.get_results(block=True, timeout=TIMEOUT_MS)) == tasks


def round_trip() -> None:
    """Run one task."""
    assert echo.send("word").get_result(block=True, timeout=TIMEOUT_MS) == "word"


if __name__ == "__main__":
    serve(fan_out=fan_out, round_trip=round_trip)
