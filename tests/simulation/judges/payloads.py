"""Guarantee 4: what is confidential never lies on a topic that a public pool reads, committed or not."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulation.deployment import OPEN
from tests.simulation.history import History, as_object
from tests.simulation.workload import SECRET


def payloads(history: History) -> Iterator[str]:
    """Look at every byte that was ever written to the public pool's topics."""
    secret = SECRET.encode()
    for name in history.task_topics():
        if f".{OPEN}." not in name:
            continue
        for log in history.cluster.topics[name]:
            for entry in log.entries:
                if entry is None:
                    continue
                ref = as_object(entry).get("call_ref") or {}
                if secret in (entry.value() or b"") or secret in history.objects.get(str(ref.get("key")), b""):
                    yield f"a confidential payload lies on {name}[{log.partition}]@{entry.offset()}"
