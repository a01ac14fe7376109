"""The processes of a run: real orchestrators and real workers, and a supervisor that starts them again."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from typing import Any

from headrace.orchestrator import service
from headrace.orchestrator.core.graph import Graph, compile_workflow
from headrace.orchestrator.core.view import Environment
from headrace.orchestrator.settings import Slot
from headrace.orchestrator.shell.payloads import Payloads
from headrace.orchestrator.shell.workflows import load_workflows
from headrace.runtime import kafka
from headrace.runtime.settings import Settings
from headrace.schemas.pools import Endpoint, Pool, PoolsFile, Price
from headrace.schemas.tools import NoopTool
from headrace.workers.service import Worker
from headrace.workers.settings import WorkerPlan
from tests.simulation.event_loop import SimLoop
from tests.simulation.objects import SimObjects
from tests.simulation.process import Process
from tests.simulation.world import World

OPEN, HOUSE, TOOLS = "open", "house", "tools"
"""The pools: one is public and has a price, one is neither; one runs the tools."""
LOOK, ORDER, BOOK, UNDO = "look", "order", "book", "undo"
"""The tools: one changes nothing; one does what comes again with its key again; two do it once."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a run's deployment is."""

    orchestrators: int
    workers: int
    """For each pool of models; the tools begin with one."""
    partitions: int
    task_partitions: int
    concurrency: int
    max_in_flight: int
    pool_window: int
    latency_s: float
    revoke_wait_s: float
    drain_timeout_s: float

    def workers_of(self, pool: str) -> int:
        """Return how many workers a pool begins with."""
        return 1 if pool == TOOLS else self.workers


def draw_shape(draws: Random) -> Shape:
    """Draw a deployment."""
    return Shape(
        orchestrators=draws.choice((1, 1, 2, 2, 3)),
        workers=draws.choice((1, 1, 2, 3)),
        partitions=draws.choice((1, 2, 3, 4)),
        task_partitions=draws.choice((1, 2, 3)),
        concurrency=draws.choice((1, 2, 4, 8)),
        max_in_flight=draws.choice((2, 8, 64)),
        pool_window=draws.choice((3, 16, 256)),
        latency_s=draws.choice((0.02, 0.1, 0.4, 1.2)),
        revoke_wait_s=draws.choice((0.0, 0.3, 5.0)),
        drain_timeout_s=draws.choice((0.2, 2.0)),
    )


POOLS = PoolsFile(
    endpoints={"far": Endpoint(adapter="noop", public=True), "near": Endpoint(adapter="noop", public=False)},
    pools={
        OPEN: Pool(endpoint="far", model="open", price=Price(input=1_000_000, output=4_000_000), timeout_s=3.0),
        HOUSE: Pool(endpoint="near", model="house", timeout_s=3.0),
    },
    tools={
        LOOK: NoopTool(kind="noop", pool=TOOLS, timeout_s=3.0, arguments={"type": "object", "required": ["text"]}),
        ORDER: NoopTool(kind="noop", pool=TOOLS, timeout_s=3.0, side_effect=True, price_microusd=7),
        BOOK: NoopTool(kind="noop", pool=TOOLS, timeout_s=3.0, side_effect=True, idempotent=True),
        UNDO: NoopTool(kind="noop", pool=TOOLS, timeout_s=3.0, side_effect=True, idempotent=True),
    },
)
RETENTION_S = 60
SESSION_MS = 2_000
HEARTBEAT_MS = 400


def settings_for(shape: Shape) -> Settings:
    """Return the settings of all processes: production's, with times that are a third as long."""
    return Settings(
        kafka={
            "bootstrap_servers": "simulated:1",
            "session_timeout_ms": SESSION_MS,
            "heartbeat_interval_ms": HEARTBEAT_MS,
        },
        topics={"prefix": "sim", "partitions": shape.partitions, "task_partitions": shape.task_partitions},
        objects={"inline_bytes": 2_048, "item_inline_bytes": 256},
        orchestrator={
            "transaction_timeout_ms": 2_000,
            "retention_s": RETENTION_S,
            "max_in_flight": shape.max_in_flight,
            "pool_window": shape.pool_window,
            "lost_grace_s": 2.0,
        },
        worker={"drain_timeout_s": shape.drain_timeout_s, "revoke_wait_s": shape.revoke_wait_s},
    )


@lru_cache(maxsize=4_096)
def _compile(text: str) -> Graph:
    """Compile a workflow; kept over all runs, since compiling is pure and the workload's space is small."""
    return compile_workflow(json.loads(text), pools=POOLS.pools, tools=POOLS.tools)


