"""What producers do: jobs of many kinds, the same id again, other content under an id, cancels."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from random import Random
from typing import Any

from tests.simulation.cluster import Cluster
from tests.simulation.deployment import HOUSE, OPEN
from tests.simulation.errands import with_errand
from tests.simulation.nesting import nested
from tests.simulation.objects import SimObjects
from tests.simulation.sessions import draw_turns
from tests.simulation.signals import draw_signals, with_wait
from tests.simulation.workflows import draw_workflow
from tests.simulation.world import EPOCH_S, World

SECRET = "s3cret"
"""Stands in every payload that is marked confidential."""
LAST_SUBMISSION_US = 8_000_000


class Workload:
    """Submits jobs over the first seconds.

    Args:
        jobs: how many.
        objects: where inputs and items by reference lie before their jobs are submitted.
        topic: the topic of jobs.
    """

    def __init__(self, world: World, cluster: Cluster, objects: SimObjects, *, jobs: int, topic: str) -> None:
        self._world = world
        self._cluster = cluster
        self._objects = objects
        self._topic = topic
        self._draws, self._errands, self._gates, self._nests = (
            world.draws(name) for name in ("workload", "errands", "gates", "nests")
        )
        self.submitted = 0
        """Records that were written or will be."""
        for number in range(jobs):
            self._plan(number)
        for at_us, value in draw_turns(world.draws("turns")):
            self._write_at(at_us, value["job_id"], value)

    def _plan(self, number: int) -> None:
        draws = self._draws
        at_us = draws.randrange(200_000, LAST_SUBMISSION_US)
        job_id = f"job-{number}"
        value = self._job(draws, job_id)
        if isinstance(value["workflow"], dict) and self._errands.random() < 0.3:
            value["workflow"] = with_errand(self._errands, value["workflow"])
        if isinstance(value["workflow"], dict) and self._gates.random() < 0.2:
            value["workflow"] = with_wait(self._gates, value["workflow"])
            for after_us, signal in draw_signals(self._gates, job_id):
                self._write_at(at_us + after_us, job_id, signal)
        if isinstance(value["workflow"], dict) and "items" not in value and self._nests.random() < 0.2:
            value["workflow"] = nested(self._nests, value["workflow"])
        kind = draws.random()
        if kind < 0.05:
            value.pop("job_id")  # It is named by its place.
            self._write_at(at_us, None, value)
            return
        if kind < 0.1:
            value.pop("job_id")
            self._write_at(at_us, job_id, value)
            return
        self._write_at(at_us, job_id, value)
        if draws.random() < 0.2:
            self._write_at(at_us + draws.randrange(8_000_000), job_id, value)
        if draws.random() < 0.1:
            other = {**value, "input": {"items": ["something else"]}}
            other.pop("input_ref", None)
            other.pop("items", None)
            self._write_at(at_us + draws.randrange(6_000_000), job_id, other)
        if draws.random() < 0.12:
            self._write_at(at_us + draws.randrange(3_000_000), job_id, {"type": "cancel", "job_id": job_id})

    def _job(self, draws: Random, job_id: str) -> dict[str, Any]:
        confidential = draws.random() < 0.15
        pools = (HOUSE,) if confidential and draws.random() < 0.7 else (OPEN, HOUSE)
        items = [f"{job_id} item {n}" for n in range(draws.choice((0, 1, 2, 3, 4, 5, 8)))] or [f"{job_id} alone"]
        if draws.random() < 0.1:
            items[0] += " " + "long " * 120  # Above what a finished item may keep inline.
        if confidential:
            items = [f"{item} {SECRET}" for item in items]
        value: dict[str, Any] = {
            "job_id": job_id,
            "workflow": draw_workflow(draws, pools=pools),
            "input": {"items": items},
            "tenant": draws.choice(("a", "b", "c")),
            "lane": draws.choice(("interactive", "batch")),
            "priority": draws.choice((0, 0, 5)),
        }
        if confidential:
            value["sensitivity"] = "confidential"
        if draws.random() < 0.05:
            value["workflow"] = "nobody-knows-it@1"
        match draws.randrange(6):
            case 0:
                value["budget"] = {"tokens": draws.choice((90, 200, 600, 5_000))}
            case 1:
                value["budget"] = {"microusd": draws.choice((90, 300, 900, 5_000))}
            case 2:
                after_s = draws.choice((1.0, 3.0, 12.0))
                deadline_s = EPOCH_S + after_s + draws.random() * 6
                value["deadline"] = datetime.fromtimestamp(deadline_s, tz=UTC).isoformat()
        self._refer(draws, value)
        return value

    def _refer(self, draws: Random, value: dict[str, Any]) -> None:
        """Give some inputs, and some lists of items, by reference; now and then to what is not there."""
        kind = draws.random()
        if kind < 0.1:
            ref = self._objects.keep(json.dumps(value.pop("input")).encode())
            value["input_ref"] = ref.model_dump()
        elif kind < 0.25 and "for_each" in json.dumps(value["workflow"]):
            items = value.pop("input")["items"]
            cut = draws.randrange(len(items) + 1)
            parts = [part for part in (items[:cut], items[cut:]) if part]
            value["items"] = {"parts": [self._part(part) for part in parts]}
        if kind < 0.02:
            self._objects.lose(value["input_ref"]["key"])

    def _part(self, items: list[str]) -> dict[str, Any]:
        """Store JSON Lines."""
        ref = self._objects.keep("".join(f"{json.dumps(item)}\n" for item in items).encode())
        return {**ref.model_dump(), "items": len(items)}

    def _write_at(self, at_us: int, key: str | None, value: dict[str, Any]) -> None:
        self.submitted += 1
        self._world.at(at_us, self._write, key, json.dumps(value).encode())

    def _write(self, key: str | None, value: bytes) -> None:
        """Write as any client would, whose partitioner is not ours: to any partition."""
        partition = self._draws.randrange(self._cluster.partition_count(self._topic))
        self._cluster.write(self._topic, partition, key.encode() if key else None, value)
        self.submitted -= 1
