"""A local cluster of brokers that can be hurt, one node at a time."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from confluent_kafka.admin import AdminClient

from headrace.runtime.local_kafka import LocalKafka


class Cluster:
    """A local cluster, hurt node by node. Nodes are counted from 1."""

    def __init__(self, kafka: LocalKafka) -> None:
        self.kafka = kafka
        self._admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})

    def pid(self, node: int) -> int:
        return self.kafka.pids[node - 1]

    def kill(self, node: int) -> None:
        os.kill(self.pid(node), signal.SIGKILL)

    def pause(self, *nodes: int) -> None:
        for node in nodes:
            os.kill(self.pid(node), signal.SIGSTOP)

    def resume(self, *nodes: int) -> None:
        for node in nodes:
            os.kill(self.pid(node), signal.SIGCONT)

    def fill(self, node: int) -> None:
        """Let every write of a node's logs fail, as on a full disk: no file of this process may grow any more."""
        resource.prlimit(self.pid(node), resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))

    @contextmanager
    def slow(self, *nodes: int, stopped_s: float = 0.3, running_s: float = 0.05) -> Iterator[None]:
        """Let nodes run for a small part of the time only."""
        ended = threading.Event()

        def slow_down() -> None:
            while not ended.is_set():
                self.pause(*nodes)
                ended.wait(stopped_s)
                self.resume(*nodes)
                ended.wait(running_s)

        thread = threading.Thread(target=slow_down, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def leader(self, topic: str, partition: int) -> int:
        return int(self._admin.list_topics(topic, timeout=10).topics[topic].partitions[partition].leader)

    def heal(self) -> None:
        """Start again what has ended and wait until every replica is in sync."""
        for node, pid in enumerate(self.kafka.pids, 1):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            if not Path(f"/proc/{pid}").exists() or _ended(pid):
                self.kafka.wait(node)
                self.kafka.restart(node)
        deadline = time.monotonic() + 60
        while not self._in_sync():
            assert time.monotonic() < deadline, "the replicas did not come in sync"
            time.sleep(0.2)

    def _in_sync(self) -> bool:
        topics = self._admin.list_topics(timeout=10).topics.values()
        parts = [part for topic in topics for part in topic.partitions.values()]
        return all(part.leader >= 0 and len(part.isrs) == len(part.replicas) for part in parts)


def _ended(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
