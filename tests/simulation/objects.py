"""The object store: content-addressed, durable, in memory; and what threads hand each other work through.

With the fault `store` it is slow and refuses now and then, before or after the content is there.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from typing import Any

from headrace.schemas.errors import ContractError, DependencyUnavailable
from headrace.schemas.messages import ObjectRef
from headrace.schemas.object_keys import check_object_ref, claim_check
from tests.simulation.faults import Faults
from tests.simulation.process import Thread
from tests.simulation.world import World

WAIT_US = 1_000
"""How often a thread looks whether a future is done."""


class SimObjects:
    """What outlives every process."""

    place = "simulated objects"

    def __init__(self, world: World, faults: Faults) -> None:
        self.content: dict[str, bytes] = {}
        self._world = world
        self._faults = faults
        self._draws = world.draws("objects")

    def keep(self, content: bytes) -> ObjectRef:
        """Store content at once: what a producer wrote before it submitted."""
        ref = claim_check(content)
        self.content[ref.key] = content
        return ref

    def lose(self, key: str) -> None:
        """Let content be gone."""
        del self.content[key]

    def put(self, content: bytes) -> ObjectRef:
        ref = check_object_ref(claim_check(content))
        self._travel("write", ref.key)
        self.content[ref.key] = content
        self._travel("write", ref.key)
        return ref

    def get(self, ref: ObjectRef) -> bytes:
        check_object_ref(ref)
        self._travel("read", ref.key)
        content = self.content.get(ref.key)
        if content is None:
            raise ContractError(f"object {ref.key} is not in {self.place}", kind="gone")
        return content

    def probe(self) -> None:
        self._travel("probe", "")

    def _travel(self, verb: str, key: str) -> None:
        """Take some time, and fail now and then.

        Raises:
            DependencyUnavailable: the store does not answer.
        """
        self._world.boundary()
        faulty = self._faults.switches.store and not self._faults.calm
        slow = faulty and self._draws.random() < 0.1
        self._world.sleep(self._draws.random() * (1.5 if slow else 0.005))
        if faulty and self._draws.random() < 0.1:
            raise DependencyUnavailable(f"object store cannot {verb} {key}")


def make_queue(world: World) -> type:
    """Return what ``queue.SimpleQueue`` is."""

    class SimpleQueue:
        def __init__(self) -> None:
            self._items: deque[Any] = deque()
            self._waiting: deque[Thread] = deque()

        def put(self, item: Any) -> None:
            world.running()
            self._items.append(item)
            if self._waiting:
                self._waiting.popleft().wake()

        def get(self) -> Any:
            thread = world.boundary()
            while not self._items:
                self._waiting.append(thread)
                thread.pause()
            return self._items.popleft()

    return SimpleQueue


def make_wait(world: World) -> Any:
    """Return what ``concurrent.futures.wait`` is."""

    def wait(futures: list[Future[Any]], timeout: float | None = None) -> tuple[set[Future[Any]], set[Future[Any]]]:
        thread = world.boundary()
        end_us = None if timeout is None else world.now_us + int(timeout * 1e6)
        while not all(future.done() for future in futures) and (end_us is None or world.now_us < end_us):
            thread.pause(WAIT_US)
        done = {future for future in futures if future.done()}
        return done, set(futures) - done

    return wait
