"""What the judge of sagas holds against one: each promise broken by hand, in logs that are otherwise in order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from headrace.orchestrator.core.state import Cursor, StateRecord, TaskRecord, TaskStatus, cursor_key
from headrace.schemas.topics import Topics
from tests.simulation.cluster import Cluster
from tests.simulation.deployment import BOOK, TOOLS, UNDO
from tests.simulation.history import Committed, History
from tests.simulation.judges.sagas import sagas
from tests.simulation.process import Process
from tests.simulation.services import ServiceCall
from tests.simulation.world import World

JOB, OF = "job-1", 3


class Story:
    """A saga of three entries as a log tells it: one transaction an attempt, the tasks numbered as they begin.

    What is done, to which entry, and what comes of it: ``do 0 done``, ``undo 1 failed``, ``end``.
    """

    def __init__(self) -> None:
        world = World(1)
        self._process = Process(world, "tools-0.1")
        self._cluster = Cluster(world, [])
        self._committed: list[Committed] = []
        self._served: list[ServiceCall] = []
        self._done: dict[int, str] = {}
        self._tasks = 0

    def tell(self, *parts: str) -> list[str]:
        """Return what the judge says of a saga."""
        for part in parts:
            what, _, rest = part.partition(" ")
            if what == "end":
                self._commit([(0, f"marker/{JOB}", None), (0, cursor_key("results"), Cursor(0))])
            else:
                entry, _, came = rest.partition(" ")
                self._attempt(int(entry), came, undoes=what == "undo")
        chaos: Any = SimpleNamespace()
        history = History(self._cluster, Topics("sim"), calls=[], served=self._served, chaos=chaos, objects={})
        vars(history).update(committed=self._committed, results={})
        return list(sagas(history))

    def _attempt(self, entry: int, came: str, *, undoes: bool) -> None:
        task_id = f"{JOB}/saga/{self._tasks}"
        self._tasks += 1
        arguments = {"saga": JOB, "entry": entry, "of": OF, "undoable": True}
        if undoes:
            arguments["undoes"] = self._done.get(entry, "nothing")
        elif came == "done":
            self._done[entry] = task_id
        for _ in range({"done": 1, "twice": 2}.get(came, 0)):
            call = ServiceCall(UNDO if undoes else BOOK, task_id, arguments, self._process, 1, effect_us=1, ended="ok")
            self._served.append(call)
        status = {"failed": TaskStatus.FAILED, "out": TaskStatus.LIVE}.get(came, TaskStatus.DONE)
        task = {"task_id": task_id, "attempt": 1, "pool": TOOLS, "tool": {"tool": BOOK, "arguments": arguments}}
        self._commit([(0, f"task/{task_id}", TaskRecord(status, 1, 0))], task)

    def _commit(self, state: list[tuple[int, str, StateRecord | None]], *tasks: dict[str, Any]) -> None:
        self._committed.append(Committed(len(self._committed) + 1, "o-0.1", state, list(tasks)))


@pytest.mark.parametrize(
    "parts",
    [
        ("do 0 done", "do 1 done", "do 2 done", "end"),
        ("do 0 done", "do 1 done", "do 2 failed", "undo 1 done", "undo 0 done", "end"),
        ("do 0 done", "do 1 done", "do 2 failed", "undo 1 failed", "undo 0 done", "end"),
        ("do 0 done", "do 1 done", "do 2 done", "undo 2 done", "undo 1 done", "undo 0 done", "end"),
    ],
    ids=["all is done", "all is undone", "one cannot be undone", "its job ended with its last call"],
)
def test_a_saga_that_ends_as_promised_passes(parts: tuple[str, ...]) -> None:
    assert not Story().tell(*parts)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (("do 0 done", "do 1 failed", "end"), "entry 0 was done and never undone"),
        (("do 0 done", "do 1 done", "do 2 failed", "undo 1 done", "end"), "entry 0 was done and never undone"),
        (("do 0 done", "do 1 done", "do 2 failed", "undo 0 done", "undo 1 done", "end"), "entry 1 was undone after"),
        (("do 0 done", "undo 0 done", "do 1 failed", "end"), "entry 1 was done after entry 0 was undone"),
        (("do 0 done", "do 2 failed", "undo 0 done", "end"), "entry 2 was done after entry 0 was done"),
        (("do 0 done", "do 1 failed", "undo 1 done", "undo 0 done", "end"), "entry 1 was undone and had not been"),
        (("do 0 done", "do 1 failed", "undo 0 twice", "end"), "entry 0 was undone 2 times"),
        (("do 0 done", "do 1 failed", "undo 0 never", "end"), "entry 0 was undone 0 times"),
        (("do 0 done", "do 1 failed", "undo 0 done", "undo 0 done", "end"), "entry 0 has two tasks"),
        (("do 0 done", "do 1 failed", "undo 0 out", "end"), "its job ended before it was known"),
        (("do 0 done", "do 1 failed", "end", "undo 0 done"), "dispatched after its job had ended"),
    ],
)
def test_a_saga_that_ends_otherwise_is_told(parts: tuple[str, ...], said: str) -> None:
    assert any(said in problem for problem in Story().tell(*parts))
