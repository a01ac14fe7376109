"""DBOS: an application with a queue, and a client (``python -m benchmarks.peers.dbos_peer worker|client``).

DBOS polls: its queue and whoever waits for a result, both once a second by default. ``PEER_POLL_S`` is for both.
"""

from __future__ import annotations

import os
import sys
import threading

from dbos import DBOS, DBOSClient

from benchmarks.peers.driver import serve

NAME = "bench"
url = os.environ["PEER_URL"]
poll_s = float(os.environ["PEER_POLL_S"])


def work() -> None:
    """Run the application until the process is ended."""
    DBOS(config={"name": NAME, "system_database_url": url, "log_level": "WARNING"})

    @DBOS.workflow(name="echo")
    def echo(text: str) -> str:
        return text

    DBOS.launch()
    DBOS.register_queue(NAME, polling_interval_sec=poll_s)
    print("worker is ready", flush=True)
    threading.Event().wait()


def ask() -> None:
    """Run the client."""
    client = DBOSClient(system_database_url=url, application_name=NAME)

    def round_trip() -> None:
        handle = client.enqueue({"queue_name": NAME, "workflow_name": "echo"}, "word")
        assert handle.get_result(polling_interval_sec=poll_s) == "word"

    serve(round_trip=round_trip)


if __name__ == "__main__":
    work() if sys.argv[1] == "worker" else ask()
