"""Where the world takes the place of the real one: names in Headrace's modules, for as long as a run lasts.

Production code takes its clients, threads and clocks from module names, so a simulation needs no seam inside it: every
loaded module of Headrace has these names replaced, and put back afterwards.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import confluent_kafka
import confluent_kafka.admin
import structlog

from headrace.orchestrator.shell.membership import Membership
from headrace.orchestrator.shell.payloads import Payloads
from headrace.runtime import health
from headrace.runtime.kafka_watch import KafkaWatch
from headrace.runtime.objects import open_objects
from headrace.runtime.start_checks import check_kafka
from headrace.runtime.transaction import TransactionSession
from headrace.runtime.trouble import Trouble
from headrace.workers import service as worker_service
from headrace.workers.adapters.base import open_adapter
from headrace.workers.tools.base import open_tool
from tests.simulation import scene
from tests.simulation.admin import AdminClient
from tests.simulation.clock import SimOs, SimRandom, SimTime, make_event, make_lock, make_thread
from tests.simulation.consumer import Consumer
from tests.simulation.objects import make_queue, make_wait
from tests.simulation.producer import Producer
from tests.simulation.scene import Scene
from tests.simulation.world import World

_LOGGERS = (structlog._config.BoundLoggerLazyProxy,)
EXPECTED_ERRORS = frozenset({"state.read_failed", "worker.stopped_unclean", "records.expired_unread", "sender.failed"})
"""Errors that faults bring about; any other one that is logged is a finding."""


class SimLog:
    """A logger: silent, but for errors that nobody should ever see; everything goes to the trace where there is one."""

    def __init__(self, world: World) -> None:
        self._world = world
        if world.tracing:
            self.debug = self.info = self.warning = self._say  # type: ignore[method-assign]

    def debug(self, event: str, **fields: Any) -> None:
        """Nobody listens."""

    info = warning = debug

    def _say(self, event: str, **fields: Any) -> None:
        self._world.note(f"{event} {fields}")

    def error(self, event: str, **fields: Any) -> None:
        self._say(event, **fields)
        if event not in EXPECTED_ERRORS and self._world.current is not None and self._world.current.process.alive:
            self._world.finding(f"{self._world.current.process.name} logged {event}: {fields}")

    exception = error

    def bind(self, **_: Any) -> SimLog:
        return self


class NoServer:
    """The admin port that nobody asks."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Nothing listens."""

    def close(self) -> None:
        """Nothing is held."""


class NoWatch:
    """What says that Kafka is away, to those who ask the admin port."""

    def __init__(self, *_: Any) -> None:
        """Nothing is watched."""

    def start(self) -> None:
        """Nothing begins."""

    close = start

    def problem(self) -> None:
        return None


def _defaults(made: type) -> dict[str, Any]:
    """Return the defaults of a class's arguments: they were bound when it was loaded."""
    found: dict[str, Any] = made.__init__.__kwdefaults__  # type: ignore[misc]
    return found


def _set(defaults: list[tuple[dict[str, Any], str, Any]]) -> None:
    for names, name, value in defaults:
        names[name] = value


@contextmanager
def installed(
    stage: Scene, *, adapter: Callable[..., Any], tool: Callable[..., Any], objects: Callable[..., Any]
) -> Iterator[None]:
    """Have production code live in a world.

    Args:
        stage: the world.
        adapter: makes a worker's adapter.
        tool: makes a worker's tool.
        objects: opens the object store.
    """
    world = stage.world
    thread, event, lock = make_thread(world), make_event(world), make_lock(world)
    swap: dict[int, Any] = {
        id(time): SimTime(world),
        id(random): SimRandom(world),
        id(os): SimOs(world),
        id(threading): SimpleNamespace(Thread=thread, Event=event, Lock=lock),
        id(threading.Thread): thread,
        id(threading.Event): event,
        id(threading.Lock): lock,
        id(confluent_kafka.Consumer): Consumer,
        id(confluent_kafka.Producer): Producer,
        id(confluent_kafka.admin.AdminClient): AdminClient,
        id(queue.SimpleQueue): make_queue(world),
        id(concurrent.futures.wait): make_wait(world),
        id(health.AdminServer): NoServer,
        id(KafkaWatch): NoWatch,
        id(check_kafka): lambda *_: None,
        id(open_adapter): adapter,
        id(open_tool): tool,
        id(open_objects): objects,
    }
    log = SimLog(world)
    undo: list[tuple[Any, str, Any]] = []
    for name, module in list(sys.modules.items()):
        if not name.startswith("headrace.") or module is None:
            continue
        for attribute, value in list(vars(module).items()):
            new = log if isinstance(value, _LOGGERS) else swap.get(id(value))
            if new is not None:
                undo.append((module, attribute, value))
                setattr(module, attribute, new)
    defaults: list[tuple[dict[str, Any], str, Any]] = [
        (_defaults(TransactionSession), "make", Producer),
        (_defaults(Membership), "make", Consumer),
        (_defaults(Trouble), "clock", SimTime(world).monotonic),
        (_defaults(Payloads), "clock", SimTime(world).monotonic),
    ]
    real = [(names, name, names[name]) for names, name, _ in defaults]
    _set(defaults)
    scene.enter(stage)
    try:
        yield
    finally:
        scene.leave()
        _set(real)
        for module, attribute, value in undo:
            setattr(module, attribute, value)
        asyncio.events._set_running_loop(None)


assert worker_service  # Loaded before the names are swapped.
