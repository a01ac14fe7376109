"""Sweeps the object store once a day, by the instance that owns partition 0."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from headrace.runtime import metrics
from headrace.runtime.object_sweep import is_due, note_swept, sweep
from headrace.runtime.objects import ObjectStore
from headrace.schemas.errors import HeadraceError

log = structlog.get_logger("headrace.orchestrator")

FIRST_S = 60.0
"""Start-up has better things to do."""
LOOK_EVERY_S = 900.0
"""How often it is looked whether a day is over: the note of the last sweep lies in the store, for all instances."""


class Sweeper:
    """A thread of its own; the loop never waits for it.

    Args:
        store: the object store; its calls are safe to share between threads.
        older_than_s: ``objects.retention_s``.
        responsible: whether this instance owns partition 0 now.
        first_s: how long after the start it is looked first.
    """

    def __init__(
        self, store: ObjectStore, *, older_than_s: float, responsible: Callable[[], bool], first_s: float = FIRST_S
    ) -> None:
        self._store = store
        self._older_than_s = older_than_s
        self._responsible = responsible
        self._first_s = first_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; a request in flight is left to its time-out."""
        self._stopped.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        wait_s = self._first_s
        while not self._stopped.wait(wait_s):
            wait_s = LOOK_EVERY_S
            if self._responsible():
                self._sweep()

    def _sweep(self) -> None:
        try:
            if not is_due(self._store):
                return
            found = sweep(self._store, older_than_s=self._older_than_s, stopped=self._stopped.is_set)
            if not self._stopped.is_set():
                note_swept(self._store)
        except HeadraceError as error:
            log.warning("objects.sweep_failed", error=error.message)
        except Exception:
            log.exception("objects.sweep_failed")
        else:
            metrics.SWEPT.inc(found.deleted)
            log.info("objects.swept", objects=found.objects, deleted=found.deleted, old_bytes=found.old_bytes)