def environment_for(settings: Settings, payloads: Payloads) -> Environment:
    """Return production's own environment, with a compiler that remembers."""
    nothing = load_workflows((), pools=POOLS.pools, tools=POOLS.tools)
    return replace(service.environment_for(settings, POOLS, nothing, payloads), compile=_compile)


class Fleet:
    """Starts processes, and starts them again when they end, until they are no longer wanted.

    Args:
        skew_ms: the most that a wall clock is off.
    """

    def __init__(self, world: World, settings: Settings, shape: Shape, objects: SimObjects, *, skew_ms: int) -> None:
        self.world = world
        self.running: dict[str, Process] = {}
        """By slot: ``o-0``, ``open-1``, …"""
        self.replaced: list[Process] = []
        """Taken for dead, and perhaps not."""
        self.wanted: dict[str, None] = {}
        self.endings: list[tuple[int, str, Any]] = []
        """When, who, and how each process ended."""
        self._settings = settings
        self._shape = shape
        self._skew_ms = skew_ms
        self._objects = objects
        self._draws = world.draws("fleet")
        self._born = 0

    def want(self, slot: str) -> None:
        """Run a process under a slot from now on."""
        self.wanted[slot] = None
        if slot not in self.running:
            self._start(slot)

    def stop(self, slot: str) -> None:
        """Tell a process to stop, and do not start it again. Who was told is not told again: that ends it at once."""
        self.wanted.pop(slot, None)
        process = self.running.get(slot)
        if process is not None and not process.told:
            self.terminate(slot)

    def terminate(self, slot: str) -> None:
        """Send SIGTERM."""
        process = self.running.get(slot)
        if process is not None and process.on_term is not None:
            self.world.note(f"SIGTERM to {process.name}")
            process.told = True
            self.world.at(0, process.on_term, process=process)

    def replace(self, process: Process) -> None:
        """Start another process in the slot of one that is taken for dead."""
        slot = process.name.rpartition(".")[0]
        if self.running.get(slot) is process:
            self.world.note(f"{process.name} is replaced")
            del self.running[slot]
            self.replaced.append(process)
            self._start_again(slot)

    def end(self) -> None:
        """Kill all that runs."""
        self.wanted.clear()
        for process in [*self.running.values(), *self.replaced]:
            process.kill()

    def _start(self, slot: str) -> None:
        self._born += 1
        skew_ms = self._draws.randrange(-self._skew_ms, self._skew_ms + 1) if self._skew_ms else 0
        process = Process(self.world, f"{slot}.{self._born}", skew_ms=skew_ms, on_end=self._ended)
        self.running[slot] = process
        kind = slot.rpartition("-")[0]
        run = self._orchestrate if kind == "o" else self._work
        process.spawn("main", lambda: run(process, slot), main=True)
        self.world.note(f"{process.name} starts")

    def _ended(self, process: Process, by: Any) -> None:
        slot = process.name.rpartition(".")[0]
        self.endings.append((self.world.now_us, process.name, by))
        if self.running.get(slot) is process:
            del self.running[slot]
        if slot in self.wanted:
            self.world.at(self._draws.randrange(50_000, 1_500_000), self._start_again, slot)

    def _start_again(self, slot: str) -> None:
        if slot in self.wanted and slot not in self.running:
            self._start(slot)

    def _orchestrate(self, process: Process, slot: str) -> None:
        payloads = Payloads(self._objects, cache_bytes=self._settings.objects.cache_bytes)
        instance = service.Orchestrator(
            self._settings,
            slot=Slot(slot),
            pools=POOLS,
            environment=environment_for(self._settings, payloads),
            payloads=payloads,
            admin=kafka.admin_client(self._settings),
        )
        process.on_term = instance.loop.stop
        instance.watch.start()
        try:
            instance.run()
        finally:
            instance.watch.close()
            instance.groups.close()

    def _work(self, process: Process, slot: str) -> None:
        pool = slot.rpartition("-")[0]
        plan = WorkerPlan(
            pool_name=pool,
            pool=POOLS.pools[pool],
            endpoint=POOLS.endpoints[POOLS.pools[pool].endpoint],
            key=None,
            concurrency=self._shape.concurrency,
            worker=process.name,
            tools=POOLS.tools_of(pool),
        )
        loop = SimLoop(self.world, process)

        def terminate() -> None:
            found = loop.signals.get(signal.SIGTERM)
            if found is not None:
                loop.call_soon_threadsafe(found[0], *found[1])

        process.on_term = terminate
        code = loop.run(lambda: Worker(plan, self._settings).run())
        assert code == 0
